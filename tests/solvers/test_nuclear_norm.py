"""The recovery threshold of minimal nuclear norm against published formulas, other quadratures and sampled
matrices.
"""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.errors import InputError
from solvers.nuclear_norm import recovery_threshold

# Recorded in the project's list of reference numbers (10 digits sure), from arXiv 1303.6672, proposition 4.7.
REFERENCES = {
    ("0.1", 1): 0.35114428452978075,
    ("0.2", 1): 0.5716899213051165,
    ("0.2", 2): 0.475277803907443,
    ("0.5", 2): 0.8284921265690572,
}


@pytest.mark.parametrize(("rho", "beta"), REFERENCES)
def test_reference_values(rho, beta):
    found = recovery_threshold(beta, rho)
    assert found.alpha == pytest.approx(REFERENCES[rho, beta], abs=1e-13)
    assert found.error < 1e-13


@pytest.mark.parametrize(("rho", "beta"), [("0.2", 1), ("0.2", 2), ("0.9", "1.3")])
def test_forty_digits_by_mpmath(rho, beta):
    """The same minimum by adaptive quadrature and a ternary secant of mpmath, at 45 digits."""
    context = mpmath.mp.clone() if hasattr(mpmath.mp, "clone") else mpmath.ctx_mp.MPContext()
    context.dps = 45
    found = recovery_threshold(beta, rho, digits=40)
    b, r = context.mpf(beta), context.mpf(rho)
    y = (1 - r) / (b - r)
    low, high = 1 - context.sqrt(y), 1 + context.sqrt(y)

    def average(function, start):  # u = start + (high - start) sin^2
        def integrand(angle):
            sine, cosine = context.sin(angle), context.cos(angle)
            u = start + (high - start) * sine**2
            product = (u - low) * (u + low) * (high + u) * (high - start) * cosine**2
            density = context.sqrt(abs(product)) / (context.pi * y * u)
            return function(u) * density * 2 * (high - start) * sine * cosine

        return context.quad(integrand, context.linspace(0, context.pi / 2, 5))

    def dimension(tau):
        tail = average(lambda u: (u - tau) ** 2, max(tau, low))
        return r / b + (1 - r / b) * (r * (1 + tau**2) + (1 - r) * tail)

    def slope(tau):
        return r / (1 - r) * tau - average(lambda u: u - tau, max(tau, low))

    tau = context.findroot(slope, (0.9 * float(found.tau.mid()), float(found.tau.mid())), tol=1e-40)
    digits = context.mpf(found.alpha.mid().str(45, radius=False))
    assert abs(digits - dimension(tau)) < context.mpf(10) ** -39
    assert len(str(found)) >= 40
    assert str(found).startswith(str(recovery_threshold(beta, rho))[:13])


def test_closed_form_when_nothing_is_cut():
    """With tau below the bulk, (1 - rho) E sigma <= a_-, the minimum is 1 - (1 - rho nu)(1 - rho)^2 (E
    sigma)^2.
    """
    rho, beta = 0.95, 3.0
    aspect = (1 - rho) / (beta - rho)
    low, high = (1 - np.sqrt(aspect)) ** 2, (1 + np.sqrt(aspect)) ** 2
    mean = scipy.integrate.quad(
        lambda a: (
            ((high - low) / 2 * np.sin(a)) ** 2
            / (2 * np.pi * aspect * np.sqrt((low + high) / 2 - (high - low) / 2 * np.cos(a)))
        ),
        0,
        np.pi,
        epsabs=1e-13,
    )[0]
    expected = 1 - (1 - rho / beta) * (1 - rho) ** 2 * mean**2
    found = recovery_threshold(3, "0.95")
    assert found.tau == pytest.approx((1 - rho) * mean, abs=1e-11)
    assert found.tau < 1 - np.sqrt(aspect)
    assert found.alpha == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("beta", [1, Fraction(5, 2)])
