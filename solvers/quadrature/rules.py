"""Quadrature rules on the unit interval and on the Gaussian line, exponentially convergent, with nested
levels.

Both are trapezoidal sums of step 2^-level after a change of variable, so every second node of a level is the
level before it: one evaluation gives the integral at three steps, and their differences give the error
(``Estimate``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from solvers.backends.base import Array


class Rule(NamedTuple):
    """Nodes as distances from the left end and from the right end (exact near their end), and weights."""

    left: Array
    right: Array
    weights: Array


class Line(NamedTuple):
    """Nodes t and weights for an average over a standard normal variable."""

    nodes: Array
    weights: Array


def _half_width(backend: Any, reach: float) -> float:
    """|u| at which exp(-pi sinh u) = 10^-(digits * reach)."""
    return float(np.arcsinh(reach * (backend.digits + 1) * np.log(10) / np.pi))


def _symmetric_grid(backend: Any, width: float, level: int) -> Array:
    """The multiples of 2^-level in [-width, width], as backend numbers; an even count on either side of 0."""
    count = int(np.ceil(width * 2**level))
    count += -count % 4  # so that the coarser levels are nested and end at the same points
    return np.array([backend.rational(k, 2**level) for k in range(-count, count + 1)])


@lru_cache(maxsize=64)
def double_exponential(backend: Any, level: int) -> Rule:
    """The tanh-sinh rule on [0, 1] (Takahasi and Mori, 1974): endpoint singularities cost nothing.

    Any algebraic or logarithmic behaviour at the ends is integrated to the backend's digits.
    """
    with backend.context():
        u = _symmetric_grid(backend, _half_width(backend, 1.0), level)
        e = backend.exp(backend.pi * backend.sinh(u))
        right = 1 / (1 + e)
        left = e / (1 + e)
        weights = backend.pi * backend.cosh(u) * left * right * backend.rational(1, 2**level)
    return Rule(left, right, weights)


@lru_cache(maxsize=64)
def gaussian_reach(backend: Any) -> float:
    """Beyond how many standard deviations a Gaussian is below the backend's digits, two to spare."""
    return float(np.sqrt(2 * (backend.digits + 2) * np.log(10)) + 1)


@lru_cache(maxsize=64)
def gaussian_line(backend: Any, level: int) -> Line:
    """Trapezoid in t = sinh(u): fine near the mean, where steep functions have their structure."""
    with backend.context():
        u = _symmetric_grid(backend, float(np.arcsinh(gaussian_reach(backend))), level)
        t = backend.sinh(u)
        weights = backend.cosh(u) * backend.npdf(t) * backend.rational(1, 2**level)
    return Line(t, weights)


class Estimate(NamedTuple):
    """An integral (last axis summed) and the estimate of its error, as float64."""

    value: Array
    error: Array


def nested_sum(backend: Any, terms: Array, first: int | None = None, most: float = 2.0) -> Estimate:
    """Sum weighted terms over the last axis, with an error estimate from steps h, 2h and 4h.

    The coarser rules contain the middle node, or the one at ``first``.

    d1 = |I_h - I_2h| is the error at 2h and d2 = |I_2h - I_4h| the error at 4h, both relative to the size of
    the terms.  With r = log d1/log d2 the error at h would be d1^r: r = 2 for exponential convergence (a
    doubling doubles the digits), and Aitken's d1^2/d2 for algebraic convergence (D. H. Bailey, K. Jeyabalan
    and X. S. Li, Exp. Math. 14 (2005) 317).  Two precautions: d1 may be small by accident, so it counts as
    d2^2 at least; and r falls from one level to the next, so only 0.6 of its excess over 1 is believed.  A
    trapezoid across a peak like a Gaussian has four times the digits at half the step: ``most`` is that r.
    """
    fine, half, quarter, sizes = strided_sums(backend, terms, first)
    return estimated(backend, fine, half, quarter, sizes, most)


def strided_sums(backend: Any, terms: Array, first: int | None = None) -> tuple[Array, Array, Array, Array]:
    """Sums over the last axis at the steps h, 2h and 4h, and of the sizes.  Those of doubles that only an
    error hangs on are found by multiplication, which rounds a little more.
    """
    count = terms.shape[-1]
    middle = count // 2 if first is None else first
    fine = terms.sum(axis=-1)
    if terms.dtype == float:
        coarse = terms @ _strides(count, middle % 4)
        return fine, coarse[..., 0], coarse[..., 1], np.abs(terms) @ np.ones(count)
    half, quarter = (k * terms[..., middle % k :: k].sum(axis=-1) for k in (2, 4))
    return fine, half, quarter, np.abs(backend.to_float(terms)).sum(axis=-1)


@lru_cache(maxsize=256)
def _strides(count: int, first: int) -> Array:
    """What the steps 2h and 4h multiply the terms with, of shape (count, 2)."""
    k = np.arange(count) - first
    return np.stack([2.0 * (k % 2 == 0), 4.0 * (k % 4 == 0)], axis=1)


def estimated(backend: Any, fine: Array, half: Array, quarter: Array, scale: Array, most: float) -> Estimate:
    """The estimate of ``nested_sum`` from the three sums and the sum of sizes."""
    scale = np.maximum(scale, SMALLEST)  # terms that are no doubles are nothing
    log2 = _log10_ratio(backend, half - quarter, scale)
    log1 = np.maximum(_log10_ratio(backend, fine - half, scale), most * log2)
    rate = 1 + BELIEF * (np.clip(log1 / np.minimum(log2, -1e-3), 1.0, most) - 1)
    exponent = np.where((log2 < 0) & (log1 < 0), rate * log1, log1) + 1  # a digit for safety
    return Estimate(
        fine, scale * 10.0 ** np.maximum(exponent, -300.0) + ROUNDING * scale * 10.0**-backend.digits
    )


ROUNDING = 6.0
SMALLEST = 1e-300
BELIEF = 0.6
PEAKED = 4.0
"""The highest r where terms are peaks like Gaussians."""


def _log10_ratio(backend: Any, difference: Array, scale: Array) -> Array:
    """log10 |difference|/scale, not below the rounding of the sum."""
    size = np.abs(backend.to_float(difference)) / scale
    return np.log10(np.maximum(size, 10.0 ** -min(backend.digits, 300)))
