"""Bilinear sequence regression without noise: perfect recovery at and above its threshold."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from bsr_points import BSR

from replica import solve
from solvers.solution import Outcome

SHAPES = [("1", "0.2"), ("2", "0.5"), ("2", "1.2"), ("0.5", "0.3"), ("0.5", "0.6"), ("3", "0.1"), ("1", "1")]


def threshold(b, r):
    b, r = Fraction(b), Fraction(r)
    return r * (1 + b - r) / b if r < min(1, b) else Fraction(1)


@pytest.mark.parametrize(("b", "r"), SHAPES)
@pytest.mark.parametrize("factor", ["1", "1.000001", "1.5"])
def test_at_and_above_the_threshold_recovery_is_exact(b, r, factor):
    alpha = threshold(b, r) * Fraction(factor)
    solution = solve(BSR, alpha=alpha, beta=b, rho=r, delta=0)
    assert solution.outcome is Outcome.PERFECT_RECOVERY
    assert solution["mmse"] == 0
    assert solution["q"] == 1
    assert solution["q_hat"] == math.inf
    assert solve(BSR, alpha=alpha, beta=b, rho=r, delta=0, digits=30)["mmse"] == 0
    assert max(solution.branches) == 1
    assert len(solution.branches) == 1  # no other solution, and none made of rounding


@pytest.mark.parametrize(
    ("b", "r"),
    [shape if shape == SHAPES[0] else pytest.param(*shape, marks=pytest.mark.slow) for shape in SHAPES],
)
def test_below_the_threshold_it_is_not(b, r):
    """The error tends to 0 linearly at the threshold; a millionth below it has six digits less than 1."""
    errors = []
    for gap in (Fraction(1, 10), Fraction(1, 10**6), Fraction(1, 2 * 10**6)):
        solution = solve(BSR, alpha=threshold(b, r) * (1 - gap), beta=b, rho=r, delta=0)
        assert solution.outcome is Outcome.CONVERGED
        errors.append(solution["mmse"])
    assert 0 < errors[1] < 1e-5 < errors[0] < 1
    # linear up to higher powers of the gap, which are larger where the edge of the signal's law is hard
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.35)


def test_just_below_the_threshold_in_thirty_digits():
    alpha = Fraction(36, 100) * (1 - Fraction(1, 10**6))
    fast, exact = (solve(BSR, alpha=alpha, beta=1, rho="0.2", delta=0, digits=k) for k in (None, 30))
    assert fast["mmse"] == pytest.approx(float(exact["mmse"]), rel=1e-10)
