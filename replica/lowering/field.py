"""Spins with Gaussian energies -> numbers: the infimum of the free entropy over overlaps and blocks, in
doubles.
"""

# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from replica import field_rules
from replica.ansatz import FullRSB, KStepRSB, ReplicaSymmetric
from replica.lowering.levels import NestedProgram
from replica.symbols import beta, h, q, q_hat
from solvers.continuation.crossing import zeros
from solvers.errors import InputError
from solvers.fixed_point.variational import Ordered, Stationary, polish, stationary_points
from solvers.simulate.threads import blas_threads
from solvers.solution import Errors, Outcome, Solution, unsolved

COARSE, NODES = 2.0, 4.0
"""Nodes per unit of a field, for the search and for the equations."""
BELIEVED = 1e-7
"""Error of the quadrature in the unknowns beyond which a solution is not given."""
BROKEN = 1e-12
"""How much breaking must lower the free entropy to be told from rounding."""
COLD = 0.15
"""Temperature below which searches start from the ground state, in units of the fields' deviation."""
UNSTABLE = -1e-4
"""Replicon below which breaking lowers the free entropy by more than can escape notice."""
FLOAT_DIGITS = 15


@dataclass(frozen=True)
class FieldEquations:
    """Phi and its gradient; the residuals of the equations; the observables: as functions of (beta, h, m
    where it is given, overlaps, blocks).
    """

    gradient: NestedProgram
    residuals: NestedProgram
    observables: NestedProgram
    names: tuple[str, ...]


@lru_cache(maxsize=32)
def field_equations(model: Any) -> FieldEquations:
    """Lower the derived equations: q minus its average where there is one, else dPhi/dq; dPhi/dm."""
    phi, saddle = model.derive().result, model.saddle_point()
    unknowns = model.order_parameters
    arguments = (beta, *(s for p, s in model.parameter_symbols() if p.name != "T"), *unknowns)
    conjugates = {c: saddle.update(c) for c in model.ansatz.overlaps(q_hat) if c in saddle.unknowns}
    updates = {s: saddle.update(s).subs(conjugates) for s in saddle.unknowns if s not in conjugates}
    conditions = dict(saddle.conditions)
    observables = model.observables()
    gradient = tuple(field_rules.stationary(phi, s) for s in unknowns)
    return FieldEquations(
        NestedProgram((phi, *gradient), arguments),
        NestedProgram(
            # what is left of a derivative is of the order of beta^2
            tuple(updates[s] - s if s in updates else conditions[s] / (1 + beta**2) for s in unknowns),
            arguments,
        ),
        NestedProgram(tuple(observables.values()), arguments),
        tuple(observables),
    )


def _precisely(
    model: Any, exact: Mapping[str, Fraction], digits: int, start: str, backend: str | None
) -> Solution:
    """The solution in doubles, then to more digits where it is one of the ansatz."""
    from replica.lowering.field_precise import refine_field, refusal

    if (reason := refusal(model, exact)) is not None:
        raise InputError(reason)
    found = solve_field(model, exact, start=start)
    if found.outcome is Outcome.SYMMETRIC:
        raise InputError("the solution has no steps here: ask for its digits with ReplicaSymmetric()")
    return refine_field(model, exact, found, digits, backend) if found.outcome.converged else found


