"""Rules for the channel: its evidence in the free entropy, and its derivative alpha E int dy Z g_out^2."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.action import Z_OUT, Geometry, cancel_rational, nodes_of
from replica.derivation import Comparison, Derivation, Kind, Printed, Rule
from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import evaluate_inside
from replica.expr.logsum import expit, stable_log
from replica.expr.rules import heat_equation
from replica.expr.stable import ndtr, normal_density, xlogx
from replica.replica_rules import sample_outputs, sample_point
from replica.symbols import V, alpha, h, omega, q, q_hat, y

G_OUT = sp.Function("g_out", real=True)(y, omega, V)
"""The output function, d log Z_out/domega, by name."""


def output_sums(expr: sp.Expr) -> list[Any]:
    """The sums or integrals over the outputs of the channel."""
    return [total for total in nodes_of(expr, OutputSum) if total.var == y]


def insert_channel(channel: Any) -> Rule:
    """The evidence of the channel in closed form, and the integral over outputs as Gaussian averages or a
    sum.
    """

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(node: OutputSum) -> sp.Expr:
            average = node.body  # E_omega[Z_out log Z_out]; the integral over outputs goes inside
            (single,) = nodes_of(average.body, GaussianAverage)
            if average.body != single * sp.log(single):
                raise ValueError(f"expected the average of Z_out log Z_out, got {average}")
            inner = channel.expectation(lambda _, z: stable_log(z), average.var, V).subs(V, single.variance)
            averaged = GaussianAverage(inner, average.var, average.mean, average.variance).doit()
            return cancel_rational(averaged, single.variance)

        return expr.xreplace({total: rewrite(total) for total in output_sums(expr)})

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        comparisons = []
        variance = sp.Rational(7, 10)
        for part, density in channel.pieces(y, h):
            for output in sample_outputs(part):
                at = sample_point(density, output) | {omega: sp.Rational(2, 5)}
                direct, accuracy = _directly(density, variance)
                closed = GaussianAverage(density, h, omega, variance).doit()
                left, right = (sp.N(e.subs(at), 12) for e in (direct, closed))
                comparisons.append(Comparison(f"evidence at y = {output}", left, right, accuracy))
        (total,) = output_sums(before)
        inserted = _inserted(before, after, total)

        (single,) = nodes_of(total.body.body, GaussianAverage)

        def x_log_x(output: sp.Expr) -> sp.Expr:
            return xlogx(channel.evidence(output, omega, single.variance))

        return (*comparisons, compare_at_field("Z_out log Z_out", channel, x_log_x, inserted))

    def shown(before: sp.Expr, after: sp.Expr) -> Printed | None:
        (total,) = output_sums(before)
        if not _inserted(before, after, total).has(GaussianAverage, OutputSum):
            return None
        entropy = GaussianAverage(
            OutputSum(Z_OUT * sp.log(Z_OUT), y, total.outputs), omega, *total.body.args[2:]
        )
        (single,) = nodes_of(total.body.body, GaussianAverage)
        return Printed(before.xreplace({total: entropy}), evidence_definitions(channel, single.variance))

    reference = "closed form of E_{h ~ N(omega, V)} P_out(y|h)"
    return Rule("evidence of the channel", Kind.IDENTITY, apply, reference, check, shown=shown)


def _inserted(before: sp.Expr, after: sp.Expr, total: sp.Expr) -> sp.Expr:
    """What stands in place of the term with the sum over outputs."""
    return after - before.xreplace({t: sp.S.Zero for t in sp.Add.make_args(before) if t.has(total)})


def _directly(density: sp.Expr, variance: sp.Expr) -> tuple[sp.Expr, float]:
    """E_h P_out(y|h) by quadrature, or, for a distribution in h, with a narrow Gaussian in its place;
    accuracy.
    """
    if not density.has(sp.DiracDelta):
        return GaussianAverage(density, h, omega, variance), 1e-9
    narrow = density.replace(sp.DiracDelta, lambda u: normal_density(u, 0, sp.Rational(1, 10**10)))
    return GaussianAverage(narrow, h, omega, variance).doit(), 1e-7


def evidence_definitions(channel: Any, variance: sp.Expr) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """V and Z_out(y, omega, V) of the channel."""
    return ((V, variance), *((Z_OUT.subs(y, at), value) for at, value in evidence_by_output(channel)))


def evidence_by_output(channel: Any) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """(y, Z_out(y, omega, V)) in one formula for all y where there is one, else for every output of a finite
    set.
    """
    found: list[tuple[sp.Expr, sp.Expr]] = []
    pieces = channel.pieces(y, h)
    for part, density in pieces:
        if not isinstance(part, sp.FiniteSet):
            found.append((y, GaussianAverage(density, h, omega, V).doit()))
            continue
        values = {at: channel.evidence(at, omega, V) for at in sorted(part, reverse=True)}
        general = _for_any_label(values) if len(pieces) == 1 else None
        found += [(y, general)] if general is not None else sorted(values.items())
    return tuple(found)


def _for_any_label(values: dict[sp.Expr, sp.Expr]) -> sp.Expr | None:
    """Phi(y u) where the evidences of y = 1 and y = -1 are Phi(u) and Phi(-u), and so for the logistic."""
    if set(values) != {sp.S.One, sp.S.NegativeOne}:
        return None

    def labelled(label: sp.Expr) -> sp.Expr:
        return values[sp.S.One].replace(
            lambda e: isinstance(e, ndtr | expit), lambda e: e.func(label * e.args[0])
        )

    difference = labelled(sp.S.NegativeOne) - values[sp.S.NegativeOne]
    same = difference.replace(lambda e: isinstance(e, ndtr | expit), lambda e: e.func(sp.expand(e.args[0])))
    return labelled(y) if same == 0 else None


def compare_at_field(what: str, channel: Any, body: Any, inserted: sp.Expr) -> Comparison:
    """Alpha times the integral over y of body(y) at a fixed omega, summed or by quadrature, against the
    expression put in its place.
    """
    at = sample_point(channel.density(y, h), sp.S.One) | {omega: sp.Rational(2, 5), alpha: sp.Rational(3, 5)}
    at |= {s: sp.Rational(4, 5) for s in inserted.free_symbols - set(at) - {y}}
    del at[y]
    total = sp.S.Zero
    for part, _ in channel.pieces(y, h):
        if isinstance(part, sp.FiniteSet):
            total += sp.Add(*(body(v) for v in part))
            continue
        # the sign of a half-line tells its piece from the other
        at_part = sp.Symbol("y", real=True, positive=part.inf == 0 or None, negative=part.sup == 0 or None)
        total += OutputSum(body(at_part), at_part, part)
    inside = inserted.replace(lambda e: isinstance(e, GaussianAverage) and e.var == omega, lambda e: e.body)
    left, right = sp.N((alpha * total).subs(at), 12), sp.N(inside.subs(at), 12)
    terms = sp.Add.make_args(sp.expand_mul(inserted))
    direct = Comparison(what, left, right, 1e-9)
    if not direct.holds and not all(term.has(GaussianAverage) for term in terms):
        # the average over omega was done too, of some terms or of all
        return Comparison(what, _hermite(alpha * total, at), sp.N(inserted.subs(at), 12), 1e-6)
    return direct


def _hermite(function: sp.Expr, at: dict[Any, Any]) -> sp.Expr:
    """E over omega ~ N(0, q) by twelve Gauss-Hermite nodes."""
    from sympy.integrals.quadrature import gauss_hermite

    point = {s: value for s, value in at.items() if s != omega}
    nodes, weights = gauss_hermite(12, 12)
    values = [sp.N(function.subs(omega, sp.sqrt(2 * at[q]) * sp.nsimplify(t)).subs(point), 12) for t in nodes]
    return sp.Add(*(w * v for w, v in zip(weights, values, strict=True))) / sp.N(sp.sqrt(sp.pi), 15)


def overlap_equation(outputs: sp.Set, counted: Geometry) -> Derivation:
    """q_hat = (2 alpha/share) dPsi_out/dq for any channel, Psi_out = E_{omega ~ N(0, c q)} int dy Z_out log
    Z_out at V = c (E x^2 - q), with c the variance of a field per unit of overlap.
    """
    c = counted.field_variance
    psi = GaussianAverage(OutputSum(Z_OUT * sp.log(Z_OUT), y, outputs), omega, 0, c * q)
    start = 2 * alpha / counted.share * (sp.Derivative(psi, q) - c * sp.Derivative(psi, V))
    derivation = Derivation.start("Conjugate of the overlap", q_hat, start)
    return derivation.then(_PRICE).then(_HEAT).then(_SCORE)


def insert_evidence(channel: Any, variance: sp.Expr) -> Rule:
    """The closed form of the channel in E_omega int dy Z_out g_out^2, at V = ``variance``."""

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(node: GaussianAverage) -> sp.Expr:
            def squared(_: sp.Expr, evidence: sp.Expr) -> sp.Expr:
                return stable_log(evidence).diff(node.var) ** 2

            inner = channel.expectation(squared, node.var, V).subs(V, variance)
            averaged = GaussianAverage(inner, node.var, node.mean, node.variance).doit()
            return cancel_rational(averaged, variance)

        return expr.replace(lambda e: isinstance(e, GaussianAverage), rewrite)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        weight = before.as_independent(GaussianAverage, as_Add=False)[0] / alpha

        def body(output: sp.Expr) -> sp.Expr:
            evidence = channel.evidence(output, omega, variance)
            return weight * evidence.diff(omega) ** 2 / evidence

        return (compare_at_field("(dZ_out/domega)^2/Z_out", channel, body, after),)

    def shown(before: sp.Expr, after: sp.Expr) -> Printed | None:
        return (
            Printed(before, output_definitions(channel, variance))
            if after.has(GaussianAverage, OutputSum)
            else None
        )

    reference = "closed form of Z_out and of its logarithmic derivative"
    return Rule("evidence of the channel", Kind.IDENTITY, apply, reference, check, shown=shown)


def output_definitions(channel: Any, variance: sp.Expr) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """V, Z_out and g_out."""
    return (*evidence_definitions(channel, variance), (G_OUT, sp.Derivative(sp.log(Z_OUT), omega)))


def _merge(expr: sp.Expr) -> sp.Expr:
    """E[f] + E[g] = E[f + g] for averages over the same variable, sums over outputs included; constants stay
    outside.
    """
    factor, rest = expr.as_independent(GaussianAverage, as_Add=False)
    bodies, key = [], None
    for term in sp.Add.make_args(sp.expand_mul(rest)):
        (average,) = (a for a in term.atoms(GaussianAverage))
        (total,) = average.body.atoms(OutputSum)
        outside = term / average * (average.body / total)
        new_key = (average.var, average.mean, average.variance, total.var, total.outputs)
        if key not in (None, new_key):
            raise ValueError("the averages to merge differ")
        key = new_key
        bodies.append(outside * total.body)
    if key is None:
        return expr
    var, mean, variance, output, outputs = key
    constant, body = sp.expand(sp.Add(*bodies)).as_independent(*Z_OUT.args, as_Add=False)
    if body.is_Add:
        constant, body = sp.factor_terms(body).as_independent(*Z_OUT.args, as_Add=False)
        body = sp.expand(body)
    return factor * constant * GaussianAverage(OutputSum(body, output, outputs), var, mean, variance)


def _price(expr: sp.Expr) -> sp.Expr:
    # by differentiation: doit would also write out a sum over finite outputs
    derived = _merge(
        sp.expand_mul(expr.replace(sp.Derivative, lambda body, *variables: body.diff(*variables)))
    )
    slopes = [Z_OUT.diff(V), Z_OUT.diff(omega, 2)]
    return derived.replace(OutputSum, lambda body, *outputs: OutputSum(sp.collect(body, slopes), *outputs))


def _heat(expr: sp.Expr) -> sp.Expr:
    return _merge(heat_equation(expr, Z_OUT, omega, V))


def _score(expr: sp.Expr) -> sp.Expr:
    return expr.replace(lambda e: e == sp.Derivative(Z_OUT, omega), lambda e: Z_OUT * G_OUT)


def _check_with_sign(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """On the sign channel, whose Z_out = ndtr(y omega/sqrt V) is known: one-dimensional mpmath quadrature of
    both sides.
    """
    point = {q: sp.Rational(3, 10), V: sp.Rational(7, 10), alpha: sp.S.One}
    values = []
    for side in (before, after):
        known = side.replace(G_OUT.func, lambda a, b, c: sp.diff(sp.log(ndtr(a * b / sp.sqrt(c))), b))
        known = known.replace(Z_OUT.func, lambda a, b, c: ndtr(a * b / sp.sqrt(c)))
        known = known.replace(OutputSum, lambda body, at, _: OutputSum(body, at, sp.FiniteSet(-1, 1)))
        values.append(sp.N(evaluate_inside(known).subs(point), 15))
    return (Comparison("sign channel", values[0], values[1], 1e-10),)


_PRICE = Rule(
    "Price's theorem",
    Kind.IDENTITY,
    _price,
    "the derivative of E f in the variance of omega is E f''/2; V, the rest of the variance of the field, "
    "gives the other term",
    _check_with_sign,
    ((Z_OUT, "evidence of one output, E_{h ~ N(omega, V)} P_out(y|h), V = E h^2 - E omega^2"),),
)
_HEAT = Rule(
    "heat equation",
    Kind.IDENTITY,
    _heat,
    "dZ_out/dV = (1/2) d^2 Z_out/domega^2: the terms with log Z_out and the total derivative cancel",
    _check_with_sign,
)
_SCORE = Rule(
    "output function",
    Kind.IDENTITY,
    _score,
    "g_out = d log Z_out/domega",
    _check_with_sign,
    ((G_OUT, "d log Z_out/domega"),),
)
