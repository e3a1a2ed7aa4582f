"""E|w| of a Gaussian variable and its derivatives: a spin at zero temperature."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.core.function import ArgumentIndexError

from replica.expr.average import GaussianAverage


class FoldedNormal(sp.Function):
    r"""The k-th derivative in the mean of E|w|, w ~ N(mean, variance), also at variance 0. Args: mean,
    variance, k.

    The first is E sign(w) = erf(mean/sqrt(2 variance)); that in the variance is half of the second (Price).

    >>> x, v = sp.Symbol("x", real=True), sp.Symbol("v", nonnegative=True)
    >>> FoldedNormal(x, v, 0).diff(v)
    FoldedNormal(x, v, 2)/2
    >>> FoldedNormal(x, 0, 0).diff(x)
    sign(x)
    """

    nargs = (3,)
    is_real = True

    @classmethod
    def eval(cls, mean: Any, variance: Any, order: Any) -> Any:
        """Without variance: |mean|, its sign, and no curvature away from the kink."""
        if not variance.is_zero:
            return None
        return {0: sp.Abs(mean), 1: sp.sign(mean)}.get(int(order), sp.S.Zero)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """In the mean; in the variance."""
        mean, variance, order = self.args
        if argindex == 1:
            return FoldedNormal(mean, variance, order + 1)
        if argindex == 2:
            return FoldedNormal(mean, variance, order + 2) / 2
        raise ArgumentIndexError(self, argindex)

    def closed(self) -> sp.Expr:
        """In error functions."""
        mean, variance, order = self.args
        return _closed_form(int(order)).subs({_MEAN: mean, _VARIANCE: variance}, simultaneous=True)

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        return None if self.free_symbols else self.closed()._eval_evalf(prec)

    def _latex(self, printer: Any, exp: Any = None) -> str:
        mean, variance = (printer._print(a) for a in self.args[:2])
        text = {
            0: rf"\mathbb{{E}}_{{w\sim\mathcal{{N}}({mean},{variance})}}\left[\left|w\right|\right]",
            1: rf"\operatorname{{erf}}\left(\frac{{{mean}}}{{\sqrt{{2\left({variance}\right)}}}}\right)",
        }.get(
            int(self.args[2]),
            rf"\partial^{{{int(self.args[2])}}}_{{h={mean}}}"
            rf"\mathbb{{E}}_{{w\sim\mathcal{{N}}(h,{variance})}}\left[\left|w\right|\right]",
        )
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


_MEAN, _VARIANCE = sp.Symbol("h", real=True), sp.Symbol("v", positive=True)


@lru_cache(maxsize=16)
def _closed_form(order: int) -> sp.Expr:
    """The derivatives of the Gaussian integral over two half-lines."""
    w = sp.Dummy("w", real=True)
    return sp.expand(GaussianAverage(sp.Abs(w), w, _MEAN, _VARIANCE).doit().diff(_MEAN, order))
