"""Full replica symmetry breaking: the derivation, k steps as special cases, published numbers, closed forms."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from latex_engine import compile_latex

from replica import sweep
from replica.action import nodes_of
from replica.ansatz import FullRSB, KStepRSB, OneStepRSB, ReplicaSymmetric, by_name
from replica.api import solve
from replica.expr.average import GaussianAverage
from replica.expr.parisi import Flow, OverlapIntegral
from replica.expr.stable import log2cosh
from replica.full_checks import LOWEST
from replica.lowering.field import field_equations
from replica.lowering.full import energy_of, functional_of, linear_in_order, numbers_of
from replica.lowering.full_spherical import closed_form, spherical_functional
from replica.models.gaussian_field import GaussianField, p_spin, sherrington_kirkpatrick
from replica.overlap_function import ORDER
from replica.overlap_law import overlap_law
from replica.symbols import beta, h, q
from solvers.errors import InputError
from solvers.fixed_point.breaking import fully_broken
from solvers.fixed_point.parisi import Functional, Levels
from solvers.solution import Outcome

SK = sherrington_kirkpatrick
FULL = FullRSB()
GROUND = -0.763166726566547
"""Energy of the ground state of SK: M. J. Schmidt, Dissertation, Wuerzburg (2008), from 200 steps of breaking."""


def mixed(overlap):
    return overlap**2 / 2 + overlap**4 / 8


def at_numbers(T, field=0):
    return {"T": Fraction(T), "h": Fraction(field)}


# -- the derivation --


@pytest.mark.parametrize("spins", ["ising", "spherical"])
def test_every_step_verifies(spins):
    model = GaussianField(mixed, spins, FULL)
    assert len(model.derive().verify()) >= 10
    for derivation in model.saddle_point().derivations:
        assert derivation.verify()


def test_every_step_towards_the_ground_state_verifies():
    assert GaussianField(mixed, ansatz=FULL).ground_state().derive().verify()


@pytest.mark.parametrize("spins", ["ising", "spherical"])
def test_everything_printed_compiles(spins):
    model = GaussianField(mixed, spins, FULL)
    for part in (model.derive(), model.free_entropy(), model.saddle_point()):
        compile_latex(part.to_latex())


def test_the_parisi_equation_is_printed():
    text = SK(FULL).ground_state().derive().body_latex()
    assert r"\partial_{q}\varphi &=" in text
    assert r"\varphi(1,w) &= \left|{w}\right|" in text
    saddle = SK(FULL).saddle_point().body_latex()
    for part in (
        r"q &= \left\langle \varphi'(q,w)^{2}\right\rangle_{q}",
        r"\partial_{q}\varphi &=",
        r"\left\langle g(w)",
    ):
        assert part in saddle


@pytest.mark.parametrize(
    "name",
    ["full replica symmetry breaking", "Hubbard-Stratonovich at every level; thin levels", "n -> 0"],
)
def test_wrong_steps_are_caught(name):
    step = GaussianField(mixed, ansatz=FULL).derive()[name]
    wrong = step.after + beta**2 / 7 * OverlapIntegral(q * ORDER(q), q, LOWEST, 1)
    with pytest.raises(ArithmeticError):
        type(step)(step.before, wrong, step.rule).verify()


def test_wrong_steps_of_the_end_are_caught():
    model = GaussianField(mixed, ansatz=FULL)
    extra = OverlapIntegral(q * ORDER(q), q, LOWEST, 1) / 7
    step = model.derive()["stationarity in the overlaps"]
    with pytest.raises(ArithmeticError):
        type(step)(step.before, step.after + beta**2 * extra, step.rule).verify()
    (step,) = model.ground_state().derive().steps
    cold = OverlapIntegral(q * sp.Function("y", nonnegative=True)(q), q, LOWEST, 1) / 7
    with pytest.raises(ArithmeticError):
        type(step)(step.before, step.after + cold, step.rule).verify()


def test_the_functional_of_sk_is_that_of_parisi():
    """Parisi 1980, in the form of Guerra 2003: phi(0, beta h) - (beta^2/2) int q x(q) dq, rate beta^2."""
    phi = SK(FULL).derive().result
    (integral,) = (t for t in sp.Add.make_args(phi) if t.has(OverlapIntegral))
    assert integral == -(beta**2) / 2 * OverlapIntegral(q * ORDER(q), q, LOWEST, 1)
    (average,) = (t for t in sp.Add.make_args(phi) if isinstance(t, GaussianAverage))
    assert (average.mean, average.variance) == (beta * h, beta**2 * LOWEST)
    flow, w = average.body, average.body.bound_symbols[1]
    assert (flow.terminal, flow.rate, flow.order) == (log2cosh(w), beta**2, ORDER(q))
    left, right = flow.equation()
    named = left.expr
    expected = -(beta**2) / 2 * (named.diff(w, 2) + ORDER(q) * named.diff(w) ** 2)
    assert sp.expand(right - expected) == 0


# -- k steps are step functions --


@pytest.mark.parametrize(
    ("steps", "overlaps", "sizes"),
    [(1, [0.2, 0.6], [0.3]), pytest.param(2, [0.1, 0.35, 0.7], [0.2, 0.45], marks=pytest.mark.slow)],
)
def test_k_steps_are_step_functions(steps, overlaps, sizes):
    """The free entropy derived for k steps, evaluated level by level, is the functional of x(q)."""
    exact = at_numbers("1/2", "3/10")
    few = field_equations(GaussianField(mixed, ansatz=KStepRSB(steps)))
    expected = few.gradient.run([2.0, 0.3, *overlaps, *sizes], 8.0)[0]
    functional = functional_of(GaussianField(mixed, ansatz=FULL).derive().result, numbers_of(exact))
    assert Levels(functional, np.array(overlaps)).at(np.array(sizes)).value == pytest.approx(
        expected, abs=1e-11
    )


def test_k_steps_of_spherical_spins_are_step_functions():
    exact = at_numbers("1/2", "3/10")
    few = GaussianField(mixed, "spherical", KStepRSB(2))
    overlaps, sizes = [0.1, 0.35, 0.7], [0.2, 0.45]
    at = dict(zip((beta, h, *few.order_parameters), (2.0, 0.3, *overlaps, *sizes), strict=True))
    full = GaussianField(mixed, "spherical", FULL).derive().result
    functional = spherical_functional(full, numbers_of(exact))
    found = functional.levels(np.array(overlaps)).at(np.array(sizes)).value
    assert found == pytest.approx(float(few.derive().result.subs(at)), abs=1e-13)


@pytest.mark.slow
def test_steps_approach_the_function_from_below():
    """At T = 0 one, two and five steps have these energies (this library's k-step solver)."""
    full = solve(SK(FULL), T=0)["energy"]
    few = [-0.7652594346736822, -0.7636080105384709, -0.7631975323861406]
    assert few == sorted([*few, full])[:3]


# -- numbers --


def test_ground_state_of_sk():
    solution = solve(SK(FULL), T=0)
    assert solution.outcome is Outcome.CONVERGED
    assert abs(solution["energy"] - GROUND) < solution.uncertainty["energy"] < 1e-8
    assert solution["energy"] < GROUND  # steps are a lower bound
    assert solution["q_max"] == 1


def test_sk_below_the_transition():
    """Above one step; within what convexity proves of the infimum; marginally stable; x(q) increases."""
    solution = solve(SK(FULL), T=0.6)
    assert solution.outcome is Outcome.CONVERGED
    assert 0 <= solution.bound < 1e-8
    assert solution["f"] > solve(SK(OneStepRSB()), T=0.6)["f"]
    assert solution.uncertainty["f"] < 1e-8
    assert abs(solution["replicon"]) < 3 * solution.uncertainty["replicon"] < 1e-3
    assert np.all(np.diff(solution.profile.x) > 0)
    assert solution.profile.x[0] > 0
    law = overlap_law(solution)
    assert sum(law.weights) == pytest.approx(1, abs=1e-14)
    assert law.moment(2) == pytest.approx(solution["squared_overlap"], abs=1e-12)
    # dx/dq is smooth: x(q) and q(x) are inverse to each other
    inside = np.linspace(0.1, 0.3, 5)
    assert solution.profile.overlap(solution.profile.order(inside)) == pytest.approx(inside, abs=1e-12)


def test_near_the_transition_of_sk():
    """q_EA = tau + tau^2 - tau^3 + O(tau^4) and x(q_EA) = 2 tau - ... with tau = 1 - T: A. Crisanti, T. Rizzo,
    Phys. Rev. E 65 (2002) 046137; the slope of x is 2 there.
    """
    tau = 0.05
    solution = solve(SK(FULL), T=1 - tau)
    assert solution["q_max"] == pytest.approx(tau + tau**2 - tau**3, abs=4 * tau**4)
    profile = solution.profile
    slope = (profile.order(0.02) - profile.order(0.005)) / 0.015
    assert slope == pytest.approx(2, abs=6 * tau)


@pytest.mark.slow
def test_thermodynamics_hangs_together():
    """The energy at fixed x, the formula -beta int x xi' - h m that is derived for it, and the difference of
    Phi between temperatures.
    """
    model, inverses = SK(FULL), [Fraction(5, 4) + k * Fraction(1, 100) for k in (0, 1, -1)]
    points = [numbers_of({"T": 1 / inverse, "h": Fraction(1, 10)}) for inverse in inverses]
    middle, up, down = (fully_broken(functional_of(model.derive().result, at), 8) for at in points)
    assert middle.edges[0] > 0.05
    energy = energy_of(model, points[0], middle)
    assert energy == pytest.approx(-(up.value - down.value) / 0.02, abs=2e-5)
    closed = linear_in_order(model.observables()["energy"], points[0])
    assert closed.on(middle.edges, middle.x, middle.moments.magnetisation) == pytest.approx(energy, abs=1e-6)


def test_marginal_stability_at_every_overlap():
    """beta^2 xi''(q) <phi''^2> = 1 on the support of the continuous part, to 1/steps^2; at T = 0 too."""
    for functional in (
        Functional((0.0, 4.0), (0.0, 0.0, 1.0), 0.0),
        Functional((0.0, 1.0), (0.0, 0.0, 0.25), 0.0, True),
    ):
        excess = []
        for steps in (12, 24):
            run = fully_broken(functional, steps)
            inner = slice(0, steps // 2)
            excess.append(np.max(np.abs(functional.variance[1] * run.moments.response[inner] - 1)))
        assert excess[1] < 0.33 * excess[0] < 0.01


def test_without_breaking_the_solution_is_symmetric():
    hot = solve(SK(FULL), T=1.2)
    assert hot.outcome is Outcome.SYMMETRIC
    assert (hot["q_max"], hot["f"]) == (0, pytest.approx(-1.2 * math.log(2) - 1 / 4.8))
    above_the_line = solve(SK(FULL), T=0.5, h=1)  # of de Almeida and Thouless
    assert above_the_line.outcome is Outcome.SYMMETRIC
    assert above_the_line["q_min"] == above_the_line["q_max"] == solve(SK(), T=0.5, h=1)["q"]


def test_a_three_spin_model_breaks_in_one_step():
    """The minimum over all functions is the one-step solution (computed by the k-step solver)."""
    solution = solve(p_spin(3, ansatz=FULL), T=0.5)
    assert solution["f"] == pytest.approx(-0.8231361419794834, abs=1e-13)
    assert solution["q_max"] == pytest.approx(0.8931014271495515, abs=1e-10)
    assert solution.profile.x == pytest.approx(0.709947948276787, abs=1e-9)
    assert solution.bound < 1e-9
    assert solution["replicon"] > 0.1
    assert solve(p_spin(3, ansatz=FULL), T=0.7).outcome is Outcome.SYMMETRIC


def test_one_step_in_a_field():
    """The two solvers share no code for the averages."""
    one, full = (solve(p_spin(3, ansatz=a), T=0.5, h=0.1) for a in (OneStepRSB(), FULL))
    assert full["f"] == pytest.approx(one["f"], abs=1e-13)
    assert full["energy"] == pytest.approx(one["energy"], abs=1e-9)
    names = (("q_min", "q0"), ("q_max", "q1"), ("x_max", "m"), ("replicon", "replicon1"))
    for new, old in names:
        assert full[new] == pytest.approx(one[old], abs=1e-10)


def test_a_random_field_alone_is_symmetric():
    """A linear covariance: f = -T E log 2cosh(beta z), and Phi does not depend on x."""
    z, weights = np.polynomial.hermite_e.hermegauss(200)
    expected = -0.6 * weights @ np.logaddexp(z / 0.6, -z / 0.6) / weights.sum()
    solution = solve(GaussianField("q", ansatz=FULL), T=0.6)
    assert solution.outcome is Outcome.SYMMETRIC
    assert solution["f"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_the_ground_state_of_the_three_spin_breaks_beyond_one_step():
    """E. Gardner 1985: at low temperature one step is unstable; the energy is a little above that of one step."""
    full, one = solve(p_spin(3, ansatz=FULL), T=0), solve(p_spin(3, ansatz=OneStepRSB()), T=0)
    assert one["energy"] + 1e-5 < full["energy"] < one["energy"] + 1e-3
    assert full.profile.x[0] == pytest.approx(full.profile.x[5], abs=1e-9)  # a step, then more


@pytest.mark.slow
@pytest.mark.parametrize("temperature", ["1/50", "1/10", "1/2", "99/100"])
def test_the_stated_errors_hold(temperature):
    """Against four times as many steps; entropy -> 0 at low temperature."""
    solution = solve(SK(FULL), T=temperature)
    functional = functional_of(SK(FULL).derive().result, numbers_of(at_numbers(temperature)))
    steps = 4 * len(solution.profile.x) if temperature != "99/100" else 32
    fine = fully_broken(functional, steps)
    assert abs(solution["f"] + float(Fraction(temperature)) * fine.value) < solution.uncertainty["f"] + 1e-14
    assert abs(solution["q_max"] - fine.edges[-1]) < solution.uncertainty["q_max"] + 1e-6
    assert solution["entropy"] > 0


# -- spherical spins --


def crisanti_sommers(c):
    return GaussianField(lambda overlap: overlap**2 / 2 + c * overlap**4, "spherical", FULL)


def test_the_closed_form_is_the_published_one():
    """x(q) = xi'''/(2 beta xi''^(3/2)): A. Crisanti, L. Leuzzi, Phys. Rev. B 73 (2006) 014412, for 2 + 4."""
    c = sp.Rational(1, 10)
    saddle = crisanti_sommers(c).saddle_point()
    expected = 24 * c * q / (2 * beta * (1 + 12 * c * q**2) ** sp.Rational(3, 2))
    assert sp.simplify(saddle.update(ORDER(q)) - expected) == 0


def test_a_spherical_model_with_a_closed_form():
    model = crisanti_sommers(sp.Rational(1, 10))
    solution = solve(model, T=0.6)
    q_max = solution["q_max"]
    # by hand: beta^2 xi''(q) (1 - q)^2 = 1
    assert (1 + 1.2 * q_max**2) * (1 - q_max) ** 2 == pytest.approx(0.36, abs=1e-14)
    assert solution.bound == 0
    run = fully_broken(spherical_functional(model.derive().result, numbers_of(at_numbers("3/5"))), 32)
    assert -0.6 * run.value == pytest.approx(solution["f"], abs=2e-9)
    assert -0.6 * run.value < solution["f"]
    assert run.edges[-1] == pytest.approx(q_max, abs=1e-5)
    one = solve(model.with_ansatz(OneStepRSB()), T=0.6)["f"]
    assert one < solution["f"] < one + 1e-5


def test_a_closed_form_in_a_field():
    """q_min from xi'(q) + h^2 = q xi''(q): h^2 = 8 c q^3; entropy = -df/dT."""
    model = crisanti_sommers(sp.Rational(1, 10))
    middle, up, down = (solve(model, T=0.6 + k * 1e-3, h=0.05) for k in (0, 1, -1))
    assert 0.8 * middle["q_min"] ** 3 == pytest.approx(0.05**2, abs=1e-14)
    assert -(up["f"] - down["f"]) / 2e-3 == pytest.approx(middle["entropy"], abs=1e-5)


def test_ground_states_of_spherical_spins():
    """Steps approach the closed form from below; energies at low temperature are T/2 above to leading order."""
    model = crisanti_sommers(sp.Rational(3, 100))
    ground = solve(model, T=0)["energy"]
    one = solve(model.with_ansatz(OneStepRSB()), T=0)["energy"]
    assert one < ground < one + 1e-5
    assert solve(model, T=0.001)["energy"] == pytest.approx(ground + 0.0005, abs=1e-5)
    with pytest.raises(InputError, match="no closed form"):
        solve(crisanti_sommers(1), T=0)


@pytest.mark.slow
def test_more_steps_approach_the_closed_form():
    """One, two, three steps at T = 0.6 and at T = 0, from below."""
    for c, temperature in ((sp.Rational(1, 10), 0.6), (sp.Rational(3, 100), 0)):
        model = crisanti_sommers(c)
        few = [solve(model.with_ansatz(KStepRSB(k)), T=temperature)["f"] for k in (1, 2, 3)]
        closed = solve(model, T=temperature)["f"]
        assert few[0] < few[1] < few[2] < closed < few[2] + 3e-7


def test_spherical_models_without_a_closed_form():
    """Pure 2-spin stays symmetric with q = 1 - T; 3-spin breaks in one step; 2 + 4 with a large part of 4 has a
    function and a step.
    """
    symmetric = solve(GaussianField("q^2/2", "spherical", FULL), T=0.4)
    assert symmetric.outcome is Outcome.SYMMETRIC
    assert symmetric["q_max"] == pytest.approx(0.6, abs=1e-12)
    three = p_spin(3, "spherical")
    one = solve(three.with_ansatz(OneStepRSB()), T=0.5)
    full = solve(three.with_ansatz(FULL), T=0.5)
    assert full["f"] == pytest.approx(one["f"], abs=1e-12)
    assert full["x_max"] == pytest.approx(one["m"], abs=1e-9)
    both = solve(crisanti_sommers(sp.Rational(3, 10)), T=0.4)
    assert closed_form(crisanti_sommers(sp.Rational(3, 10)), at_numbers("2/5")) is None
    assert 0 <= both.bound < 1e-7
    assert both["f"] > solve(crisanti_sommers(sp.Rational(3, 10)).with_ansatz(OneStepRSB()), T=0.4)["f"]


# -- how it is used --


def test_by_name_and_in_a_sweep():
    assert by_name("fullrsb") == FULL
    assert p_spin(3, ansatz=FULL).ansatz == FULL
    assert SK().with_ansatz(FULL) == SK(FULL)
    table = sweep(p_spin(3, ansatz=FULL), T=[0.5, 0.8])
    assert np.isnan(table["x_max"][1])  # no x where nothing is broken
    assert list(table["q_max"].values) == pytest.approx([0.8931014271495515, 0], abs=1e-9)
    assert "symmetric" in str(table["outcome"].values[1])
    assert len(nodes_of(SK(FULL).derive().result, Flow)) == 1
    assert solve(SK(FULL), T=1.1).to_dict()["q_max"] == 0


def test_what_is_refused():
    with pytest.raises(InputError, match=r"rs, 1rsb, 2rsb, .*, fullrsb"):
        by_name("full")
    with pytest.raises(InputError, match="more than 15 digits are for"):
        solve(SK(FULL), T=0.5, digits=20)
    with pytest.raises(InputError, match="closed form"):
        GaussianField(mixed, "spherical", FULL).ground_state().derive()
    assert ReplicaSymmetric() != FULL
