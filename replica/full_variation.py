r"""Where x changes under full replica symmetry breaking: the variation of the functional, the closed form of
spherical spins, the replicon.

H.-J. Sommers, W. Dupont, J. Phys. C 17 (1984) 5785 (the law of the field at every overlap); A. Crisanti,
H.-J. Sommers, Z. Phys. B 87 (1992) 341; A. Crisanti, L. Leuzzi, Phys. Rev. B 73 (2006) 014412 (spherical).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from replica.action import nodes_of
from replica.derivation import Comparison, Derivation, Kind, Printed, Rule
from replica.expr.parisi import Flow, FlowAverage, OverlapIntegral, Variation, steps, thin_level, varied
from replica.full_checks import LOWEST, StepPoint, gauss_rule, quadratic_level, values_of, with_order
from replica.full_rules import flow_definitions
from replica.overlap_function import ORDER
from replica.symbols import beta, q


def _vary(expr: Variation) -> sp.Expr:
    found = varied(*expr.args)
    place = expr.args[1].args[0]
    averages = nodes_of(found, FlowAverage)
    if not averages:
        return found
    (average,) = averages
    factor = sp.expand(found).coeff(average)
    return sp.factor(factor) * (average + sp.cancel((found - factor * average).expand() / factor)).subs(
        q, place
    )


def _check_vary(before: Variation, after: sp.Expr) -> tuple[Comparison, ...]:
    """The derivative in the value of one step, by differences, against the integral over the step."""
    expr = before.args[0]
    comparisons = [Comparison("the rule", sp.expand(_vary(before) - after), sp.S.Zero, 0)]
    at = values_of(sp.Add(*(t for t in sp.Add.make_args(expr) if not t.has(Flow))))
    at[beta] = sp.Rational(3, 5)
    edges = (sp.Rational(1, 5), sp.Rational(1, 2), sp.Rational(4, 5), sp.S.One)
    plain, point = sp.S.Zero, {LOWEST: edges[0]}
    for term in sp.Add.make_args(expr):
        plain += sp.S.Zero if term.has(Flow) else term
    local = after.replace(lambda e: isinstance(e, FlowAverage), lambda e: sp.S.Zero)
    size, step = sp.Rational(2, 5), sp.Rational(1, 10**4)

    def order(middle: Any) -> sp.Expr:
        return steps(q, edges[1:3], (sp.Rational(1, 4), middle, sp.S.One))

    up, down = (sp.N(with_order(plain, order(size + k * step)).subs(point).subs(at), 20) for k in (1, -1))
    inside = [
        (weight, with_order(local.subs(q, place), order(size)).subs(point).subs(at))
        for place, weight in gauss_rule(*edges[1:3])
    ]
    total = sp.Add(*(weight * sp.N(value, 20) for weight, value in inside))
    comparisons.append(Comparison("terms without the flow", (up - down) / (2 * step), total, 1e-7))
    return (*comparisons, *([_check_flow_variation(edges)] if expr.has(Flow) else []))


def _check_flow_variation(edges: tuple[Any, ...]) -> Comparison:
    """On phi(1, w) = w^2/6 with rate 1 and three steps, from a field at the first edge, where levels and
    their weighted averages are closed forms: phi'^2 = A^2 w^2.
    """
    end, field, sizes = 1 / 3, 0.7, (0.25, 0.4, 1.0)
    first, second, third, last = map(float, edges)
    curvature, shift, square = quadratic_level()

    def total(middle: float) -> float:
        constant, a = 0.0, end
        for width, x in ((last - third, sizes[2]), (third - second, middle), (second - first, sizes[0])):
            constant += shift(a, width, x)
            a = curvature(a, width, x)
        return constant + a * field**2 / 2

    w, slope, m = sp.symbols("w g m", positive=True)
    gain = sp.lambdify(slope, thin_level(slope * w, w, m).diff(m))
    top = curvature(end, last - third, sizes[2])
    start = square(field**2, curvature(top, third - second, sizes[1]), second - first, sizes[0])
    gained = 0.0
    for place, weight in gauss_rule(*edges[1:3]):
        a = curvature(top, third - float(place), sizes[1])
        spread = square(start, a, float(place) - second, sizes[1])
        gained += float(weight) * gain(a * np.sqrt(spread))
    step = 1e-4
    found = (total(sizes[1] + step) - total(sizes[1] - step)) / (2 * step)
    return Comparison("the flow", sp.Float(found), sp.Float(gained), 1e-7)


vary = Rule(
    "variation of x(q)",
    Kind.IDENTITY,
    _vary,
    "levels inside q see the field at q: x(q) weighs phi'^2 there, from the derivative of a thin level",
    _check_vary,
    shown=lambda before, after: Printed(
        after, tuple(a.equation() for a in nodes_of(after, FlowAverage)) + flow_definitions(after)
    ),
)


def variation(phi: sp.Expr, name: sp.Expr) -> Derivation:
    """d Phi/dx(q), which vanishes where x changes."""
    return Derivation.start("Stationarity in x(q)", Variation(name, ORDER(q)), Variation(phi, ORDER(q))).then(
        vary
    )


def overlap_update(slope: sp.Expr) -> sp.Expr:
    """Q as the average over fields that it equals where x changes."""
    (average,) = nodes_of(slope, FlowAverage)
    factor = sp.expand(slope).coeff(average)
    rest = sp.cancel(sp.expand(slope - factor * average) / factor)
    if rest != -q:
        raise ValueError(f"the overlap is not alone in {slope}")
    return average


# --- spherical spins: x in closed form ----------------------------------------------------------------------


def _along_the_support(expr: sp.Expr) -> sp.Expr:
    return sp.expand(expr.diff(q))


def _check_along(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Differences in q for a step function."""
    point = StepPoint(
        (1, sp.Rational(1, 3), sp.Rational(2, 3)), (sp.Rational(1, 5), sp.Rational(2, 5), sp.Rational(3, 4))
    )
    at = {
        s: v for s, v in values_of(before + after).items() if s not in (q, sp.Symbol("r", nonnegative=True))
    }
    place, step = sp.Rational(11, 20), sp.Rational(1, 10**5)

    def value(expr: sp.Expr, where: sp.Expr) -> sp.Expr:
        return sp.N(with_order(expr.subs(q, where), point.order).subs(LOWEST, point.overlaps[0]).subs(at), 25)

    left = (value(before, place + step) - value(before, place - step)) / (2 * step)
    return (Comparison("by differences", left, value(after, place), 1e-8),)


