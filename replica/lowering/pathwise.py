"""Derivatives of nested Gaussian averages along the nodes: one derivative of the body instead of two.

With x = m + sqrt(V) z at fixed z, dx/dp = m' + V' (x - m)/(2 V), so that

    d/dp E_{x ~ N(m, V)} f = E[df/dp + f_x (m' + V' (x - m)/(2 V))]

and for nested averages the motion of the outer variable moves the inner mean and variance too. Price's
theorem has two derivatives of the body at each level; this form has one in all (D. P. Kingma and M. Welling,
ICLR 2014, call it the reparametrisation). It is 0/0 at V = 0.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder
from replica.lowering.jets import output_average


def path_derivative(expr: sp.Expr, p: sp.Symbol) -> sp.Expr:
    """d expr/dp with the variables of Gaussian averages moving along.

    >>> x, q = sp.Symbol("x", real=True), sp.Symbol("q", positive=True)
    >>> path_derivative(GaussianAverage(x**4, x, 0, q), q)
    2*GaussianAverage(_x**4/q, _x, 0, q)
    """
    return _along(sp.sympify(expr), {p: sp.S.One})


def has_nested_averages(expr: Any) -> bool:
    """Whether an average or integral stands inside a Gaussian average."""
    return any(b.body.has(GaussianAverage, OutputSum) for b in expr.atoms(GaussianAverage))


def _along(expr: Any, motion: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr:
    """The sum over the moving symbols s of (d expr/ds) * motion[s]."""
    moving = [s for s in motion if s in expr.free_symbols]
    if not moving:
        return sp.S.Zero
    if isinstance(expr, GaussianAverage):
        form = output_average(expr)
        if form is not None and set(motion.values()) == {sp.S.One} and len(motion) == 1:
            slope = form.derivative(moving[0])
            if slope is not None:
                return slope.expression()
        node = expr.renamed()
        x, mean, variance = node.var, node.mean, node.variance
        velocity = _along(mean, motion) + _along(variance, motion) * (x - mean) / (2 * variance)
        inner = {s: v for s, v in motion.items() if s in moving}
        return node.with_body(_along(node.body, {**inner, x: velocity}))
    if isinstance(expr, OutputSum):
        node = expr.renamed()
        return node.func(_along(node.body, motion), *node.args[1:])
    if not isinstance(expr, Binder) and expr.has(GaussianAverage, OutputSum):
        # the chain rule at the averages, each with a name of its own
        averages = _outermost(expr)
        names = {a: sp.Dummy("average", real=True) for a in averages}
        flat = expr.xreplace(names)
        moved = {**motion, **{name: _along(a, motion) for a, name in names.items()}}
        back = {name: a for a, name in names.items()}
        return _along(flat, moved).xreplace(back)
    return sp.Add(*(expr.diff(s) * motion[s] for s in moving))


def _outermost(expr: sp.Basic) -> list[Any]:
    if isinstance(expr, GaussianAverage | OutputSum):
        return [expr]
    return [b for a in expr.args for b in _outermost(a)]
