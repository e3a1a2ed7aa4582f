"""Where, and within which width, a body switches in the variable of its average: the nodes cluster there.

A *form* is an expression A that is zero at the switch, with the unit of scale of its function: ndtr(A),
tanh(A), expit(A) switch while A passes from -1 to 1, Abs(A), sign(A), Heaviside(A) at A = 0 sharply. An inner
average over y ~ N(m, V) smears a form a + c y that also depends on the outer variable: it switches while
(a + c m)/sqrt(1 + c^2 V) passes from -1 to 1 (without the 1 if the form is sharp). Under an inner integral
over y two forms switch when their places cross.

What is found steers the nodes only: a switch that is missed costs nodes, not correctness, since the error is
estimated all the same.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any, NamedTuple

import sympy as sp

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder
from replica.expr.kinks import switch_forms
from replica.expr.polynomials import polynomial_coefficients
from replica.expr.stable import log2cosh

_SOFT = ("ndtr", "log_ndtr", "npdf", "inverse_mills", "expit", "tanh", "log2cosh")
_INTERVALS = ("ndtr_interval", "log_ndtr_interval")  # functions of both ends


class Form(NamedTuple):
    """An expression that is zero at a switch; ``soft`` is 1 if it switches within a unit, 0 if sharply."""

    expr: sp.Expr
    soft: int


class Switch(NamedTuple):
    """Where a body switches and within which width (0: a kink or a jump), in the integration variable."""

    centre: sp.Expr
    width: sp.Expr


def switches_of(bodies: list[sp.Expr], x: sp.Symbol) -> tuple[Switch, ...]:
    """The switches of bodies in x, the sharp ones last, each place once."""
    found: dict[Switch, None] = {}
    for form in dict.fromkeys(f for body in bodies for f in _forms(body, x, {})):
        line = _affine(form.expr, x)
        crossings = _bent(form.expr, x) if line is None else [(-line[0] / line[1], sp.Abs(line[1]))]
        for centre, slope in crossings:
            found[Switch(centre, 1 / slope if form.soft else sp.S.Zero)] = None
    return tuple(sorted(found, key=lambda s: s.width == 0))


def decay_scales(bodies: list[sp.Expr], y: sp.Symbol) -> tuple[Switch, ...]:
    """Places and scales of the exponentials exp(a + b |c + d y|) and exp(a + b y) of a body."""
    found: dict[Switch, None] = {}
    for body in bodies:
        for node in sp.preorder_traversal(body):
            if isinstance(node, sp.exp) and node.has_free(y):
                plain = node.args[0].replace(sp.Abs, lambda inner: inner)
                line = _affine(plain, y)
                if line is not None:
                    found[Switch(-line[0] / line[1], 1 / sp.Abs(line[1]))] = None
    return tuple(found)


def _affine(form: Any, x: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """(a, b), b != 0, of the part of the form that is polynomial in x, if that is affine: logarithms beside
    it bend the switch, they do not move it far.
    """
    terms = [t for t in sp.Add.make_args(form) if polynomial_coefficients(t, x) is not None]
    coefficients = polynomial_coefficients(sp.Add(*terms), x) or {}
    if max(coefficients, default=0) != 1:
        return None
    return coefficients.get(0, sp.S.Zero), coefficients[1]


def _bent(form: Any, x: sp.Symbol) -> list[tuple[sp.Expr, sp.Expr]]:
    """(place, |slope|) of the two zeros of a quadratic form, or of one with log2cosh(u), u affine: |u| but
    near u = 0.  Where there is none, a place between them that is as near as the form comes to 0.
    """
    bends = [node for node in sp.preorder_traversal(form) if isinstance(node, log2cosh) and node.has_free(x)]
    if not bends:
        return _parabola(form, x)
    inside = _affine(bends[0].args[0], x)
    if inside is None or len(set(bends)) > 1:
        return []
    found = []
    for sign in (1, -1):
        line = _affine(form.xreplace({bends[0]: sign * bends[0].args[0]}), x)
        if line is not None:
            u = sign * (inside[0] - inside[1] * line[0] / line[1])  # where it is positive, as |u| must be
            found.append(((sign * _positive(u) - inside[0]) / inside[1], sp.Abs(line[1])))
    return found


def _parabola(form: Any, x: sp.Symbol) -> list[tuple[sp.Expr, sp.Expr]]:
    coefficients = polynomial_coefficients(form, x) or {}
    if max(coefficients, default=0) != 2:
        return []
    c, b, a = (coefficients.get(k, sp.S.Zero) for k in range(3))
    discriminant = b**2 - 4 * a * c
    root = sp.sqrt(_positive(discriminant))
    return [((-b + sign * root) / (2 * a), sp.sqrt(sp.Abs(discriminant))) for sign in (1, -1)]


def _positive(value: sp.Expr) -> sp.Expr:
    return (value + sp.Abs(value)) / 2


def _forms(expr: Any, x: sp.Symbol, cache: dict[Any, tuple[Form, ...]]) -> tuple[Form, ...]:
    """The forms of an expression that depend on x, free of the variables bound inside."""
    if expr in cache:
        return cache[expr]
    if isinstance(expr, Binder):
        inner = _smeared(expr.renamed(), x) if isinstance(expr, GaussianAverage | OutputSum) else ()
    else:
        own = [Form(f, 0) for f in switch_forms(expr)]
        name = type(expr).__name__
        if name in _SOFT:
            own.append(Form(expr.args[0], 1))
        elif name in _INTERVALS:
            own.extend(Form(end, 1) for end in expr.args)
        elif name == "logaddexp":
            own.append(Form(expr.args[0] - expr.args[1], 1))
        elif name == "normal_density":
            own.append(Form((expr.args[0] - expr.args[1]) / sp.sqrt(expr.args[2]), 1))
        inner = (*own, *(f for a in expr.args for f in _forms(a, x, cache)))
    result = tuple(dict.fromkeys(f for f in inner if f.expr.has_free(x)))
    cache[expr] = result
    return result


def _smeared(binder: Any, x: sp.Symbol) -> tuple[Form, ...]:
    y = binder.var
    within: dict[Form, None] = dict.fromkeys((*_forms(binder.body, x, {}), *_forms(binder.body, y, {})))
    outside = [f for f in within if not f.expr.has_free(y)]
    lines = [(f, line) for f in within if f.expr.has_free(y) and (line := _affine(f.expr, y)) is not None]
    if isinstance(binder, GaussianAverage):
        mean, variance = binder.mean, binder.variance
        smeared = []
        for form, (a, c) in lines:
            if c.has_free(x):
                smeared.append(Form((a / c + mean) / sp.sqrt(variance), 1))
            else:
                smeared.append(Form((a + c * mean) / sp.sqrt(form.soft + c**2 * variance), 1))
        moved = (*_forms(mean, x, {}), *_forms(variance, x, {}))  # a kink of the mean is one of the average
        return (*outside, *smeared, *moved)
    ends = [] if binder.outputs.is_iterable else [binder.outputs.inf, binder.outputs.sup]
    lines += [(Form(y - end, 0), (-end, sp.S.One)) for end in ends if end.is_finite]
    crossings = []
    for k, (first, (a, c)) in enumerate(lines):
        for second, (b, d) in lines[k + 1 :]:
            spread = sp.sqrt(first.soft / c**2 + second.soft / d**2)
            soft = max(first.soft, second.soft)
            crossings.append(Form((a / c - b / d) / (spread if soft else sp.S.One), soft))
    return (*outside, *crossings)
