"""The mpmath backend: any precision, pure Python, an independent witness for the arb backend."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from mpmath.ctx_mp import MPContext
from mpmath.libmp import NoConvergence

from solvers.backends.base import Array, Intervals, Number, Powers, as_fraction, object_array
from solvers.backends.mills import Truncated, mills_fraction


class MP(Intervals, Powers, Truncated):
    """mpmath numbers in a context of their own: the caller's ``mpmath.mp`` is never touched."""

    name = "mpmath"

    def __init__(self, digits: int) -> None:
        self.digits = digits
        self.mp: Any = MPContext()
        self.mp.dps = digits
        self.pi = +self.mp.pi
        names = ("exp", "log", "sqrt", "tanh", "cosh", "sinh", "asinh", "sin", "cos", "atan")
        for name in (*names, "sign", "re", "im", "loggamma"):
            setattr(self, name, self._elementwise(getattr(self.mp, name)))
        self.abs = self._elementwise(abs)
        self.heaviside = self._elementwise(lambda x: (1 + self.mp.sign(x)) / 2)
        self.ndtr = self._elementwise(self._ndtr)
        self.log_ndtr = self._elementwise(self._log_ndtr)
        self.npdf = self._elementwise(self.mp.npdf)
        self.inverse_mills = self._elementwise(self._inverse_mills)
        self.normal_density = np.frompyfunc(self._normal_density, 3, 1)
        self.log2cosh = self._elementwise(lambda x: abs(x) + self.mp.log1p(self.mp.exp(-2 * abs(x))))
        self.xlogy = np.frompyfunc(lambda x, y: x * self.mp.log(y) if x else x, 2, 1)
        self.quotient = np.frompyfunc(lambda x, y: x / y if x else x, 2, 1)
        self.xlogx = self._elementwise(lambda x: x * self.mp.log(x) if x else x)

        self.expit = self._elementwise(lambda x: 1 / (1 + self.mp.exp(-x)))
        self.logaddexp = np.frompyfunc(self._logaddexp, 2, 1)

    def _logaddexp(self, a: Any, b: Any) -> Any:
        return max(a, b) + self.mp.log1p(self.mp.exp(-abs(a - b)))

    def _normal_density(self, x: Any, mean: Any, variance: Any) -> Any:
        return self.mp.exp(-((x - mean) ** 2) / (2 * variance)) / self.mp.sqrt(2 * self.pi * variance)

    def _ndtr(self, x: Any) -> Any:
        return self.mp.erfc(-x / self.mp.sqrt(2)) / 2

    def _inverse_mills(self, x: Any) -> Any:
        """npdf/ndtr; both are exponentially small at large -x, where a relative error of x counts x^2 times:
        the exponentials are left out there, by Laplace's continued fraction (A&S 26.2.14).
        """
        if x > -self.digits - 8:
            extra = 2 * max(0, int(self.mp.mag(x))) + 10 if x else 0
            with self.mp.extraprec(extra):
                return self.mp.npdf(x) / self._ndtr(x)
        return mills_fraction(-x, self.digits)

    def _log_ndtr(self, x: Any) -> Any:
        return self.mp.log1p(-self._ndtr(-x)) if x > 0 else self.mp.log(self._ndtr(x))

    @staticmethod
    def _elementwise(function: Any) -> Any:
        return np.frompyfunc(function, 1, 1)

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Nothing to set: the numbers carry their context."""
        yield

    def number(self, value: Number) -> Any:
        """The nearest mpf."""
        fraction = as_fraction(value)
        return self.rational(fraction.numerator, fraction.denominator)

    def rational(self, p: int, q: int) -> Any:
        """p/q as an mpf."""
        return self.mp.mpf(p) / q

    def array(self, value: Any) -> Array:
        """An object array."""
        return object_array(value)

    def roots(self, coefficients: Array) -> Array:
        """Durand-Kerner, as mpmath has it, with extra precision for close roots."""
        c = np.asarray(coefficients, dtype=object)
        result = np.empty((*c.shape[:-1], c.shape[-1] - 1), dtype=object)
        for index in np.ndindex(c.shape[:-1]):
            try:
                roots = self.mp.polyroots(list(c[index]), maxsteps=100, extraprec=4 * self.mp.prec)
            except NoConvergence:
                roots = self.mp.polyroots(list(c[index]), maxsteps=2000, extraprec=20 * self.mp.prec)
            result[index] = [self.mp.mpc(r) for r in roots]
        return result

    def lowest_root(self, coefficients: Array) -> Array:
        """The root with the most negative imaginary part."""
        roots = self.roots(coefficients)
        lowest = np.argmin(self.to_float(roots).imag, axis=-1)
        return np.take_along_axis(roots, lowest[..., None], axis=-1)[..., 0]

    def midpoint(self, value: Any) -> Any:
        """As it is."""
        return value

    def radius(self, value: Any) -> float:
        """Some units in the last place."""
        return float(abs(value)) * 10.0 ** (1 - self.digits)

    def to_fraction(self, value: Any) -> Fraction:
        """Exact value."""
        sign, mantissa, exponent, _ = value._mpf_
        return (-1) ** sign * Fraction(int(mantissa)) * Fraction(2) ** exponent

    def to_float(self, value: Any) -> Any:
        """Rounded to doubles."""
        flat = np.asarray(value, dtype=object)
        kind = complex if any(isinstance(v, self.mp.mpc) for v in flat.flat) else float
        return flat.astype(kind)
