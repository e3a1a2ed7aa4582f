"""Piecewise-analytic functions of one variable, written as sums over half-lines."""

from __future__ import annotations

from typing import Any, cast

import sympy as sp
from sympy.core.relational import Relational
from sympy.functions.elementary.miscellaneous import MinMaxBase

from replica.expr.binder import free_subexpressions
from replica.expr.polynomials import affine_coefficients

Affine = tuple[sp.Expr, sp.Expr]
"""(a, b) of the form a + b x whose sign switches a function from one branch to the other."""

_INEQUALITIES = (sp.Gt, sp.Ge, sp.Lt, sp.Le)


def split_at_kinks(expr: sp.Expr, x: sp.Symbol) -> sp.Expr:
    """Rewrite the kinks of `expr` at affine functions of x as a sum over half-lines.

    f(|x|) = f(x) Heaviside(x) + f(-x) Heaviside(-x), and so for sign, Heaviside, Max, Min and Piecewise,
    nested in other functions too. True up to a set of measure zero: the kinks themselves. Kinks that are not
    affine in x, or that depend on a variable bound inside, stay.

    >>> from sympy import Abs, Symbol, exp
    >>> x = Symbol("x", real=True)
    >>> split_at_kinks(exp(-Abs(x)), x)
    exp(x)*Heaviside(-x) + exp(-x)*Heaviside(x)
    """
    return cast(sp.Expr, sp.Add(*(_split_term(cast(sp.Expr, term), x) for term in sp.Add.make_args(expr))))


def switches(expr: sp.Expr, x: sp.Symbol) -> list[Affine]:
    """The affine forms in x at which a sub-expression switches, in the order of the expression tree."""
    found: list[Affine] = []
    for node in free_subexpressions(expr):
        if x not in node.free_symbols:
            continue
        for form in switch_forms(node):
            affine = affine_coefficients(form, x)
            if affine is not None and affine[1] != 0 and affine not in found:
                found.append(affine)
    return found


def nested_switches(expr: sp.Expr, x: sp.Symbol) -> list[Affine]:
    """The same, and those that show once others are resolved: of max(-1, min(1, x)) both.

    >>> from sympy import Max, Min, Symbol
    >>> x = Symbol("x", real=True)
    >>> switches(Max(-1, Min(1, x)), x), nested_switches(Max(-1, Min(1, x)), x)
    ([(1, -1)], [(1, 1), (1, -1)])
    """
    found = switches(expr, x)
    forms = [f for n in free_subexpressions(expr) if x in n.free_symbols for f in switch_forms(n)]
    if all(affine_coefficients(form, x) is not None for form in forms):
        return found
    more = switches(split_at_kinks(expr, x), x)
    return list({sp.cancel(a / b): (a, b) for a, b in (*more, *found)}.values())


def _difference(left: Any, right: Any) -> Any:
    return left - right


def switch_forms(node: Any) -> list[sp.Expr]:
    """The forms at whose zeros a node itself has a kink or a jump: |u|, max(u, v), u > v."""
    if isinstance(node, sp.Abs | sp.sign | sp.Heaviside):
        return [cast(sp.Expr, node.args[0])]
    if isinstance(node, MinMaxBase):
        args: list[Any] = sorted(node.args, key=sp.default_sort_key)
        return [u - v for i, u in enumerate(args) for v in args[i + 1 :]]
    if isinstance(node, _INEQUALITIES):
        return [_difference(node.lhs, node.rhs)]
    return []


def _split_term(term: sp.Expr, x: sp.Symbol) -> sp.Expr:
    forms = switches(term, x)
    if not forms:
        return term
    a, b = forms[0]
    branches = []
    for side in (1, -1):
        branch = _on_side(term, x, (a, b), side)
        if branch != 0:
            branches.append(split_at_kinks(branch, x) * sp.Heaviside(side * (a + b * x)))
    return cast(sp.Expr, sp.Add(*branches))


def _relative_sign(form: sp.Expr, x: sp.Symbol, reference: Affine) -> int:
    """The sign of form/(a + b x) where that ratio is a constant of known sign, else 0."""
    affine = affine_coefficients(form, x)
    if affine is None or affine[1] == 0:
        return 0
    (a, b), (c, d) = reference, affine
    if sp.expand(a * d - b * c) != 0:
        return 0
    ratio = d / b
    return 1 if ratio.is_positive else -1 if ratio.is_negative else 0


def _on_side(expr: Any, x: sp.Symbol, reference: Affine, side: int) -> sp.Expr:
    """The expression where side * (a + b x) > 0."""
    while True:
        for node in free_subexpressions(expr):
            value = _value_on_side(node, x, reference, side) if x in node.free_symbols else None
            if value is not None:
                expr = expr.subs(node, value)
                break
        else:
            return expr


def _value_on_side(node: Any, x: sp.Symbol, reference: Affine, side: int) -> Any:
    if isinstance(node, sp.Abs | sp.sign | sp.Heaviside):
        argument = cast(sp.Expr, node.args[0])
        s = side * _relative_sign(argument, x, reference)
        if s == 0:
            return None
        if isinstance(node, sp.Abs):
            return s * argument
        return sp.Integer(s) if isinstance(node, sp.sign) else sp.Integer(max(s, 0))
    if isinstance(node, MinMaxBase):
        keep = sp.S.One if isinstance(node, sp.Max) else sp.S.NegativeOne
        for u in node.args:
            for v in node.args:
                if u != v and side * keep * _relative_sign(_difference(u, v), x, reference) > 0:
                    return node.func(*(arg for arg in node.args if arg != v))
        return None
    if isinstance(node, _INEQUALITIES):
        s = side * _relative_sign(_difference(node.lhs, node.rhs), x, reference)
        if s == 0:
            return None
        return sp.true if (s > 0) == isinstance(node, sp.Gt | sp.Ge) else sp.false
    if isinstance(node, Relational) and isinstance(node, sp.Eq | sp.Ne):
        if _relative_sign(_difference(node.lhs, node.rhs), x, reference) == 0:
            return None
        return sp.true if isinstance(node, sp.Ne) else sp.false
    return None
