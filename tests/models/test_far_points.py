"""Points where a double has few digits of what is solved for: beside a continuous threshold, and at an error
that is no double any more.  The numbers beside are solved anew with mpmath.
"""

from __future__ import annotations

import mpmath as mp
import pytest

from replica import SpikedMatrix, TeacherStudent, solve
from replica.ingredients import (
    AbsoluteValue,
    Bernoulli,
    Discrete,
    Gaussian,
    GaussianMixture,
    GaussianNoise,
    Laplace,
    LaplaceNoise,
    Probit,
    Quantiser,
    Rademacher,
    ReLU,
    SparseRademacher,
)
from solvers.solution import Outcome
from tests.phase_retrieval import next_overlap


def magnetisation(q_hat):
    """E tanh(q_hat + sqrt(q_hat) z), the overlap of a Rademacher signal."""
    return mp.quad(lambda z: mp.npdf(z) * mp.tanh(q_hat + mp.sqrt(q_hat) * z), [-12, -4, 0, 4, 12])


def error(q_hat):
    """E sech(q_hat + sqrt(q_hat) z)^2, the factor exp(-q_hat/2) of all of it taken out for the quadrature."""
    r = mp.mpf(q_hat)
    factor = mp.exp(-r / 2) / mp.sqrt(2 * mp.pi * r)
    return factor * mp.quad(lambda h: mp.exp(h - h * h / (2 * r)) / mp.cosh(h) ** 2, range(-100, 101, 5))


@pytest.mark.parametrize("lam", ["1.01", "1.0001", "1.000001"])
def test_a_spike_just_above_its_continuous_threshold(lam):
    """q = E tanh(lam q + sqrt(lam q) z): q vanishes like lam - 1."""
    solution = solve(SpikedMatrix(Rademacher()), lam=lam)
    with mp.workdps(40):
        strength = mp.mpf(lam)
        start = strength - 1
        q = mp.findroot(lambda x: magnetisation(strength * x) / x - 1, (start, 0.9 * start))
        assert abs(solution["q"] / q - 1) < 1e-8
    assert len(solution.branches) == 2
    assert solution.branches[0] == 0


def test_no_spike():
    solution = solve(SpikedMatrix(Rademacher()), lam=0)
    assert solution["q"] == 0
    assert solution.free_entropy == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("alpha", ["0.5001", "0.50001"])
def test_weak_recovery_from_absolute_values(alpha):
    """It begins at alpha = 1/2 for a Gaussian signal (Mondelli and Montanari 2018); q vanishes there."""
    solution = solve(TeacherStudent(Gaussian(), AbsoluteValue()), alpha=alpha)
    q, size = float(solution["q"]), float(alpha)
    assert next_overlap(0.999 * q, size) > 0 > next_overlap(1.001 * q, size)


def test_no_weak_recovery_from_fewer_absolute_values():
    solution = solve(TeacherStudent(Gaussian(), AbsoluteValue()), alpha="0.499")
    assert solution["q"] == 0
    assert next_overlap(1e-6, 0.499) < 0


@pytest.mark.parametrize("delta", ["1e-2", "1e-8"])
def test_an_error_that_vanishes_exponentially_below_a_noise_that_does_not(delta):
    """Laplace noise of variance delta has the Fisher information 2/delta, so that q_hat = 2 alpha/delta where
    v = E[1 - tanh(q_hat + sqrt(q_hat) z)] vanishes.
    """
    solution = solve(TeacherStudent(Rademacher(), LaplaceNoise()), alpha=5, delta=delta)
    assert solution.outcome is Outcome.CONVERGED
    assert solution["q_hat"] == pytest.approx(10 / float(delta), rel=1e-12)
    if delta == "1e-2":
        with mp.workdps(30):
            v = error(1000)
        assert abs(solution["mmse"] / v - 1) < 1e-9  # pyright: ignore[reportOperatorIssue]