def solve_field(
    model: Any,
    exact: Mapping[str, Fraction],
    digits: int = FLOAT_DIGITS,
    start: str = "global",
    backend: str | None = None,
) -> Solution:
    """Every stationary point from a set of starts, then the one of smallest free entropy (largest free
    energy), which is the infimum.
    """
    if backend not in (None, "float64") or digits > FLOAT_DIGITS:
        return _precisely(model, exact, digits, start, backend)
    if isinstance(model.ansatz, FullRSB):
        from replica.lowering.full import solve_full

        return solve_full(model, exact)
    if exact["T"] == 0:
        return solve_ground(model.ground_state(), exact)
    equations, steps = field_equations(model), model.ansatz.steps
    at, pinned = arguments(exact), [0.0] if decouples(model, exact) else []
    if model.ansatz.blocks != model.ansatz.stationary_blocks:
        from replica.lowering.field_given import solve_given

        return solve_given(model, exact, start)

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        phi, *gradient = equations.gradient.run([*at, *pinned, *x], COARSE)
        return float(phi), np.array(gradient[len(pinned) :])

    def residual(x: np.ndarray) -> np.ndarray:
        return equations.residuals.run([*at, *pinned, *x], NODES)[len(pinned) :]

    def coarse(x: np.ndarray) -> np.ndarray:
        return equations.residuals.run([*at, *pinned, *x], COARSE)[len(pinned) :]

    names = tuple(s.name.replace("_", "") for s in model.order_parameters)
    if not steps:
        with blas_threads(1):
            found = _symmetric_points(value, residual, coarse, start)
        return described(equations, exact, names, pinned, found) if found else unsolved(exact)
    outer = model.with_ansatz(KStepRSB(steps - 1) if steps > 1 else ReplicaSymmetric())
    fewer = solve_field(outer, exact)
    if steps > 1 and fewer.outcome is Outcome.SYMMETRIC:
        return embedded({**fewer.values, "q": fewer["q0"]}, fewer, names[: steps + 1])
    starts, ceiling, alike = [*_cold(model, exact), *_starts(steps, start)], np.inf, np.zeros(0)
    if fewer.outcome.converged:
        alike = _with_a_level(fewer, steps)
        ceiling = value(alike[len(pinned) :])[0] - BROKEN
        starts = [*(_split(fewer, steps) if steps > 1 and start == "global" else []), *starts]
    with blas_threads(1):
        order, begun = Ordered(steps + 1 - len(pinned)), [x[len(pinned) :] for x in starts]
        found = stationary_points(value, residual, coarse, order, begun, ceiling)
    if found and found[0].phi < ceiling:
        return described(equations, exact, names, pinned, found)
    if not fewer.outcome.converged:
        return unsolved(exact)
    if steps == 1:
        unstable = fewer["replicon"] < UNSTABLE
        return unsolved(exact) if unstable else embedded(fewer.values, fewer, names[: steps + 1])
    own = {s.name.replace("_", "") for s in outer.order_parameters}
    values = dict(zip(names, map(float, alike), strict=True))
    values |= {name: value for name, value in fewer.values.items() if name not in own}
    return replace(fewer, values=values, outcome=Outcome.FEWER)


_GRID = np.concatenate(
    [
        [0.0],
        np.geomspace(1e-7, 0.1, 20),
        np.linspace(0.1, 0.9, 33)[1:],
        1 - np.geomspace(1e-10, 0.1, 32)[-2::-1],
    ]
)
"""Where the overlap of a symmetric solution is looked for."""


def _symmetric_points(value: Any, residual: Any, coarse: Any, start: str) -> list[Stationary]:
    """Every replica-symmetric solution, the one that the start chooses first: that of smallest free entropy,
    of largest overlap ("informed"), or the first that is stable under iteration ("uninformed").
    """

    def excess(overlap: float) -> float:
        return float(residual(np.array([overlap]))[0])

    found = []
    for root in zeros(excess, _GRID):
        point = polish(residual, coarse, np.array([root]))
        if point.converged and -1e-12 <= point.x[0] <= 1:
            found.append(Stationary(point.x, float(value(point.x)[0]), point))
    if start == "informed":
        return found[::-1]
    if start == "uninformed":
        down = np.sign(excess(float(_GRID[-1])))
        ahead = [x.x[0] + 1e-6 * max(x.x[0], 1e-3) for x in found]
        return sorted(found, key=lambda s: 0 if np.sign(excess(ahead[found.index(s)])) == down else 1)
    return sorted(found, key=lambda s: s.phi)


def _with_a_level(fewer: Solution, steps: int) -> np.ndarray:
    """The solution with one step less among those of ``steps``: two levels have one overlap and one size."""
    known = np.array(list(fewer.values.values())[: 2 * steps - 1])
    overlaps, sizes = known[:steps], known[steps:]
    return np.concatenate([overlaps[:1], overlaps, sizes[:1] if sizes.size else [0.5], sizes])


def _split(fewer: Solution, steps: int) -> list[np.ndarray]:
    """Starts from the solution with one step less: its levels spread by one, or the innermost one split."""
    known = list(fewer.values.values())[: 2 * steps - 1]
    overlaps, sizes = known[:steps], known[steps:]
    last = overlaps[-1] + 0.2 * (1 - overlaps[-1])
    middle = [0.5 * (a + b) for a, b in pairwise(overlaps)]
    spread = [0.6 * overlaps[0], *middle, last, 0.6 * sizes[0], *(min(1.2 * a, 0.95) for a in sizes)]
    inner = [*overlaps[:-1], 0.98 * overlaps[-1], last, *sizes, min(1.6 * sizes[-1], 0.95)]
    return [np.array(spread), np.array(inner)]