def test_low_rank_limit(beta):
    """alpha -> rho [(1 + beta)/beta + a_+^2], a_+ = 1 + 1/sqrt(beta), with a correction of relative order
    rho^(2/5).

    At beta = 1 that is 6 r d measurements (Chandrasekaran, Recht, Parrilo and Willsky 2012: 3 r (d + L - r)
    suffice).
    """
    limit = 1 + 1 / float(beta) + (1 + 1 / np.sqrt(float(beta))) ** 2
    gaps = [limit - float(recovery_threshold(beta, Fraction(1, 10**k)).alpha) * 10**k for k in (6, 9, 12)]
    assert 0 < gaps[2] < 2e-4
    assert [gap * 10 ** (0.4 * k) for gap, k in zip(gaps, (6, 9, 12), strict=True)] == pytest.approx(
        [gaps[2] * 10**4.8] * 3, rel=0.02
    )


def test_full_rank_limit():
    """At beta = 1 the gap to 1 is (1 - rho)^3 (8/(3 pi))^2; from full rank on it is 0."""
    gap = 1e-3
    found = recovery_threshold(1, "0.999")
    assert (1 - found.alpha) / gap**3 == pytest.approx((8 / (3 * np.pi)) ** 2, rel=0.01)
    assert recovery_threshold(1, 1).alpha == recovery_threshold(3, "1.5").alpha == 1
    assert recovery_threshold("0.5", "0.5").alpha == 1


@given(st.fractions("1/50", 4, max_denominator=100), st.fractions("1/50", 1, max_denominator=100))
@settings(max_examples=40)
def test_symmetry_bounds_and_monotony(beta, fraction):
    """Transposition; never below the information-theoretic threshold rho (1 + beta - rho)/beta, never above
    1.
    """
    rho = fraction * min(1, beta)
    alpha = recovery_threshold(beta, rho).alpha
    assert alpha == pytest.approx(recovery_threshold(1 / beta, rho / beta).alpha, abs=1e-13)
    assert float(rho * (1 + beta - rho) / beta) <= alpha + 1e-12
    assert alpha <= 1 + 1e-12
    assert recovery_threshold(beta, rho * Fraction(9, 10)).alpha < alpha


def test_statistical_dimension_of_sampled_matrices():
    """min_tau of the mean squared distance of Gaussian matrices from tau times the subdifferential at a
    matrix of rank r.
    """
    rng = np.random.default_rng(1303)
    d, tokens, rank, samples = 100, 200, 20, 8
    left = np.linalg.qr(rng.normal(size=(d, rank)))[0]
    right = np.linalg.qr(rng.normal(size=(tokens, rank)))[0]
    matrices = []
    for _ in range(samples):
        gaussian = rng.normal(size=(d, tokens))
        outside = gaussian - left @ (left.T @ gaussian)
        outside -= (outside @ right) @ right.T
        values = np.linalg.svd(outside, compute_uv=False)[: d - rank]
        matrices.append((gaussian - outside, values))

    def distances(tau):
        return np.array(
            [
                np.sum((tangent - tau * left @ right.T) ** 2) + np.sum(np.maximum(values - tau, 0) ** 2)
                for tangent, values in matrices
            ]
        ) / (d * tokens)

    found = recovery_threshold(2, "0.2")
    best = scipy.optimize.minimize_scalar(lambda tau: distances(tau).mean(), bounds=(1, 30), method="bounded")
    at_best = distances(best.x)
    bar = at_best.std(ddof=1) / np.sqrt(samples)
    assert bar < 0.005
    assert best.fun == pytest.approx(found.alpha, abs=3.5 * bar + 1e-3)
    assert best.x / np.sqrt(tokens - rank) == pytest.approx(found.tau, rel=0.02)


@pytest.mark.parametrize(
    "arguments",
    [(0, 1), (1, 0), (-1, 1), (1, float("nan")), (1, "inf"), (1, "x"), (1, True), (1, "1/0"), (None, 1)],
)
def test_bad_input(arguments):
    with pytest.raises(InputError) as caught:
        recovery_threshold(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("digits", [0, -1, 1.5, True, 1000])
def test_bad_digits(digits):
    with pytest.raises(InputError, match="digits"):
        recovery_threshold(1, "0.2", digits=digits)
