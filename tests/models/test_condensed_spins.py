"""Spins with condensed order parameters: derivations, textbook equations, published numbers, limits in closed form."""

# pyright: reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.optimize import brentq
from scipy.special import erf

from replica.ansatz import OneStepRSB
from replica.api import solve
from replica.condensed_action import site_law
from replica.expr.average import DiscreteAverage, GaussianAverage
from replica.field_rules import shared_fields
from replica.lowering.condensed import condensed_equations
from replica.models.dense_hebbian_network import dense_hebbian
from replica.models.ferromagnets import ferromagnet
from replica.models.gaussian_field import sherrington_kirkpatrick
from replica.models.hopfield_network import hopfield
from replica.models.multitasking_hebbian_network import multitasking_hebbian
from replica.symbols import V, V_hat, alpha, beta, m, q, q_hat
from replica.thresholds import threshold
from solvers.errors import InputError

(w,) = shared_fields(1)
MODELS = {
    "hopfield": hopfield(),
    "two patterns": hopfield(2),
    "dense": dense_hebbian(4),
    "odd": dense_hebbian(3),
    "multitasking": multitasking_hebbian(2),
    "no noise": multitasking_hebbian(1),
    "ferromagnet": ferromagnet("q^2/2 + q^3/4", lambda m: m**3 / 3),
}


LONG = {"two patterns", "multitasking"}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in MODELS]
"""These run with the slow tests."""


@pytest.mark.parametrize("name", NAMES)
def test_every_step_verifies(name):
    model = MODELS[name]
    ground = model.ground_state()
    for derivation in (model.derive(), ground.derive()):
        assert len(derivation.verify()) >= 3
    for saddle in (model.saddle_point(), ground.saddle_point()):
        assert all(derivation.verify() for derivation in saddle.derivations)


def test_hopfield_has_the_equations_of_amit_gutfreund_sompolinsky():
    # Ann. Phys. 173 (1987) 30, eqs (3.3)-(3.6)
    saddle = hopfield().saddle_point()
    m_hat = saddle.unknowns[2]
    assert saddle.update(m_hat) == m
    assert saddle.update(m) == GaussianAverage(sp.tanh(w), w, beta * m_hat, q_hat)
    assert saddle.update(q) == GaussianAverage(sp.tanh(w) ** 2, w, beta * m_hat, q_hat)
    r = q / (1 - beta * (1 - q)) ** 2
    assert sp.cancel(saddle.update(q_hat) - alpha * beta**2 * r) == 0


def test_hopfield_free_energy_term_by_term():
    # the same paper, eq (3.8): f = alpha/2 + m^2/2 + (alpha/2 beta)[log D - beta q/D] + (alpha beta/2) r (1-q) - T E log 2cosh
    D = 1 - beta * (1 - q)
    r = q / D**2
    expected = (
        alpha / 2
        + m**2 / 2
        + alpha / (2 * beta) * (sp.log(D) - beta * q / D)
        + alpha * beta / 2 * r * (1 - q)
    )
    phi = hopfield().derive().result
    (average,) = phi.atoms(GaussianAverage)
    at = {alpha: sp.Rational(1, 20), beta: 2, q: sp.Rational(4, 5), m: sp.Rational(9, 10)}
    assert sp.N((-(phi - average) / beta - expected).subs(at)) == pytest.approx(0, abs=1e-14)
    assert average.mean == beta * m
    assert sp.cancel(average.variance - alpha * beta**2 * r) == 0


def test_zero_temperature_of_hopfield_is_in_error_functions():
    # Amit, Gutfreund, Sompolinsky, eqs (4.3)-(4.5): m = erf, V = C = sqrt(2/(pi alpha r)) exp(-m^2/(2 alpha r))
    saddle = hopfield().ground_state().saddle_point()
    at = {V_hat: sp.Rational(1, 7), saddle.unknowns[2]: sp.Rational(2, 5), V: sp.Rational(1, 5), alpha: 1}
    found = {s: float(saddle.update(s).subs(at)) for s in (m, V, V_hat)}
    assert found[m] == pytest.approx(erf(0.4 / math.sqrt(2 / 7)), rel=1e-14)
    assert found[V] == pytest.approx(math.sqrt(14 / math.pi) * math.exp(-0.16 * 7 / 2), rel=1e-14)
    assert found[V_hat] == pytest.approx(1 / 0.8**2, rel=1e-14)


