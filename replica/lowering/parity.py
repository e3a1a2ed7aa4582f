"""Whether a body is even in a variable: half of its average is then enough."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder, canonical


def is_even(body: Any, x: sp.Symbol) -> bool:
    """True if the reflected body is recognised as the body itself; False says nothing.

    >>> x, a = sp.symbols("x a", real=True)
    >>> is_even(sp.tanh(a * x) ** 2 + sp.exp(x - a) + sp.exp(-x - a), x), is_even(sp.exp(x), x)
    (True, False)
    """
    if not body.has_free(x):
        return True
    names: dict[Any, sp.Symbol] = {}
    return _key(canonical(_oriented(body)), names) == _key(canonical(_oriented(body.subs(x, -x))), names)


def _oriented(expr: Any) -> Any:
    """Gaussian averages with the mean of one sign: E_{N(-m, v)} f(y) = E_{N(m, v)} f(-y)."""
    if not expr.args:
        return expr
    if isinstance(expr, GaussianAverage) and expr.mean.could_extract_minus_sign():
        expr = expr.func(expr.body.subs(expr.var, -expr.var), expr.var, -expr.mean, expr.variance)
    return expr.func(*(_oriented(a) for a in expr.args))


def _key(expr: Any, names: dict[Any, sp.Symbol]) -> Any:
    """The expression with each sum named, bottom up, so that a sum and its negative differ by a sign only:
    (y - x)/(2 a) and -(x - y)/(2 a) come out the same, and so do even powers of either.
    """
    if not expr.args:
        return expr
    if isinstance(expr, Binder):
        inner = (_key(expr.body, names), *expr.bound_symbols, *(_key(p, names) for p in expr.parameters))
        return names.setdefault(sp.Tuple(sp.Symbol(type(expr).__name__), *inner), sp.Dummy())
    new = expr.func(*(_key(a, names) for a in expr.args))
    if not new.is_Add:
        return new
    number, total = new.primitive()
    if total in names:
        return number * names[total]
    if -total in names:
        return -number * names[-total]
    return number * names.setdefault(total, sp.Dummy(real=True))
