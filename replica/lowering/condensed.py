"""Spins with condensed order parameters -> numbers: the state that the iteration reaches from a start."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from replica.expr.average import DiscreteAverage, GaussianAverage
from replica.expr.binder import Binder
from replica.lowering.levels import NestedProgram
from replica.lowering.precise import PreciseEquations, precise_equations, refined
from replica.symbols import V, beta, q
from solvers.fixed_point.variational import polish
from solvers.fixed_point.vector import FixedPoint
from solvers.simulate.threads import blas_threads
from solvers.solution import Errors, Outcome, Solution, unsolved

NODES = 4.0
"""Nodes per unit of a field."""
PASSES, SETTLED = 5000, 1e-10
"""Passes of the map allowed to a start, and the move at which Newton takes over."""
LEAST = 1 / 64
"""The smallest share of a pass."""
BELIEVED = 1e-7
"""Error of the quadrature in the unknowns beyond which a solution is not given."""
FLOAT_DIGITS = 15


@dataclass(frozen=True)
class CondensedEquations:
    """Phi, the residuals (update - unknown), the observables and what must be positive, as functions of beta,
    the other parameters and the unknowns.
    """

    free_entropy: NestedProgram
    residuals: NestedProgram
    observables: NestedProgram
    domain: NestedProgram
    unknowns: tuple[str, ...]
    names: tuple[str, ...]


def unfolded(expr: sp.Expr) -> sp.Expr:
    """Sums in place of discrete averages; fields that differ by their sign are one."""
    summed = expr.replace(lambda e: isinstance(e, DiscreteAverage), lambda e: e.doit(deep=False))

    def upright(node: GaussianAverage) -> sp.Expr:
        mean = sp.expand(node.mean)
        if not mean.could_extract_minus_sign():
            return node.func(node.body, node.var, mean, sp.expand(node.variance))
        flipped = node.body.subs(node.var, -node.var)
        return node.func(sp.S.One, node.var, -mean, sp.expand(node.variance)).with_body(flipped)

    return summed.replace(lambda e: isinstance(e, GaussianAverage), upright)


@lru_cache(maxsize=64)
def condensed_equations(stated: Any) -> CondensedEquations:
    """Lower the derived equations of a model, or of its ground state, conjugates in terms of overlaps."""
    saddle, model = stated.saddle_point(), getattr(stated, "model", stated)
    conjugates = {c: saddle.update(c) for c in stated.conjugates}
    updates = tuple(saddle.update(s).subs(conjugates) - s for s in stated.order_parameters)
    observables = stated.observables()
    arguments = (beta, *(s for _, s in model.parameter_symbols()[1:]), *stated.order_parameters)
    phi = stated.derive().result.subs(conjugates)
    names = dict(zip(model.overlaps, model.names, strict=True)) | {q: "q", V: "V"}

    def program(expressions: tuple[sp.Expr, ...]) -> NestedProgram:
        return NestedProgram(tuple(map(unfolded, expressions)), arguments)

    return CondensedEquations(
        program((phi,)),
        program(updates),
        program(tuple(observables.values())),
        program(_positive(model, stated is not model)),
        tuple(names[s] for s in stated.order_parameters),
        tuple(observables),
    )


def _positive(model: Any, cold: bool) -> tuple[sp.Expr, ...]:
    """What is positive at a saddle point: determinants whose logarithms are in Phi, what the model adds."""
    plain = sp.Add(*(t for t in sp.Add.make_args(model.derive().result) if not t.has(Binder)))
    found = sorted({e.args[0] for e in plain.atoms(sp.log)}, key=sp.default_sort_key)
    return (*(sp.expand(e.subs(q, 1 - V / beta)) if cold else e for e in found), *model.positive())


def numbers(model: Any, exact: Mapping[str, Fraction]) -> list[float]:
    """Beta (0 in its place for the ground state) and the other control parameters."""
    inverse = 1 / float(exact["T"]) if exact["T"] else 0.0
    return [inverse, *(float(exact[p.name]) for p, _ in model.parameter_symbols()[1:])]


def stated_at(model: Any, exact: Mapping[str, Fraction]) -> Any:
    """The model with what vanishes put in, or its ground state at T = 0."""
    placed = model.at(exact)
    return placed if exact["T"] else placed.ground_state()


def begin(model: Any, stated: Any, start: str) -> np.ndarray:
    """The order parameters where a named start begins: V = 0 in the ground state."""
    *overlaps, same = dict(model.states)[start]
    others = {q: same, V: 0.0}
    return np.array([*overlaps, *(others[s] for s in stated.order_parameters if s in others)])


def solve_condensed(
    model: Any,
    exact: Mapping[str, Fraction],
    digits: int = FLOAT_DIGITS,
    start: str = "global",
    backend: str | None = None,
) -> Solution:
    """The state reached from a start; "global": of all states, that of lowest free energy."""
    if not model.is_finite(exact):
        return unsolved(exact, Outcome.DIVERGES)
    stated = stated_at(model, exact)
    equations, at = condensed_equations(stated), numbers(model, exact)
    chosen = [name for name, _ in model.states] if start == "global" else [start]
    known = model.near(exact)
    closed = [] if known is None else [np.array(known)]
    starts = closed or [begin(model, stated, name) for name in chosen]
    found = [_state(equations, at, exact, first) for first in starts]
    good = [pair for pair in found if pair[0].outcome.converged]
    best, jacobian = min(good, key=lambda pair: pair[0]["f"]) if good else found[0]
    if not good or (digits <= FLOAT_DIGITS and backend in (None, "float64")):
        return best
    controls = [1 / exact["T"] if exact["T"] else Fraction(0)]
    controls += [exact[p.name] for p, _ in model.parameter_symbols()[1:]]
    return refined(_precise(stated), controls, best, jacobian, max(digits, 18), backend)


@lru_cache(maxsize=16)
def _precise(stated: Any) -> PreciseEquations:
    equations = condensed_equations(stated)
    (phi,) = equations.free_entropy.expressions
    residuals, observables = equations.residuals.expressions, equations.observables.expressions
    updates = [r + s for r, s in zip(residuals, stated.order_parameters, strict=True)]
    measured = dict(zip(equations.names, observables, strict=True))
    return precise_equations(updates, measured, phi, equations.residuals.parameters, equations.unknowns)


def _state(
    equations: CondensedEquations, at: list[float], exact: Mapping[str, Fraction], start: np.ndarray
) -> tuple[Solution, np.ndarray]:
    """The state, and the Jacobian of the map there."""

    def residual(x: np.ndarray, nodes: float = NODES) -> np.ndarray:
        return equations.residuals.run([*at, *x], nodes)

    def inside(x: np.ndarray) -> bool:
        return bool(np.all(equations.domain.run([*at, *x], NODES) > 0))

    with blas_threads(1), np.errstate(over="ignore", invalid="ignore"):  # the outcome says so
        x, passes = _iterated(residual, inside, start)
        point = polish(residual, lambda y: residual(y, NODES / 2), x)
    point = _without_rounding(point, residual)
    if not (point.converged and inside(point.x)):
        ended = {"residual": point.residual, "evaluations": point.evaluations}
        return unsolved(exact, **ended), point.jacobian
    rough, fine = residual(point.x), residual(point.x, 2 * NODES)
    stiffness = float(np.max(np.abs(np.linalg.pinv(np.eye(x.size) - point.jacobian))))
    phis = [float(equations.free_entropy.run([*at, *point.x], k * NODES)[0]) for k in (1, 2)]
    quadrature = max(float(np.max(np.abs(rough - fine))) * stiffness, abs(phis[0] - phis[1]))
    observed = equations.observables.run([*at, *point.x], 2 * NODES)
    solution = Solution(
        values={
            **dict(zip(equations.unknowns, map(float, point.x), strict=True)),
            **dict(zip(equations.names, map(float, observed), strict=True)),
        },
        params=dict(exact),
        free_entropy=phis[1],
        residual=point.residual,
        errors=Errors(point.residual * stiffness, quadrature, 1e-16 * stiffness),
        outcome=Outcome.CONVERGED if quadrature < BELIEVED else Outcome.QUADRATURE,
        backend="float64",
        digits=FLOAT_DIGITS,
        stability=float(np.max(np.abs(np.linalg.eigvals(point.jacobian)))),
        branches=(float(point.x[0]),),
        evaluations=point.evaluations + passes,
    )
    return solution, point.jacobian


VANISHING = 1e-7
"""An order parameter below this is 0 where 0 solves the equations as well."""


def _without_rounding(point: FixedPoint, residual: Callable[[np.ndarray], np.ndarray]) -> FixedPoint:
    """Overlaps that vanish are 0 exactly, not what rounding leaves of them."""
    x = np.where(np.abs(point.x) < VANISHING, 0.0, point.x)
    size = float(np.max(np.abs(residual(x)), initial=0.0))
    better = not np.array_equal(x, point.x) and size <= max(point.residual, 1e-15)
    return point._replace(x=x, residual=size, converged=True) if better else point


def _iterated(
    residual: Callable[..., np.ndarray], inside: Callable[[np.ndarray], bool], start: np.ndarray
) -> tuple[np.ndarray, int]:
    """Passes of the map until it hardly moves: the state is that of the start, not the nearest to Newton.

    A pass that would leave the domain, or that moves more than the one before, is damped.
    """
    x, share, before = start, 1.0, np.inf
    for count in range(PASSES):
        move = residual(x, NODES / 2)
        size = float(np.max(np.abs(move)))
        if not np.isfinite(size):
            break
        if size < SETTLED:
            return x + share * move, count
        if size > before:
            share = max(share / 2, LEAST)
        while not inside(x + share * move) and share > LEAST:
            share /= 2
        x, before = x + share * move, size
    return x, PASSES