def test_hopfield_retrieval_against_independent_numbers():
    # computed outside the library from the published equations
    s = solve(hopfield(), start="retrieval", alpha="0.05", T="0.5")
    expected = {
        "m": 0.90410607527031,
        "q": 0.8333579639670182,
        "r": 1.8747783468172718,
        "f": -0.5170137836670243,
    }
    for name, value in expected.items():
        assert s[name] == pytest.approx(value, abs=1e-12 if name != "r" else 3e-13 * 50)
    assert s.errors.total < 1e-12


def test_hopfield_capacity():
    # alpha_c(0) = 0.138 (Amit, Gutfreund, Sompolinsky); the digits were computed outside from alpha(y) below
    found = threshold(hopfield(), "alpha", condition="fold", near="0.13", start="retrieval", T=0)
    assert found.value == pytest.approx(0.1379055664949317, abs=1e-13)
    assert found.solution["m"] == pytest.approx(0.9674171156852916, abs=1e-8)
    assert found.error < 1e-12


def test_hopfield_retrieval_is_the_ground_state_up_to_a_smaller_load():
    found = threshold(
        hopfield(),
        "alpha",
        condition="coexistence",
        between=(0.04, 0.07),
        start=("retrieval", "glass"),
        T=0,
    )
    assert found.value == pytest.approx(0.05185433091891706, abs=1e-13)


@pytest.mark.parametrize("y", [1.6, 2.0, 2.6])
def test_hopfield_at_zero_temperature_lies_on_the_closed_curve(y):
    # m = erf y, alpha = (1/2)(erf(y)/y - (2/sqrt pi) exp(-y^2))^2
    load = 0.5 * (erf(y) / y - 2 / math.sqrt(math.pi) * math.exp(-(y**2))) ** 2
    assert solve(hopfield(), start="retrieval", alpha=load, T=0)["m"] == pytest.approx(erf(y), abs=1e-12)


def test_as_many_digits_as_asked():
    # the same curve at y = 2: alpha rounded to 60 digits
    with mpmath.workdps(70):
        y = mpmath.mpf(2)
        load = (mpmath.erf(y) / y - 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-(y**2))) ** 2 / 2
        s = solve(hopfield(), start="retrieval", alpha=mpmath.nstr(load, 60), T=0, digits=50)
        assert abs(mpmath.mpf(s["m"]) - mpmath.erf(y)) < mpmath.mpf(10) ** -49
    coarse, fine = (solve(hopfield(), alpha="0.05", T="0.5", digits=d) for d in (20, 40))
    assert abs(coarse["f"] - fine["f"]) < 1e-19
    assert fine.errors.total < 1e-39
    doubles = solve(hopfield(), alpha="0.05", T="0.5")
    assert abs(float(fine["f"]) - doubles["f"]) < 10 * doubles.errors.total + 1e-15


def test_hopfield_glass_appears_at_1_plus_the_root_of_alpha():
    above, below = (solve(hopfield(), start="glass", alpha="0.09", T=T) for T in ("1.32", "1.25"))
    assert above["q"] == pytest.approx(0, abs=1e-6)
    assert below["q"] > 0.03
    assert below["replicon"] < 0


def test_the_replicon_of_hopfield_is_that_of_the_published_line():
    # alpha beta^2 E sech^4 = (1 - beta (1 - q))^2 at the line of de Almeida and Thouless
    s = solve(hopfield(), start="retrieval", alpha="0.1", T="0.2")
    b, load = 5.0, 0.1
    spread = math.sqrt(load * s["r"])
    with mpmath.workdps(20):
        average = mpmath.quad(
            lambda z: mpmath.npdf(z) * mpmath.sech(b * (s["m"] + spread * z)) ** 4, [-12, -4, -2, 0, 2, 12]
        )
    expected = 1 - load * b**2 * float(average) / (1 - b * (1 - s["q"])) ** 2
    assert s["replicon"] == pytest.approx(expected, rel=1e-10)


def test_mixtures_of_three_patterns_have_magnetisation_one_half_without_load():
    s = solve(hopfield(3), start="mixture", alpha=0, T=0)
    assert [s[f"m{i}"] for i in (1, 2, 3)] == [0.5, 0.5, 0.5]
    assert s["f"] == pytest.approx(-3 / 8, abs=1e-15)
    loaded = solve(hopfield(3), start="mixture", alpha="0.01", T="0.2")
    assert loaded["f"] > solve(hopfield(3), start="retrieval", alpha="0.01", T="0.2")["f"]


