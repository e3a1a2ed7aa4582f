"""Capacities of the perceptron in closed form: one solution left (q -> 1), or none on average (q = 0).

E. Gardner, J. Phys. A 21 (1988) 257 (spherical weights); B. Aubin, W. Perkins, L. Zdeborova, J. Phys. A 52
(2019) 294003 and E. Abbe, S. Li, A. Sly, FOCS 2021, arXiv 2102.13069 (Ising weights, symmetric constraints).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.action import nodes_of
from replica.derivation import Comparison, Derivation, Kind, Rule
from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.logsum import stable_log
from replica.expr.recursion import LogMoment
from replica.expr.stable import log_ndtr, log_ndtr_interval
from replica.perceptron_action import LogChance
from replica.symbols import alpha, omega, q, q_hat
from solvers.errors import InputError

ALPHA_C = sp.Symbol(r"\alpha_c", positive=True)
"""The capacity: patterns per weight above which no weights satisfy all constraints."""


def _per_pattern(phi: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """(s, e) with Phi = s + alpha e: the weights and one pattern."""
    patterns, weights = [], []
    for term in sp.Add.make_args(phi):
        (patterns if term.has(alpha) else weights).append(term)
    return sp.Add(*weights), sp.Add(*patterns) / alpha


# --- spherical weights: q -> 1 ------------------------------------------------------------------------------


def one_solution_left(phi: sp.Expr) -> Derivation:
    """alpha_c where Phi ~ c(alpha)/(1 - q) is stationary at q -> 1: c = 0."""
    weights, pattern = _per_pattern(phi)
    start = -weights / pattern
    derivation = Derivation.start("Capacity of spherical weights", ALPHA_C, start)
    return derivation.then(_LAPLACE).then(_INTEGRATE)


def violations(logarithm: Any) -> tuple[sp.Expr, ...]:
    """By how much a field is outside its constraint where that is positive, from log Z_out at V = 1 - q.

    V log Phi(u/sqrt V) -> -(u^2/2) theta(-u) as V -> 0, and so for an interval with two ends.
    """
    if isinstance(logarithm, log_ndtr):
        ends = (-logarithm.args[0],)
    elif isinstance(logarithm, log_ndtr_interval):
        ends = (logarithm.args[0], -logarithm.args[1])
    else:
        raise InputError("the limit q -> 1 needs a constraint with sharp ends, such as h >= kappa")
    scaled = tuple(sp.cancel(sp.sqrt(1 - q) * end) for end in ends)
    if any(end.has(q) for end in scaled):
        raise InputError("the limit q -> 1 needs a constraint with sharp ends: this one is noisy")
    return scaled


def _laplace(expr: sp.Expr) -> sp.Expr:
    (average,) = nodes_of(expr, GaussianAverage)
    weights = sp.expand(-expr * average)
    single = sp.Add(*(t for t in sp.Add.make_args(sp.expand((1 - q) * weights)) if not t.has(sp.log)))
    square = sp.Add(*(end**2 * sp.Heaviside(end) for end in violations(average.body)))
    limit = 2 * sp.cancel(single).subs(q, 1)
    return limit / average.func(square, average.var, average.mean, average.variance.subs(q, 1))


def _check_laplace(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Numbers close to q = 1: corrections are (1 - q) log(1 - q)."""
    at = {s: sp.Rational(1, 2) for s in before.free_symbols - {q}}
    left = sp.N(before.subs(at).subs(q, 1 - sp.Rational(1, 10**7)), 12)
    return (Comparison("at 1 - q = 1e-7", left, sp.N(after.subs(at), 12), 1e-4),)


_LAPLACE = Rule(
    "q -> 1",
    Kind.LIMIT,
    _laplace,
    "at capacity one solution is left; (1 - q) log Z_out tends to minus half the squared distance of omega "
    "to the fields that are allowed (Laplace), and (1 - q) times the entropy of the weights to 1/2: Phi ~ "
    "c/(1 - q) is stationary in q where c = 0 only",
    _check_laplace,
)


def _integrate(expr: sp.Expr) -> sp.Expr:
    return expr.replace(lambda e: isinstance(e, GaussianAverage), lambda e: e.doit())


