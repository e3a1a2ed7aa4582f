r"""The rules of full replica symmetry breaking, for spins with Gaussian energies.

The ansatz has a function x(q) in place of overlaps and sizes of blocks (``replica.overlap_function``).  At an
integer number of replicas and for step functions every rule here is checked against explicit matrices and
sums over all signs; continuous functions are limits of step functions, and the functional is continuous in
int |x - x'| dq.

G. Parisi, J. Phys. A 13 (1980) 1101; M. Mezard, G. Parisi, M. A. Virasoro, Spin Glass Theory and Beyond
(1987), chapter III; F. Guerra, Commun. Math. Phys. 233 (2003) 1 (continuity, and the bound for every x); A.
Crisanti, H.-J. Sommers, Z. Phys. B 87 (1992) 341 (spherical).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp

from replica.action import Q_HAT, MatrixFunction, Q, nodes_of
from replica.ansatz import FullRSB
from replica.derivation import Comparison, Derivation, Kind, Printed, Rule
from replica.expr.average import GaussianAverage
from replica.expr.binder import evaluate_inside
from replica.expr.parisi import Flow, FlowAverage, OverlapIntegral, Variation, steps, thin_level, varied
from replica.expr.recursion import LogMoment, Tilted
from replica.expr.replica_limit import replica_limit
from replica.expr.stable import log2cosh
from replica.field_action import ISING, SpinSum
from replica.overlap_function import ORDER
from replica.overlaps import ParisiMatrix
from replica.symbols import beta, n, q, q_hat

FIELD = sp.Symbol("w", real=True)
SHARED = sp.Symbol("w_0", real=True)
(LOWEST,) = FullRSB().overlaps(q)
CONJUGATE = sp.Function(q_hat.name, nonnegative=True)
"""The entry of Q_hat at the place of the overlap q."""


# --- step functions, on which everything is checked ---------------------------------------------------------


@dataclass(frozen=True)
class StepPoint:
    """Numbers for a step function: n, sizes of blocks, overlaps."""

    sizes: tuple[int, ...]
    overlaps: tuple[sp.Rational, ...]

    @property
    def order(self) -> sp.Expr:
        """x(q) above the smallest overlap."""
        return steps(q, self.overlaps[1:], (*self.sizes[1:], 1))

    def matrix(self, diagonal: Any, entry: Any) -> sp.Matrix:
        """The explicit matrix with entries e(q)."""
        entries = [sp.sympify(entry).subs(q, o) for o in self.overlaps]
        return ParisiMatrix(self.sizes[0], diagonal, entries, self.sizes[1:]).explicit()

    def put(self, expr: sp.Expr) -> sp.Expr:
        """An expression for this step function."""
        return with_order(expr, self.order).subs({n: self.sizes[0], LOWEST: self.overlaps[0]})

    def nest(self, flow: Flow, entry: Any) -> sp.Expr:
        """The flow from the smallest overlap on, as nested levels; e(q) is the variance up to q."""
        levels = [sp.sympify(entry).subs(q, o) for o in (*self.overlaps, 1)]
        variances = tuple(b - a for a, b in pairwise(levels))
        return flow.on_steps(self.overlaps[1:], variances, (*self.sizes[1:], 1))


def step_points() -> Iterator[StepPoint]:
    """One and two steps, at few enough replicas to sum over all signs."""
    yield StepPoint((4, 2), (sp.Rational(1, 5), sp.Rational(3, 5)))
    yield StepPoint((6, 3), (sp.Rational(1, 7), sp.Rational(4, 5)))
    yield StepPoint((8, 4, 2), (sp.Rational(1, 5), sp.Rational(2, 5), sp.Rational(3, 4)))


def with_order(expr: Any, order: sp.Expr) -> sp.Expr:
    """Another function in place of x(q), an expression in q; also in functions inside integrals."""
    return expr.replace(lambda e: isinstance(e, ORDER), lambda e: order.subs(q, e.args[0]))


_PROBE = q**2 / 3 + q / 5
"""A conjugate for checks: it grows with q."""


def _values(expr: sp.Expr) -> dict[sp.Symbol, sp.Rational]:
    free = sorted(expr.free_symbols - {n, LOWEST}, key=str)
    return {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(free)}


# --- the ansatz ---------------------------------------------------------------------------------------------


def insert_function(kind: sp.Symbol) -> Rule:
    """The matrices of the ansatz in place of their symbols; only Ising spins have conjugates."""
    matrices = {Q: FullRSB().matrix(n, 1, q)}
    if kind == ISING:
        matrices[Q_HAT] = FullRSB().matrix(n, 0, q, CONJUGATE(q))

    def apply(expr: sp.Expr) -> sp.Expr:
        summed = expr.replace(
            lambda e: isinstance(e, MatrixFunction), lambda e: e.total(*(matrices[m] for m in e.matrices))
        )
        return summed.xreplace(matrices)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """Every sum for step functions, entry by entry of explicit matrices; and that the result has it."""
        comparisons = []
        found = before
        for node in nodes_of(before, MatrixFunction):
            total = node.total(*(matrices[m] for m in node.matrices))
            found = found.xreplace({node: total})
            for point in step_points():
                explicit = node.explicit(*(_explicit(point, m) for m in node.matrices))
                at = _values(explicit)
                integrals = point.put(total.replace(CONJUGATE, lambda t: _PROBE.subs(q, t)).doit())
                comparisons.append(
                    Comparison(
                        f"sum over entries at n = {point.sizes[0]}",
                        sp.N(explicit.subs(at), 15),
                        sp.N(integrals.subs(at), 15),
                        1e-12,
                    )
                )
        rest = sp.expand(found.xreplace(matrices) - after)
        return (*comparisons, Comparison("the result", rest, sp.S.Zero, 0))

    def _explicit(point: StepPoint, symbol: sp.Symbol) -> sp.Matrix:
        matrix = matrices[symbol]
        return point.matrix(matrix.diagonal, matrix.entry.replace(CONJUGATE, lambda t: _PROBE.subs(q, t)))

    names: list[tuple[sp.Basic, str]] = [
        (ORDER(q), "number of replicas that overlap with a given one by more than q"),
        (LOWEST, "smallest overlap"),
    ]
    if kind == ISING:
        names.append((CONJUGATE(q), "conjugate of the overlap q"))
    return Rule(
        "full replica symmetry breaking",
        Kind.ANSATZ,
        apply,
        "blocks inside blocks, infinitely many times: sums over entries by parts, int x(q) f'(q) dq",
        check,
        tuple(names),
    )


# --- one spin -----------------------------------------------------------------------------------------------


def _flow(node: SpinSum) -> sp.Expr:
    """The logarithm of the sum over a spin's replicas."""
    matrix, field, size, spread = node.args
    entry, w = matrix.entry, FIELD
    levels = Flow(sp.Tuple(log2cosh(w), entry.diff(q), matrix.order), q, w, matrix.lowest, SHARED, 0)
    law = (SHARED, field, entry.subs(q, matrix.lowest) + spread)
    return (
        sp.log(GaussianAverage(sp.exp(size * levels), *law)) - size * (entry.subs(q, 1) - matrix.diagonal) / 2
    )


