"""What a backend offers to lowered code: numbers, elementwise functions, polynomial roots, and its own
context.

The same lowered source runs on every backend.  Arrays are NumPy arrays: of float64 on the fast backend, of
``object`` (mpmath or python-flint numbers) on the precise ones, so that broadcasting is written once.
"""

from __future__ import annotations

import contextlib
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

Array = Any
Number = int | str | Fraction | float


class Backend(Protocol):
    """A number type with its functions.  Every method that takes an array is elementwise and broadcasts."""

    name: str
    digits: int  # decimal digits carried
    pi: Any

    def context(self) -> contextlib.AbstractContextManager[None]:
        """Set the working precision inside the block and restore the caller's after it."""
        ...

    def number(self, value: Number) -> Any:
        """Convert exactly (a Python float counts as the binary number it is)."""
        ...

    def rational(self, p: int, q: int) -> Any:
        """The number p/q."""
        ...

    def array(self, value: Any) -> Array:
        """An array of the backend's numbers from nested sequences of numbers."""
        ...

    def roots(self, coefficients: Array) -> Array:
        """Complex roots, shape (..., degree), of polynomials with coefficients (..., degree + 1), highest
        first.
        """
        ...

    def lowest_root(self, coefficients: Array) -> Array:
        """Of each polynomial, the root with the most negative imaginary part."""
        ...

    def midpoint(self, value: Any) -> Any:
        """One number without its error bound."""
        ...

    def radius(self, value: Any) -> float:
        """Bound or estimate of the rounding error of one number."""
        ...

    def to_fraction(self, value: Any) -> Fraction:
        """Exact value of one number."""
        ...

    def to_float(self, value: Any) -> Any:
        """Midpoints as float64 (complex128 for complex numbers)."""
        ...


class Powers:
    """Integer powers."""

    def power(self, x: Any, n: int) -> Any:
        """x^n, n >= 0."""
        return x**n


class Intervals:
    """Probabilities of an interval of a standard normal variable, from the backend's own functions."""

    def shifted_log_ndtr(self: Any, u: Array, above: Array, below: Array) -> Array:
        """log ndtr(u) + above, where below = above - u^2/2; by the latter at negative u."""
        u = self.array(u)
        positive = self.to_float(u) > 0
        tail = below - self.log(self.inverse_mills(np.where(positive, -u, u))) - self.log(2 * self.pi) / 2
        return np.where(positive, self.log_ndtr(np.where(positive, u, -u)) + above, tail)

    def log_ndtr_interval(self: Any, a: Array, b: Array) -> Array:
        """log(ndtr(b) - ndtr(a)), a < b, on the side where both are small: no 1 - 1 in the upper tail.

        log(1 - e^d), d = log ndtr(a) - log ndtr(b), is d/2 + log(2 sinh(-d/2)) where d is small.
        """
        a, b = self.array(a), self.array(b)
        upper = self.to_float(a + b) > 0
        low, high = np.where(upper, -b, a), np.where(upper, -a, b)
        top = self.log_ndtr(high)
        d = self.log_ndtr(low) - top
        far = self.to_float(d) < -1
        near, beyond = np.where(far, self.rational(-1, 1), d), np.where(far, d, self.rational(-1, 1))
        return top + np.where(
            far, self.log(1 - self.exp(beyond)), near / 2 + self.log(2 * self.sinh(-near / 2))
        )


def as_fraction(value: Number) -> Fraction:
    """Exact rational value of an int, Fraction, decimal string or binary float."""
    return Fraction(value)


def object_array(values: Any) -> Array:
    """An object array that NumPy does not try to look into."""
    if isinstance(values, np.ndarray):
        return values.astype(object)
    result = np.empty(np.shape(values), dtype=object)
    if result.shape == ():
        result[()] = values
        return result
    result[...] = values
    return result
