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

import mpmath
import sympy as sp

from replica import ansatz
from replica.action import Q_HAT, Q, nodes_of
from replica.derivation import Comparison, Derivation, Kind, Printed, Rule
from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.numeric import mp_function
from replica.expr.replica_limit import replica_limit
from replica.expr.stable import ndtr, normal_density, npdf
from replica.ingredients.convex import ConvexProfile, U, on_branches
from replica.risk_action import (
    ConjugateSum,
    Evidence,
    Extremum,
    Legendre,
    Moreau,
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


def _coupling(expr: sp.Expr) -> sp.Expr:
    """The terms without integrals."""
    return sp.Add(*(t for t in sp.Add.make_args(sp.expand_mul(expr)) if not t.has(Binder)))


def _same(before: sp.Expr, after: sp.Expr) -> Comparison:
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
        comparisons = [_same(before.xreplace({node: slot}), after.xreplace({total.body: slot}))]
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

        def coupling(e: sp.Expr) -> sp.Expr:
            return _coupling(e).subs(at)

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
            Comparison("coupling", slope(lambda k: coupling(before).subs(n, k)), coupling(after), 1e-10),
        )

    return Rule("n -> 0", Kind.LIMIT, _n_to_zero, "d/dn at n = 0 of log E[X^n] = E[log X]", check)


# --- zero temperature ---------------------------------------------------------------------------------------


def scaled(expr: sp.Expr) -> sp.Expr:
    """The order parameters in terms of those that stay finite at b -> infinity."""
    return expr.subs(
        {R: q + V / b, R_hat: b * V_hat - b**2 * q_hat, m_hat: b * m_hat, q_hat: b**2 * q_hat},
        simultaneous=True,
    )


def _zero_temperature(expr: sp.Expr) -> sp.Expr:
    coupling = sp.expand(scaled(_coupling(expr)) / b)  # a polynomial in 1/b once the powers of b cancel
    terms = [coupling.as_independent(b)[0]]
    for term in sp.Add.make_args(sp.expand_mul(expr)):
        factor, rest = term.as_independent(Binder, as_Add=False)
        if rest == 1:
            continue
        if rest.has(Evidence):
            terms.append(factor * _moreau_limit(rest))
        else:
            terms.append(factor * _legendre_limit(rest))
    return sp.Add(*terms)


def _moreau_limit(average: GaussianAverage) -> sp.Expr:
    """(1/b) log E_{h ~ N(omega, V/b)} exp(-b loss) -> -min_h [(h - omega)^2/(2V) + loss]."""
    (logarithm,) = nodes_of(average.body, sp.log)
    inner = logarithm.args[0]
    exponent = inner.body.args[0] / b
    spread = sp.cancel(scaled(inner.variance) * b)
    minimum = Extremum((inner.var - inner.mean) ** 2 / (2 * spread) - exponent, inner.var, sp.S.NegativeOne)
    total = average.body
    inside = total.func(total.body.xreplace({logarithm: -minimum}), *total.args[1:])
    return average.func(inside, *average.args[1:])


def _legendre_limit(average: GaussianAverage) -> sp.Expr:
    """(1/b) log int dw exp(b [B w - V_hat w^2/2 - r(w)]) -> its maximum, with the field B in units of b."""
    logarithm = average.body
    integral = logarithm.args[0]
    field = average.var
    exponent = sp.expand(scaled(sp.log(integral.body).expand(force=True)).subs(field, b * field) / b)
    maximum = Extremum(exponent, integral.var, sp.S.One)
    mean, variance = (sp.cancel(scaled(x) / b**k) for x, k in ((average.mean, 1), (average.variance, 2)))
    return average.func(maximum, field, mean, variance)


