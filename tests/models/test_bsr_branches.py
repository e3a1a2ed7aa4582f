"""Solutions far from what a double holds: thresholds of perfect recovery, tiny noise, bulks that meet."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import pytest

from replica import solve
from replica.models import BilinearSequenceRegression, build
from solvers.solution import Outcome

BSR = BilinearSequenceRegression()
SHAPE = {"beta": 1, "rho": "1/5"}
THRESHOLD = Fraction(36, 100)  # degrees of freedom of a matrix of rank d/5 per entry, r (d + L - r)/(d L)


@pytest.mark.parametrize("gap", [pytest.param("1e-10", marks=pytest.mark.slow), "1e-14"])
def test_below_the_threshold_the_error_is_linear_in_the_gap(gap):
    """The slope 2.90673341 is that of the larger gaps, 1e-9 and 1e-10, where v is linear to nine digits."""
    solution = solve(BSR, alpha=THRESHOLD * (1 - Fraction(gap)), delta=0, **SHAPE)
    assert solution.outcome is Outcome.CONVERGED
    assert solution["mmse"] / float(gap) == pytest.approx(2.906733412094, rel=1e-9)
    assert len(solution.branches) == 1
    assert 0 <= solution.branches[0] <= 1


@pytest.mark.slow
def test_just_below_the_threshold_in_forty_digits():
    solution = solve(BSR, alpha=THRESHOLD * (1 - Fraction("1e-14")), delta=0, digits=40, **SHAPE)
    with mpmath.workdps(50):
        # q_hat solves q_hat v = alpha exactly without noise
        product = solution["q_hat"] * solution["mmse"]
        alpha = mpmath.mpf(36) / 100 * (1 - mpmath.mpf(10) ** -14)
        assert abs(product / alpha - 1) < mpmath.mpf(10) ** -37


@pytest.mark.parametrize("delta", ["1e-10", "1e-20"])
def test_tiny_noise_above_the_threshold(delta):
    """q_hat v tends to the threshold, so v = delta alpha_IT/(alpha - alpha_IT) to first order in delta."""
    solution = solve(BSR, alpha="1/2", delta=delta, **SHAPE)
    assert solution["mmse"] == pytest.approx(float(delta) * 0.36 / 0.14, rel=1e-8)
    assert solution["q_hat"] == pytest.approx(0.14 / float(delta), rel=1e-8)
    assert len(solution.branches) == 1
    assert 0 <= solution.branches[0] <= 1


@pytest.mark.parametrize("delta", ["1e-20", "1e-40"])
def test_free_entropy_at_tiny_noise_far_above_the_threshold(delta):
    """Phi is stationary: delta dPhi/d delta = -alpha delta/(2 (delta + v)), which is (alpha_IT - alpha)/2."""
    phi = [solve(BSR, alpha="9/10", delta=f"{factor}{delta[1:]}", **SHAPE).free_entropy for factor in (1, 2)]
    assert (phi[1] - phi[0]) / math.log(2) == pytest.approx((0.36 - 0.9) / 2, abs=1e-12)


@pytest.mark.parametrize("delta", ["1e-20", "1e-40"])
def test_tiny_noise_below_the_threshold_is_no_noise(delta):
    noisy, clean = (solve(BSR, alpha="3/10", delta=x, **SHAPE) for x in (delta, 0))
    assert noisy["mmse"] == pytest.approx(clean["mmse"], rel=1e-12)
    assert len(noisy.branches) == len(clean.branches) == 1


def test_recovery_is_exact():
    solution = solve(BSR, alpha="1/2", delta=0, **SHAPE)
    assert solution.outcome is Outcome.PERFECT_RECOVERY
    assert (solution["mmse"], solution["q"], solution["q_hat"]) == (0, 1, float("inf"))


@pytest.mark.slow
def test_no_information_in_twenty_digits():
    """Phi is then alpha times minus the entropy of y = |h| + noise, by mpmath quadrature of its density."""
    solution = solve(
        build("bsr", {"channel": "abs"}), alpha="3/10", beta=1, rho="1/5", delta="1/10", digits=20
    )
    assert solution.outcome is Outcome.UNINFORMATIVE
    assert (solution["mmse"], solution["q"], solution["q_hat"]) == (1, 0, 0)
    with mpmath.workdps(30):
        total = mpmath.mpf(11) / 10

        def plogp(y):
            # int_0^inf 2 N(h; 0, 1) N(y; h, 0.1) dh = 2 N(y; 0, 1.1) ndtr(y/sqrt(0.1 * 1.1))
            z = 2 * mpmath.npdf(y, 0, mpmath.sqrt(total)) * mpmath.ncdf(y / mpmath.sqrt(total / 10))
            return z * mpmath.log(z)

        phi = mpmath.mpf(3) / 10 * mpmath.quad(plogp, [-5, -2, -1, 0, 1, 2, 4, 8, 14])
        assert abs(solution.free_entropy - phi) < mpmath.mpf(10) ** -17
