"""Spherical perceptrons with steps of replica symmetry breaking -> numbers: the minimum of the free entropy
over overlaps and blocks, in doubles.
"""

# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp
from scipy.optimize import minimize_scalar

from replica.lowering.levels import NestedProgram
from replica.perceptron_levels import inserted
from solvers.errors import InputError
from solvers.fixed_point.variational import Ordered, Stationary, stationary_points
from solvers.simulate.threads import blas_threads
from solvers.solution import Errors, Outcome, Solution, unsolved

COARSE, NODES = 2.0, 4.0
"""Nodes per width sqrt(1 - q) of the innermost function, for the search and for the equations."""
BELIEVED = 1e-7
"""Error of the quadrature in the unknowns beyond which a solution is not given."""
BROKEN = 1e-11
"""How much breaking must lower the free entropy to be told from rounding."""
UNSTABLE = 1e-4
"""How negative the replicon of the symmetric solution must be for that not to be the answer."""
FLOAT_DIGITS = 15
EDGE = 1e-3
"""Smallest 1 - q: below it lines of nodes would be too fine, and solutions are not looked for."""


@dataclass(frozen=True)
class VolumeEquations:
    """Phi and its gradient; the residuals of the equations; the observables: as functions of the control
    parameters and of overlaps and blocks.
    """

    gradient: NestedProgram
    residuals: NestedProgram
    observables: NestedProgram
    names: tuple[str, ...]
    steps: int

    def unit(self, unknowns: Any) -> float:
        """The scale on which log Z_out varies."""
        return float(np.sqrt(max(1 - unknowns[self.steps], EDGE / 2)))


@lru_cache(maxsize=32)
def volume_equations(model: Any) -> VolumeEquations:
    """Lower the derived conditions, those of overlaps in units of q."""
    unknowns, steps = model.order_parameters, model.ansatz.steps
    overlaps, blocks = unknowns[: steps + 1], unknowns[steps + 1 :]
    arguments = (*(s for _, s in model.parameter_symbols()), *unknowns)
    slopes = {s: inserted(e, model.constraint) for s, e in model.saddle_point().conditions}
    # dPhi/dq_i has the factor m_i - m_{i+1}, and q/(1 - q)^2 is what it compares
    weights = [a - b for a, b in pairwise((sp.S.Zero, *blocks, sp.S.One))]
    scale = {s: (1 - overlaps[-1]) ** 2 / w for s, w in zip(overlaps, weights, strict=True)}
    observables = {name: inserted(e, model.constraint) for name, e in model.observables({}).items()}
    return VolumeEquations(
        NestedProgram((model.derive().result, *(slopes[s] for s in unknowns)), arguments),
        NestedProgram(tuple(slopes[s] * scale.get(s, sp.S.One) for s in unknowns), arguments),
        NestedProgram(tuple(observables.values()), arguments),
        tuple(observables),
        steps,
    )