def _site_flow(expr: sp.Expr) -> sp.Expr:
    return expr.replace(
        lambda e: isinstance(e, sp.log) and isinstance(e.args[0], SpinSum), lambda e: _flow(e.args[0])
    )


def _check_site_flow(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Step functions: the sum over all signs of the replicas.  Smooth ones: the equation of the flow on
    quadratic functions of the field, which it keeps, against a recursion of many thin levels.
    """
    (node,) = nodes_of(before, SpinSum)
    result = _flow(node)
    around = sp.expand(before.xreplace({sp.log(node): result}) - after)
    comparisons = [Comparison("what surrounds it", around, sp.S.Zero, 0)]
    at = _values(node.args[1])
    flow = nodes_of(result, Flow)[0]
    for point in step_points():
        explicit = SpinSum(_Written(point.matrix(0, _PROBE)), *(a.subs(at) for a in node.args[1:]))
        signs = sp.log(explicit.subs(n, point.sizes[0]).explicit())
        nested = result.replace(lambda e: isinstance(e, Flow), lambda e, point=point: point.nest(e, _PROBE))
        nested = point.put(nested.replace(CONJUGATE, lambda t: _PROBE.subs(q, t))).subs(at)
        nested = nested.replace(log2cosh, lambda u: sp.log(sp.exp(u) + sp.exp(-u)))
        nested = nested.replace(lambda e: isinstance(e, LogMoment), lambda e: e.unfold())
        nested = nested.replace(lambda e: isinstance(e, GaussianAverage), _expanded)
        comparisons.append(Comparison(f"n = {point.sizes[0]}", sp.N(signs, 15), sp.N(nested, 15), 1e-12))
    return (*comparisons, *_check_thin_levels(flow))


class _Written(sp.Basic):
    """An explicit matrix where one of a structure is expected."""

    def __new__(cls, matrix: sp.Matrix) -> _Written:
        return sp.Basic.__new__(cls, sp.ImmutableMatrix(matrix))

    def explicit(self) -> sp.Matrix:
        """Itself."""
        return self.args[0]


def _expanded(average: GaussianAverage) -> sp.Expr:
    return evaluate_inside(average.func(sp.expand(average.body), *average.args[1:]))


THIN = 48
"""Levels of the recursion that a flow is compared with; twice as many for Richardson's extrapolation."""


def _check_thin_levels(flow: Flow) -> tuple[Comparison, ...]:
    """phi = A(q) w^2/2 + B(q) with 1/A = 1/A(1) - int_q^1 rate x solves the equation for x = q/2, rate = 1; a
    recursion of k levels tends to it as 1/k.
    """
    w = flow.bound_symbols[1]
    end = sp.Rational(1, 3)
    inverse = 1 / end - (1 - q**2) / 4
    curvature = 1 / inverse
    constant = sp.Function("B")(q)
    phi = curvature * w**2 / 2 + constant
    left, right = (
        e.replace(lambda f: f.func == sp.Function(r"\varphi", real=True), lambda f: phi).doit()
        for e in Flow(sp.Tuple(end * w**2 / 2, 1, q / 2), *flow.args[1:]).equation()
    )
    residual = sp.expand(left - right)
    quadratic = sp.cancel(residual.coeff(w, 2))
    shift = sp.solve(residual.coeff(w, 0), constant.diff(q))[0]
    start, field = sp.Rational(1, 5), sp.Rational(7, 10)
    with_field = curvature * field**2 / 2
    total = sp.Float(-sp.Integral(shift, (q, start, 1)).evalf(15)) + with_field.subs(q, start)
    rough, fine = (_thin_recursion(end, start, field, count) for count in (THIN, 2 * THIN))
    return (
        Comparison("the equation on quadratic functions", quadratic, sp.S.Zero, 0),
        Comparison("many thin levels", sp.Float(2 * fine - rough), sp.N(total, 15), 1e-6),
    )


def _thin_recursion(end: sp.Rational, start: sp.Rational, field: sp.Rational, count: int) -> float:
    """From q = 1 down to ``start`` in equal steps: each a level of a quadratic function, in closed form."""
    curvature, shift, _ = _quadratic_level()
    width = float(1 - start) / count
    top, total = float(end), 0.0
    for i in reversed(range(count)):
        size = (float(start) + (i + 0.5) * width) / 2
        total += shift(top, width, size)
        top = curvature(top, width, size)
    return total + top * float(field) ** 2 / 2


site_flow = Rule(
    "Hubbard-Stratonovich at every level; thin levels",
    Kind.LIMIT,
    _site_flow,
    "given the field that it shares with replicas of overlap q a replica has the free entropy phi(q, w); a "
    "level of variance dv adds (phi'' + x phi'^2) dv/2, by Price's theorem",
    _check_site_flow,
    ((SHARED, "field on a spin that all replicas share, over the temperature"),),
    lambda before, after: Printed(after, flow_definitions(after)),
)


def flow_definitions(expr: sp.Expr) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """The equation of every flow in an expression and its value at q = 1."""
    found: dict[sp.Expr, sp.Expr] = {}
    for flow in nodes_of(expr, Flow):
        left, right = flow.equation()
        phi = left.expr
        found[left] = right
        found[phi.subs(phi.args[0], 1)] = flow.terminal
    return tuple(found.items())


# --- n -> 0 -------------------------------------------------------------------------------------------------


def _n_to_zero(expr: sp.Expr) -> sp.Expr:
    return replica_limit(sp.expand(expr), n)


def _check_n_to_zero(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Central differences in n for a step function, with w/2 in place of phi."""
    point = StepPoint(
        (1, sp.Rational(1, 3), sp.Rational(2, 3)), (sp.Rational(1, 5), sp.Rational(2, 5), sp.Rational(3, 4))
    )

    def put(expr: sp.Expr) -> sp.Expr:
        known = expr.replace(lambda e: isinstance(e, Flow), lambda e: e.field / 2)
        known = known.replace(CONJUGATE, lambda t: _PROBE.subs(q, t)).doit()
        known = with_order(known, point.order).subs(LOWEST, point.overlaps[0])
        return evaluate_inside(known.subs(_values(known)))

    left, right = put(before), put(after)
    step = sp.Rational(1, 1000)
    near, far = (
        (sp.N(left.subs(n, k * step) - left.subs(n, -k * step), 25)) / (2 * k * step) for k in (1, 2)
    )
    return (Comparison("d/dn at n = 0", sp.N((4 * near - far) / 3, 15), sp.N(right, 15), 1e-8),)


n_to_zero = Rule(
    "n -> 0",
    Kind.LIMIT,
    _n_to_zero,
    "d/dn at n = 0 of log E[X^n] = E[log X]; x(q) becomes a function with values between 0 and 1",
    _check_n_to_zero,
    shown=lambda before, after: Printed(after, flow_definitions(after)),
)


# --- conjugates ---------------------------------------------------------------------------------------------


def _coupling(expr: sp.Expr) -> sp.Expr:
    """What multiplies x(q) in the integrals."""
    integrals = [t for t in sp.Add.make_args(sp.expand(expr)) if t.has(OverlapIntegral) and not t.has(Flow)]
    total = sp.S.Zero
    for term in integrals:
        (node,) = nodes_of(term, OverlapIntegral)
        total += sp.expand(term.xreplace({node: node.body}))
    return sp.expand(total).coeff(ORDER(q))


def _eliminate_conjugate(expr: sp.Expr) -> sp.Expr:
    value = conjugate_function(expr)
    inserted = expr.replace(CONJUGATE, lambda t: value.subs(q, t))
    inserted = inserted.replace(lambda e: isinstance(e, sp.Derivative), lambda e: e.doit())
    terms = sp.expand(inserted)
    plain = [t for t in sp.Add.make_args(terms) if not t.has(Flow, GaussianAverage)]
    return _merged(sp.Add(*plain)) + terms - sp.Add(*plain)


def conjugate_function(expr: sp.Expr) -> sp.Expr:
    """q_hat(q): the overlap at the place x changes by dq at fixed q_hat, and the coupling does not."""
    conjugate = CONJUGATE(q)
    slope = _coupling(expr).subs(conjugate.diff(q), 0)
    return sp.cancel(-slope.subs(conjugate, 0) / slope.coeff(conjugate))


def _merged(expr: sp.Expr) -> sp.Expr:
    """One integral for all with the same ends."""
    total, rest, ends = sp.S.Zero, sp.S.Zero, None
    for term in sp.Add.make_args(expr):
        nodes = nodes_of(term, OverlapIntegral)
        if len(nodes) == 1 and (ends is None or nodes[0].args[1:] == ends):
            ends = nodes[0].args[1:]
            total += term.xreplace({nodes[0]: nodes[0].body})
        else:
            rest += term
    if ends is None:
        return rest
    factor, body = sp.factor_terms(sp.factor(sp.expand(total))).as_independent(ends[0], as_Add=False)
    return rest + factor * OverlapIntegral(body, *ends)


def _check_eliminate(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Step functions: the coupling is stationary in every overlap at fixed conjugates, by differences."""
    value = conjugate_function(before)
    at = _values(value.subs(q, 0) + beta)
    sizes = (1, sp.Rational(1, 3), sp.Rational(2, 3))
    overlaps = (sp.Rational(1, 5), sp.Rational(2, 5), sp.Rational(3, 4))
    kept = [value.subs(q, o).subs(at) for o in overlaps]
    # by parts: with sizes m_i the coupling is sum_i (m_i - m_(i+1)) G(q_i, q_hat_i)
    slot = sp.Dummy("c")
    local = sp.expand(_coupling(before).subs(CONJUGATE(q).diff(q), 0).subs(CONJUGATE(q), slot)).subs(at)
    primitive = sp.expand(local).integrate(q)
    step = sp.Rational(1, 10**6)
    comparisons = []
    for o, conjugate in zip(overlaps, kept, strict=True):
        up, down = (primitive.subs({slot: conjugate, q: o + k * step}) for k in (1, -1))
        comparisons.append(
            Comparison(f"stationary at q = {o}", sp.N((up - down) / (2 * step), 15), sp.S.Zero, 1e-8)
        )
    put = [
        with_order(
            sp.Add(*(t for t in sp.Add.make_args(sp.expand(e)) if not t.has(Flow))),
            steps(q, overlaps[1:], (*sizes[1:], 1)),
        )
        .replace(CONJUGATE, lambda t: value.subs(q, t))
        .doit(deep=True)
        .subs({LOWEST: overlaps[0], **at})
        for e in (before, after)
    ]
    return (*comparisons, Comparison("coupling", *(sp.N(e, 15) for e in put), 1e-12))


eliminate_conjugate = Rule(
    "stationarity in the overlaps",
    Kind.IDENTITY,
    _eliminate_conjugate,
    "dPhi/dq = 0 at fixed x gives q_hat(q), which the coupling holds linearly; true at the saddle point",
    _check_eliminate,
    shown=lambda before, after: Printed(after, flow_definitions(after)),
)


# --- variation of x -----------------------------------------------------------------------------------------


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
    at = _values(sp.Add(*(t for t in sp.Add.make_args(expr) if not t.has(Flow))))
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
        for place, weight in _gauss(*edges[1:3])
    ]
    total = sp.Add(*(weight * sp.N(value, 20) for weight, value in inside))
    comparisons.append(Comparison("terms without the flow", (up - down) / (2 * step), total, 1e-7))
    return (*comparisons, *([_check_flow_variation(edges)] if expr.has(Flow) else []))


def _gauss(low: Any, high: Any) -> list[tuple[sp.Expr, sp.Expr]]:
    """Nodes and weights of Gauss's rule with 6 nodes on an interval."""
    nodes, weights = np.polynomial.legendre.leggauss(6)
    half = (high - low) / 2
    return [(low + half * (1 + sp.Float(a)), half * sp.Float(b)) for a, b in zip(nodes, weights, strict=True)]


def _check_flow_variation(edges: tuple[Any, ...]) -> Comparison:
    """On phi(1, w) = w^2/6 with rate 1 and three steps, from a field at the first edge, where levels and
    their weighted averages are closed forms: phi'^2 = A^2 w^2.
    """
    end, field, sizes = 1 / 3, 0.7, (0.25, 0.4, 1.0)
    first, second, third, last = map(float, edges)
    curvature, shift, square = _quadratic_level()

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
    for place, weight in _gauss(*edges[1:3]):
        a = curvature(top, third - float(place), sizes[1])
        spread = square(start, a, float(place) - second, sizes[1])
        gained += float(weight) * gain(a * np.sqrt(spread))
    step = 1e-4
    found = (total(sizes[1] + step) - total(sizes[1] - step)) / (2 * step)
    return Comparison("the flow", sp.Float(found), sp.Float(gained), 1e-7)


def _quadratic_level() -> tuple[Any, Any, Any]:
    """One level with a w^2/2 inside, variance v and size m: curvature and constant of its free entropy, and
    the weighted average of u^2 for w^2 = s outside.
    """
    u, a, v, m, w, s = sp.symbols("u a v m w s", positive=True)
    level = LogMoment(a * u**2 / 2, u, w, v, m).unfold()
    closed = sp.expand_log(evaluate_inside(level), force=True)
    squared = evaluate_inside(Tilted(sp.Tuple(u**2, a * u**2 / 2), u, w, v, m).unfold())
    return (
        sp.lambdify((a, v, m), closed.diff(w, 2)),
        sp.lambdify((a, v, m), closed.subs(w, 0)),
        sp.lambdify((s, a, v, m), squared.subs(w, sp.sqrt(s))),
    )


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
    at = {s: v for s, v in _values(before + after).items() if s not in (q, sp.Symbol("r", nonnegative=True))}
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


def response(slope: sp.Expr) -> Derivation:
    """chi(q) = int_q^1 x where x changes, from the derivative of the stationarity along the support."""

    def apply(node: OverlapIntegral) -> sp.Expr:
        slot = sp.Dummy("chi", positive=True)
        rest, inverse = sp.expand(slope.xreplace({node: slot})).as_independent(slot, as_Add=True)
        return 1 / sp.sqrt(sp.factor(-rest / sp.cancel(inverse * slot**2)))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """Inserted in the equation."""
        value = slope.xreplace({before: after})
        return (Comparison("the equation", sp.N(value.subs(_values(value)), 15), sp.S.Zero, 1e-12),)

    (node,) = nodes_of(slope, OverlapIntegral)
    rule = Rule("solved for chi", Kind.IDENTITY, apply, "the derivative along the support vanishes", check)
    return Derivation.start("Response", CHI(q), node).then(rule)


def _check_minus_slope(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Central differences."""
    chi = -before.expr
    at, step = _values(chi + after), sp.Rational(1, 10**6)
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


# --- zero temperature ---------------------------------------------------------------------------------------

COLD = sp.Function("y", nonnegative=True)
"""x(q)/T."""


def _leading(expr: sp.Expr) -> sp.Expr:
    """The limit of a polynomial in beta and 1/beta."""
    found = sp.S.Zero
    for term in sp.Add.make_args(sp.expand(expr)):
        factor, power = term.as_independent(beta, as_Add=False)
        exponent = sp.S.Zero if power == 1 else power.as_base_exp()[1]
        if exponent > 0:
            raise ValueError(f"{expr} diverges at zero temperature")
        found += factor if exponent == 0 else 0
    return found


def _zero_temperature(expr: sp.Expr) -> sp.Expr:
    total = sp.S.Zero
    for term in sp.Add.make_args(sp.expand_mul(beta * expr, deep=False)):
        if isinstance(term, GaussianAverage):
            flow = term.body
            w = flow.bound_symbols[1]
            if flow.terminal != log2cosh(w):
                raise ValueError(f"no zero-temperature limit of {flow.terminal}")
            cold = sp.Tuple(sp.Abs(w), sp.factor(_leading(flow.rate / beta**2)), COLD(q))
            law = (_leading(term.mean / beta), sp.factor(_leading(term.variance / beta**2)))
            total += GaussianAverage(flow.func(cold, *flow.args[1:]), term.var, *law)
        else:
            scaled = term.replace(ORDER, lambda t: COLD(t) / beta)
            (node,) = nodes_of(scaled, OverlapIntegral)
            body = _leading(scaled.xreplace({node: node.body}) / beta)
            factor, rest = sp.factor(body).as_independent(node.var, as_Add=False)
            total += factor * node.func(rest, *node.args[1:])
    return total


def _check_zero_temperature(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Coupling and one level for y = 3/2 at a large beta; log 2cosh beta w over beta."""
    free = sp.expand_mul(beta * before, deep=False)
    at = _values(after) | {LOWEST: sp.Rational(1, 5)}
    size, large, w = sp.Rational(3, 2), sp.Integer(10) ** 8, sp.Rational(7, 10)

    def coupling(expr: sp.Expr) -> sp.Expr:
        return sp.Add(*(t for t in sp.Add.make_args(expr) if not t.has(Flow)))

    hot = with_order(coupling(free) / beta, size / beta).subs(at).subs(beta, large)
    cold = coupling(after).replace(COLD, lambda t: size + 0 * t).subs(at)
    comparisons = [
        Comparison("coupling", sp.N(hot, 20), sp.N(cold, 20), 1e-12),
        Comparison("one spin", sp.N(log2cosh(large * w) / large, 20), sp.Abs(w), 1e-8),
    ]
    flows = [nodes_of(e, Flow)[0] for e in (free, after)]
    inverse, q_low = sp.Integer(10) ** 6, at[LOWEST]
    variances = [flow.rate.subs(beta, inverse).as_poly(q).integrate() for flow in flows]
    variances = [v.eval(1) - v.eval(q_low) for v in variances]
    field = sp.Symbol("u", real=True)
    values = [
        evaluate_inside(LogMoment(sp.Abs(field), field, scale * w, v, size / scale).unfold()) / scale
        for scale, v in zip((inverse, sp.S.One), variances, strict=True)
    ]
    return (*comparisons, Comparison("one level", *(sp.N(v, 20) for v in values), 1e-10))


zero_temperature = Rule(
    "zero temperature",
    Kind.LIMIT,
    _zero_temperature,
    "beta -> infinity with y = beta x finite for q < 1; Phi/beta -> minus the energy",
    _check_zero_temperature,
    ((COLD(q), "x(q) over the temperature"),),
    lambda before, after: Printed(after, flow_definitions(after)),
)


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
