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
from replica.expr.logsum import logaddexp
from replica.expr.polynomials import polynomial_coefficients
from replica.expr.stable import log2cosh, log_ndtr, shifted_log_ndtr

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
    for form in dict.fromkeys(f for body in bodies for f in _forms(_unshifted(body), x, {})):
        for centre, width in _crossings(form.expr, x):
            found[Switch(centre, width if form.soft else sp.S.Zero)] = None
    return tuple(sorted(found, key=lambda s: s.width == 0))


def decay_scales(bodies: list[sp.Expr], y: sp.Symbol) -> tuple[Switch, ...]:
    """Places and scales of the exponentials exp(a + b |c + d y|) and exp(a + b y) of a body."""
    found: dict[Switch, None] = {}
    for body in bodies:
        for node in sp.preorder_traversal(_unshifted(body)):
            if isinstance(node, sp.exp) and node.has_free(y):
                plain = node.args[0].replace(sp.Abs, lambda inner: inner)
                line = _affine(plain, y)
                if line is not None:
                    found[Switch(-line[0] / line[1], 1 / sp.Abs(line[1]))] = None
    return tuple(found)


def _unshifted(body: sp.Expr) -> sp.Expr:
    return body.replace(shifted_log_ndtr, lambda u, above, _: log_ndtr(u) + above)


def _affine(form: Any, x: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """(a, b), b != 0, of the part of the form that is polynomial in x, if that is affine: logarithms beside
    it bend the switch, they do not move it far.
    """
    terms = [t for t in sp.Add.make_args(form) if polynomial_coefficients(t, x) is not None]
    coefficients = polynomial_coefficients(sp.Add(*terms), x) or {}
    if max(coefficients, default=0) != 1:
        return None
    return coefficients.get(0, sp.S.Zero), coefficients[1]


def _crossings(form: Any, x: sp.Symbol) -> list[Switch]:
    """Where a form is zero, and the width of its switch there, each log of a sum taken for one of its terms.

    Where another term is larger by d, nothing but a part e^(-d) of the body switches: the width grows by e^d.
    """
    found = []
    for plain, lacks in _branches(form, x):
        line = _affine(plain, x)
        zeros = _parabola(plain, x) if line is None else [(-line[0] / line[1], sp.Abs(line[1]))]
        for centre, slope in zeros:
            lack = sp.Add(*(_positive(gap.subs(x, centre)) for gap in lacks))
            found.append(Switch(centre, sp.exp(lack) / slope))
    return found


def _branches(form: Any, x: sp.Symbol) -> list[tuple[sp.Expr, tuple[sp.Expr, ...]]]:
    """The form with every logaddexp(a, b), and log2cosh(u) = logaddexp(u, -u), replaced by one of the two, in
    all ways, and by how much the other term of each is larger.
    """
    nodes = (n for n in sp.preorder_traversal(form) if isinstance(n, log2cosh | logaddexp) and n.has_free(x))
    node = next(nodes, None)
    if node is None:
        return [(form, ())]
    pair = node.args if isinstance(node, logaddexp) else (node.args[0], -node.args[0])
    return [
        (plain, (other - term, *lacks))
        for term, other in (pair, pair[::-1])
        for plain, lacks in _branches(form.xreplace({node: term}), x)
    ]


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
