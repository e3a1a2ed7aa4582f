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

import sympy as sp

from replica.action import Q_HAT, MatrixFunction, Q, nodes_of
from replica.ansatz import FullRSB
from replica.derivation import Comparison, Kind, Printed, Rule
from replica.expr.average import GaussianAverage
from replica.expr.binder import evaluate_inside
from replica.expr.parisi import Flow, OverlapIntegral, steps
from replica.expr.recursion import LogMoment
from replica.expr.replica_limit import replica_limit
from replica.expr.stable import log2cosh
from replica.field_action import ISING, SpinSum
from replica.full_checks import LOWEST, PROBE, StepPoint, quadratic_level, step_points, values_of, with_order
from replica.overlap_function import ORDER
from replica.symbols import beta, n, q, q_hat

FIELD = sp.Symbol("w", real=True)
SHARED = sp.Symbol("w_0", real=True)
CONJUGATE = sp.Function(q_hat.name, nonnegative=True)
"""The entry of Q_hat at the place of the overlap q."""


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
                at = values_of(explicit)
                integrals = point.put(total.replace(CONJUGATE, lambda t: PROBE.subs(q, t)).doit())
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
        return point.matrix(matrix.diagonal, matrix.entry.replace(CONJUGATE, lambda t: PROBE.subs(q, t)))

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
    at = values_of(node.args[1])
    flow = nodes_of(result, Flow)[0]
    for point in step_points():
        explicit = SpinSum(_Written(point.matrix(0, PROBE)), *(a.subs(at) for a in node.args[1:]))
        signs = sp.log(explicit.subs(n, point.sizes[0]).explicit())
        nested = result.replace(lambda e: isinstance(e, Flow), lambda e, point=point: point.nest(e, PROBE))
        nested = point.put(nested.replace(CONJUGATE, lambda t: PROBE.subs(q, t))).subs(at)
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
    curvature, shift, _ = quadratic_level()
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
    return replica_limit(sp.expand_mul(expr, deep=False), n)


def _check_n_to_zero(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Central differences in n for a step function, with w/2 in place of phi."""
    point = StepPoint(
        (1, sp.Rational(1, 3), sp.Rational(2, 3)), (sp.Rational(1, 5), sp.Rational(2, 5), sp.Rational(3, 4))
    )

    def put(expr: sp.Expr) -> sp.Expr:
        known = expr.replace(lambda e: isinstance(e, Flow), lambda e: e.field / 2)
        known = known.replace(CONJUGATE, lambda t: PROBE.subs(q, t)).doit()
        known = with_order(known, point.order).subs(LOWEST, point.overlaps[0])
        return evaluate_inside(known.subs(values_of(known)))

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
    at = values_of(value.subs(q, 0) + beta)
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
