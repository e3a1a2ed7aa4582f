"""The rules of empirical risk minimisation: from E[Z^n] of a Gibbs measure to its zero temperature.

Z is the integral over w of exp(-b risk(w)), b the inverse temperature; the teacher is replica 0.  Minus the
minimal risk per coordinate is lim (1/b) E log Z/d at b -> infinity, where the innermost averages become
minima: Moreau envelopes.  S. F. Edwards, P. W. Anderson, J. Phys. F 5 (1975) 965; M. Mezard, G. Parisi,
M. A. Virasoro, Spin Glass Theory and Beyond (1987); for this setting, B. Loureiro et al., NeurIPS 34 (2021)
18137, arXiv 2102.08127.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from replica import ansatz
from replica.action import Q_HAT, Q, nodes_of
from replica.derivation import Comparison, Kind, Rule
from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.replica_limit import replica_limit
from replica.ingredients.convex import U
from replica.risk_action import (
    ConjugateSum,
    Evidence,
    PlantedFields,
    R,
    R_hat,
    ReplicatedRisk,
    SignalMoment,
    b,
    h_0,
    w,
)
from replica.symbols import V, V_hat, alpha, h, m, m_hat, n, omega, q, q_hat, y

FIELD = sp.Symbol("B", real=True)

G = sp.Symbol("g", real=True)
F_OUT = sp.Function("f", real=True)(y, omega, V)
"""The output function (prox - omega)/V = -dM/domega, by name."""

Components = tuple[tuple[Any, Any, Any], ...]

_POINT = {
    alpha: sp.Rational(3, 2),
    m: sp.Rational(1, 2),
    q: sp.Rational(7, 10),
    V: sp.Rational(4, 5),
    m_hat: sp.Rational(6, 5),
    q_hat: sp.Rational(9, 10),
    V_hat: sp.Rational(7, 5),
    R: sp.Rational(11, 10),
    R_hat: sp.Rational(3, 5),
}


def point_for(*expressions: Any) -> dict[Any, Any]:
    """Values for the order parameters, and for whatever parameters the expressions have besides."""
    bound = {n, b, y, h, h_0, w, omega, FIELD, G, U}
    extra = sorted(
        set().union(*(e.free_symbols for e in expressions)) - set(_POINT) - bound, key=sp.default_sort_key
    )
    # below 1 (a sparsity, a ratio) and all different
    return _POINT | {s: sp.Rational(4 + k, 9 + k) for k, s in enumerate(extra)}


def coupling_terms(expr: sp.Expr) -> sp.Expr:
    """The terms without integrals."""
    return sp.Add(*(t for t in sp.Add.make_args(sp.expand_mul(expr)) if not t.has(Binder)))


def same(before: sp.Expr, after: sp.Expr) -> Comparison:
    """That the expressions around what was rewritten are the same."""
    return Comparison("what surrounds it", sp.expand(before - after), sp.S.Zero, 0)


# --- the average over the design ----------------------------------------------------------------------------


def _average_design(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: ReplicatedRisk) -> sp.Expr:
        density, loss, penalty = node.args[0]
        outputs, size, rate = node.parameters
        fields = PlantedFields(sp.Tuple(density, sp.exp(-b * loss)), h_0, h, Q, size)
        return (
            rate * sp.log(OutputSum(fields, y, outputs))
            + SignalMoment(sp.exp(-b * penalty), w, Q_HAT, size)
            - ConjugateSum(Q, Q_HAT)
        )

    return expr.replace(lambda e: isinstance(e, ReplicatedRisk), rewrite)


def _check_average_design(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """The fields of explicit vectors: covariance by contraction over the Gaussian rows, against the
    overlaps.
    """
    size = 3
    rows = [sp.Symbol(f"x{i}", real=True) for i in range(size)]
    vectors = [[sp.Rational(2 * i - a, a + 1) for i in range(size)] for a in range(3)]
    fields = [sp.Add(*(x * v for x, v in zip(rows, vector, strict=True))) for vector in vectors]
    comparisons = []
    for a, c in ((0, 0), (0, 1), (1, 2)):
        product = sp.expand(fields[a] * fields[c])
        for x in rows:
            product = sp.expand(GaussianAverage(product, x, 0, sp.Rational(1, size)).doit())
        overlap = sp.Add(*(u * v for u, v in zip(vectors[a], vectors[c], strict=True))) / size
        comparisons.append(Comparison(f"E[h_{a} h_{c}] against the overlap", product, overlap, 1e-14))
    return tuple(comparisons)


average_design = Rule(
    "average over the design; overlaps",
    Kind.LIMIT,
    _average_design,
    "Gaussian fields given the replicas; Laplace in Q_ab = w_a.w_b/d and its conjugate at d -> infinity",
    _check_average_design,
    ((Q, "overlap matrix of teacher and n replicas"), (Q_HAT, "its conjugate; an extremum is understood")),
)


def replica_symmetric(second_moment: sp.Expr) -> Rule:
    """Replicas alike: overlap m with the teacher, R with themselves, q with each other."""
    alike = ansatz.ReplicaSymmetric()
    return ansatz.insert(
        alike,
        {Q: alike.planted(second_moment, m, R, q), Q_HAT: alike.planted(0, m_hat, -R_hat, q_hat)},
        "exact for a convex risk: the Gibbs measure is log-concave",
        (
            (m, "overlap with the teacher"),
            (R, "squared norm per coordinate"),
            (q, "overlap of two replicas"),
            (R_hat, "minus the conjugate of R"),
        ),
    )


# --- replicas made independent ------------------------------------------------------------------------------


def _condition(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: PlantedFields) -> sp.Expr:
        _, weight = node.args[0]
        shared, own = node.covariance.levels()
        slope, variance = node.covariance.teacher_given_shared()
        single = GaussianAverage(weight, h, omega, own)
        teacher = Evidence(y, slope * omega, variance, 0)
        return GaussianAverage(teacher * single**node.size, omega, 0, shared)

    return expr.replace(lambda e: isinstance(e, PlantedFields), rewrite)


def teacher_fields(channel: Any) -> Rule:
    """The fields given the one that all replicas share."""

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        (node,), (total,) = nodes_of(before, PlantedFields), nodes_of(after, OutputSum)
        slot = sp.Dummy("rewritten")
        comparisons = [same(before.xreplace({node: slot}), after.xreplace({total.body: slot}))]
        density, _ = node.args[0]
        witness = node.func(sp.Tuple(density, sp.exp(-((y - h) ** 2) / 2)), *node.args[1:])
        outputs = total.outputs if isinstance(total.outputs, sp.FiniteSet) else (sp.Rational(7, 10),)
        at = point_for(before, density)
        for size in (1, 2):
            for value in outputs:
                here = at | {n: size, y: value}
                explicit = evaluate_inside(witness.subs(here).explicit())
                levels = with_evidence(_condition(witness), channel).subs(here)
                comparisons.append(
                    Comparison(
                        f"n = {size} at y = {value}, weight exp(-(y - h)^2/2)",
                        sp.N(explicit, 12),
                        sp.N(evaluate_inside(levels), 12),
                        1e-9,
                    )
                )
        return tuple(comparisons)

    return Rule(
        "shared field",
        Kind.IDENTITY,
        _condition,
        "replicas are independent given the field that they share; the teacher's field given it is Gaussian",
        check,
        (
            (omega, "the field that all replicas share"),
            (Evidence(y, omega, V, 0), "evidence of an output, E_{h ~ N(omega, V)} P_out(y|h)"),
        ),
    )


def with_evidence(expr: sp.Expr, channel: Any) -> sp.Expr:
    """Z_0 and its derivatives of a channel, in place of their name."""

    def rewrite(node: Evidence) -> sp.Expr:
        output, field, variance, order = node.args
        centre = sp.Dummy("omega", real=True)
        return channel.evidence(output, centre, variance).diff(centre, int(order)).subs(centre, field)

    return expr.replace(lambda e: isinstance(e, Evidence), rewrite)


def decouple_replicas(components: Components) -> Rule:
    """One Gaussian field instead of the interaction of the replicas of a weight."""

    def field_average(body: sp.Expr, conjugate: Any) -> sp.Expr:
        coupling, shared = conjugate.overlap, conjugate.levels()[0]
        return sp.Add(
            *(
                weight * GaussianAverage(body, FIELD, coupling * mean, shared + coupling**2 * variance)
                for weight, mean, variance in components
            )
        )

    def exponent(weight: sp.Expr, conjugate: Any) -> sp.Expr:
        return FIELD * weight + conjugate.levels()[1] * weight**2 / 2

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(node: SignalMoment) -> sp.Expr:
            conjugate, size = node.parameters
            single = OutputSum(node.body * sp.exp(exponent(w, conjugate)), w, sp.S.Reals)
            return sp.log(field_average(single**size, conjugate))

        return expr.replace(lambda e: isinstance(e, SignalMoment), rewrite)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """At given weights: the average over the teacher against that over the field."""
        (node,) = nodes_of(before, SignalMoment)
        at, s = point_for(node, *(sp.sympify(x) for c in components for x in c)), sp.Symbol("s", real=True)
        comparisons = []
        for weights in ((sp.Rational(2, 3),), (sp.Rational(1, 2), sp.Rational(-6, 5))):
            matrix = node.parameters[0].subs(n, len(weights))
            entries = matrix.explicit()
            pairs = sp.Add(
                *(
                    entries[i + 1, j + 1] * u * v / 2
                    for i, u in enumerate(weights)
                    for j, v in enumerate(weights)
                )
            )
            planted = sp.exp(matrix.overlap * s * sp.Add(*weights) + pairs)
            direct = sp.Add(*(p * GaussianAverage(planted, s, mu, v).doit() for p, mu, v in components))
            body = sp.exp(sp.expand(sp.Add(*(exponent(u, matrix) for u in weights))))
            decoupled = evaluate_inside(field_average(body, matrix))
            comparisons.append(
                Comparison(
                    f"{len(weights)} replicas", sp.N(direct.subs(at), 20), sp.N(decoupled.subs(at), 20), 1e-14
                )
            )
        return tuple(comparisons)

    return Rule(
        "Hubbard-Stratonovich on the weights",
        Kind.IDENTITY,
        apply,
        "exp((c/2) u^2) = E_z exp(sqrt(c) z u); the field of teacher and noise together is Gaussian",
        check,
        (
            (
                FIELD,
                "field on a weight: the teacher times its coupling, plus noise",
            ),
        ),
    )


# --- n -> 0 -------------------------------------------------------------------------------------------------


def _n_to_zero(expr: sp.Expr) -> sp.Expr:
    def planted(term: sp.Expr) -> sp.Expr | None:
        """Alpha log int dy E Z_0 X^n -> alpha E int dy Z_0 log X: the teacher's outputs are normalised."""
        totals = nodes_of(term, OutputSum)
        factor, logarithm = term.as_independent(*totals, as_Add=False)
        if len(totals) != 1 or not totals[0].body.has(Evidence) or logarithm != sp.log(totals[0]):
            return None
        (total,) = totals
        average = total.body
        evidence, power = average.body.as_independent(n, as_Add=False)
        base, exponent = power.as_base_exp()
        if exponent != n:
            raise ValueError(f"expected a power n, got {exponent}")
        inside = OutputSum(evidence * sp.log(base), total.var, total.outputs)
        return factor * GaussianAverage(inside, *average.args[1:])

    return sp.Add(
        *(
            replica_limit(term, n) if (slope := planted(term)) is None else slope
            for term in sp.Add.make_args(sp.expand_mul(expr))
        )
    )


