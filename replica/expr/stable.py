r"""Named functions that neither overflow nor cancel, with derivatives in terms of each other.

`log(2*cosh(x))` overflows in doubles at x = 800, `npdf(x)/ndtr(x)` is 0/0 at x = -40: the lowering gives each
of these nodes a stable implementation. Identities: Abramowitz & Stegun, chapter 26.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import mpmath
import sympy as sp
from sympy.core.function import ArgumentIndexError
from sympy.printing.precedence import PRECEDENCE

from replica.expr.binder import Binder


def _mpf(arg: Any, prec: int) -> Any:
    return arg._to_mpmath(prec)


class StableFunction(sp.Function):
    """A real function of real arguments with an mpmath evaluation at the current precision."""

    args: tuple[Any, ...]
    mpmath_value: ClassVar[Callable[..., Any]]
    name_latex: ClassVar[str]

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        try:
            rough = [_mpf(arg, prec) for arg in self.args]
        except ValueError:
            return None
        # The functions are exponentially sensitive: a relative error in x costs x**2 times as much.
        extra = max(
            [0, *(2 * int(mpmath.mag(value)) for value in rough if mpmath.isfinite(value) and value != 0)]
        )
        with mpmath.workprec(prec + 10 + extra):
            values = [_mpf(arg, prec + 10 + extra) for arg in self.args]
            result = type(self).mpmath_value(*values)
        return sp.Expr._from_mpmath(result, prec)

    def _eval_is_real(self) -> bool | None:
        return True if all(arg.is_real for arg in self.args) else None

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        base = rf"{self.name_latex}\left({printer._print(self.args[0])}\right)"
        return base if exp is None else self._raise(base, exp)

    def _raise(self, base: str, exponent: str) -> str:
        return rf"{base}^{{{exponent}}}"


class _ComposedLatex(StableFunction):
    """A function whose LaTeX needs brackets under a power."""

    def _raise(self, base: str, exponent: str) -> str:
        return rf"\left({base}\right)^{{{exponent}}}"


def _log2cosh(x: Any) -> Any:
    if isinstance(x, mpmath.mpc):
        return mpmath.log(2 * mpmath.cosh(x))
    return abs(x) + mpmath.log1p(mpmath.exp(-2 * abs(x)))


def _ndtr(x: Any) -> Any:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def _log_ndtr(x: Any) -> Any:
    if mpmath.re(x) > 0:
        return mpmath.log1p(-mpmath.erfc(x / mpmath.sqrt(2)) / 2)
    return mpmath.log(_ndtr(x))


def _npdf(x: Any) -> Any:
    return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)


def _inverse_mills(x: Any) -> Any:
    return _npdf(x) / _ndtr(x)


def _xlogx(x: Any) -> Any:
    return mpmath.mpf(0) if x == 0 else x * mpmath.log(x)


def _normal_density(x: Any, mean: Any, variance: Any) -> Any:
    return mpmath.exp(-((x - mean) ** 2) / (2 * variance)) / mpmath.sqrt(2 * mpmath.pi * variance)


class log2cosh(_ComposedLatex):
    r"""log(2 cosh x), the log partition function of a spin in the field x.

    >>> from sympy.abc import x
    >>> log2cosh(x).diff(x), log2cosh(800).evalf(20)
    (tanh(x), 800.00000000000000000)
    """

    nargs = (1,)
    mpmath_value = staticmethod(_log2cosh)
    name_latex = r"\log 2\cosh"

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Exact values at 0 and at infinity; even."""
        if x.is_zero:
            return sp.log(2)
        if x in (sp.oo, -sp.oo):
            return sp.oo
        return cls(-x) if x.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> Any:
        """tanh(x)."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return sp.tanh(self.args[0])

    def _eval_is_positive(self) -> bool | None:
        return True if self.args[0].is_real else None

    def _eval_rewrite_as_log(self, x: sp.Expr, **kwargs: Any) -> sp.Expr:
        return sp.log(2 * sp.cosh(x))


class ndtr(StableFunction):
    r"""Phi(x), the distribution function of the standard normal law (A&S 26.2.2).

    >>> from sympy.abc import x
    >>> ndtr(x).diff(x), ndtr(0)
    (npdf(x), 1/2)
    """

    nargs = (1,)
    mpmath_value = staticmethod(_ndtr)
    name_latex = r"\Phi"

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Exact values at 0 and at infinity."""
        if x.is_zero:
            return sp.Rational(1, 2)
        return {sp.oo: sp.S.One, -sp.oo: sp.S.Zero}.get(x)

    def fdiff(self, argindex: int = 1) -> Any:
        """npdf(x)."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return npdf(self.args[0])

    def _eval_is_positive(self) -> bool | None:
        return True if self.args[0].is_real else None

    def _eval_rewrite_as_erfc(self, x: sp.Expr, **kwargs: Any) -> sp.Expr:
        return sp.erfc(-x / sp.sqrt(2)) / 2

    def _eval_rewrite_as_erf(self, x: sp.Expr, **kwargs: Any) -> sp.Expr:
        return (1 + sp.erf(x / sp.sqrt(2))) / 2


class log_ndtr(_ComposedLatex):
    r"""log Phi(x).

    >>> from sympy.abc import x
    >>> log_ndtr(x).diff(x)
    inverse_mills(x)
    """

    nargs = (1,)
    mpmath_value = staticmethod(_log_ndtr)
    name_latex = r"\log\Phi"

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Exact values at 0 and at infinity."""
        if x.is_zero:
            return -sp.log(2)
        return {sp.oo: sp.S.Zero, -sp.oo: -sp.oo}.get(x)

    def fdiff(self, argindex: int = 1) -> Any:
        """inverse_mills(x)."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return inverse_mills(self.args[0])

    def _eval_is_negative(self) -> bool | None:
        return True if self.args[0].is_real else None

    def _eval_rewrite_as_log(self, x: sp.Expr, **kwargs: Any) -> sp.Expr:
        return sp.log(ndtr(x))


class npdf(StableFunction):
    r"""varphi(x) = exp(-x^2/2)/sqrt(2 pi), the standard normal density (A&S 26.2.1).

    >>> from sympy.abc import x
    >>> npdf(x).diff(x)
    -x*npdf(x)
    """

    nargs = (1,)
    mpmath_value = staticmethod(_npdf)
    name_latex = r"\varphi"

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Exact values at 0 and at infinity; even."""
        if x.is_zero:
            return 1 / sp.sqrt(2 * sp.pi)
        if x in (sp.oo, -sp.oo):
            return sp.S.Zero
        return cls(-x) if x.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> Any:
        """-x npdf(x)."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return -self.args[0] * self

    def _eval_is_positive(self) -> bool | None:
        return True if self.args[0].is_real else None

    def _eval_rewrite_as_exp(self, x: sp.Expr, **kwargs: Any) -> sp.Expr:
        return sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)


class inverse_mills(_ComposedLatex):
    r"""m(x) = varphi(x)/Phi(x), the inverse Mills ratio; m' = -m (x + m).

    >>> from sympy.abc import x
    >>> inverse_mills(x).diff(x), inverse_mills(-1000).evalf(12)
    (-(x + inverse_mills(x))*inverse_mills(x), 1000.00100000)
    """

    nargs = (1,)
    mpmath_value = staticmethod(_inverse_mills)

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Exact values at 0 and at infinity."""
        if x.is_zero:
            return sp.sqrt(2 / sp.pi)
        return {sp.oo: sp.S.Zero, -sp.oo: sp.oo}.get(x)

    def fdiff(self, argindex: int = 1) -> Any:
        """-m (x + m)."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return -self * (self.args[0] + self)

    def _eval_is_positive(self) -> bool | None:
        return True if self.args[0].is_real else None

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        x = printer._print(self.args[0])
        base = rf"\frac{{\varphi\left({x}\right)}}{{\Phi\left({x}\right)}}"
        return base if exp is None else self._raise(base, exp)


class xlogx(_ComposedLatex):
    r"""x log x, continued by 0 at x = 0.

    >>> from sympy.abc import x
    >>> xlogx(0), xlogx(x).diff(x)
    (0, log(x) + 1)
    """

    nargs = (1,)
    mpmath_value = staticmethod(_xlogx)

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Exact values at 0, 1 and infinity."""
        if x.is_zero or x is sp.S.One:
            return sp.S.Zero
        return sp.oo if x is sp.oo else None

    def fdiff(self, argindex: int = 1) -> Any:
        """log(x) + 1."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return sp.log(self.args[0]) + 1

    def _eval_is_real(self) -> bool | None:
        return True if self.args[0].is_nonnegative else None

    def _eval_rewrite_as_log(self, x: sp.Expr, **kwargs: Any) -> sp.Expr:
        return x * sp.log(x)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        x = self.args[0]
        inner = printer._print(x)
        left = inner if x.is_Symbol or isinstance(x, Binder | StableFunction) else rf"\left({inner}\right)"
        base = rf"{left}\log\left({inner}\right)"
        return base if exp is None else self._raise(base, exp)


class normal_density(StableFunction):
    r"""N(x; mean, variance) = exp(-(x - mean)^2/(2 variance))/sqrt(2 pi variance).

    >>> from sympy import Symbol, exp
    >>> x, m, v = Symbol("x", real=True), Symbol("m", real=True), Symbol("v", positive=True)
    >>> normal_density(x, m, v).diff(m)
    (-m + x)*normal_density(x, m, v)/v
    >>> normal_density(x, 0, v).rewrite(exp)
    sqrt(2)*exp(-x**2/(2*v))/(2*sqrt(pi)*sqrt(v))
    """

    nargs = (3,)
    mpmath_value = staticmethod(_normal_density)

    @classmethod
    def eval(cls, x: Any, mean: Any, variance: Any) -> Any:
        """Nothing is evaluated; a negative variance is refused."""
        if variance.is_extended_negative:
            raise ValueError(f"a variance must not be negative, got {variance}")

    def fdiff(self, argindex: int = 1) -> Any:
        """Partial derivatives in x, mean and variance (the last by the heat equation)."""
        x, mean, variance = self.args
        score: Any = (x - mean) / variance
        if argindex == 1:
            return -score * self
        if argindex == 2:
            return score * self
        if argindex == 3:
            return (score**2 - 1 / variance) / 2 * self
        raise ArgumentIndexError(self, argindex)

    def _eval_is_real(self) -> bool | None:
        x, mean, variance = self.args
        return True if x.is_real and mean.is_real and variance.is_positive else None

    def _eval_is_positive(self) -> bool | None:
        return self._eval_is_real()

    def _eval_rewrite_as_exp(self, x: sp.Expr, mean: sp.Expr, variance: sp.Expr, **kwargs: Any) -> sp.Expr:
        return sp.exp(-((x - mean) ** 2) / (2 * variance)) / sp.sqrt(2 * sp.pi * variance)

    def doit(self, **hints: Any) -> sp.Expr:
        """The explicit formula."""
        args = [arg.doit(**hints) for arg in self.args] if hints.get("deep", True) else self.args
        return self._eval_rewrite_as_exp(*args)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        x, mean, variance = (printer._print(arg) for arg in self.args)
        base = rf"\mathcal{{N}}\left({x};{mean},{variance}\right)"
        return base if exp is None else self._raise(base, exp)


def _truncated_mean(u: Any) -> Any:
    with mpmath.workprec(mpmath.mp.prec + 4 * max(0, int(mpmath.mag(u)))):
        return u + _inverse_mills(u)


def _truncated_variance(u: Any) -> Any:
    with mpmath.workprec(mpmath.mp.prec + 6 * max(0, int(mpmath.mag(u)))):
        mills = _inverse_mills(u)
        return 1 - mills * (u + mills)


class truncated_mean(StableFunction):
    r"""E[x | x > 0] of x ~ N(u, 1), u + inverse_mills(u), without cancellation at large negative u.

    >>> from sympy.abc import u
    >>> truncated_mean(u).diff(u)
    truncated_variance(u)
    """

    nargs = (1,)
    mpmath_value = staticmethod(_truncated_mean)
    name_latex = r"\mathsf{E}_{>0}"

    @classmethod
    def eval(cls, u: Any) -> Any:
        """Nothing is evaluated."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The variance."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return truncated_variance(self.args[0])

    def _eval_is_positive(self) -> bool | None:
        return True if self.args[0].is_real else None