GROUND_UNIT = 0.6
"""Scale of the functions at T = 0, in standard deviations of the innermost field, which smooths |w|."""


@lru_cache(maxsize=32)
def _ground_programs(ground: Any) -> NestedProgram:
    """Minus the energy and its derivatives."""
    return NestedProgram(
        (ground.derive().result, *(e for _, e in ground.stationarity())), (h, *ground.order_parameters)
    )


@lru_cache(maxsize=32)
def _ground_observables(ground: Any) -> tuple[tuple[str, ...], NestedProgram]:
    observables = ground.observables()
    return tuple(observables), NestedProgram(tuple(observables.values()), (h, *ground.order_parameters))


def solve_ground(ground: Any, exact: Mapping[str, Fraction]) -> Solution:
    """The ground state: the largest energy over the ansatz, step after step, each from the one before."""
    if ground.model.spins == "spherical":
        from replica.lowering.spherical_ground import solve_spherical_ground

        return solve_spherical_ground(ground, exact)
    program, steps, field = _ground_programs(ground), ground.model.ansatz.steps, float(exact["h"])

    pinned = [0.0] if decouples(ground.model, exact) else []

    def unit(x: np.ndarray) -> float:
        innermost = [*pinned, *x][steps - 1] if steps else 0.0
        return GROUND_UNIT * np.sqrt(max(1 - innermost, 1e-6))

    def run(x: np.ndarray, nodes: float) -> np.ndarray:
        values = program.run([field, *pinned, *x], nodes, unit(x))
        return np.array([values[0], *values[1 + len(pinned) :]])

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        phi, *gradient = run(x, COARSE)
        return float(phi), np.array(gradient)

    def residual(x: np.ndarray) -> np.ndarray:
        return run(x, NODES)[1:]

    def coarse(x: np.ndarray) -> np.ndarray:
        return run(x, COARSE)[1:]

    order = Ordered(steps - len(pinned), unbounded=True)
    best = np.zeros(0)
    evaluations, stiffness, point = 0, 1.0, None
    if steps:
        with blas_threads(1):
            found = stationary_points(
                value, residual, coarse, order, [_ground_start(ground, exact)[len(pinned) :]]
            )
        if not found:
            return unsolved(exact)
        best, point = found[0].x, found[0].point
        evaluations = point.evaluations
        stiffness = float(np.max(np.abs(np.linalg.pinv(np.eye(best.size) - point.jacobian))))
    rough, fine = (run(best, k * NODES) for k in (1, 2))
    quadrature = float(np.max(np.abs(rough - fine))) * stiffness
    names = (s.name.replace("_", "") for s in ground.order_parameters)
    energy = -float(fine[0])
    labels, observables = _ground_observables(ground)
    observed = map(float, observables.run([field, *pinned, *best], 2 * NODES, unit(best)))
    return Solution(
        values={
            **dict(zip(names, map(float, [*pinned, *best]), strict=True)),
            **{"f": energy, "energy": energy},
            **dict(zip(labels, observed, strict=True)),
        },
        params=dict(exact),
        free_entropy=float(fine[0]),
        residual=point.residual if point else 0.0,
        errors=Errors((point.residual if point else 0.0) * stiffness, quadrature, 1e-16 * stiffness),
        outcome=Outcome.CONVERGED if quadrature < BELIEVED else Outcome.QUADRATURE,
        backend="float64",
        digits=FLOAT_DIGITS,
        stability=float(np.max(np.abs(np.linalg.eigvals(point.jacobian)))) if point else 0.0,
        branches=tuple(map(float, [*pinned, *best][:1])),
        evaluations=evaluations,
    )


def _ground_start(ground: Any, exact: Mapping[str, Fraction]) -> np.ndarray:
    """The solution with one step less, its last level split; by itself for one step."""
    ansatz = ground.model.ansatz
    if ansatz.steps == 1:
        return np.array([0.4, 1.3])
    fewer = ground.model.with_ansatz(KStepRSB(ansatz.steps - 1)).ground_state()
    before = solve_ground(fewer, exact)
    known = [before[s.name.replace("_", "")] for s in fewer.order_parameters]
    overlaps, slopes = known[: ansatz.steps - 1], known[ansatz.steps - 1 :]
    return np.array(
        [
            0.6 * overlaps[0],
            *[0.5 * (a + b) for a, b in pairwise([*overlaps, 1.0])],
            0.6 * slopes[0],
            *[1.2 * a for a in slopes],
        ]
    )


