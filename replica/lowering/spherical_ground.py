"""Ground states of spherical spins with Gaussian energies -> numbers: closed forms, so no quadrature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from replica.ansatz import KStepRSB, ReplicaSymmetric
from replica.lowering.field import BROKEN, FLOAT_DIGITS, decouples
from replica.lowering.levels import NestedProgram
from replica.symbols import h
from solvers.fixed_point.variational import Ordered, minimise, polish
from solvers.solution import Errors, Outcome, Solution, unsolved


@lru_cache(maxsize=32)
def _program(ground: Any) -> NestedProgram:
    """Minus the energy and its derivatives."""
    return NestedProgram(
        (ground.derive().result, *(e for _, e in ground.stationarity())), (h, *ground.order_parameters)
    )


def solve_spherical_ground(ground: Any, exact: Mapping[str, Fraction]) -> Solution:
    """The largest energy over the ansatz; that of fewer steps where one more does not raise it."""
    program, steps, field = _program(ground), ground.model.ansatz.steps, float(exact["h"])
    pinned = [0.0] if decouples(ground.model, exact) else []
    names = tuple(s.name.replace("_", "") for s in ground.order_parameters)

    def run(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            values = program.run([field, *pinned, *x], 1.0)
        return np.array([values[0], *values[1 + len(pinned) :]])

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        phi, *gradient = run(x)
        return float(phi), np.array(gradient)

    fewer = _with_fewer(ground, exact)
    if fewer is not None and steps > 1 and fewer.outcome is Outcome.SYMMETRIC:
        return _embedded(fewer, names)
    order, found = Ordered(steps - len(pinned), unbounded=True, responses=1), []
    for start in _starts(steps, fewer):
        rough = minimise(value, order, start[len(pinned) :])
        point = polish(lambda x: run(x)[1:], lambda x: run(x)[1:], rough)
        if point.converged and order.admits(point.x):
            found.append((float(run(point.x)[0]), point))
    phi, point = min(found, key=lambda pair: pair[0], default=(np.inf, None))
    if fewer is not None and fewer.outcome.converged and not phi < fewer.free_entropy - BROKEN:
        return _embedded(fewer, names)
    if point is None:
        return unsolved(exact)
    stiffness = float(np.max(np.abs(np.linalg.pinv(np.eye(point.x.size) - point.jacobian))))
    unknowns = dict(zip(names, map(float, [*pinned, *point.x]), strict=True))
    return Solution(
        values={**unknowns, "f": -phi, "energy": -phi},
        params=dict(exact),
        free_entropy=phi,
        residual=point.residual,
        errors=Errors(point.residual * stiffness, 0.0, 1e-16 * stiffness),
        outcome=Outcome.CONVERGED,
        backend="float64",
        digits=FLOAT_DIGITS,
        stability=float(np.max(np.abs(np.linalg.eigvals(point.jacobian)))),
        branches=tuple([*unknowns.values()][:1]),
        evaluations=point.evaluations,
    )


def _with_fewer(ground: Any, exact: Mapping[str, Fraction]) -> Solution | None:
    """The solution with one step less, in the fewest unknowns; None for no step."""
    steps = ground.model.ansatz.steps
    if steps == 0:
        return None
    ansatz = KStepRSB(steps - 1) if steps > 1 else ReplicaSymmetric()
    return solve_spherical_ground(ground.model.with_ansatz(ansatz).ground_state(), exact)


def _unknowns(fewer: Solution, steps: int) -> tuple[list[float], list[float], float]:
    """Overlaps, sizes of blocks over T, and V of a solution with ``steps`` steps."""
    known = list(fewer.values.values())
    return known[:steps], known[steps : 2 * steps], known[2 * steps]


def _embedded(fewer: Solution, names: tuple[str, ...]) -> Solution:
    """The solution with one step less as one with more: all overlaps are 1 where it is symmetric, else its
    outermost level is there twice.
    """
    steps = len(names) // 2
    if steps == 1 or fewer.outcome is Outcome.SYMMETRIC:
        values, outcome = dict.fromkeys(names[:steps], 1.0) | {"V": fewer["V"]}, Outcome.SYMMETRIC
    else:
        overlaps, sizes, response = _unknowns(fewer, steps - 1)
        doubled = [overlaps[0], *overlaps, sizes[0], *sizes, response]
        values, outcome = dict(zip(names, doubled, strict=True)), Outcome.FEWER
    return replace(fewer, values=values | {name: fewer[name] for name in ("f", "energy")}, outcome=outcome)


def _starts(steps: int, fewer: Solution | None) -> list[np.ndarray]:
    """Of one step, some; of more, the solution with one step less, a level of it split."""
    if fewer is None:
        return [np.array([0.5])]
    if steps == 1:
        return [np.array([q, a, v]) for q in (0.05, 0.5) for a in (0.5, 2.0) for v in (0.2, 1.0)]
    if not fewer.outcome.converged:
        return [np.concatenate([np.linspace(0.2, 0.8, steps), np.linspace(0.3, 1.5, steps), [0.5]])]
    overlaps, sizes, response = _unknowns(fewer, steps - 1)
    middle = [0.5 * (a + b) for a, b in pairwise([*overlaps, 1.0])]
    outer = [0.6 * overlaps[0], *middle, 0.6 * sizes[0], *(1.2 * a for a in sizes), 0.8 * response]
    inner = [*overlaps, 0.5 * (overlaps[-1] + 1), *sizes, 1.5 * sizes[-1], 0.8 * response]
    return [np.array(outer), np.array(inner)]
