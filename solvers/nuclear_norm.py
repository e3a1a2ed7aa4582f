r"""The number of samples at which minimal nuclear norm recovers a matrix of low rank.

With nu = d/L <= 1, rho = r/d, and sigma the singular values of a Gaussian (d - r) x (L - r) matrix over
sqrt(L - r),

    alpha = min_tau { rho nu + (1 - rho nu) [ rho (1 + tau^2) + (1 - rho) E (sigma - tau)_+^2 ] }

(Amelunxen, Lotz, McCoy and Tropp, arXiv 1303.6672, proposition 4.7).  With y = (1 - rho) nu/(1 - rho nu) the
density of sigma between a_- = 1 - sqrt(y) and a_+ = 1 + sqrt(y) is sqrt((u^2 - a_-^2)(a_+^2 - u^2))/(pi y u).
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.errors import InputError, NotConvergedError
from solvers.quadrature.rules import double_exponential, nested_sum

_FLOAT_DIGITS = 15
_MOST_DIGITS = 100  # errors are doubles, and their squares must not underflow
_GUARD = 10  # digits carried beyond those asked for
_STEPS = 400  # Newton from the left on a convex function: linear at worst, at rank -> 0


@dataclass(frozen=True)
class NuclearNormThreshold:
    """A recovery threshold in numbers of the backend (float, or arb for more than 15 digits).

    Attributes:
        alpha: n/(dL) above which minimal nuclear norm recovers S, without noise.
        tau: the minimiser, in units of sqrt(L - r) for d <= L (of sqrt(d - r) otherwise); 0 at full rank.
        error: estimate of the quadrature's error of alpha.
        digits: the digits asked for.
    """

    alpha: Any
    tau: Any
    error: float
    digits: int

    def __str__(self) -> str:
        if self.digits <= _FLOAT_DIGITS:
            return f"{float(self.alpha):.{self.digits}g}"
        return self.alpha.mid().str(self.digits, radius=False)


class _Moments(NamedTuple):
    """E over sigma > tau of 1, (sigma - tau) and (sigma - tau)^2; the quadrature's error of the last two."""

    probability: Any
    first: Any
    second: Any
    error: float


def recovery_threshold(
    beta: numbers.Rational | str | float, rho: numbers.Rational | str | float, digits: int = _FLOAT_DIGITS
) -> NuclearNormThreshold:
    """The threshold alpha = n/(dL) at beta = L/d and rho = r/d; 1 from full rank, rho = min(1, beta), on.

    E (sigma - tau)_+ - tau rho/(1 - rho) is convex in tau and decreases: Newton from tau = 0 climbs to its
    root without a safeguard; doubles first, then at the precision asked for.

    >>> print(recovery_threshold(1, "0.2"))
    0.571689921305116
    >>> print(recovery_threshold(1, "0.2", digits=30))
    0.571689921305115947871885026641

    Raises:
        InputError: beta or rho not a positive finite number, digits not a positive integer.
        NotConvergedError: quadrature or Newton did not reach the digits.
    """
    aspect, rank = _positive(beta, "beta"), _positive(rho, "rho")
    if isinstance(digits, bool) or not isinstance(digits, int) or not 1 <= digits <= _MOST_DIGITS:
        raise InputError(f"digits must be an integer from 1 to {_MOST_DIGITS}, got {digits!r}")
    if aspect < 1:  # the transposed problem
        aspect, rank = 1 / aspect, rank / aspect
    precise = digits > _FLOAT_DIGITS
    backend: Any = Arb(digits + _GUARD) if precise else Float64()
    tolerance = 10.0 ** -(digits + 1) if precise else 2e-14
    with backend.context():
        if rank >= 1:
            return NuclearNormThreshold(backend.number(1), backend.number(0), 0.0, digits)
        start = _minimiser(Float64(), aspect, rank, 5, 0.0, 1e-12)
        for level in range(4, 16):
            tau = (
                _minimiser(backend, aspect, rank, level, start, 10.0 ** -(digits / 2 + 3))
                if precise
                else start
            )
            value, error = _dimension(backend, aspect, rank, level, tau)
            if error <= tolerance:
                return NuclearNormThreshold(value, tau, error, digits)
    raise NotConvergedError(f"the quadrature's error {error:.1e} stays above {tolerance:.1e}")


def _minimiser(
    backend: Any, beta: Fraction, rho: Fraction, level: int, start: float, tolerance: float
) -> Any:
    """The root of E (sigma - tau)_+ - tau rho/(1 - rho); the value at the minimum is good to the root's error
    squared.
    """
    tau = backend.number(start)
    ratio = backend.number(rho / (1 - rho))
    with backend.context():
        for _ in range(_STEPS):
            moments = _tail(backend, beta, rho, level, tau)
            step = (moments.first - tau * ratio) / (moments.probability + ratio)
            tau = _midpoint(tau + step)
            if abs(float(backend.to_float(step))) <= tolerance:
                return tau
    raise NotConvergedError(f"Newton's method for the threshold tau did not end in {_STEPS} steps")


def _dimension(backend: Any, beta: Fraction, rho: Fraction, level: int, tau: Any) -> tuple[Any, float]:
    moments = _tail(backend, beta, rho, level, tau)
    product, rest = backend.number(rho / beta), backend.number(1 - rho)
    inner = backend.number(rho) * (1 + tau * tau) + rest * moments.second
    return product + (1 - product) * inner, moments.error


def _tail(backend: Any, beta: Fraction, rho: Fraction, level: int, tau: Any) -> _Moments:
    aspect = backend.number((1 - rho) / (beta - rho))
    root = backend.sqrt(aspect)
    # 1 - sqrt(y) without cancellation
    low, high = backend.number(1 - (1 - rho) / (beta - rho)) / (1 + root), 1 + root
    inside = bool(tau > low)
    start = tau if inside else low
    rule = double_exponential(backend, level)
    width = high - start
    above, below = (
        width * rule.left,
        width * rule.right,
    )  # distances from the two ends keep their digits there
    u = start + above
    density = backend.sqrt(((start - low) + above) * (u + low) * below * (u + high)) / (
        backend.pi * aspect * u
    )
    excess = above if inside else (low - tau) + above
    weights = density * rule.weights * width
    sums = [nested_sum(backend, weights * factor) for factor in (1, excess, excess * excess)]
    return _Moments(*(s.value for s in sums), error=max(float(s.error) for s in sums[1:]))


def _midpoint(value: Any) -> Any:
    """A ball's centre: Newton corrects itself, and radii would only add up."""
    return value.mid() if hasattr(value, "mid") else value


def _positive(value: Any, name: str) -> Fraction:
    """An exact positive fraction; a float means the decimal that it prints as."""
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, numbers.Rational):
            number = Fraction(int(value.numerator), int(value.denominator))
        else:
            number = Fraction(float.__repr__(value) if isinstance(value, float) else str(value))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise InputError(f"{name} must be a positive finite number, got {value!r}") from None
    if number <= 0:
        raise InputError(f"{name} must be > 0, got {value!r}")
    return number