def _check_integrate(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    at = {s: sp.Rational(2, 3) for s in before.free_symbols}
    left, right = (sp.N(e.subs(at), 15) for e in (before, after))
    return (Comparison("by quadrature", left, right, 1e-10),)


_INTEGRATE = Rule(
    "Gaussian integral over half-lines",
    Kind.IDENTITY,
    _integrate,
    "moments of a Gaussian variable on a half-line",
    _check_integrate,
)


def replicon_at_capacity(phi: sp.Expr) -> sp.Expr:
    """The replicon at q -> 1: 1 - alpha_c times the share of the patterns at the ends of their constraints.

    (1 - q) d^2 log Z_out/domega^2 -> -1 outside the constraint and 0 inside.
    """
    _, pattern = _per_pattern(phi)
    (average,) = nodes_of(pattern, GaussianAverage)
    outside = sp.Add(*(end.diff(omega) ** 2 * sp.Heaviside(end) for end in violations(average.body)))
    share = average.func(outside, average.var, average.mean, average.variance.subs(q, 1)).doit()
    return 1 - one_solution_left(phi).result * share


# --- Ising weights: q = 0 -----------------------------------------------------------------


def no_solution_on_average(phi: sp.Expr) -> Derivation:
    """Alpha where Phi = 0 at q = 0, which is the logarithm of the average number of solutions."""
    weights, pattern = _per_pattern(phi)
    derivation = Derivation.start("Capacity of Ising weights at q = 0", ALPHA_C, -weights / pattern)
    return derivation.then(_NO_OVERLAP)


def _no_overlap(expr: sp.Expr) -> sp.Expr:
    return evaluate_inside(expr.subs({q: 0, q_hat: 0}))


def _check_no_overlap(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Numbers close to q = 0, where averages are smooth."""
    small = {q: sp.Rational(1, 10**7), q_hat: sp.Rational(1, 10**7)}
    at = {s: sp.Rational(2, 3) for s in before.free_symbols - {q, q_hat}}
    left, right = (sp.N(e.subs(at), 12) for e in (before.subs(small), after))
    return (
        Comparison("at q = q_hat = 1e-7", left, right, 1e-5),
        Comparison("no average is left", sp.Integer(after.has(Binder)), sp.S.Zero, 0),
    )


_NO_OVERLAP = Rule(
    "no overlap",
    Kind.IDENTITY,
    _no_overlap,
    "at q = q_hat = 0 Phi is log E[Z]/N, a bound for any constraint (Jensen); where the constraint is even "
    "in the field it is a solution",
    _check_no_overlap,
)


# --- spherical weights, one step: q_1 -> 1 and m -> 0 -------------------------------------------------------

RATIO = sp.Symbol("c", positive=True)
"""m/(1 - q_1), which stays finite where the states shrink to points."""


def states_shrink(
    phi: sp.Expr, outer: sp.Symbol, inner: sp.Symbol, block: sp.Symbol, channel: Any
) -> Derivation:
    """The bound on alpha whose infimum over q_0 and c = m/(1 - q_1) is the capacity of one step; phi with log
    Z_out by name.
    """
    weights, pattern = _per_pattern(phi)
    derivation = Derivation.start("Capacity of spherical weights, one step", ALPHA_C, -weights / pattern)
    return derivation.then(_shrink(outer, inner, block, channel)).then(_HALF_LINES)


def _shrink(outer: sp.Symbol, inner: sp.Symbol, block: sp.Symbol, channel: Any) -> Rule:
    """(1 - q_1) Phi at q_1 -> 1 and fixed c."""
    ends = violations(channel.log_evidence(sp.S.One, omega, 1 - q))

    def square(field: sp.Expr) -> sp.Expr:
        return sp.Add(*(end.subs(omega, field) ** 2 * sp.Heaviside(end.subs(omega, field)) for end in ends))

    def patterns(average: GaussianAverage) -> sp.Expr:
        leaf = average.replace(LogChance, lambda field, *_: -square(field) / 2)
        return leaf.subs({inner: 1, block: RATIO}, simultaneous=True)

    def apply(expr: sp.Expr) -> sp.Expr:
        (average,) = (a for a in nodes_of(expr, GaussianAverage) if a.has(LogMoment))
        weights = sp.expand(-expr * average)
        return -_scaled_weights(weights, inner, block) / patterns(average)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """Close to the limit: the weights; one pattern at three shared fields, by quadrature."""
        (average,) = (a for a in nodes_of(before, GaussianAverage) if a.has(LogMoment))
        (limit,) = (a for a in nodes_of(after, GaussianAverage) if a.has(LogMoment))
        small, ratio = sp.Rational(1, 10**5), sp.Rational(3, 2)
        at = {
            s: sp.Rational(2, 5) for s in (before.free_symbols | after.free_symbols) - {inner, block, RATIO}
        }
        here = at | {inner: 1 - small, block: ratio * small, RATIO: ratio}
        left, right = (sp.N(e.subs(here), 15) for e in (-before * average * small, -after * limit))
        comparisons = [Comparison("the weights", left, right, 1e-3)]
        level = average.body.replace(LogChance, lambda w, v, _: channel.log_evidence(sp.S.One, w, v))
        for place in (sp.Rational(-3, 2), sp.Rational(-2, 5), sp.S.One):
            field = here | {average.var: place}
            values = [sp.N(e.unfold().subs(field), 7) for e in (level, limit.body)]
            comparisons.append(Comparison(f"a pattern at {place}", values[0] * small, values[1], 1e-3))
        return tuple(comparisons)

    return Rule(
        "q_1 -> 1",
        Kind.LIMIT,
        apply,
        "at capacity the states shrink to points, q_1 -> 1 and m -> 0 with c = m/(1 - q_1) fixed: (1 - q_1) "
        "log Z_out tends to minus half the squared distance of omega to the fields that are allowed, and Phi "
        "~ C(alpha, q_0, c)/(1 - q_1), unbounded below where C < 0 somewhere: alpha_c is the infimum of this",
        check,
        ((RATIO, "m/(1 - q_1)"),),
    )


def _scaled_weights(weights: sp.Expr, inner: sp.Symbol, block: sp.Symbol) -> sp.Expr:
    """(1 - q_1) times the entropy of the weights at q_1 -> 1: logarithms of what vanishes cancel."""
    v, log_v = sp.Dummy("v", positive=True), sp.Dummy("log_v", real=True)

    def split(argument: sp.Expr) -> sp.Expr:
        return log_v + sp.log(sp.cancel(argument / v))

    scaled = weights.subs({inner: 1 - v, block: RATIO * v}, simultaneous=True).replace(sp.log, split)
    total = sp.expand(v * scaled)
    kept, lost = (
        sp.Add(*(sp.cancel(t).subs(v, 0) for t in sp.Add.make_args(total.coeff(log_v, k)))) for k in (0, 1)
    )
    if sp.cancel(lost) != 0:
        raise ValueError("a logarithm of 1 - q_1 is left")
    return kept


def _closed_moment(level: LogMoment) -> sp.Expr:
    """(1/c) log E exp(-(c/2) square) as logarithms of distribution functions."""
    return stable_log(sp.Add(*_moment_pieces(level))) / level.power


def _moment_pieces(level: LogMoment) -> tuple[sp.Expr, ...]:
    """E exp(-(c/2) square) over the fields that are allowed, and over those beyond each end."""
    ends = [f.args[0] for f in sorted(level.inner.atoms(sp.Heaviside), key=sp.default_sort_key)]
    law = (level.var, level.mean, level.variance)
    inside = sp.Mul(*(sp.Heaviside(-end) for end in ends))
    beyond = [sp.Heaviside(end) * sp.exp(-level.power * end**2 / 2) for end in ends]
    return tuple(GaussianAverage(body, *law).doit() for body in (inside, *beyond))


def _check_half_lines(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """At three shared fields, by quadrature; and what surrounds it."""
    (level,) = nodes_of(before, LogMoment)
    comparisons = [Comparison("what surrounds it", sp.expand(after - _half_lines(before)), sp.S.Zero, 0)]
    at = {s: sp.Rational(2, 5 + k) for k, s in enumerate(sorted(level.free_symbols, key=str))}
    for place in (sp.Rational(-3, 2), sp.Rational(-2, 5), sp.S.One):
        here = at | {level.mean: place}
        values = [sp.N(e.subs(here), 12) for e in (level.unfold(), _closed_moment(level))]
        comparisons.append(Comparison(f"at the field {place}", *values, 1e-9))
    return tuple(comparisons)


def _half_lines(expr: sp.Expr) -> sp.Expr:
    return expr.replace(lambda e: isinstance(e, LogMoment), _closed_moment)


_HALF_LINES = Rule(
    "Gaussian integrals over half-lines",
    Kind.IDENTITY,
    _half_lines,
    "exp(-(c/2) distance^2) is 1 on the fields that are allowed and Gaussian beyond each end",
    _check_half_lines,
)


def innermost_replicon_at_capacity(derivation: Derivation) -> sp.Expr:
    """1 - alpha E<theta(distance > 0)> with the weight exp(-(c/2) distance^2): that of the states."""
    (level,) = nodes_of(derivation["q_1 -> 1"].after, LogMoment)
    (average,) = (a for a in nodes_of(derivation["q_1 -> 1"].after, GaussianAverage) if a.has(LogMoment))
    pieces = _moment_pieces(level)
    share = sp.exp(stable_log(sp.Add(*pieces[1:])) - stable_log(sp.Add(*pieces)))
    return 1 - alpha * GaussianAverage(share, *average.args[1:])