def test_without_load_hopfield_is_curie_and_weiss():
    s = solve(hopfield(), alpha=0, T="0.7")
    exact = brentq(lambda x: math.tanh(x / 0.7) - x, 0.1, 1)
    assert s["m"] == pytest.approx(exact, abs=1e-13)
    assert s["f"] == pytest.approx(exact**2 / 2 - 0.7 * math.log(2 * math.cosh(exact / 0.7)), abs=1e-13)


def test_curie_and_weiss_against_sums_over_all_configurations():
    # (1/N) log sum_k binom(N, k) exp(beta N m_k^2/2) is Phi + O(1/N); Richardson with N = 500, 1000, 2000, 4000
    def summed(size):
        k = np.arange(size + 1)
        magnetisation = (2 * k - size) / size
        log_binomial = np.array(
            [math.lgamma(size + 1) - math.lgamma(j + 1) - math.lgamma(size - j + 1) for j in k]
        )
        exponent = log_binomial + size * magnetisation**2 / 2 / 0.7
        top = exponent.max()
        return (top + math.log(np.exp(exponent - top).sum())) / size

    values = np.array([summed(500 * 2**k) for k in range(4)])
    for order in (1, 2, 3):
        values = (2**order * values[1:] - values[:-1]) / (2**order - 1)
    assert solve(ferromagnet(), T="0.7").free_entropy == pytest.approx(values[0], abs=1e-9)


def test_dense_hebbian_against_independent_numbers():
    s = solve(dense_hebbian(4), T="0.5", gamma="0.1", rho="0.1")
    assert s["m"] == pytest.approx(0.9500936365007325, abs=1e-12)
    assert s["q"] == pytest.approx(0.9275327793949177, abs=1e-12)
    assert s["n"] == pytest.approx(0.8837273109233623, abs=1e-12)


def test_dense_hebbian_has_the_equations_of_its_paper():
    # arXiv 2212.00606, supervised: n = (m + rho A (1 - q))/(1 + rho), A = (beta' P/2)(1 + rho)^(P/2 - 1) n^(P-1)
    P, rho, inverse = 3, 0.2, 1.5
    s = solve(dense_hebbian(P), T=1 / inverse, gamma="0.05", rho=rho)
    A = inverse * P / 2 * (1 + rho) ** (P / 2 - 1) * s["n"] ** (P - 1)
    assert s["n"] == pytest.approx((s["m"] + rho * A * (1 - s["q"])) / (1 + rho), abs=1e-13)
    spread = math.sqrt(rho * A**2 + inverse**2 * 0.05 * P / 2 * s["q"] ** (P - 1))
    with mpmath.workdps(20):
        line = [-12, -4, -2, 0, 2, 12]
        first = mpmath.quad(lambda z: mpmath.npdf(z) * mpmath.tanh(A + spread * z), line)
        pressure = mpmath.quad(lambda z: mpmath.npdf(z) * mpmath.log(2 * mpmath.cosh(A + spread * z)), line)
    assert s["m"] == pytest.approx(float(first), abs=1e-12)
    energies = -inverse / 2 * (P - 1) * (1 + rho) ** (P / 2) * s["n"] ** P
    noise = inverse**2 * 0.05 / 4 * (1 - P * s["q"] ** (P - 1) + (P - 1) * s["q"] ** P)
    assert s.free_entropy == pytest.approx(float(pressure) + energies + noise, abs=1e-12)


STORAGE = [
    (3, "0", "0.36", 0.378285646156007),
    (4, "0", "0.38", 0.395720238390763),
    (4, "0.1", "0.25", 0.26115659767),
]


@pytest.mark.parametrize(("P", "rho", "near", "expected"), STORAGE)
def test_storage_of_dense_networks(P, rho, near, expected):
    found = threshold(dense_hebbian(P), "gamma", condition="fold", near=near, T=0, rho=rho)
    assert found.value == pytest.approx(expected, abs=2e-12 if rho == "0" else 1e-11)


def test_multitasking_hebbian_against_independent_numbers():
    s = solve(multitasking_hebbian(2), d="0.3", T="0.1")
    assert (s["X1"], s["X2"]) == pytest.approx((0.6999996039, 0.2089297286), abs=1e-10)
    assert (s["m1"], s["m2"]) == pytest.approx((s["X1"], s["X2"]), abs=1e-13)