class truncated_variance(StableFunction):
    r"""Var[x | x > 0] of x ~ N(u, 1), 1 - inverse_mills(u) truncated_mean(u), without cancellation.

    >>> truncated_variance(-1000).evalf(10)
    9.999940001e-7
    """

    nargs = (1,)
    mpmath_value = staticmethod(_truncated_variance)
    name_latex = r"\mathsf{Var}_{>0}"

    @classmethod
    def eval(cls, u: Any) -> Any:
        """Nothing is evaluated."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The third cumulant."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        u = self.args[0]
        mean: Any = truncated_mean(u)
        return inverse_mills(u) * (mean**2 - self)

    def _eval_is_positive(self) -> bool | None:
        return True if self.args[0].is_real else None


def _shifted_log_ndtr(u: Any, above: Any, below: Any) -> Any:
    return (
        _log_ndtr(u) + above if u > 0 else below - mpmath.log(_inverse_mills(u) * mpmath.sqrt(2 * mpmath.pi))
    )


class shifted_log_ndtr(StableFunction):
    r"""log Phi(u) + c, given c and c - u^2/2, of which it takes the one that cancels less.

    At large negative u, log Phi(u) is -u^2/2 and little else.

    >>> shifted_log_ndtr(-1000, 500001, 1).evalf(10)
    -6.826694812
    """

    nargs = (3,)
    mpmath_value = staticmethod(_shifted_log_ndtr)

    @classmethod
    def eval(cls, u: Any, above: Any, below: Any) -> Any:
        """Nothing is evaluated."""

    def fdiff(self, argindex: int = 1) -> Any:
        """That of log Phi(u) + c."""
        return {1: inverse_mills(self.args[0]), 2: sp.S.One, 3: sp.S.Zero}[argindex]

    def _eval_rewrite_as_log(self, u: sp.Expr, above: sp.Expr, below: sp.Expr, **kwargs: Any) -> sp.Expr:
        return log_ndtr(u) + above  # pyright: ignore[reportOperatorIssue]

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        base = printer._print(self.rewrite(sp.log))
        return base if exp is None else rf"\left({base}\right)^{{{exp}}}"


def _log_ndtr_interval(a: Any, b: Any) -> Any:
    if a + b > 0:
        a, b = -b, -a
    return mpmath.log(_ndtr(b) - _ndtr(a))


class log_ndtr_interval(StableFunction):
    r"""log(Phi(b) - Phi(a)), the log-probability that a standard normal variable lies between a < b.

    >>> from sympy.abc import a, b
    >>> log_ndtr_interval(30, 31).evalf(10)
    -454.3212440
    """

    nargs = (2,)
    mpmath_value = staticmethod(_log_ndtr_interval)

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        """Nothing is evaluated."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The density at the end over the probability, by its logarithm."""
        if argindex not in (1, 2):
            raise ArgumentIndexError(self, argindex)
        end = self.args[argindex - 1]
        sign = 1 if argindex == 2 else -1
        return sign * sp.exp(-(end**2) / 2 - sp.log(2 * sp.pi) / 2 - self)

    def _eval_rewrite_as_log(self, a: sp.Expr, b: sp.Expr, **kwargs: Any) -> sp.Expr:
        return sp.log(sp.Add(ndtr(b), -1 * ndtr(a)))  # pyright: ignore

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        a, b = (printer._print(arg) for arg in self.args)
        base = rf"\log\left(\Phi\left({b}\right)-\Phi\left({a}\right)\right)"
        return base if exp is None else rf"\left({base}\right)^{{{exp}}}"


