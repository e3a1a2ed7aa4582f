"""More digits than doubles have, for equations x = F(x) of several unknowns with averages over one field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from replica.lowering.program import Program, Values, lower
from solvers.backends.arb import Arb
from solvers.backends.mp import MP
from solvers.fixed_point.vector import refine_map
from solvers.solution import Errors, Outcome, Solution

GUARD = 12
"""Digits carried beyond those asked for."""
LEVELS = range(4, 13)
"""Of the quadrature, coarse to fine."""


@dataclass(frozen=True)
class PreciseEquations:
    """F(x) and what is measured at a solution, the free entropy first, as functions of (controls, x)."""

    updates: Program
    measured: Program
    unknowns: tuple[str, ...]
    names: tuple[str, ...]


def precise_equations(
    updates: Sequence[sp.Expr],
    measured: Mapping[str, sp.Expr],
    free_entropy: sp.Expr,
    arguments: Sequence[sp.Symbol],
    unknowns: Sequence[str],
) -> PreciseEquations:
    """Lower them for every backend."""
    return PreciseEquations(
        lower(tuple(updates), arguments),
        lower((free_entropy, *measured.values()), arguments),
        tuple(unknowns),
        tuple(measured),
    )


def refined(
    equations: PreciseEquations,
    controls: Sequence[Fraction],
    found: Solution,
    jacobian: np.ndarray,
    digits: int,
    backend: str | None = None,
) -> Solution:
    """A solution in doubles, whose map has this Jacobian, to more digits: a chord iteration."""
    size = len(equations.unknowns)
    stiffness = float(np.max(np.abs(np.linalg.inv(np.eye(size) - jacobian)), initial=1.0))
    context = (MP if backend == "mpmath" else Arb)(digits + GUARD + int(np.log10(stiffness + 1)))
    small = 10.0 ** -(digits + 2)
    with context.context():
        fixed = [context.number(value) for value in controls]

        def one_pass(x: tuple[Any, ...]) -> tuple[tuple[Any, ...], float]:
            result = _accurate(context, equations.updates, [*fixed, *x], small / (10 * stiffness))
            return tuple(context.midpoint(v + context.number(0)) for v in result.values), float(
                np.max(result.error)
            )

        start = [context.number(Fraction(float(found[name]))) for name in equations.unknowns]
        fine = refine_map(context, one_pass, start, jacobian, small)
        measured = _accurate(context, equations.measured, [*fixed, *fine.x], small)

        def number(value: Any) -> Any:
            return MP(digits).number(context.to_fraction(context.midpoint(value + context.number(0))))

        values = dict(zip(equations.unknowns, map(number, fine.x), strict=True))
        entropy, *observed = map(number, measured.values)
    quadrature = max(fine.quadrature * stiffness, float(np.max(measured.error)))
    good = fine.converged and quadrature <= 10 * 10.0**-digits
    return replace(
        found,
        values={**values, **dict(zip(equations.names, observed, strict=True))},
        free_entropy=entropy,
        residual=fine.moved,
        errors=Errors(fine.moved * 1e-8, quadrature, 10.0 ** (1 - context.digits) * stiffness),
        outcome=Outcome.CONVERGED if good else Outcome.QUADRATURE if fine.converged else Outcome.RESIDUAL,
        backend=context.name,
        digits=digits,
        evaluations=found.evaluations + fine.steps,
    )


def _accurate(backend: Any, program: Program, arguments: Sequence[Any], tolerance: float) -> Values:
    """At the first level whose error is at the tolerance, else the last."""
    result = program.run(backend, LEVELS.start, arguments)
    for level in LEVELS[1:]:
        if np.max(result.error) <= tolerance:
            break
        result = program.run(backend, level, arguments)
    return Values(tuple(v[()] if isinstance(v, np.ndarray) else v for v in result.values), result.error)