def test_multitasking_hebbian_has_the_equations_of_its_paper():
    # arXiv 2308.04106: X_mu = m_mu + rho (beta/c) X_mu E (xi^mu)^2 (1 - tanh^2)
    d, rho, T = 0.4, 0.15, 0.3
    s = solve(multitasking_hebbian(2), d=d, rho=rho, T=T)
    X = np.array([s["X1"], s["X2"]])
    c = (1 - d) * (1 + rho)
    law = {-1: (1 - d) / 2, 0: d, 1: (1 - d) / 2}
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    moments, responses, pressure = np.zeros(2), np.zeros(2), 0.0
    for a, pa in law.items():
        for b, pb in law.items():
            xi = np.array([a, b])
            field = (X @ xi + math.sqrt(rho * float(X**2 @ xi**2)) * z) / (c * T)
            moments += pa * pb * xi * (weights @ np.tanh(field))
            responses += pa * pb * xi**2 * (weights @ (1 - np.tanh(field) ** 2))
            pressure += pa * pb * (weights @ (np.logaddexp(field, -field)))
    assert (s["m1"], s["m2"]) == pytest.approx(tuple(moments), abs=1e-9)
    assert pytest.approx(moments + rho / (c * T) * X * responses, abs=1e-9) == X
    assert s.free_entropy == pytest.approx(pressure - X @ X / (2 * c * T), abs=1e-9)


@pytest.mark.parametrize("K", [2, 3, 4])
def test_hierarchical_retrieval_at_zero_temperature(K):
    # arXiv 2308.04106 and Phys. Rev. Lett. 109 (2012) 268101: m_k = (1 - d) d^(k-1), stable iff 1 - 2d + d^K > 0
    s = solve(multitasking_hebbian(K), d="0.4", T=0)
    assert [s[f"m{k}"] for k in range(1, K + 1)] == pytest.approx([0.6 * 0.4**k for k in range(K)], abs=1e-14)


def test_the_hierarchy_of_three_patterns_ends_at_the_golden_ratio():
    golden = (math.sqrt(5) - 1) / 2
    below, above = (solve(multitasking_hebbian(3), d=golden + step, T=0) for step in (-1e-9, 1e-9))
    assert below["m1"] == pytest.approx(1 - golden, abs=1e-8)
    assert abs(above["m1"] - (1 - golden)) > 1e-3


def test_the_parallel_state_of_three_patterns_takes_over_before():
    found = threshold(
        multitasking_hebbian(3),
        "d",
        condition="coexistence",
        between=(0.5, 0.6),
        start=("hierarchical", "parallel"),
        T=0,
    )
    assert found.value == pytest.approx((1 + 2 * math.sqrt(2)) / 7, abs=1e-12)


