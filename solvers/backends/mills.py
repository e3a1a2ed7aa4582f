"""The inverse Mills ratio, and moments of a truncated Gaussian, far in the tail where differences cancel."""

from __future__ import annotations

from functools import lru_cache
from math import log, log2
from typing import Any

import numpy as np


def _terms(x: float, digits: int, most: int) -> int:
    """How many terms of the fraction have the digits at x > 5."""
    return _terms_beyond(int(4 * log2(x)), digits, most)


@lru_cache(maxsize=4096)
def _terms_beyond(quarters: int, digits: int, most: int) -> int:
    """The same for all x >= 2^(quarters/4): successive convergents enclose the fraction, at a distance below
    n!/x^(2n - 1).
    """
    left, n = (digits + 5) * log(10), 0
    while left > 0 and n < most:
        n += 1
        left -= quarters / 2 * log(2) - log(n)
    return n


def mills_fraction(x: Any, digits: int) -> Any:
    """npdf(x)/ndtr(-x) = x + 1/(x + 2/(x + 3/(x + ...))) for x > digits (Laplace; A&S 26.2.14)."""
    result = x
    for k in range(_terms(float(x), digits, 2 * digits + 20), 0, -1):
        result = x + k / result
    return result


def truncated_tail(x: Any, digits: int) -> tuple[Any, Any]:
    """Mean and variance of a variable N(-x, 1) known to be positive, for x > 5: with the fraction 1/(x + w),
    w = 2/(x + 3/(x + ...)), nothing cancels.
    """
    most = 2 * digits + 30
    if np.ndim(x) and x.dtype == object:  # element by element, as many terms as each takes
        rest = np.frompyfunc(lambda u: _tail(u, _terms(float(u), digits, most) + 2), 1, 1)(x)
    else:
        rest = _tail(x, most)
    w = 2 / rest
    mean = 1 / (x + w)
    return mean, mean * (w - mean)


def _tail(x: Any, terms: int) -> Any:
    rest = x
    for k in range(terms, 2, -1):
        rest = x + k / rest
    return rest


class Truncated:
    """Moments of N(u, 1) conditioned to be positive, elementwise on arrays of any backend."""

    def truncated_mean(self: Any, u: Any) -> Any:
        """u + npdf(u)/ndtr(u)."""
        return self._truncated(u)[0]

    def truncated_variance(self: Any, u: Any) -> Any:
        """The variance, which falls like 1/u^2 at large -u."""
        return self._truncated(u)[1]

    def _truncated(self: Any, u: Any) -> tuple[Any, Any]:
        u = self.array(u)
        far = self.to_float(u) < -max(5.0, self.digits / 4)
        edge = self.number(-max(5, self.digits // 4) - 1)
        tail_mean, tail_variance = truncated_tail(-np.where(far, u, edge), self.digits)
        near = np.where(far, 0 * u, u)
        mills = self.inverse_mills(near)
        mean = near + mills
        return np.where(far, tail_mean, mean), np.where(far, tail_variance, 1 - mills * mean)
