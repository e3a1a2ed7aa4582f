"""The python-flint backend: fast arbitrary precision, with ball arithmetic tracking the rounding error."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from solvers.backends.base import Array, Intervals, Number, as_fraction, object_array
from solvers.backends.float64 import Float64, most_negative_imaginary
from solvers.backends.mills import Truncated, mills_fraction


class Arb(Intervals, Truncated):
    """Balls at a fixed number of digits.  A ball's radius covers rounding only, not quadrature."""

    name = "arb"

    def __init__(self, digits: int) -> None:
        self.digits = digits
        self.bits = int(digits * 3.3219281) + 8
        with self.context():
            self.pi = flint.arb.pi()
            self._root2 = flint.arb(2).sqrt()
            self._root2pi = (2 * flint.arb.pi()).sqrt()
        for name in ("exp", "log", "sqrt", "tanh", "cosh", "sinh", "asinh", "sin", "cos", "atan"):
            setattr(self, name, np.frompyfunc(self._method(name), 1, 1))
        self.abs = np.frompyfunc(abs, 1, 1)
        self.sign = np.frompyfunc(lambda x: x.sgn(), 1, 1)
        self.re = np.frompyfunc(lambda x: x.real, 1, 1)
        self.im = np.frompyfunc(lambda x: x.imag, 1, 1)
        self.heaviside = np.frompyfunc(lambda x: (1 + x.sgn()) / 2, 1, 1)
        self.ndtr = np.frompyfunc(self._ndtr, 1, 1)
        self.log_ndtr = np.frompyfunc(self._log_ndtr, 1, 1)
        self.npdf = np.frompyfunc(self._npdf, 1, 1)
        self.loggamma = np.frompyfunc(lambda x: flint.arb(x).lgamma(), 1, 1)
        self.normal_density = np.frompyfunc(self._normal_density, 3, 1)
        self.inverse_mills = np.frompyfunc(self._inverse_mills, 1, 1)
        self.log2cosh = np.frompyfunc(lambda x: abs(x) + (-2 * abs(x)).exp().log1p(), 1, 1)
        self.xlogy = np.frompyfunc(lambda x, y: x * y.log() if x != 0 else x, 2, 1)
        self.quotient = np.frompyfunc(lambda x, y: x / y if x != 0 else x, 2, 1)
        self.xlogx = np.frompyfunc(lambda x: x * x.log() if x != 0 else x, 1, 1)

        self.expit = np.frompyfunc(lambda x: 1 / (1 + (-x).exp()), 1, 1)
        self.logaddexp = np.frompyfunc(_logaddexp, 2, 1)

    @staticmethod
    def _method(name: str) -> Any:
        def apply(x: Any) -> Any:
            return getattr(x if isinstance(x, flint.arb | flint.acb) else flint.arb(x), name)()

        return apply

    def _ndtr(self, x: Any) -> Any:
        return (-x / self._root2).erfc() / 2

    def _log_ndtr(self, x: Any) -> Any:
        """Far in the tail, where an error of x counts x^2 times in erfc, by the inverse Mills ratio."""
        if flint.arb(x).mid() < -self.digits - 8:
            return -x * x / 2 - (self._root2pi * self._inverse_mills(x)).log()
        return (-self._ndtr(-x)).log1p() if x > 0 else self._ndtr(x).log()

    def _inverse_mills(self, x: Any) -> Any:
        """npdf/ndtr at the midpoint, with the bits that exp(-x^2/2) takes from it, plus the radius of x: the
        derivative lies between -1 and 0.
        """
        middle = flint.arb(x).mid()
        if middle < -self.digits - 8:
            value = mills_fraction(-middle, self.digits)
        else:
            flint.ctx.prec = self.bits + 10 + 2 * max(0, math.frexp(float(middle))[1])
            try:
                value = (-middle * middle / 2).exp() / (-middle / flint.arb(2).sqrt()).erfc()
                value *= (2 / flint.arb.pi()).sqrt()
            finally:
                flint.ctx.prec = self.bits
        return value + flint.arb(0, flint.arb(x).rad())

    def _normal_density(self, x: Any, mean: Any, variance: Any) -> Any:
        gap = x - mean  # its square by multiplication, see ``power``
        return (-gap * gap / (2 * variance)).exp() / (2 * flint.arb.pi() * variance).sqrt()

    def _npdf(self, x: Any) -> Any:
        return (-x * x / 2).exp() / self._root2pi

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Flint's precision is one per thread: set it inside, give it back after."""
        before = flint.ctx.prec
        flint.ctx.prec = self.bits
        try:
            yield
        finally:
            flint.ctx.prec = before

    def number(self, value: Number) -> Any:
        """The ball of a rational number."""
        fraction = as_fraction(value)
        return self.rational(fraction.numerator, fraction.denominator)

    def rational(self, p: int, q: int) -> Any:
        """p/q as a ball."""
        return flint.arb(flint.fmpq(int(p), int(q)))

    def power(self, x: Any, n: int) -> Any:
        """x^n, n >= 0, by multiplication: python-flint has nan for a ball around 0."""
        if n == 0:
            return 1 + 0 * x
        half = self.power(x, n // 2) if n > 1 else 1
        return half * half * x if n % 2 else half * half

    def array(self, value: Any) -> Array:
        """An object array."""
        return object_array(value)

    def roots(self, coefficients: Array) -> Array:
        """Isolated by flint to the working precision; the coefficients count as exactly their midpoints."""
        c = np.asarray(coefficients, dtype=object)
        result = np.empty((*c.shape[:-1], c.shape[-1] - 1), dtype=object)
        for index in np.ndindex(c.shape[:-1]):
            low_first = [flint.acb(_arb_mid(v)) for v in c[index][::-1]]
            result[index] = [_mid(r) for r in self._isolate(flint.acb_poly(low_first))]
        return result

    def _isolate(self, polynomial: flint.acb_poly) -> list[flint.acb]:
        """Flint's isolation refined to the precision; beside an edge of a spectrum, where two roots nearly
        meet, its refinement gives up and ours by Newton at three times the precision takes over.
        """
        try:
            return polynomial.roots(tol=flint.arb(10) ** (-self.digits), maxprec=4 * self.bits)
        except ValueError:
            roots = [_mid(r) for r in self._separated(polynomial)]
        slope = polynomial.derivative()
        flint.ctx.prec = 3 * self.bits
        try:
            for _ in range(8):
                roots = [_mid(r - polynomial(r) / slope(r)) for r in roots]
        finally:
            flint.ctx.prec = self.bits
        return roots

    def _separated(self, polynomial: flint.acb_poly) -> list[flint.acb]:
        """Isolating balls; a double root is first split by a perturbation far below the precision, which
        moves it by 10^-digits.
        """
        try:
            return polynomial.roots(maxprec=64 * self.bits)
        except ValueError:
            perturbation = abs(polynomial[0]) + abs(polynomial[polynomial.degree()])
            flint.ctx.prec = 4 * self.bits
            try:
                return (polynomial + perturbation * flint.arb(10) ** (-2 * self.digits)).roots(
                    maxprec=64 * self.bits
                )
            finally:
                flint.ctx.prec = self.bits

    def lowest_root(self, coefficients: Array) -> Array:
        """The root with the most negative imaginary part: Newton from its double, or isolation where Newton
        does not settle.
        """
        c = np.asarray(coefficients, dtype=object)
        floats = self.to_float(c)
        scale = np.abs(floats).max(axis=-1, keepdims=True)
        starts = most_negative_imaginary(Float64().roots(floats / scale))
        result = np.empty(c.shape[:-1], dtype=object)
        for index in np.ndindex(c.shape[:-1]):
            low_first = [flint.acb(_arb_mid(v)) for v in c[index][::-1]]
            polynomial = flint.acb_poly(low_first)
            root = self._newton(polynomial, flint.acb(complex(starts[index])))
            if root is None:
                candidates = [_mid(r) for r in self._isolate(polynomial)]
                root = min(candidates, key=lambda r: float(r.imag))
            result[index] = root
        return result

    def _newton(self, polynomial: flint.acb_poly, root: flint.acb) -> flint.acb | None:
        """Newton's iteration when it converges quadratically to a root off the real axis, else None."""
        if abs(complex(root).imag) < 1e-5 * abs(complex(root)):
            return None
        slope = polynomial.derivative()
        last = 1.0
        for _ in range(4 + int(np.log2(self.digits))):
            step = polynomial(root) / slope(root)
            root = _mid(root - step)
            size = float(abs(step).mid()) / float(abs(root).mid())
            if size < 10.0 ** (-self.digits):
                return root
            if not size < 1e-3 * last and last < 1:
                return None
            last = size
        return None

    def midpoint(self, value: Any) -> Any:
        """The ball without its radius."""
        return value.mid()

    def radius(self, value: Any) -> float:
        """Radius of the ball: the rounding error so far."""
        return float(value.rad())

    def to_fraction(self, value: Any) -> Fraction:
        """Exact value of the midpoint."""
        mantissa, exponent = flint.arb(value).mid().man_exp()
        return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)

    def to_float(self, value: Any) -> Any:
        """Midpoints rounded to doubles."""
        flat = np.asarray(value, dtype=object)
        kind = complex if any(isinstance(v, flint.acb) for v in flat.flat) else float
        return flat.astype(kind)


def _arb_mid(v: flint.arb | int) -> flint.arb | int:
    return v.mid() if isinstance(v, flint.arb) else v


def _logaddexp(a: flint.arb, b: flint.arb) -> flint.arb:
    a, b = flint.arb(a), flint.arb(b)  # a literal 0 is an int
    high, low = (a, b) if a.mid() > b.mid() else (b, a)
    return high + (low - high).exp().log1p()


def _mid(z: flint.acb) -> flint.acb:
    return flint.acb(z.real.mid(), z.imag.mid())
