"""Spins with Gaussian energies to more digits than doubles have: replica symmetric, or one step."""

# pyright: reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from replica.ansatz import FullRSB
from replica.expr.average import GaussianAverage
from replica.expr.recursion import LogMoment, Tilted
from replica.lowering.field import NODES, arguments, decouples, field_equations
from replica.lowering.precise import PreciseEquations, precise_equations, refined
from solvers.solution import Solution

MOST_STEPS = 1
"""Averages inside averages: with more the nodes are too many."""
STEP = 1e-5


@lru_cache(maxsize=16)
def _precise(model: Any, pinned: int) -> PreciseEquations:
    """The equations of the unknowns after the first ``pinned`` ones, which vanish."""
    equations = field_equations(model)
    symbols, names = model.order_parameters, [s.name.replace("_", "") for s in model.order_parameters]
    zeros = dict.fromkeys(symbols[:pinned], sp.S.Zero)
    parameters = [s for s in equations.residuals.parameters if s not in zeros]

    def flat(expr: sp.Expr) -> sp.Expr:
        """In plain averages, those without variance done."""
        levels = expr.subs(zeros).replace(lambda e: isinstance(e, LogMoment | Tilted), lambda e: e.unfold())
        return levels.replace(
            lambda e: isinstance(e, GaussianAverage) and e.variance.is_zero,
            lambda e: e.body.subs(e.var, e.mean),
        )

    phi, *_ = equations.gradient.expressions
    residuals = equations.residuals.expressions[pinned:]
    updates = [flat(r) + s for r, s in zip(residuals, symbols[pinned:], strict=True)]
    measured = dict(zip(equations.names, map(flat, equations.observables.expressions), strict=True))
    return precise_equations(updates, measured, flat(phi), parameters, names[pinned:])


def refusal(model: Any, exact: Mapping[str, Fraction]) -> str | None:
    """Why there are no more than 15 digits, if so."""
    given = model.ansatz.blocks != getattr(model.ansatz, "stationary_blocks", ())
    if model.ansatz.steps > MOST_STEPS or isinstance(model.ansatz, FullRSB) or given or exact["T"] == 0:
        return "more than 15 digits are for T > 0 and no or one step of breaking, at the stationary m"
    return None


def refine_field(
    model: Any, exact: Mapping[str, Fraction], found: Solution, digits: int, backend: str | None
) -> Solution:
    """A solution in doubles to more digits."""
    pinned = 1 if decouples(model, exact) else 0
    equations, precise = field_equations(model), _precise(model, pinned)
    x = np.array([float(found[name]) for name in precise.unknowns])

    def update(y: np.ndarray) -> np.ndarray:
        return y + equations.residuals.run([*arguments(exact), *[0.0] * pinned, *y], NODES)[pinned:]

    columns = [(update(x + STEP * e) - update(x - STEP * e)) / (2 * STEP) for e in np.eye(x.size)]
    controls = [1 / exact["T"], *(exact[p.name] for p in model.control_parameters if p.name != "T")]
    solution = refined(precise, controls, found, np.array(columns).T, max(digits, 18), backend)
    first = model.order_parameters[0].name.replace("_", "")
    return replace(solution, values={first: 0.0, **solution.values}) if pinned else solution