along_the_support = Rule(
    "along the support",
    Kind.IDENTITY,
    _along_the_support,
    "what vanishes on an interval of q has a vanishing derivative there",
    _check_along,
)

CHI = sp.Function(r"\chi", positive=True)
LARGEST = sp.Symbol("q_max", nonnegative=True)
"""Where x reaches 1."""


def response(slope: sp.Expr) -> Derivation:
    """chi(q) = int_q^1 x where x changes, from the derivative of the stationarity along the support."""

    def apply(node: OverlapIntegral) -> sp.Expr:
        slot = sp.Dummy("chi", positive=True)
        rest, inverse = sp.expand(slope.xreplace({node: slot})).as_independent(slot, as_Add=True)
        return 1 / sp.sqrt(sp.factor(-rest / sp.cancel(inverse * slot**2)))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """Inserted in the equation."""
        value = slope.xreplace({before: after})
        return (Comparison("the equation", sp.N(value.subs(values_of(value)), 15), sp.S.Zero, 1e-12),)

    (node,) = nodes_of(slope, OverlapIntegral)
    rule = Rule("solved for chi", Kind.IDENTITY, apply, "the derivative along the support vanishes", check)
    return Derivation.start("Response", CHI(q), node).then(rule)


def ends(slope: sp.Expr, chi: sp.Expr) -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
    """What vanishes at q_min, the slope dPhi/dx there, and at q_max, from where on x = 1: chi = 1 - q_max."""

    def known(node: OverlapIntegral) -> sp.Expr:
        return sp.S.Zero if node.lower == node.upper else chi.subs(q, node.lower)

    first = slope.subs(q, LOWEST).replace(lambda e: isinstance(e, OverlapIntegral), known)
    return (LOWEST, sp.factor(sp.cancel(first))), (LARGEST, chi.subs(q, LARGEST) - (1 - LARGEST))


def _check_minus_slope(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Central differences."""
    chi = -before.expr
    at, step = values_of(chi + after), sp.Rational(1, 10**6)
    place = at.pop(q, sp.Rational(1, 2))
    up, down = (chi.subs(at).subs(q, place + k * step) for k in (1, -1))
    found = sp.N((down - up) / (2 * step), 15)
    return (Comparison("by differences", found, sp.N(after.subs(at).subs(q, place), 15), 1e-8),)


_MINUS_SLOPE = Rule(
    "differentiated",
    Kind.IDENTITY,
    lambda expr: sp.factor(sp.cancel(expr.doit())),
    "x(q) = -dchi/dq",
    _check_minus_slope,
)


def order_parameter(chi: sp.Expr) -> Derivation:
    """x(q) where it changes."""
    return Derivation.start("Order parameter", ORDER(q), sp.Derivative(-chi, q)).then(_MINUS_SLOPE)


# --- stability ----------------------------------------------------------------------------------------------


def replicon(model: Any) -> dict[str, sp.Expr]:
    """1 - beta^2 xi''(q) <phi''^2>, zero where x changes: marginal stability; phi'' is 1/chi for spherical
    spins through the spectrum of the overlaps, so that beta^2 xi'' chi^2 = 1 there.
    """
    saddle = model.saddle_point()
    curvature = beta**2 * model.covariance.diff(q, 2)
    if CHI(q) in saddle.unknowns:
        return {"replicon": 1 - curvature * saddle.update(CHI(q)) ** 2}
    update = saddle.update(q)
    flow = nodes_of(update.body, Flow)[0]
    second = flow.func(*flow.args[:-1], 2)
    return {"replicon": 1 - curvature * update.func(second**2, *update.args[1:])}
