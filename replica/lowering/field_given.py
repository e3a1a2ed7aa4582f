"""Spins with Gaussian energies at a given size of the blocks: the solutions of one step, in doubles.

At a given m the equation of q_1, with q_0 at the largest solution of its own, is one equation of one unknown:
its zeros on a grid are all solutions.  q_1 = q_0 = q, the symmetric one, is always among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from replica.ansatz import ReplicaSymmetric
from replica.lowering.field import (
    COARSE,
    NODES,
    arguments,
    decouples,
    described,
    embedded,
    field_equations,
    solve_field,
)
from solvers.continuation.crossing import crossing, zeros
from solvers.fixed_point.variational import Stationary, polish
from solvers.simulate.threads import blas_threads
from solvers.solution import Outcome, Solution, unsolved

ALIKE = 1e-6
"""Overlaps that differ by less are those of the symmetric solution."""
_STEPS = np.concatenate(
    [np.geomspace(1e-4, 0.1, 16), np.linspace(0.1, 0.9, 33)[1:], 1 - np.geomspace(1e-9, 0.1, 28)[-2::-1]]
)
"""Where q_1 is looked for, between the symmetric solution and 1."""


def solve_given(model: Any, exact: Mapping[str, Fraction], start: str) -> Solution:
    """The solution of largest q_1; with ``start="uninformed"`` the symmetric one, where it does not break
    under iteration, else that of smallest q_1.
    """
    symmetric_model = model.with_ansatz(ReplicaSymmetric())
    here = {name: exact[name] for name in ("T", "h")}
    symmetric = solve_field(symmetric_model, here, start="uninformed")
    names = tuple(s.name.replace("_", "") for s in model.order_parameters)
    equations, at = field_equations(model), arguments(exact)
    pinned = [0.0] if decouples(model, exact) else []
    lowest = float(symmetric["q"]) if symmetric.outcome.converged else 0.0

    def residual(x: np.ndarray, nodes: float) -> np.ndarray:
        return equations.residuals.run([*at, *pinned, *x], nodes)[len(pinned) :]

    def inner(q1: float) -> np.ndarray:
        """q_1 with the largest q_0 below it."""
        if pinned:
            return np.array([q1])
        outer = _largest(lambda q0: float(residual(np.array([q0, q1]), NODES)[0]), q1)
        return np.array([outer, q1])

    def excess(q1: float) -> float:
        return float(residual(inner(q1), NODES)[-1])

    with blas_threads(1):
        roots = zeros(excess, lowest + (1 - lowest) * _STEPS)
        found = []
        for root in sorted(roots, reverse=start != "uninformed"):
            point = polish(lambda x: residual(x, NODES), lambda x: residual(x, COARSE), inner(root))
            if point.converged and point.x[-1] > [*pinned, *point.x][0] + ALIKE:
                phi = equations.gradient.run([*at, *pinned, *point.x], NODES)[0]
                found.append(Stationary(point.x, float(phi), point))
        stays = start == "uninformed" and excess(lowest + (1 - lowest) * _STEPS[0]) < 0
    if not found or stays:
        if not symmetric.outcome.converged:
            return unsolved(exact)
        return _symmetric(symmetric, exact, names, bool(found))
    return described(equations, exact, names, pinned, found)


def _largest(function: Callable[[float], float], high: float) -> float:
    """The largest zero below ``high`` of a function that is negative there; 0 where there is none."""
    low = 1e-7 * high
    ends = (low, function(low)), (high, function(high))
    if not ends[0][1] > 0 or not ends[1][1] < 0:
        return 0.0
    found = crossing(function, *ends, 1e-9)
    return 0.0 if found is None else found.lam


def _symmetric(
    symmetric: Solution, exact: Mapping[str, Fraction], names: tuple[str, ...], others: bool
) -> Solution:
    outcome = Outcome.CONVERGED if others else Outcome.ALONE
    return replace(embedded(symmetric.values, symmetric, names, outcome), params=dict(exact))
