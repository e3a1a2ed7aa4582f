"""Piecewise-analytic functions of one variable, written as sums over half-lines."""

from __future__ import annotations

from collections.abc import Callable
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
    """The same, and those that show once others are resolved, of max(-1, min(1, x)) both, and at the zeros of
    quadratics, as of |x^2 - 1|.

    >>> from sympy import Max, Min, Symbol
    >>> x = Symbol("x", real=True)
    >>> switches(Max(-1, Min(1, x)), x), nested_switches(Max(-1, Min(1, x)), x)
    ([(1, -1)], [(1, 1), (1, -1)])
    """
    found = switches(expr, x)
    forms = [f for n in free_subexpressions(expr) if x in n.free_symbols for f in switch_forms(n)]
    quadratics = [q for form in forms if (q := _quadratic(form, x)) is not None]
    found += [(side * d - c, sp.S.One) for _, c, d in quadratics for side in (1, -1)]
    if all(affine_coefficients(form, x) is not None or _quadratic(form, x) for form in forms):
        return found
    more = switches(split_at_kinks(expr, x), x)
    return list({sp.cancel(a / b): (a, b) for a, b in (*more, *found)}.values())


def affine_kinks(expr: Any, x: sp.Symbol) -> Any:
    """Steps, signs and comparisons at quadratics a ((x - c)^2 - d^2) as those at a (|x - c| - d), which has
    the same sign: c real and d > 0 without x.

    >>> from sympy import Heaviside, Symbol
    >>> x = Symbol("x", real=True)
    >>> affine_kinks(Heaviside(x**2 - 3), x)
    Heaviside(Abs(x) - sqrt(3))
    """

    def resolved(node: Any) -> Any:
        (form,) = switch_forms(node)
        found = _quadratic(form, x)
        if found is None:
            return node
        a, centre, distance = found
        inner = sp.expand(a * (sp.Abs(x - centre) - distance))
        return node.func(inner, 0) if isinstance(node, _INEQUALITIES) else node.func(inner)

    return expr.replace(lambda e: isinstance(e, (sp.sign, sp.Heaviside, *_INEQUALITIES)), resolved)


def _quadratic(form: Any, x: sp.Symbol) -> tuple[Any, Any, Any] | None:
    """a, c and d of a ((x - c)^2 - d^2), c real and d > 0; None where it is no such quadratic."""
    if not form.is_polynomial(x) or sp.Poly(form, x).degree() != 2:
        return None
    a, b, rest = sp.Poly(form, x).all_coeffs()
    centre = sp.cancel(-b / (2 * a))
    square = sp.cancel(centre**2 - rest / a)
    return (a, centre, sp.sqrt(square)) if centre.is_real and square.is_positive else None


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


def whole_on_half_lines(expr: sp.Expr, x: sp.Symbol) -> sp.Expr:
    """The same with the sum kept together: terms that cancel on a half-line do so.

    >>> from sympy import Symbol, sign
    >>> x = Symbol("x", real=True)
    >>> split_at_kinks((1 + sign(x)) / 2, x), whole_on_half_lines((1 + sign(x)) / 2, x)
    (-Heaviside(-x)/2 + Heaviside(x)/2 + 1/2, Heaviside(x))
    """
    return _split(expr, x, whole_on_half_lines)


def limits(expr: sp.Expr, x: sp.Symbol) -> list[tuple[sp.Expr, sp.Expr]]:
    """The limits from both sides at each place where the expression switches: they differ at a jump.

    >>> from sympy import Max, Symbol, sign
    >>> x = Symbol("x", real=True)
    >>> limits(sign(x - 1) + Max(x, 0), x)
    [(2, 0), (-1, -1)]
    """
    whole = whole_on_half_lines(expr, x)
    places = {-a / b: (a, b) for a, b in switches(whole, x)}
    return [
        cast(Any, tuple(_on_side(whole, x, form, side).subs(x, place) for side in (1, -1)))
        for place, form in places.items()
    ]


def _split_term(term: sp.Expr, x: sp.Symbol) -> sp.Expr:
    return _split(term, x, split_at_kinks)


def _split(expr: sp.Expr, x: sp.Symbol, further: Callable[[sp.Expr, sp.Symbol], sp.Expr]) -> sp.Expr:
    forms = switches(expr, x)
    if not forms:
        return expr
    a, b = forms[0]
    branches = []
    for side in (1, -1):
        branch = _on_side(expr, x, (a, b), side)
        if branch != 0:
            branches.append(further(branch, x) * sp.Heaviside(side * (a + b * x)))
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