def _laplace(log_integral: Callable[[int], Any]) -> Any:
    """The limit of a sequence c + (x log k + y)/k in k from three of its members."""
    ks = (20000, 40000, 80000)
    matrix = mpmath.matrix([[1, mpmath.log(k) / k, mpmath.mpf(1) / k] for k in ks])
    return mpmath.lu_solve(matrix, mpmath.matrix([log_integral(k) for k in ks]))[0]


def _log_integral(exponent: Callable[[Any], Any], k: int) -> Any:
    """(1/k) log int dx exp(k exponent(x)), the maximum taken out; the exponent is concave."""
    top = _argmax(exponent)
    height = exponent(top)
    wide, narrow = 1 / mpmath.sqrt(k), mpmath.mpf(1) / k
    steps = [j * wide for j in (1, 3, 6, 12, 40)] + [j * narrow for j in (3, 12, 40)]
    grid = sorted({top, *(top + x for x in steps), *(top - x for x in steps)})
    value = mpmath.quad(lambda x: mpmath.exp(k * (exponent(x) - height)), grid)
    return height + mpmath.log(value) / k


def _argmax(f: Callable[[Any], Any]) -> Any:
    """Maximum of a concave function on [-60, 60], by thirds."""
    low, high = mpmath.mpf(-60), mpmath.mpf(60)
    for _ in range(130):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if f(left) < f(right) else (low, right)
    return (low + high) / 2


def _maximum(f: Callable[[Any], Any]) -> Any:
    return f(_argmax(f))


