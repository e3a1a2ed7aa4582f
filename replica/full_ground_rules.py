"""The limit T -> 0 of full replica symmetry breaking: Phi/beta tends to minus the energy of the ground state.

Fields are in units of beta, |w| is in place of (1/beta) log 2cosh(beta w), and y = beta x stays finite for q
< 1.  A. Auffinger, W.-K. Chen, Ann. Probab. 45 (2017) 4617 (the functional at zero temperature).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

import sympy as sp

from replica.action import nodes_of
from replica.derivation import Comparison, Kind, Printed, Rule
from replica.expr.average import GaussianAverage
from replica.expr.binder import evaluate_inside
from replica.expr.parisi import Flow, OverlapIntegral
from replica.expr.recursion import LogMoment
from replica.expr.stable import log2cosh
from replica.full_checks import LOWEST, values_of, with_order
from replica.full_rules import flow_definitions
from replica.overlap_function import ORDER
from replica.symbols import beta, q

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
    at = values_of(after) | {LOWEST: sp.Rational(1, 5)}
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