def n_to_zero(channel: Any) -> Rule:
    """d/dn at n = 0."""

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """At a fixed shared field with the weight exp(-(y - h)^2/2), and for weights +-1: central differences
        in n.
        """
        (total,) = [t for t in nodes_of(before, OutputSum) if t.has(Evidence)]
        at = point_for(before, channel.density(y, h)) | {omega: sp.Rational(2, 5)}
        (inner,) = nodes_of(total.body.body, GaussianAverage)
        single = inner.func(sp.exp(-((y - h) ** 2) / 2), *inner.args[1:]).doit().subs(at)
        evidence = with_evidence(total.body.body.as_independent(n, as_Add=False)[0], channel).subs(at)

        def outputs(body: sp.Expr) -> sp.Expr:
            return sp.N(OutputSum(body, y, total.outputs).doit(), 15)

        def slope(f: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
            step = sp.Rational(1, 200)
            near, far = ((f(k * step) - f(-k * step)) / (2 * k * step) for k in (1, 2))
            return (4 * near - far) / 3

        z = sp.Symbol("z", real=True)
        law = (z, at[m_hat], at[q_hat])

        def placed(e: sp.Expr) -> sp.Expr:
            return coupling_terms(e).subs(at)

        left = placed(before)
        return (
            Comparison("normalisation at n = 0", outputs(evidence), sp.S.One, 1e-10),
            Comparison(
                "outputs",
                slope(lambda k: sp.log(outputs(evidence * single**k))),
                outputs(evidence * sp.log(single)),
                1e-6,
            ),
            Comparison(
                "weights +-1",
                slope(lambda k: sp.log(sp.N(GaussianAverage((2 * sp.cosh(z)) ** k, *law), 15))),
                sp.N(GaussianAverage(sp.log(2 * sp.cosh(z)), *law), 15),
                1e-6,
            ),
            Comparison("coupling", slope(lambda k: left.subs(n, k)), placed(after), 1e-10),
        )

    return Rule("n -> 0", Kind.LIMIT, _n_to_zero, "d/dn at n = 0 of log E[X^n] = E[log X]", check)