def test_an_error_that_is_no_double():
    solution = solve(
        TeacherStudent(SparseRademacher(), GaussianNoise()), rho="0.2", alpha="9.404", delta="1e-4"
    )
    assert (solution["q_hat"], solution["mmse"]) == (pytest.approx(94040, rel=1e-14), 0)
    probit = solve(TeacherStudent(Rademacher(), Probit()), alpha=5, delta="1e-8")
    assert (probit["q"], probit["mmse"]) == (1, 0)


def test_digits_of_an_error_that_is_small():
    """Of 1 - tanh^2 the bulk of the average is 0, not the rounding of 1 - 1."""
    solution = solve(SpikedMatrix(Rademacher()), lam=100, digits=30)
    with mp.workdps(60):
        v = error(100)  # q = 1 - 2e-23 beside it
    assert abs(solution["mmse"] / v - 1) < 1e-20  # pyright: ignore[reportOperatorIssue]


def test_an_error_below_all_digits():
    solution = solve(TeacherStudent(Rademacher(), Probit()), alpha=5, delta="1e-8", digits=25)
    double = solve(TeacherStudent(Rademacher(), Probit()), alpha=5, delta="1e-8")
    assert solution["mmse"] == 0
    assert solution["q_hat"] == pytest.approx(double["q_hat"], rel=1e-12)
    assert solution.free_entropy == pytest.approx(double.free_entropy, rel=1e-12)


def test_two_atoms_far_apart():
    prior = Discrete((0, 10), ("99/100", "1/100"))
    solution = solve(TeacherStudent(prior, LaplaceNoise()), alpha="12.384", delta=1)
    assert solution["q_hat"] == pytest.approx(24.768, rel=1e-12)


@pytest.mark.slow
def test_thresholds_inside_a_quantiser_have_nodes():
    """The free entropy of narrow components, by sums over the outputs and mpmath quadrature over the field,
    computed outside this library.
    """
    prior = GaussianMixture(("1/3", "2/3"), (1, "-1/2"), ("1e-6", "1e-4"))
    model = TeacherStudent(prior, Quantiser(("-3/2", "-1/5", "1/2", 2)))
    solution = solve(model, alpha="8.317", start="informed")
    assert solution.free_entropy == pytest.approx(-0.75978576442, abs=1e-11)


def test_only_perfect_recovery_is_left():
    """A rare signal seen through levels that are all far away but one: every v of the table is below 1e-10."""
    solution = solve(TeacherStudent(Bernoulli(), Quantiser()), rho="0.001", alpha="1.974", start="informed")
    assert solution.outcome is Outcome.PERFECT_RECOVERY


def test_noise_that_is_small_beside_a_binary_signal():
    """E of (1 + sign h)/2 at v -> 0: q_hat = alpha/(2 Delta) but for corrections of order sqrt(v) = 1e-71."""
    solution = solve(TeacherStudent(Rademacher(), ReLU()), alpha="1.682", delta="0.0013")
    assert solution["q_hat"] == pytest.approx(1.682 / 0.0026, rel=1e-13)
    with mp.workdps(30):
        v = error(mp.mpf(solution["q_hat"]))
    assert solution["mmse"] == pytest.approx(float(v), rel=1e-11)


@pytest.mark.parametrize("first", [Gaussian(), Laplace()])
@pytest.mark.parametrize(("lam", "silent"), [("0.62", True), ("0.72", False)])
def test_a_rectangular_spike_with_a_laplace_vector(first, lam, silent):
    """The threshold is alpha lam^2 = 1; below it all is 0, Phi too, although log Z_in is 0/0 there."""
    solution = solve(SpikedMatrix(first, Laplace()), lam=lam, alpha="1.985")
    assert (solution.outcome is Outcome.UNINFORMATIVE) is silent
    if silent:
        assert solution.free_entropy == pytest.approx(0, abs=1e-11)
        assert [solution["m_u"], solution["m_v"]] == pytest.approx([0, 0], abs=1e-11)
    else:
        assert solution["m_u"] > 0.01
