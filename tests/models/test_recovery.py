"""At and beside the threshold of perfect recovery, where the solution runs off to q_hat = infinity."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest
from scipy.optimize import brentq

from replica import TeacherStudent, solve
from replica.ingredients import AbsoluteValue, GaussBernoulli, Gaussian, LeakyReLU, ReLU
from solvers.solution import Outcome
from tests.phase_retrieval import next_overlap

BELOW = [Fraction(1, 10**k) for k in (3, 6, 9, 12, 15)]


def rectified_by_hand():
    """c in alpha E int dy Z_out g_out^2 = (alpha/2)(1 + c sqrt(v))/v for a ReLU at small v: the positive
    outputs tell the field, half of the Fisher information, and the zeros add 2 sqrt(v/(2 pi)) times the
    integral of npdf^2/ndtr.
    """
    integral = mpmath.quad(lambda u: mpmath.npdf(u) ** 2 / mpmath.ncdf(u), [-40, -10, -2, 0, 2, 10])
    return float(2 * integral / mpmath.sqrt(2 * mpmath.pi))


@pytest.mark.parametrize("distance", BELOW, ids=lambda e: f"{float(e):.0e}")
def test_just_below_the_threshold(distance):
    """1 - v = v q_hat = (1 - e)(1 + c sqrt(v)) for a Gaussian signal: sqrt(v) = e/c but for higher orders."""
    solution = solve(TeacherStudent(Gaussian(), ReLU()), alpha=2 * (1 - distance))
    assert solution.outcome is Outcome.CONVERGED
    expected = (rectified_by_hand() / float(distance)) ** 2
    assert solution["q_hat"] == pytest.approx(expected, rel=max(2e-5, 4 * float(distance)))


@pytest.mark.parametrize("distance", [0, *BELOW], ids=lambda e: f"{float(e):.0e}")
def test_at_and_above_the_threshold(distance):
    for channel, threshold in ((ReLU(), 2), (LeakyReLU(), 1)):
        solution = solve(TeacherStudent(Gaussian(), channel), alpha=threshold * (1 + distance))
        assert solution.outcome is Outcome.PERFECT_RECOVERY


@pytest.mark.parametrize(
    "distance", [0, Fraction(1, 10**9), -Fraction(1, 10**9)], ids=["at", "above", "below"]
)
def test_rounding_on_the_way_to_recovery_is_no_solution(distance):
    """|h| recovers from alpha = 1 on, but from small q another solution is reached (phase retrieval)."""
    solution = solve(TeacherStudent(Gaussian(), AbsoluteValue()), alpha=1 + distance)
    q = brentq(lambda x: next_overlap(x, 1 + float(distance)), 0.1, 0.7, xtol=1e-13)
    assert solution["q"] == pytest.approx(q, abs=1e-8)
    assert max(solution.branches) == (1.0 if distance >= 0 else pytest.approx(q, abs=1e-8))
    sparse = TeacherStudent(GaussBernoulli(), AbsoluteValue())
    rate = Fraction(3, 10) * (1 + distance)
    assert solve(sparse, alpha=rate, rho=Fraction(3, 10)).outcome is Outcome.UNINFORMATIVE
