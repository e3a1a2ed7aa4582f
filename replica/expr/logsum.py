"""Logarithms of sums of Gaussians and distribution functions, without overflow at any argument."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.expr.stable import (
    log2cosh,
    log_ndtr,
    log_ndtr_interval,
    ndtr,
    ndtr_interval,
    normal_density,
)


class expit(sp.Function):
    """The logistic function 1/(1 + exp(-x)).

    >>> x = sp.Symbol("x", real=True)
    >>> expit(x).diff(x)
    expit(-x)*expit(x)
    """

    is_positive = True
    nargs = 1

    @classmethod
    def eval(cls, x: Any) -> Any:
        """1/2 at 0."""
        return sp.Rational(1, 2) if x == 0 else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """expit(x) expit(-x)."""
        return expit(self.args[0]) * expit(-self.args[0])

    def _eval_rewrite_as_exp(self, x: sp.Expr, **kwargs: Any) -> sp.Expr:
        return 1 / (1 + sp.exp(-x))

    def _eval_evalf(self, prec: int) -> Any:
        return self.rewrite(sp.exp)._eval_evalf(prec)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\sigma{power}\left({printer._print(self.args[0])}\right)"


class logaddexp(sp.Function):
    """log(exp(a) + exp(b)); its derivative in a is expit(a - b).

    >>> a, b = sp.symbols("a b", real=True)
    >>> logaddexp(a, b).diff(a)
    expit(a - b)
    """

    is_real = True
    nargs = 2

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The weight of the argument in the sum."""
        a, b = self.args
        return expit(a - b) if argindex == 1 else expit(b - a)

    def _eval_rewrite_as_log(self, a: sp.Expr, b: sp.Expr, **kwargs: Any) -> sp.Expr:
        return sp.log(sp.exp(a) + sp.exp(b))

    def _eval_evalf(self, prec: int) -> Any:
        return self.rewrite(sp.log)._eval_evalf(prec)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        a, b = (printer._print(v) for v in self.args)
        text = rf"\log\left(e^{{{a}}}+e^{{{b}}}\right)"
        return text if exp is None else rf"{text}^{{{exp}}}"


def _log_of_power(base: sp.Expr, power: sp.Expr) -> sp.Expr:
    """Of |u|^k, and of u^k > 0 with u of any sign: (k/2) log u^2, which has no kink."""
    if isinstance(base, sp.Abs):
        base = base.args[0]
    elif base.is_nonnegative or isinstance(base, _WIDE) or not base.is_Symbol:
        return power * stable_log(base)
    return power * sp.log(base**2) / 2


def in_positive_terms(expr: Any) -> Any:
    """Differences of distribution functions as probabilities of intervals, which have logarithms.

    >>> x, y = sp.symbols("x y", real=True)
    >>> in_positive_terms(1 - ndtr(x) - ndtr(y)), in_positive_terms(3 * ndtr(x) - 3 * ndtr(y))
    (ndtr_interval(y, -x), 3*(ndtr_interval(y, x)))
    >>> in_positive_terms(1 - ndtr(x) + ndtr(x - 1))
    ndtr(-x) + ndtr(x - 1)
    """
    return expr.replace(lambda e: isinstance(e, sp.Add) and e.has(ndtr), _without_minus)


def _without_minus(total: sp.Expr) -> sp.Expr:
    """c Phi(a) - c Phi(b) is c times the probability of (b, a), and c - c Phi(a) is c Phi(-a)."""
    rest: list[sp.Expr] = []
    ups: list[tuple[sp.Expr, sp.Expr]] = []  # (c, argument)
    downs: list[tuple[sp.Expr, sp.Expr]] = []
    for term in total.args:
        function = next((f for f in sp.Mul.make_args(term) if isinstance(f, ndtr)), None)
        weight = term / function if function is not None else sp.S.One
        if function is not None and not weight.has(ndtr):
            negative = weight.is_negative or weight.could_extract_minus_sign()
            (downs if negative else ups).append((-weight if negative else weight, function.args[0]))
        else:
            rest.append(term)
    plain = sp.Add(*(term for term in rest if not term.has(*_WIDE)))
    rest = [term for term in rest if term.has(*_WIDE)]
    for weight, place in downs:
        partner = next((up for up in ups if up[0] == weight), None)
        if (plain - weight).is_nonnegative:  # first: any two make an interval, not all in this order
            plain = plain - weight
            ups.append((weight, -place))
        elif partner is not None:
            ups.remove(partner)
            rest.append(weight * ndtr_interval(place, partner[1]))
        else:
            rest.append(-weight * ndtr(place))
    return sp.Add(plain, *rest, *(weight * ndtr(place) for weight, place in ups))


