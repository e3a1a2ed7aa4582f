"""The fast backend: NumPy doubles, vectorised over parameters and quadrature nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from solvers.backends.base import Array, Intervals, Number, Powers, as_fraction
from solvers.backends.mills import Truncated
from solvers.backends.quartic import lowest_roots

QUICK = 8
"""The highest power that is multiplied out."""


class Float64(Intervals, Powers, Truncated):
    """IEEE doubles (15 digits)."""

    name = "float64"
    digits = 15
    pi = float(np.pi)

    exp = staticmethod(np.exp)
    log = staticmethod(np.log)
    sqrt = staticmethod(np.sqrt)
    tanh = staticmethod(np.tanh)
    cosh = staticmethod(np.cosh)
    sinh = staticmethod(np.sinh)
    asinh = staticmethod(np.arcsinh)
    sin = staticmethod(np.sin)
    cos = staticmethod(np.cos)
    atan = staticmethod(np.arctan)
    abs = staticmethod(np.abs)
    sign = staticmethod(np.sign)
    re = staticmethod(np.real)
    im = staticmethod(np.imag)

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Floating-point warnings off: every result is checked for finiteness by its user."""
        with np.errstate(all="ignore"):
            yield

    def number(self, value: Number) -> float:
        """The nearest double."""
        return float(as_fraction(value))

    def rational(self, p: int, q: int) -> float:
        """The double nearest p/q."""
        return p / q

    def array(self, value: Any) -> Array:
        """A float64 (or complex128) array."""
        return np.asarray(value)

    def heaviside(self, x: Array) -> Array:
        """1 for x > 0, 0 for x < 0, 1/2 at 0."""
        return np.heaviside(x, 0.5)

    def power(self, x: Array, n: int) -> Array:
        """Small powers by multiplication, which is five times as quick."""
        if not 3 <= n <= QUICK:
            return x**n
        square = x * x
        even = square if n < 4 else self.power(square, n // 2)
        return even * x if n % 2 else even

    def ndtr(self, x: Array) -> Array:
        """Gaussian distribution function."""
        from scipy.special import ndtr

        return ndtr(x)

    def log_ndtr(self, x: Array) -> Array:
        """Its logarithm, without underflow."""
        from scipy.special import log_ndtr

        return log_ndtr(x)

    def log_ndtr_interval(self, a: Array, b: Array) -> Array:
        """log(ndtr(b) - ndtr(a)), a < b, on the side where both are small."""
        upper = a + b > 0
        top = self.log_ndtr(np.where(upper, -a, b))
        return top + np.log(-np.expm1(self.log_ndtr(np.where(upper, -b, a)) - top))

    def npdf(self, x: Array) -> Array:
        """Standard normal density."""
        return np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)

    def normal_density(self, x: Array, mean: Array, variance: Array) -> Array:
        """The density at x of the normal law of that mean and variance."""
        z = (x - mean) / np.sqrt(variance)
        return np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi * variance)

    def loggamma(self, x: Array) -> Array:
        """log Gamma(x), x > 0."""
        from scipy.special import gammaln

        return gammaln(x)

    def inverse_mills(self, x: Array) -> Array:
        """npdf/ndtr, without 0/0 at large negative x: sqrt(2/pi)/erfcx(-x/sqrt 2)."""
        from scipy.special import erfcx

        return np.sqrt(2 / np.pi) / erfcx(-x / np.sqrt(2))

    def log2cosh(self, x: Array) -> Array:
        """log(2 cosh x) without overflow."""
        return np.abs(x) + np.log1p(np.exp(-2 * np.abs(x)))

    def xlogx(self, x: Array) -> Array:
        """X log x, 0 at 0."""
        return self.xlogy(x, x)

    def xlogy(self, x: Array, y: Array) -> Array:
        """X log y, 0 at x = 0 whatever y."""
        from scipy.special import xlogy

        return xlogy(x, y)

    def quotient(self, x: Array, y: Array) -> Array:
        """x/y, 0 at x = 0 whatever y."""
        with np.errstate(all="ignore"):
            return np.where(np.equal(x, 0), 0.0, np.divide(x, y))

    def expit(self, x: Array) -> Array:
        """1/(1 + exp(-x))."""
        from scipy.special import expit

        return expit(x)

    def logaddexp(self, a: Array, b: Array) -> Array:
        """log(exp a + exp b) without overflow."""
        return np.logaddexp(a, b)

    def lowest_root(self, coefficients: Array) -> Array:
        """The root with the most negative imaginary part: quartics by Ferrari, all else by eigenvalues."""
        c = np.asarray(coefficients, dtype=float)
        if c.shape[-1] != 5:
            return most_negative_imaginary(self.roots(c))
        root, trusted = lowest_roots(c)
        if not np.all(trusted):
            root[~trusted] = most_negative_imaginary(self.roots(c[~trusted]))
        return root

    def roots(self, coefficients: Array) -> Array:
        """Eigenvalues of the companion matrices (balanced by LAPACK), then two Newton steps."""
        c = np.asarray(coefficients, dtype=float)
        degree = c.shape[-1] - 1
        companion = np.zeros((*c.shape[:-1], degree, degree))
        companion[..., 0, :] = -c[..., 1:] / c[..., :1]
        companion[..., np.arange(1, degree), np.arange(degree - 1)] = 1
        roots = np.linalg.eigvals(companion).astype(complex)
        for _ in range(2):
            value = np.zeros_like(roots)
            slope = np.zeros_like(roots)
            for k in range(degree + 1):
                slope = slope * roots + value
                value = value * roots + c[..., k : k + 1]
            step = value / np.where(slope == 0, 1, slope)
            # near a double root a Newton step says nothing: keep what the eigenvalues gave
            small = np.abs(step) < 1e-6 * np.abs(roots)
            roots = np.where(small, roots - step, roots)
        return roots

    def midpoint(self, value: Any) -> Any:
        """As it is."""
        return value

    def radius(self, value: Any) -> float:
        """Half a unit in the last place of numbers of size 1."""
        return 2.0**-53 * abs(float(value))

    def to_fraction(self, value: Any) -> Fraction:
        """Exact value."""
        return Fraction(float(value))

    def to_float(self, value: Any) -> Any:
        """As it is."""
        return np.asarray(value)


def most_negative_imaginary(roots: Array) -> Array:
    """Along the last axis, the float root below the real axis that is farthest from it."""
    return np.take_along_axis(roots, np.argmin(roots.imag, axis=-1)[..., None], axis=-1)[..., 0]
