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
from replica.expr.stable import log_ndtr, log_ndtr_interval
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
