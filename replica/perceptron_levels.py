"""The perceptron with steps of replica symmetry breaking: the recursion over levels of one pattern.

E. Gardner, J. Phys. A 21 (1988) 257; S. Franz, G. Parisi, M. Sevelev, P. Urbani, F. Zamponi, SciPost Phys. 2
(2017) 019 (spherical weights, negative margin).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.action import nodes_of
from replica.derivation import Comparison, Kind, Printed, Rule
from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.recursion import LogMoment, Tilted, by_name, linear
from replica.perceptron_action import LogChance
from replica.symbols import alpha, h, n, q


def _name_levels(expr: sp.Expr) -> sp.Expr:
    return expr.replace(
        lambda e: isinstance(e, sp.log) and isinstance(e.args[0], GaussianAverage),
        lambda e: _power(e.args[0]) * _level(e.args[0]),
    )


def _power(average: GaussianAverage) -> sp.Expr:
    """m of a level: the power of the innermost average, through the ratios of sizes."""
    if average.var == h:
        return sp.S.One
    base, power = average.body.as_base_exp()
    return power * _power(base)


def _level(average: GaussianAverage) -> sp.Expr:
    if average.var == h:
        return LogChance(average.mean, average.variance, 0)
    base, _ = average.body.as_base_exp()
    return LogMoment(_level(base), *average.args[1:], _power(average))


def _check_name_levels(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """With exp(h/3) for the constraint, where averages have closed forms."""
    symbols = sorted((before.free_symbols | after.free_symbols) - {n}, key=str)
    at = {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(symbols)}
    left = before.replace(
        lambda e: isinstance(e, GaussianAverage) and e.var == h, lambda e: e.func(sp.exp(h / 3), *e.args[1:])
    )
    right = unfolded(after.replace(LogChance, lambda w, v, _: w / 3 + v / 18))
    values = [sp.N(evaluate_inside(e.subs(at)), 15) for e in (left, right)]
    return (Comparison("weight exp(h/3)", *values, 1e-12),)


def unfolded(expr: sp.Expr) -> sp.Expr:
    """Every level in plain Gaussian averages."""
    return expr.replace(lambda e: isinstance(e, LogMoment | Tilted), lambda e: e.unfold())


name_levels = Rule(
    "the recursion over levels",
    Kind.IDENTITY,
    _name_levels,
    "phi_i(omega) = (1/m_i) log E exp(m_i phi_{i+1}), with phi = log Z_out innermost, Z_out = E_{h ~ "
    "N(omega, V)} w(h)",
    _check_name_levels,
    shown=lambda before, after: Printed(*by_name(after)),
)


def inserted(expr: sp.Expr, channel: Any) -> sp.Expr:
    """log Z_out and its derivatives of a constraint, in place of their name."""

    def rewrite(field: sp.Expr, variance: sp.Expr, order: sp.Expr) -> sp.Expr:
        centre, spread = sp.Dummy("omega", real=True), sp.Dummy("V", positive=True)
        logarithm = channel.log_evidence(sp.S.One, centre, spread)
        return logarithm.diff(centre, int(order)).subs({centre: field, spread: variance})

    return expr.replace(LogChance, rewrite)


def insert_constraint(channel: Any) -> Rule:
    """The closed form of log Z_out."""

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """At three fields, by quadrature; and what surrounds it."""
        node = nodes_of(before, LogChance)[0]
        around = sp.expand(after - inserted(before, channel))
        comparisons = [Comparison("what surrounds it", around, sp.S.Zero, 0)]
        single = GaussianAverage(channel.density(sp.S.One, h), h, *node.args[:2])
        at = {s: sp.Rational(2, 5 + k) for k, s in enumerate(sorted(single.free_symbols, key=str))}
        for place in (sp.Rational(-9, 10), sp.S.Zero, sp.Rational(7, 5)):
            here = at | {node.args[0]: place}
            values = [sp.N(e.subs(here), 12) for e in (sp.log(single), inserted(node, channel))]
            comparisons.append(Comparison(f"log Z_out at {place}", *values, 1e-9))
        return tuple(comparisons)

    return Rule(
        "probability of the constraint",
        Kind.IDENTITY,
        lambda expr: inserted(expr, channel),
        "closed form of E_{h ~ N(omega, V)} w(h)",
        check,
        shown=lambda before, after: Printed(*by_name(after)),
    )


def stationary(phi: sp.Expr, unknown: sp.Symbol) -> sp.Expr:
    """dPhi/d unknown: that of the weights, then averages over fields; phi with log Z_out by name.

    Second derivatives cancel between a level and the one inside, by the heat equation.
    """
    slope = linear(phi.diff(unknown))
    terms = sp.Add.make_args(sp.expand_mul(slope, deep=False))
    averaged = sp.expand(sp.Add(*(t for t in terms if t.has(Binder))))
    collected = sp.Add(*(sp.factor(averaged.coeff(a)) * a for a in outermost(averaged)))
    logs = sp.Add(*(t for t in terms if t.has(sp.log) and not t.has(Binder)))
    return sp.factor(sp.Add(*(t for t in terms if not t.has(Binder, sp.log)))) + logs + collected


def outermost(expr: sp.Expr) -> list[Any]:
    """The averages that are in no other."""
    found = nodes_of(expr, GaussianAverage)
    return [e for e in found if not any(e in other.body.atoms(GaussianAverage) for other in found)]


def replicons(model: Any, phi: sp.Expr) -> tuple[sp.Expr, ...]:
    """One for each overlap from the outermost, positive where the saddle point is stable.

    1 - alpha (lambda_i)^2 E<(phi''_{i+1})^2>_i: lambda_i is the eigenvalue of the overlaps inside level i,
    whose square is the response of the weights, phi''_{i+1} that of the pattern's force to the field
    (``replica.stability`` has the same for spins).
    """
    (average,) = (a for a in outermost(phi))
    values = [value for value, _ in model.ansatz.matrix(n, 1, q).subs(n, 0).eigenvalues()[1:]]
    found, node, wrap = [], average, lambda g: average.func(g, *average.args[1:])
    for value in values:
        inner = node.inner if isinstance(node, LogMoment) else node.body
        found.append(1 - alpha * value**2 * wrap(inner.diff(node.var, 2) ** 2))
        if isinstance(inner, LogMoment):

            def wrap(g: Any, around: Any = wrap, level: Any = inner) -> Any:
                return around(Tilted(sp.Tuple(g, level.inner), *level.args[1:]))

            node = inner
    return tuple(found)
