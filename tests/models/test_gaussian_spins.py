"""Gaussian spins: derivation, textbook equations, the semicircle law, sampled couplings, where Z diverges."""

# pyright: reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

from replica import NotConvergedError, simulate, solve, sweep, validate
from replica.ansatz import OneStepRSB
from replica.gaussian_spin_rules import r, r_hat
from replica.lowering.condensed import condensed_equations
from replica.models import build, gaussian_spins
from replica.symbols import beta, h, m, m_hat, q, q_hat
from solvers.errors import InputError
from solvers.solution import Outcome

MIXED = "q/5 + q^2/3"


def semicircle(f, variance=1.0, points=4000):
    """The average of f over the eigenvalues of couplings of this variance over N: Gauss-Chebyshev."""
    angle = np.pi * np.arange(1, points + 1) / (points + 1)
    weights = 2 / (points + 1) * np.sin(angle) ** 2
    return float(weights @ f(2 * math.sqrt(variance) * np.cos(angle)))


def couplings(size, rng, variance=1.0):
    """Symmetric, off-diagonal entries of this variance over N, twice that on the diagonal."""
    a = rng.normal(size=(size, size)) * math.sqrt(variance / (2 * size))
    return a + a.T


@pytest.mark.parametrize("covariance", ["q^2/2", MIXED])
def test_every_step_verifies(covariance):
    model = gaussian_spins(covariance)
    derivation = model.derive()
    assert [step.name for step in derivation.steps] == [
        "average over the disorder; order parameters",
        "Gaussian integral over the replicas of a spin",
        "replica-symmetric ansatz",
        "n -> 0",
        "stationarity in the overlaps",
    ]
    assert all(step.verifiable for step in derivation.steps)
    assert len(derivation.verify()) == 18
    assert all(d.verify() for d in model.saddle_point().derivations)


def test_a_wrong_factor_does_not_verify():
    step = gaussian_spins().derive().steps[0]
    wrong = step.after.subs(beta, beta * sp.Rational(11, 10))
    assert not all(c.holds for c in step.rule.check(step.before, wrong))
    for step in gaussian_spins().derive().steps[1:-1]:
        assert not all(c.holds for c in step.rule.check(step.before, 2 * step.after)), step.name


def test_textbook_equations():
    # lambda = 1 - r_hat + q_hat: m = beta (h + m_hat)/lambda, q = (q_hat + beta^2 (h + m_hat)^2)/lambda^2,
    # r = q + 1/lambda; m_hat = J0 m, r_hat = beta^2 xi'(r), q_hat = beta^2 xi'(q)
    model = gaussian_spins(MIXED)
    saddle, eigenvalue = model.saddle_point(), 1 - r_hat + q_hat
    assert sp.cancel(saddle.update(m) - beta * (h + m_hat) / eigenvalue) == 0
    assert sp.cancel(saddle.update(q) - (q_hat + beta**2 * (h + m_hat) ** 2) / eigenvalue**2) == 0
    assert sp.cancel(saddle.update(r) - saddle.update(q) - 1 / eigenvalue) == 0
    assert saddle.update(m_hat) == sp.Symbol("J_0", nonnegative=True) * m
    for conjugate, overlap in ((r_hat, r), (q_hat, q)):
        assert sp.expand(saddle.update(conjugate) - beta**2 * model.covariance.diff(q).subs(q, overlap)) == 0


@pytest.mark.parametrize("T", ["2.05", "2.5", "4", "30"])
def test_without_a_field_the_norm_is_the_resolvent_of_the_semicircle(T):
    b = 1 / float(T)
    norm = (1 - math.sqrt(1 - 4 * b**2)) / (2 * b**2)
    s = solve(gaussian_spins(), T=T)
    assert s["m"] == s["q"] == 0
    assert s["r"] == pytest.approx(norm, abs=1e-13)
    assert s.free_entropy == pytest.approx(
        b**2 / 4 * norm**2 + math.log(norm) / 2 - (norm - 1) / 2, abs=1e-14
    )
    assert s.free_entropy == pytest.approx(-semicircle(lambda x: np.log(1 - b * x)) / 2, abs=1e-11)


@pytest.mark.parametrize(
    ("covariance", "variance", "spread"), [("q^2/2", 1, 0), (MIXED, 2 / 3, 0.2), ("q/4", 0, 0.25)]
)
def test_the_gaussian_integral_over_the_semicircle(covariance, variance, spread):
    # s ~ N(beta A^-1 b, A^-1), A = 1 - beta (J + J0/N), b_i ~ N(h, spread): the field sees the resolvent G
    T, J0, field = 2.7, 1.4, 0.3
    b = 1 / T
    g, slope = (semicircle(lambda x, k=k: (1 - b * x) ** -k, variance) for k in (1, 2))
    uniform = field / (1 - b * J0 * g)
    s = solve(gaussian_spins(covariance), T=T, J0=J0, h=field)
    assert s["m"] == pytest.approx(b * uniform * g, abs=1e-12)
    assert s["q"] == pytest.approx(b**2 * (uniform**2 + spread) * slope, abs=1e-12)
    assert s["r"] == pytest.approx(s["q"] + g, abs=1e-12)
    determinant = -semicircle(lambda x: np.log(1 - b * x), variance) / 2
    assert s.free_entropy == pytest.approx(determinant + b**2 / 2 * g * (field * uniform + spread), abs=1e-12)
    assert s["f"] == pytest.approx(s["energy"] - T * s["entropy"], abs=1e-13)
    # the replicon and the stiffness are those of the responses
    assert slope == pytest.approx(g**2 / s["replicon"], rel=1e-12)
    assert s["stiffness"] == pytest.approx(1 - b * J0 * g, abs=1e-12)


