"""Step functions and quadratic functions of the field, on which the rules of full replica symmetry breaking
are checked: there sums over replicas and levels of the recursion are closed forms.
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

from replica.ansatz import FullRSB
from replica.expr.binder import evaluate_inside
from replica.expr.parisi import Flow, steps
from replica.expr.recursion import LogMoment, Tilted
from replica.overlap_function import ORDER
from replica.overlaps import ParisiMatrix
from replica.symbols import n, q

(LOWEST,) = FullRSB().overlaps(q)


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


PROBE = q**2 / 3 + q / 5
"""A conjugate for checks: it grows with q."""


def values_of(expr: sp.Expr) -> dict[sp.Symbol, sp.Rational]:
    """A number for every free symbol but n and q_min."""
    free = sorted(expr.free_symbols - {n, LOWEST}, key=str)
    return {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(free)}


def quadratic_level() -> tuple[Any, Any, Any]:
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


def gauss_rule(low: Any, high: Any) -> list[tuple[sp.Expr, sp.Expr]]:
    """Nodes and weights of Gauss's rule with 6 nodes on an interval."""
    nodes, weights = np.polynomial.legendre.leggauss(6)
    half = (high - low) / 2
    return [(low + half * (1 + sp.Float(a)), half * sp.Float(b)) for a, b in zip(nodes, weights, strict=True)]