def _check_zero_temperature(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Fields and weights at some values: extrapolated finite temperatures against the extremum found by
    thirds; the coupling at b = 10^9.
    """
    at = point_for(before, after)

    comparisons = [
        Comparison(
            "coupling at b = 10^9",
            (scaled(_coupling(before)) / b).subs(at).subs(b, 10**9),
            _coupling(after).subs(at),
            1e-7,
        )
    ]
    for extremum in nodes_of(after, Extremum):
        body = (extremum.body * extremum.parameters[0]).subs(at)
        for place in (
            {omega: sp.Rational(2, 5), y: 1, FIELD: sp.Rational(1, 2)},
            {omega: -1, y: 1, FIELD: -2},
        ):
            f = mp_function(body.subs(place), (extremum.var,))
            with mpmath.workdps(20):
                finite = _laplace(lambda k, f=f: _log_integral(f, k))
                comparisons.append(
                    Comparison(f"Laplace's method on {extremum.var}", finite, _maximum(f), 2e-5)
                )
    return tuple(comparisons)


zero_temperature = Rule(
    "zero temperature",
    Kind.LIMIT,
    _zero_temperature,
    "R = q + V/b and conjugates of order b, b^2 and b; times 1/b, Laplace's method at b -> infinity",
    _check_zero_temperature,
    (
        (V, "b (R - q), the susceptibility"),
        (m_hat, "conjugate of m in units of b"),
        (q_hat, "conjugate of q in units of b^2"),
        (V_hat, "sum of the conjugates of R and q in units of b"),
    ),
)


# --- closed forms -------------------------------------------------------------------------------------------


def response(profile: ConvexProfile, field: sp.Expr, order: int) -> sp.Expr:
    """The order-th derivative in the field of max_w [B w - V_hat w^2/2 - r(w)], by branches: 1 is the
    minimiser w(B) itself.

    The maximum is V_hat s^2/2 minus the Moreau envelope at s = B/V_hat; its first derivative is continuous,
    so the second has no DiracDelta.
    """
    branches = profile.branches(field / V_hat, 1 / V_hat)
    in_units = tuple(
        c._replace(lower=sp.expand(c.lower * V_hat), upper=sp.expand(c.upper * V_hat)) for c in branches
    )
    at = sp.Dummy("B", real=True)
    values = (sp.factor(field**2 / (2 * V_hat) - c.value) for c in branches)
    bodies = tuple(sp.factor(v.subs(field, at).diff(at, order).subs(at, field)) for v in values)
    return on_branches(in_units, field, bodies)


def weights_by_name() -> Rule:
    """max_w [B w - V_hat w^2/2 - r(w)] by name."""

    def is_maximum(e: Any) -> bool:
        return isinstance(e, Extremum) and e.parameters[0] == 1

    def apply(expr: sp.Expr) -> sp.Expr:
        return expr.replace(is_maximum, lambda e: Legendre(FIELD, V_hat, 0))

    def shown(before: sp.Expr, after: sp.Expr) -> Printed:
        return Printed(
            after, ((Legendre(FIELD, V_hat, 0), next(filter(is_maximum, nodes_of(before, Extremum)))),)
        )

    return Rule(
        "Legendre transform of the penalty",
        Kind.DEFINITION,
        apply,
        "phi(B, V_hat) by name; w(B) = dphi/dB is the minimiser",
        shown=shown,
    )


def insert_penalty(profile: ConvexProfile) -> Rule:
    """Averages of phi and its derivatives in closed form."""

    def named(node: Any) -> bool:
        return isinstance(node, GaussianAverage) and node.has(Legendre)

    def body(expr: sp.Expr) -> sp.Expr:
        return expr.replace(
            lambda e: isinstance(e, Legendre), lambda e: response(profile, e.args[0], int(e.args[2]))
        )

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(node: GaussianAverage) -> sp.Expr:
            value = _flat(body(node.body), node.var)
            return GaussianAverage(value, *node.args[1:]).doit()

        terms = sp.Add.make_args(sp.expand_mul(expr))
        inserted = sp.Add(*(term.replace(named, rewrite) for term in terms if term.has(Legendre)))
        return sp.Add(*(term for term in terms if not term.has(Legendre)), tidy(inserted))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """phi by thirds, its derivatives by differences of the maximiser; the average by quadrature."""
        at = point_for(before, after, *profile.pieces)
        averages = [e for e in nodes_of(before, GaussianAverage) if named(e)]
        u = sp.Symbol("u_", real=True)

        def maximiser(field: Any) -> Any:
            f = mp_function((field * u - V_hat * u**2 / 2 - profile.at(u)).subs(at), (u,))
            return _argmax(f)

        comparisons = []
        for value in (sp.Rational(-5, 2), sp.Rational(1, 10), sp.Rational(3, 2)):
            with mpmath.workdps(40):
                w_at = maximiser(value)
                slope = (
                    maximiser(value + sp.Rational(1, 1000)) - maximiser(value - sp.Rational(1, 1000))
                ) * 500
                phi = mp_function((value * u - V_hat * u**2 / 2 - profile.at(u)).subs(at), (u,))(w_at)
            for order, expected in enumerate((phi, w_at, slope)):
                closed = response(profile, FIELD, order).subs(at).subs(FIELD, value)
                comparisons.append(
                    Comparison(f"derivative {order} of phi at B = {value}", expected, sp.N(closed, 15), 1e-9)
                )
        for node in averages:
            numeric = GaussianAverage(body(node.body), *node.args[1:]).subs(at)
            comparisons.append(
                Comparison("average over B", sp.N(numeric, 15), sp.N(apply(node).subs(at), 15), 1e-10)
            )
        return tuple(comparisons)

    return Rule(
        "penalty",
        Kind.IDENTITY,
        apply,
        "the proximal operator of the penalty (J. J. Moreau 1965) and half-line Gaussian moments",
        check,
    )


def _flat(body: sp.Expr, x: sp.Symbol) -> sp.Expr:
    """Expanded, with Heaviside(a) Heaviside(b) of disjoint half-lines 0 and of equal ones one."""
    terms = []
    for term in sp.Add.make_args(sp.expand(body)):
        forms = {f.args[0] for f in term.atoms(sp.Heaviside) if f.has(x)}
        rest = term.replace(sp.Heaviside, lambda *_: sp.S.One)
        if len(forms) > 1:
            continue  # branches beyond two different boundaries: outer half-lines never meet
        terms.append(rest * sp.Mul(*(sp.Heaviside(f) for f in forms)))
    return sp.Add(*terms)


def tidy(expr: sp.Expr) -> sp.Expr:
    """One factored fraction, its numerator collected by distribution functions and densities; square roots
    of one term merged, so that variances cancel.

    >>> tidy(V * ndtr(m) + V**2 * ndtr(m))
    V*(V + 1)*ndtr(m)
    >>> tidy(normal_density(0, 0, 1 + m**2 / (q - m**2)) / sp.sqrt(1 - m**2 / q))
    sqrt(2)/(2*sqrt(pi))
    """
    if expr.has(Binder):
        return sp.factor_terms(sp.expand(expr))
    plain = expr.replace(normal_density, lambda x, mu, v: npdf(_one_root((x - mu) / sp.sqrt(v))) / sp.sqrt(v))
    plain = plain.replace(lambda e: isinstance(e, ndtr | npdf), lambda e: e.func(_one_root(e.args[0])))
    plain = _complementary(sp.Add(*(_one_root(term) for term in sp.Add.make_args(sp.expand(plain)))))
    named = {f: sp.Dummy(f"f{k}") for k, f in enumerate(sorted(plain.atoms(ndtr, npdf), key=str))}
    rooted: dict[sp.Expr, sp.Dummy] = {}
    total = sp.S.Zero
    for term in sp.Add.make_args(plain.xreplace(named)):
        root = sp.Mul(*_roots(term))
        total += term if root == 1 else term / root * rooted.setdefault(root, sp.Dummy("root"))
    factors = sp.Mul.make_args(sp.factor(total))
    functions = list(named.values())
    collected = (
        sp.collect(sp.expand(f), functions, sp.factor) if f.is_Add and f.has(*functions) else f
        for f in factors
    )
    names = {name: f for f, name in (rooted | named).items()}
    return sp.Mul(*collected).xreplace(names)


def _roots(term: sp.Expr) -> list[sp.Expr]:
    return [f for f in sp.Mul.make_args(term) if f.is_Pow and f.exp.is_Rational and f.exp.q == 2]


def _one_root(term: sp.Expr) -> sp.Expr:
    """A product with its square roots, all of variances, as the root of one rational function."""
    term = sp.factor_terms(term)
    factors, roots = sp.Mul.make_args(term), _roots(term)
    if len(roots) < 2 and not any(f.base.is_Add for f in roots):
        return term
    inside = sp.factor(sp.Mul(*(f.base ** (2 * f.exp) for f in roots)))
    return sp.Mul(*(f for f in factors if f not in roots)) * sp.sqrt(inside)


def _complementary(expr: sp.Expr) -> sp.Expr:
    """Phi(-x) as 1 - Phi(x) where that removes both."""
    for f in sorted(expr.atoms(ndtr), key=str):
        other = ndtr(-f.args[0])
        if expr.has(other):
            removed = sp.expand(expr.xreplace({other: 1 - f}))
            expr = expr if removed.has(f) else removed
    return expr


def envelope_by_name(loss: Any) -> Rule:
    """min_h [(h - omega)^2/(2V) + loss] is the Moreau envelope of the loss, by name."""

    def apply(expr: sp.Expr) -> sp.Expr:
        return expr.replace(
            lambda e: isinstance(e, Extremum) and e.has(omega), lambda e: Moreau(y, omega, V, 0)
        )

    def shown(before: sp.Expr, after: sp.Expr) -> Printed:
        (minimum,) = [e for e in nodes_of(before, Extremum) if e.has(omega)]
        return Printed(after, ((Moreau(y, omega, V, 0), minimum),))

    return Rule("Moreau envelope", Kind.DEFINITION, apply, "J. J. Moreau 1965", shown=shown)


# --- stationarity of the outputs' part ----------------------------------------------------------------------


def _is_named(node: Any) -> bool:
    return isinstance(node, GaussianAverage) and node.has(Evidence)


def _differentiate(expr: sp.Expr) -> sp.Expr:
    """Price's theorem, with the heat equation of Z_0 and dM/dV = -(dM/domega)^2/2 built into their names."""
    derived = expr.replace(sp.Derivative, lambda body, *variables: body.diff(*variables))
    return _merged(derived)


def _merged(expr: sp.Expr) -> sp.Expr:
    """E[f] + E[g] = E[f + g] and so for the sum over outputs, expanded so that equal terms cancel."""
    bodies, frame = [], None
    for term in sp.Add.make_args(sp.expand_mul(expr)):
        outside, average = term.as_independent(GaussianAverage, as_Add=False)
        prefactor, total = average.body.as_independent(OutputSum, as_Add=False)
        frame = (average, total)
        bodies.append(outside * prefactor * total.body)
    if frame is None:
        return expr
    average, total = frame
    body = sp.expand(sp.Add(*bodies))
    return (
        average.func(OutputSum(body, total.var, total.outputs), *average.args[1:]) if body != 0 else sp.S.Zero
    )


def _integrate_by_parts(expr: sp.Expr) -> sp.Expr:
    """Stein's lemma on every term with a factor omega: E[omega F] = variance E[F']."""

    def rewrite(average: GaussianAverage) -> sp.Expr:
        total = average.body
        terms = []
        for term in sp.Add.make_args(sp.expand(total.body)):
            rest, power = _outer_power(term, average.var)
            terms.append(term if power == 0 else average.variance * rest.diff(average.var))
        body = sp.expand(sp.Add(*terms))
        constant, body = sp.factor_terms(body).as_independent(*_named_symbols(body), as_Add=False)
        return constant * average.func(OutputSum(body, total.var, total.outputs), *average.args[1:])

    return expr.replace(_is_named, rewrite)


def _outer_power(term: sp.Expr, x: sp.Symbol) -> tuple[sp.Expr, int]:
    """(term/x, 1) where x is a plain factor, else (term, 0)."""
    factors = sp.Mul.make_args(term)
    if x in factors:
        rest = list(factors)
        rest.remove(x)
        return sp.Mul(*rest), 1
    return term, 0


def _named_symbols(expr: sp.Expr) -> tuple[sp.Expr, ...]:
    return tuple(expr.atoms(Evidence, Moreau)) or (sp.Dummy(),)


def _score(expr: sp.Expr) -> sp.Expr:
    """dM/domega = -f."""
    return expr.replace(
        lambda e: isinstance(e, Moreau) and e.args[3] > 0,
        lambda e: -F_OUT if e.args[3] == 1 else -sp.Derivative(F_OUT, (omega, e.args[3] - 1)),
    )


def _check_with_square(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """With sign outputs and the square loss, whose Z_0 = ndtr(y omega/sqrt V) and M = (y - omega)^2/(2 (1 +
    V)) are known: quadrature by mpmath.
    """
    from replica.ingredients.channels import Sign

    at = point_for(before, after)
    envelope = (y - omega) ** 2 / (2 * (1 + V))
    values = []
    for side in (before, after):
        known = side.replace(F_OUT.func, lambda a, c, d: -envelope.diff(omega))
        known = known.replace(lambda e: isinstance(e, Moreau), lambda e: envelope.diff(omega, int(e.args[3])))
        known = known.replace(
            sp.Derivative,
            lambda e, *v: e.diff(*v) if not e.has(Evidence, OutputSum) else sp.Derivative(e, *v),
        )
        known = with_evidence(known, Sign())
        known = known.replace(sp.Derivative, lambda e, *v: e.diff(*v))
        known = known.replace(OutputSum, lambda e, v, _: OutputSum(e, v, sp.FiniteSet(-1, 1)))
        known = known.replace(OutputSum, lambda e, v, s: OutputSum(e, v, s).doit())
        values.append(sp.N(known.subs(at), 15))
    return (Comparison("sign outputs, square loss", values[0], values[1], 1e-9),)


PRICE = Rule(
    "Price's theorem",
    Kind.IDENTITY,
    _differentiate,
    "in the variance of omega; dZ_0/dV = (1/2) d^2 Z_0/domega^2 (heat) and dM/dV = -(dM/domega)^2/2",
    _check_with_square,
)
STEIN = Rule(
    "Stein's lemma",
    Kind.IDENTITY,
    _integrate_by_parts,
    "E[omega F(omega)] = q E[F'(omega)]",
    _check_with_square,
)
SCORE = Rule(
    "output function",
    Kind.IDENTITY,
    _score,
    "f = (prox - omega)/V = -dM/domega",
    _check_with_square,
    ((F_OUT, "(prox - omega)/V"),),
)


def conjugate_equation(
    conjugate: sp.Symbol, order_parameter: sp.Symbol, factor: int, outputs: sp.Set, second_moment: sp.Expr
) -> Derivation:
    """conjugate = factor * alpha * d/d(order parameter) of -E_omega int dy Z_0 M, in textbook form.

    The Legendre term is -m m_hat + (q V_hat - V q_hat)/2, so V_hat belongs to q (factor -2), q_hat to V
    (factor 2) and m_hat to m (factor 1).
    """
    psi = _named_average(outputs, second_moment)
    derivation = Derivation.start(
        f"Conjugate of {order_parameter}", conjugate, -factor * alpha * sp.Derivative(psi, order_parameter)
    ).then(PRICE)
    if order_parameter != V:
        derivation = derivation.then(STEIN)
    return derivation.then(SCORE)


def _named_average(outputs: sp.Set, second_moment: sp.Expr) -> sp.Expr:
    evidence = Evidence(y, m * omega / q, second_moment - m**2 / q, 0)
    return GaussianAverage(OutputSum(evidence * Moreau(y, omega, V, 0), y, outputs), omega, 0, q)


# --- stationarity of the weights' part ----------------------------------------------------------------------


def _differentiate_weights(expr: sp.Expr) -> sp.Expr:
    return sp.expand(expr.replace(sp.Derivative, lambda body, *variables: body.diff(*variables)))


def _check_with_parabola(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """With the penalty w^2/2, phi = B^2/(2 (1 + V_hat)): exact Gaussian moments."""
    at = point_for(before, after)
    phi = FIELD**2 / (2 * (1 + V_hat))
    values = []
    for side in (before, after):
        known = side.replace(lambda e: isinstance(e, Legendre), lambda e: phi.diff(FIELD, int(e.args[2])))
        known = known.replace(GaussianAverage, lambda *a: GaussianAverage(*a).doit())
        values.append(sp.N(known.doit().subs(at), 15))
    return (Comparison("r(w) = w^2/2", values[0], values[1], 1e-12),)


PRICE_WEIGHTS = Rule(
    "Price's theorem on the weights",
    Kind.IDENTITY,
    _differentiate_weights,
    "in mean and variance of B; dphi/dV_hat = -(dphi/dB)^2/2 (envelope theorem)",
    _check_with_parabola,
)


def overlap_equation(
    unknown: sp.Symbol, conjugate: sp.Symbol, factor: int, components: Components, profile: ConvexProfile
) -> Derivation:
    """unknown = factor * d/d(conjugate) of E_B phi(B, V_hat): m (factor 1), q (-2), V (2)."""
    psi = sp.Add(
        *(
            p * GaussianAverage(Legendre(FIELD, V_hat, 0), FIELD, m_hat * mean, q_hat + m_hat**2 * v)
            for p, mean, v in components
        )
    )
    start = factor * sp.Derivative(psi, conjugate)
    return (
        Derivation.start(f"Overlap {unknown}", unknown, start)
        .then(PRICE_WEIGHTS)
        .then(insert_penalty(profile))
    )