class ndtr_interval(StableFunction):
    r"""Phi(b) - Phi(a), the probability that a standard normal variable lies between a < b.

    >>> from sympy.abc import a, b
    >>> ndtr_interval(a, b).diff(b)
    npdf(b)
    """

    nargs = (2,)
    precedence = PRECEDENCE["Add"]
    mpmath_value = staticmethod(lambda a, b: mpmath.exp(_log_ndtr_interval(a, b)))

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        """Nothing is evaluated."""

    def fdiff(self, argindex: int = 1) -> Any:
        """The density at the end."""
        if argindex not in (1, 2):
            raise ArgumentIndexError(self, argindex)
        return npdf(self.args[1]) if argindex == 2 else -1 * npdf(self.args[0])  # pyright: ignore

    def _eval_is_positive(self) -> bool | None:
        return True if all(arg.is_real for arg in self.args) else None

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        a, b = (printer._print(arg) for arg in self.args)
        base = rf"\Phi\left({b}\right)-\Phi\left({a}\right)"
        return base if exp is None else rf"\left({base}\right)^{{{exp}}}"


STABLE: dict[str, type[StableFunction]] = {
    cls.__name__: cls
    for cls in (
        log2cosh,
        ndtr,
        log_ndtr,
        npdf,
        inverse_mills,
        xlogx,
        normal_density,
        ndtr_interval,
        log_ndtr_interval,
        shifted_log_ndtr,
        truncated_mean,
        truncated_variance,
    )
}