_WIDE = (sp.exp, ndtr, ndtr_interval, normal_density)
"""Functions whose values may lie outside the range of a double where their logarithms do not."""


def stable_log(expr: sp.Expr) -> sp.Expr:
    """The log of a positive expression, written so that no factor under- or overflows.

    Products become sums, Gaussian densities their exponents, ``ndtr`` becomes ``log_ndtr`` and sums of
    positive terms ``logaddexp``, or ``log2cosh`` where two exponents are mirror images.

    >>> x, m = sp.symbols("x m", real=True)
    >>> stable_log(ndtr(x) * normal_density(x, m, 1))
    -(-m + x)**2/2 + log_ndtr(x) - log(2*pi)/2
    """
    if isinstance(expr, sp.Mul):
        return sp.Add(*(stable_log(factor) for factor in expr.args))
    if isinstance(expr, sp.Pow):
        return _log_of_power(expr.base, expr.exp)
    if isinstance(expr, sp.exp):
        return expr.args[0]
    if isinstance(expr, ndtr):
        return log_ndtr(expr.args[0])
    if isinstance(expr, ndtr_interval):
        return log_ndtr_interval(*expr.args)
    if isinstance(expr, normal_density):
        x, mean, variance = expr.args
        return -sp.log(2 * sp.pi * variance) / 2 - (x - mean) ** 2 / (2 * variance)
    if isinstance(expr, sp.Add):
        plain = sp.Add(*(term for term in expr.args if not term.has(*_WIDE)))  # 1 - rho: nothing overflows
        terms = [term for term in expr.args if term.has(*_WIDE)]
        logs = _pair_mirror_images([stable_log(term) for term in terms])
        logs += [] if plain == 0 else [sp.log(plain)]
        total = logs[0]
        for term in logs[1:]:
            total = logaddexp(total, term)
        return total
    return sp.log(expr)


def _pair_mirror_images(logs: list[sp.Expr]) -> list[sp.Expr]:
    """log(e^a + e^b) = (a + b)/2 + log 2cosh((a - b)/2) where b is a with the sign of one symbol changed."""
    paired: list[sp.Expr] = []
    rest = list(logs)
    while rest:
        first = rest.pop(0)
        partner = next((other for other in rest if _mirrored(first, other)), None)
        if partner is None:
            paired.append(first)
            continue
        rest.remove(partner)
        mean = sp.expand((first + partner) / 2, log=False)
        paired.append(mean + log2cosh(sp.expand((first - partner) / 2, log=False)))
    return paired


def _mirrored(a: sp.Expr, b: sp.Expr) -> bool:
    if a.has(log_ndtr, log_ndtr_interval, logaddexp):  # a log of more than one exponential has no such form
        return False
    symbols = sorted((s for s in a.free_symbols if s.is_positive is None), key=sp.default_sort_key)
    return any(sp.expand(a.subs(s, -s) - b) == 0 for s in symbols)


def without_cancellation(expr: Any) -> Any:
    """1 - tanh(u)^2 as 4 expit(2 u) expit(-2 u), which keeps its digits where it is small.

    >>> from sympy import Symbol, tanh
    >>> without_cancellation(3 - 3 * tanh(Symbol("u")) ** 2)
    12*expit(-2*u)*expit(2*u)
    """
    if not expr.has(sp.tanh):
        return expr
    return expr.replace(lambda e: isinstance(e, sp.Add), _squared_sech)


def _squared_sech(*terms: sp.Expr) -> sp.Expr:
    u, c = sp.Wild("u"), sp.Wild("c")
    total = sp.Add(*terms)
    for term in total.args:
        found = term.match(c * sp.tanh(u) ** 2)
        if found and found[c].is_number and -found[c] in total.args:
            rest = sp.Add(*(t for t in total.args if t not in (term, -found[c])))
            return rest - 4 * found[c] * expit(2 * found[u]) * expit(-2 * found[u])
    return total