@pytest.mark.parametrize(
    ("model", "point"),
    [
        (hopfield(), {"alpha": "0.05"}),
        (dense_hebbian(3), {"gamma": "0.1", "rho": "0.1"}),
        (multitasking_hebbian(2), {"d": "0.3", "rho": "0.1"}),
        (ferromagnet("q^2/2"), {"J0": "1.5", "delta": "0.2", "h": "0.1"}),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_low_temperatures_tend_to_the_ground_state(model, point):
    points = [solve(model, T=T, **point) for T in ("0.04", "0.02", "0.01")]
    ground = solve(model, T=0, **point)
    for name in ("f", *model.names):
        warm, cold, colder = (s[name] for s in points)  # analytic in T
        assert (8 * colder - 6 * cold + warm) / 3 == pytest.approx(ground[name], abs=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_free_entropy_is_stationary_and_the_energy_is_its_derivative(name):
    model = MODELS[name]
    point = {p.name: 0.1 for p in model.control_parameters} | {"T": 0.6}
    s = solve(model, **point)
    equations = condensed_equations(model)
    x = np.array([s[n] for n in equations.unknowns])
    order = [p.name for p in model.control_parameters]

    def phi(y, inverse=1 / 0.6):
        return float(equations.free_entropy.run([inverse, *(point[n] for n in order[1:]), *y], 8.0)[0])

    for i in range(x.size):
        step = np.zeros_like(x)
        step[i] = 1e-5
        assert phi(x + step) - phi(x - step) == pytest.approx(0, abs=1e-12)
    slope = (phi(x, 1 / 0.6 + 1e-5) - phi(x, 1 / 0.6 - 1e-5)) / 2e-5
    assert s["energy"] == pytest.approx(-slope, abs=1e-8)
    assert s["f"] == pytest.approx(s["energy"] - 0.6 * s["entropy"], abs=1e-12)


def test_without_ferromagnetic_energy_the_magnetic_model_is_sherrington_kirkpatrick():
    one = solve(ferromagnet("q^2/2"), start="paramagnetic", J0=0, h="0.3", T="0.5")
    other = solve(sherrington_kirkpatrick(), h="0.3", T="0.5")
    for name in ("q", "f", "energy", "entropy", "replicon"):
        assert one[name] == pytest.approx(other[name], abs=1e-11)


def test_a_random_field_orders_up_to_two_over_pi():
    # at T = 0, m = erf(m/sqrt(2 Delta)): Delta_c = 2 J0^2/pi (Schneider, Pytte, Phys. Rev. B 15 (1977) 1519)
    below, above = (solve(ferromagnet(), T=0, delta=2 / math.pi + step) for step in (-0.01, 0.01))
    assert below["m"] > 0.1
    assert above["m"] == pytest.approx(0, abs=1e-6)


def test_a_ferromagnet_of_three_spins_has_a_spinodal():
    # u = m^3: m = tanh(3 beta J0 m^2) touches at a fold; d/dm: 1 = 6 beta J0 m (1 - m^2)
    found = threshold(ferromagnet(energy=lambda m: m**3), "T", condition="fold", between=(1, 2))
    exact = brentq(lambda x: math.atanh(x) * 6 * x * (1 - x**2) / (3 * x**2) - 1, 0.5, 0.99)
    assert found.value == pytest.approx(3 * exact**2 / math.atanh(exact), abs=1e-12)


def test_discrete_averages():
    x, t, p = sp.Symbol("x", real=True), sp.Symbol("t", real=True), sp.Symbol("p", positive=True)
    node = DiscreteAverage(sp.exp(t * x), x, (-1, 2), (p, 1 - p))
    assert node.func(*node.args) == node
    assert sp.expand(node.diff(t).doit() + p * sp.exp(-t) - 2 * (1 - p) * sp.exp(2 * t)) == 0
    assert node.diff(p) == sp.exp(-t) - sp.exp(2 * t)
    assert node.subs(x, t) == node
    moving = DiscreteAverage(x**2, x, (t, -3 * t), (p, 1 - p))
    assert sp.expand(moving.diff(t) - moving.doit().diff(t)) == 0
    with pytest.raises(ValueError, match="probabilities"):
        DiscreteAverage(x, x, (1, 2), (1,))


def test_laws_of_patterns_are_refused_with_a_reason():
    for values, probabilities in (((-1, 1), (0.5, 0.6)), ((1,), (0.5, 0.5)), (("-1", "1"), (0.5, 0.5))):
        with pytest.raises(InputError, match=r"sum to 1|not text"):
            site_law(1, values, probabilities)


def test_a_wrong_elimination_is_caught():
    step = hopfield().derive()["stationarity in the overlaps"]
    assert step.rule.check is not None
    wrong = step.after + m**2 / 7
    assert not all(c.holds for c in step.rule.check(step.before, wrong))
    assert all(c.holds for c in step.rule.check(step.before, step.after))


def test_statements_are_refused_with_a_reason():
    with pytest.raises(InputError, match="admits ReplicaSymmetric"):
        hopfield().with_ansatz(OneStepRSB())
    for wrong in (0, 6, True, 1.5):
        with pytest.raises(InputError, match="from 1 to 5"):
            hopfield(wrong)
    with pytest.raises(InputError, match="from 3 to 20"):
        dense_hebbian(2)
    with pytest.raises(InputError, match="from 1 to 5"):
        multitasking_hebbian(0)
    with pytest.raises(InputError, match="polynomial in m"):
        ferromagnet(energy=sp.cos)
    with pytest.raises(InputError, match="d must be >= 0 and < 1"):
        solve(multitasking_hebbian(2), d=1, T="0.1")
    with pytest.raises(InputError, match="start must be one of retrieval, glass, global"):
        solve(hopfield(), start="informed", alpha="0.1", T="0.1")