def arguments(exact: Mapping[str, Any]) -> list[float]:
    """The values of the control parameters as the equations take them: beta for T."""
    return [1 / float(exact["T"]), *(float(value) for name, value in exact.items() if name != "T")]


def decouples(model: Any, exact: Mapping[str, Any]) -> bool:
    """Whether replicas in different blocks are orthogonal: no field, and no quadratic part of the covariance,
    which would make q_0 = 0 unstable.
    """
    return model.ansatz.steps > 0 and exact["h"] == 0 and model.covariance.diff(q, 2).subs(q, 0) == 0


def _cold(model: Any, exact: Mapping[str, Fraction]) -> list[np.ndarray]:
    """At low temperature, from the ground state: blocks have m = a T replicas, and q = 1 - V T."""
    steps, temperature = model.ansatz.steps, float(exact["T"])
    smooth = model.spins == "ising" or model.covariance.is_polynomial(q)
    if not smooth or temperature > COLD * float(model.covariance.diff(q).subs(q, 1)) ** 0.5:
        return []
    ground = solve_ground(model.ground_state(), {**exact, "T": Fraction(0)})
    if ground.outcome is not Outcome.CONVERGED:
        return []
    known = list(ground.values.values())
    last = 1 - min(ground["V"] * temperature, 0.5)
    return [np.array([*known[:steps], last, *(min(a * temperature, 0.9) for a in known[steps : 2 * steps])])]


def _starts(steps: int, start: str) -> list[np.ndarray]:
    """Spread overlaps, and a large innermost one beside small ones; at most one of them for a named start."""
    spread = np.concatenate([np.linspace(0.2, 0.7, steps + 1), np.linspace(0.2, 0.6, steps)])
    large = np.concatenate([np.linspace(0.05, 0.4, steps), [0.9], np.linspace(0.3, 0.7, steps)])
    between = np.concatenate([np.linspace(0.05, 0.3, steps), [0.75], np.linspace(0.5, 0.8, steps)])
    return {"uninformed": [spread], "informed": [large], "global": [large, between, spread]}[start]


def described(
    equations: FieldEquations,
    exact: Mapping[str, Fraction],
    names: tuple[str, ...],
    pinned: list[float],
    found: list[Stationary],
) -> Solution:
    """The first of the solutions found, with its observables and errors."""
    best = found[0]
    unknowns = [*pinned, *best.x]
    point = [*arguments(exact), *unknowns]
    coarse, fine = (equations.residuals.run(point, k * NODES) for k in (1, 2))
    phis = [equations.gradient.run(point, k * NODES)[0] for k in (1, 2)]
    stiffness = float(np.max(np.abs(np.linalg.pinv(np.eye(best.x.size) - best.point.jacobian))))
    quadrature = max(float(np.max(np.abs(coarse - fine))) * stiffness, float(abs(phis[0] - phis[1])))
    observed = dict(zip(equations.names, equations.observables.run(point, 2 * NODES), strict=True))
    values = {name: float(x) for name, x in zip(names, unknowns, strict=True)}
    values |= {name: float(x) for name, x in observed.items()}
    good = quadrature < BELIEVED
    return Solution(
        values=values,
        params=dict(exact),
        free_entropy=float(phis[1]),
        residual=best.point.residual,
        errors=Errors(best.point.residual * stiffness, quadrature, 1e-16 * stiffness),
        outcome=Outcome.CONVERGED if good else Outcome.QUADRATURE,
        backend="float64",
        digits=FLOAT_DIGITS,
        stability=float(np.max(np.abs(np.linalg.eigvals(best.point.jacobian)))),
        branches=tuple(float([*pinned, *s.x][0]) for s in found),
        evaluations=best.point.evaluations,
    )


def embedded(
    values: Mapping[str, Any],
    symmetric: Solution,
    names: tuple[str, ...],
    outcome: Outcome = Outcome.SYMMETRIC,
) -> Solution:
    """The replica-symmetric solution as one with steps: all overlaps are the same, blocks mean nothing."""
    others = {name: value for name, value in values.items() if name != "q" and name not in names}
    return replace(symmetric, values={**dict.fromkeys(names, values["q"]), **others}, outcome=outcome)
