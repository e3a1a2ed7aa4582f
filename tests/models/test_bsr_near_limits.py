"""Solutions of bilinear sequence regression near its limits, against the equations of the limits."""

from __future__ import annotations

from fractions import Fraction

import pytest
from bsr_points import BSR, FIRST

from replica import solve
from replica.models.bsr_low_rank import low_rank_mmse
from replica.models.bsr_ridge import ridge_mse
from replica.models.bsr_wide import wide_mmse


def test_no_data():
    q = [solve(BSR, **{**FIRST, "alpha": alpha})["q"] for alpha in ("1e-3", "1e-5")]
    assert q[0] == pytest.approx(1e-3 / 1.1, rel=1e-2)
    assert q[1] == pytest.approx(1e-5 / 1.1, rel=1e-4)


def test_infinite_noise():
    assert solve(BSR, **{**FIRST, "delta": "1e4"})["q"] == pytest.approx(0.3 / (1e4 + 1), rel=1e-3)


@pytest.mark.parametrize(
    ("alpha", "beta", "delta"), [("0.3", "1", "0.1"), ("0.8", "2.5", "0.05"), ("0.6", "0.4", "0")]
)
def test_many_factors_are_ridge_regression(alpha, beta, delta):
    """S tends to an iid Gaussian matrix as rho -> infinity: the best linear estimate is the best, up to O(1/rho^2)."""
    ridge = float(ridge_mse(alpha, delta))
    gaps = [ridge - solve(BSR, alpha=alpha, beta=beta, rho=rho, delta=delta)["mmse"] for rho in (100, 1000)]
    assert 0 < gaps[1] < 1e-6
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize(
    ("alpha", "rho", "delta"), [("0.3", "0.5", "0.1"), ("0.4", "1.5", "0.02"), ("0.3", "0.5", "0")]
)
def test_many_tokens_are_the_wide_limit(alpha, rho, delta):
    wide = float(wide_mmse(alpha, rho, delta))
    gaps = [
        abs(solve(BSR, alpha=alpha, beta=beta, rho=rho, delta=delta)["mmse"] - wide) for beta in (1000, 10000)
    ]
    assert gaps[1] < 1e-3
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    ("alpha_lr", "beta", "delta"), [("0.7", "1", "0"), ("0.8", "2", "0.1"), ("1.5", "0.5", "0.3")]
)
def test_few_factors_are_the_low_rank_limit(alpha_lr, beta, delta):
    low = float(low_rank_mmse(alpha_lr, beta, delta))
    gaps = []
    for rho in (Fraction(1, 100), Fraction(1, 1000)):
        alpha = Fraction(alpha_lr) * rho * (1 + Fraction(beta)) / Fraction(beta)
        gaps.append(abs(solve(BSR, alpha=alpha, beta=beta, rho=rho, delta=delta)["mmse"] - low))
    assert gaps[1] < 5e-3
    assert gaps[0] > 3 * gaps[1]