def test_sampled_couplings():
    # log det(1 - beta J); two sizes take away what is of order 1/N
    rng = np.random.default_rng(1)

    def sample(size):
        return -np.linalg.slogdet(np.eye(size) - couplings(size, rng) / 2.4)[1] / (2 * size)

    found = np.array([2 * sample(400) - sample(200) for _ in range(24)])
    error = found.std(ddof=1) / math.sqrt(found.size)
    assert error < 1e-3
    assert found.mean() == pytest.approx(solve(gaussian_spins(), T="2.4").free_entropy, abs=4 * error)


def test_sampled_couplings_in_a_field():
    T, J0, field, size = 2.8, 1.5, 0.5, 400
    rng, found = np.random.default_rng(2), []
    for _ in range(16):
        energies = couplings(size, rng, 2 / 3) + J0 / size
        forces = field + math.sqrt(0.2) * rng.normal(size=size)
        inverse = np.linalg.inv(np.eye(size) - energies / T)
        mean = inverse @ forces / T
        overlap, norm = mean @ mean / size, (mean @ mean + np.trace(inverse)) / size
        energy = -(np.sum(energies * inverse) + mean @ energies @ mean) / 2 / size - forces @ mean / size
        found.append([mean.mean(), overlap, norm, energy])
    values, errors = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / 4
    s = solve(gaussian_spins(MIXED), T=T, J0=J0, h=field)
    theory = np.array([s[name] for name in ("m", "q", "r", "energy")])
    assert np.all(np.abs(values - theory) < 4 * errors)
    assert np.all(errors < 0.05 * np.abs(theory))


@pytest.mark.parametrize(
    ("covariance", "J0", "edge"),
    [
        ("q^2/2", 0, 2),
        ("q^2/2", 1, 2),
        ("q^2/2", 2, Fraction(5, 2)),
        ("2*q^2", 3, 2 * 2),  # sqrt(2c) = 2: the uniform direction stays inside up to J0 = 2
        ("q/3", Fraction(3, 2), Fraction(3, 2)),
        ("q", 0, 0),
    ],
)
def test_the_partition_function_is_finite_above_the_largest_eigenvalue(covariance, J0, edge):
    # S. F. Edwards, R. C. Jones, J. Phys. A 9 (1976) 1595: 2 sqrt(2c), or J0 + 2c/J0 where J0 > sqrt(2c)
    model = gaussian_spins(covariance)
    if covariance == "2*q^2":
        edge = J0 + Fraction(4, J0)
    tiny = Fraction(1, 10**12)
    assert model.is_finite({"T": edge + tiny, "J0": Fraction(J0)})
    if edge:
        assert not model.is_finite({"T": Fraction(edge), "J0": Fraction(J0)})
        assert not model.is_finite({"T": edge - tiny, "J0": Fraction(J0)})


def test_the_largest_eigenvalue_of_sampled_couplings():
    size, rng = 600, np.random.default_rng(3)
    top = np.linalg.eigvalsh(couplings(size, rng) + 2 / size)[-1]
    assert top == pytest.approx(2.5, abs=0.15)
    finite = gaussian_spins().is_finite
    assert not finite({"T": Fraction("2.35"), "J0": Fraction(2)})
    assert finite({"T": Fraction("2.65"), "J0": Fraction(2)})


def test_beyond_no_number_is_given():
    for point in ({"T": "1.9"}, {"T": 2}, {"T": "2.4", "J0": 2}, {"T": "2.4", "J0": 2, "h": "0.3"}):
        with pytest.raises(NotConvergedError, match="partition function diverges"):
            solve(gaussian_spins(), **point)
        found = solve(gaussian_spins(), throw=False, **point)
        assert found.outcome is Outcome.DIVERGES
        assert not found.values
    table = sweep(gaussian_spins(), T=["1.5", "2.5"], h="0.1")
    assert np.isnan(table.r.values[0])
    assert "diverges" in str(table.outcome.values[0])
    assert table.r.values[1] > 1.25


def test_the_magnetisation_grows_without_bound_at_the_transition():
    near, nearer = (solve(gaussian_spins(), T=2.5 + step, J0=2, h="0.001") for step in (1e-3, 5e-4))
    assert nearer["m"] / near["m"] == pytest.approx(2, rel=1e-2)
    edge, closer = (solve(gaussian_spins(), T=2 + step, h="0.001") for step in (1e-6, 1e-6 / 4))
    assert closer["q"] / edge["q"] == pytest.approx(2, rel=1e-2)