def solve_volume(
    model: Any,
    exact: Mapping[str, Fraction],
    digits: int = FLOAT_DIGITS,
    start: str = "global",
    backend: str | None = None,
) -> Solution:
    """The stationary point of smallest free entropy from a set of starts, below that of the symmetric one."""
    if backend not in (None, "float64") or digits > FLOAT_DIGITS:
        raise InputError(
            "steps of replica symmetry breaking are solved in float64: ask for at most 15 digits"
        )
    equations, steps = volume_equations(model), model.ansatz.steps
    at = [float(exact[p.name]) for p in model.control_parameters]

    def run(program: NestedProgram, x: Any, nodes: float) -> np.ndarray:
        if not 1 - x[steps] >= EDGE / 2:
            return np.full(len(program.expressions), np.inf)
        return program.run([*at, *x], nodes, equations.unit(x))

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        phi, *gradient = run(equations.gradient, x, COARSE)
        return float(phi), np.array(gradient)

    def residual(x: np.ndarray) -> np.ndarray:
        return run(equations.residuals, x, NODES)

    def coarse(x: np.ndarray) -> np.ndarray:
        return run(equations.residuals, x, COARSE)

    with blas_threads(1), np.errstate(invalid="ignore"):
        alike = _symmetric(value, steps)
        if 1 - alike[0] < 1.1 * EDGE:
            return unsolved(exact)
        ceiling = value(alike)[0] - BROKEN
        names = tuple(s.name.replace("_", "") for s in model.order_parameters)
        failed = None
        for overlaps in _starts(steps, float(alike[0])):
            found = stationary_points(value, residual, coarse, Ordered(steps + 1), [overlaps], ceiling)
            if found and found[0].phi < ceiling:
                shown = dict(zip(names, map(float, found[0].x), strict=True))
                solution = _described(run, equations, exact, found[0].x, shown, found[0], found)
                if solution.outcome.converged:
                    return solution
                failed = failed or solution  # a minimum of the quadrature's error: from elsewhere, then
    if failed is not None:
        return failed
    if not run(equations.observables, alike, NODES)[0] > -UNSTABLE:
        return unsolved(exact)  # the symmetric solution is unstable, and no other was found
    shown = dict(zip(names[: steps + 1], map(float, alike), strict=False))
    return _described(run, equations, exact, alike, shown, None, [])


def _symmetric(value: Any, steps: int) -> np.ndarray:
    """All overlaps alike, with any blocks: the minimum over q."""

    def point(overlap: float) -> np.ndarray:
        return np.array([overlap] * (steps + 1) + list(np.linspace(0.4, 0.6, steps)))

    grid = 1 - np.geomspace(1, EDGE, 40)
    best = int(np.argmin([value(point(x))[0] for x in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    found = minimize_scalar(
        lambda x: value(point(x))[0], bounds=(low, high), method="bounded", options={"xatol": 1e-10}
    )
    return point(float(found.x))


def _starts(steps: int, overlap: float) -> list[np.ndarray]:
    """Overlaps on both sides of the symmetric one."""
    starts = []
    for below, above, block in ((0.8, 0.6, 0.4), (0.95, 0.95, 0.4), (0.5, 0.3, 0.3)):
        inner = 1 - (1 - overlap) * above ** np.linspace(0, 1, steps + 1)[1:]
        blocks = block * np.linspace(0.5, 1, steps) if steps > 1 else [block]
        starts.append(np.concatenate([[below * overlap], inner, blocks]))
    return starts


def _described(
    run: Any,
    equations: VolumeEquations,
    exact: Mapping[str, Fraction],
    x: np.ndarray,
    shown: Mapping[str, float],
    best: Stationary | None,
    found: list[Stationary],
) -> Solution:
    phis = [float(run(equations.gradient, x, k * NODES)[0]) for k in (1, 2)]
    quadrature, residual, stiffness = abs(phis[0] - phis[1]), 0.0, 1.0
    if best is not None:
        rough, fine = (run(equations.residuals, x, k * NODES) for k in (1, 2))
        stiffness = float(np.max(np.abs(np.linalg.pinv(np.eye(x.size) - best.point.jacobian))))
        quadrature = max(quadrature, float(np.max(np.abs(rough - fine))) * stiffness)
        residual = best.point.residual
    observed = dict(zip(equations.names, run(equations.observables, x, 2 * NODES), strict=True))
    good = Outcome.CONVERGED if best is not None else Outcome.SYMMETRIC
    return Solution(
        values={**shown, "entropy": phis[1], **{name: float(v) for name, v in observed.items()}},
        params=dict(exact),
        free_entropy=phis[1],
        residual=residual,
        errors=Errors(residual * stiffness, quadrature, 1e-16 * stiffness),
        outcome=good if quadrature < BELIEVED else Outcome.QUADRATURE,
        backend="float64",
        digits=FLOAT_DIGITS,
        stability=float(np.max(np.abs(np.linalg.eigvals(best.point.jacobian)))) if best else 0.0,
        branches=tuple(float(s.x[0]) for s in found) or (float(x[0]),),
        evaluations=best.point.evaluations if best else 0,
    )