def test_extreme_parameters_end_in_an_outcome():
    hot = solve(gaussian_spins(), T="1e300", h=1)
    assert (hot["r"], hot["q"]) == (1, 0)
    assert solve(gaussian_spins(), T="1e-300", throw=False).outcome is Outcome.DIVERGES
    for point in ({"T": "2.000000000000001", "h": "0.1"}, {"T": "2.1", "h": "1e10"}):
        assert solve(gaussian_spins(), throw=False, **point).outcome is Outcome.RESIDUAL
    closest = Fraction(2) + Fraction(1, 10**280)
    assert gaussian_spins().is_finite({"T": closest, "J0": Fraction(1)})


def test_the_free_entropy_is_stationary_and_the_energy_is_its_derivative():
    model = gaussian_spins(MIXED)
    point = {"T": 2.6, "J0": 1.2, "h": 0.4}
    s, equations = solve(model, **point), condensed_equations(model)
    x = np.array([s[name] for name in ("m", "r", "q")])
    assert equations.unknowns == ("m", "r", "q")

    def phi(y, inverse=1 / 2.6):
        return float(equations.free_entropy.run([inverse, 1.2, 0.4, *y], 4.0)[0])

    for step in 1e-5 * np.eye(3):
        assert phi(x + step) - phi(x - step) == pytest.approx(0, abs=1e-13)
    assert s["energy"] == pytest.approx(-(phi(x, 1 / 2.6 + 1e-5) - phi(x, 1 / 2.6 - 1e-5)) / 2e-5, abs=1e-8)
    up, down = (solve(model, **point | {"h": 0.4 + step}).free_entropy for step in (1e-4, -1e-4))
    assert s["m"] == pytest.approx(2.6 * (up - down) / 2e-4, abs=1e-8)
    assert s["entropy"] < 0


def test_as_many_digits_as_asked():
    s = solve(gaussian_spins(), T="2.1", digits=40)
    with mpmath.workdps(50):
        b = 1 / mpmath.mpf("2.1")
        assert abs(mpmath.mpf(s["r"]) - (1 - mpmath.sqrt(1 - 4 * b**2)) / (2 * b**2)) < 1e-38
    fine = solve(gaussian_spins(MIXED), T="2.1", h="0.2", digits=30)
    rough = solve(gaussian_spins(MIXED), T="2.1", h="0.2")
    assert abs(float(fine["q"]) - rough["q"]) < 10 * rough.errors.total + 1e-15


def test_statements_are_refused_with_a_reason():
    for covariance in ("q^3/2", "q^2/2 + 0.01*q^4"):
        with pytest.raises(InputError, match=r"degree 2 at most.*diverges at every temperature"):
            gaussian_spins(covariance)
    with pytest.raises(InputError, match="must depend on q"):
        gaussian_spins("3")
    with pytest.raises(InputError, match="T must be > 0"):
        solve(gaussian_spins(), T=0)
    with pytest.raises(InputError, match="J0 must be >= 0"):
        solve(gaussian_spins(), T=3, J0=-1)
    with pytest.raises(InputError, match="which is exact"):
        gaussian_spins().with_ansatz(OneStepRSB())


def test_it_is_built_by_name():
    assert build("gaussian_spins", {}) == gaussian_spins(lambda q: q**2 / 2)
    assert build("gaussian_spins", {"covariance": MIXED}) == gaussian_spins(MIXED)


@pytest.mark.parametrize(
    ("covariance", "point", "names"),
    [
        ("q^2/2", {"T": "2.5"}, ["r", "energy"]),
        (MIXED, {"T": "2.8", "J0": "1.5", "h": "0.5"}, ["m", "q", "r", "energy"]),
        ("q/2", {"T": "2", "J0": "1"}, ["m", "q", "r", "energy"]),
    ],
)
def test_simulated_averages_agree(covariance, point, names):
    check = validate(gaussian_spins(covariance), N=200, seeds=12, **point)
    assert [c.name for c in check.comparisons] == names
    assert check.agrees
    assert all(c.error < 0.2 for c in check.comparisons)
    assert check.converged == 12


def test_the_simulation_says_what_it_refuses():
    model = gaussian_spins()
    for message, options in (
        ("partition function diverges", {"T": 2}),
        ("nothing is iterated", {"T": 3, "max_iterations": 10}),
        ("nothing is iterated", {"T": 3, "damping": 0.1}),
        ("at least 20", {"T": 3, "N": 10}),
    ):
        with pytest.raises(InputError, match=message):
            simulate(model, **options)
    # a system of 20 spins may have an eigenvalue above 2.001
    runs = simulate(model, N=20, seeds=20, T="2.001").runs
    lost = [run for run in runs if run.outcome.diverged]
    assert 0 < len(lost) < 20
    assert not any(run.observed for run in lost)
