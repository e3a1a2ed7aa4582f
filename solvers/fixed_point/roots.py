"""From a bracket to a solution: Newton on all points together, then the residual, the errors and Phi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from solvers.fixed_point.halves import BACKEND, EPS, SMALLEST, SignalHalf, rounding_of, seen
from solvers.fixed_point.lattice import BESIDE, LOWEST
from solvers.fixed_point.table import Brackets
from solvers.problem import FINEST, LEVELS, TYPICAL, Evaluation, PairProblem, evaluate_levels
from solvers.solution import Errors, Outcome

ROUGH = 1e-7  # tolerance of the first step of nested averages
SETTLED = 1e-12  # residual at which Newton ends
MOST_STEPS = 40
NEAR = 1e-9  # length of a step after which f is at rounding, unless it still falls
ENTROPY_TOLERANCE = 1e-8  # error of Phi beyond which it is no number; it chooses among the solutions
STALLED = 0.25  # by which factor it falls at least while it does


@dataclass(frozen=True)
class Root:
    """One solution at one point: the iterated unknown, the error v = E x^2 - q and how they were reached."""

    q_hat: float
    v: float
    free_entropy: float
    residual: float
    errors: Errors
    slope: float
    outcome: Outcome


class Pass(NamedTuple):
    """One pass of updates at several s: f, its derivative's gain = f' + 1, and both halves."""

    f: np.ndarray
    gain: np.ndarray
    inner: Evaluation
    outer: Evaluation


class Landing(NamedTuple):
    """Where Newton's iteration was at its last pass, that pass, and the levels that sufficed for it."""

    s: np.ndarray
    last: Pass
    levels: tuple[int, int]
    evaluations: int


def _pass(
    problem: PairProblem,
    half: SignalHalf,
    output: Mapping[str, Any],
    saturated: np.ndarray,
    s: np.ndarray,
    tolerance: float,
    levels: tuple[int, int],
) -> tuple[Pass, tuple[int, int]]:
    """A pass of updates, with quadratures from ``levels`` (signal, output) on; the levels that sufficed.

    ``saturated``: where the outputs stay finite as v -> 0.
    """
    q_hat = np.exp(s)
    inner, first = half(q_hat, tolerance, levels=(levels[0], FINEST))
    v = seen(problem, inner.value, saturated)
    outer, second = evaluate_levels(
        problem.output, BACKEND, v, output, tolerance, levels=(levels[1], problem.finest)
    )
    outer = outer._replace(slope=np.where(v == inner.value, outer.slope, 0.0))
    gain = outer.slope / outer.value * inner.slope * q_hat
    return Pass(np.log(outer.value) - s, gain, inner, outer), (first, second)


def newton(
    problem: PairProblem,
    half: SignalHalf,
    output: Mapping[str, np.ndarray],
    brackets: Brackets,
    saturated: np.ndarray,
    tolerance: float,
) -> Landing:
    """Newton's iteration, with the curvature known from the points before, kept inside its bracket, all
    points together.  A point leaves at a residual of 1e-12, or when its last step was at rounding and did
    not make f smaller: where the slope is inexact, a small step is not yet the last.

    One average costs little more at the level where a double has its digits than at a lower one, as that over
    the signal does; nested averages begin low, and at less than the tolerance.
    """
    first = LEVELS.start if problem.spectral else TYPICAL
    levels = (first, LEVELS.start + 1 if problem.nested else first)
    s, lower, upper = brackets.guess.copy(), brackets.lower.copy(), brackets.upper.copy()
    at, curvature = s.copy(), brackets.curvature.copy()
    rows = np.full((8, s.size), np.nan)
    rising, near = np.zeros(s.size, dtype=bool), np.zeros(s.size, dtype=bool)
    pending = np.arange(s.size)
    evaluations = 0
    for iteration in range(MOST_STEPS):
        if pending.size == 0:
            break
        mine = {name: values[brackets.point[pending]] for name, values in output.items()}
        here = s[pending]
        rough = problem.nested and iteration == 0
        (f, gain, inner, outer), levels = _pass(
            problem,
            half,
            mine,
            saturated[brackets.point[pending]],
            here,
            ROUGH if rough else tolerance,
            levels,
        )
        evaluations += pending.size
        if rough and np.any(outer.error > tolerance * np.abs(outer.value)):
            levels = (levels[0], min(levels[1] + 1, problem.finest))
        if iteration == 0:
            rising[pending] = gain > 1
        else:
            bent = (gain - rows[1, pending]) / (here - at[pending])
            curvature[pending] = np.where(np.isfinite(bent), bent, curvature[pending])
        before, at[pending] = rows[0, pending], here
        rows[:, pending] = (f, gain, *inner, *outer)
        fell = np.abs(f) < STALLED * np.abs(before)
        inside = f > 0
        left = np.where(rising[pending], ~inside, inside)  # the root lies to the right of s
        lower[pending] = np.where(left, here, lower[pending])
        upper[pending] = np.where(left, upper[pending], here)
        step = -f / (gain - 1)
        bend = -curvature[pending] / (2 * (gain - 1)) * step
        target = here + step * (1 + np.where(np.abs(bend) < 0.5, bend, 0.0))
        outside = ~((target >= lower[pending]) & (target <= upper[pending]))
        target = np.where(outside, (lower[pending] + upper[pending]) / 2, target)
        settled = (np.abs(f) <= SETTLED) | (near[pending] & ~fell)
        settled &= not rough
        settled |= np.isnan(f) & np.isnan(before) & (iteration > 0)  # outside what doubles hold
        near[pending] = (np.abs(target - here) <= NEAR) & (not rough)
        s[pending] = target
        pending = pending[~settled]
    last = Pass(rows[0], rows[1], Evaluation(*rows[2:5]), Evaluation(*rows[5:8]))
    return Landing(at, last, levels, evaluations)


def roots_at(
    problem: PairProblem,
    half: SignalHalf,
    output: Mapping[str, np.ndarray],
    point: np.ndarray,
    saturated: np.ndarray,
    landing: Landing,
    silent: np.ndarray,
) -> tuple[list[Root], dict[int, Root]]:
    """The solutions: residual, errors and free entropy of each; a v that is no double is 0.  And the solution
    q_hat = 0 of the points ``silent``.
    """
    s, (f, gain, inner, outer) = landing.s, landing.last
    last = np.nan_to_num(f / (gain - 1))  # a last correction, smaller than what was just measured
    q_hat = np.exp(s - last)
    v = inner.value - inner.slope * q_hat * last
    there = seen(problem, v, saturated[point])
    # at q_hat = 0 Phi is linear in q_hat, and stationary in v: a little less of it where Phi is 0/0 at all
    ends = half.error_at_zero * (1 - BESIDE * np.arange(2))
    phi, doubt = _entropies(
        problem,
        np.concatenate([q_hat, np.full(2 * silent.size, LOWEST)]),
        np.concatenate([there, np.tile(ends, silent.size)]),
        half.parameters,
        {name: values[np.concatenate([point, np.repeat(silent, 2)])] for name, values in output.items()},
        min(landing.levels),
    )
    first = np.arange(s.size, phi.size, 2)
    beside = np.where(np.isfinite(phi[first]), phi[first], phi[first + 1])
    at_zero = {
        int(p): _end(half.error_at_zero, 0.0, float(x), Outcome.UNINFORMATIVE)
        for p, x in zip(silent, beside, strict=True)
    }
    stiffness = np.maximum(np.abs(1 - gain), 1e-12)
    passed = np.abs(outer.slope) / outer.value
    quadrature = (
        np.abs(inner.slope) * q_hat * (inner.error * passed + outer.error / outer.value) / stiffness
        + inner.error
    )
    rounding = rounding_of(problem, q_hat, inner.value) * (
        1 + np.abs(inner.slope) * q_hat * passed / stiffness
    )
    iteration = np.abs(inner.slope) * q_hat * f * f
    lost = saturated[point] & (inner.value <= SMALLEST)
    v, iteration, quadrature, rounding = (
        np.where(lost, 0.0, a) for a in (v, iteration, quadrature, rounding)
    )
    roots = []
    for k in range(s.size):
        errors = Errors(float(iteration[k]), float(quadrature[k]), float(rounding[k]))
        residual = float(abs(f[k]))
        # rounding of v moves f by its relative error: that much residual is not for the iteration to remove
        allowed = 1e-11 + 2 * rounding_of(problem, q_hat[k], v[k]) * passed[k]
        if not (np.isfinite(phi[k]) and residual <= allowed):
            outcome = Outcome.RESIDUAL
        elif not (
            errors.quadrature <= 1e-10 + 64 * errors.rounding
            and doubt[k] <= ENTROPY_TOLERANCE * max(1.0, abs(phi[k])) + 64 * EPS * q_hat[k]
        ):
            outcome = Outcome.QUADRATURE
        else:
            outcome = Outcome.CONVERGED
        roots.append(
            Root(float(q_hat[k]), float(v[k]), float(phi[k]), residual, errors, float(gain[k]), outcome)
        )
    return roots, at_zero


def _entropies(
    problem: PairProblem,
    q_hat: np.ndarray,
    v: np.ndarray,
    signal: Mapping[str, float],
    output: Mapping[str, np.ndarray],
    level: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Free entropies and the errors of their quadratures."""
    if not q_hat.size:
        return q_hat, v

    def half(backend: Any, level: int, at: Any, values: Mapping[str, Any]) -> Evaluation:
        rest = {name: value for name, value in values.items() if name != "v"}
        return problem.free_entropy(backend, level, at, values["v"], rest)

    levels = (min(level, problem.finest), problem.finest)
    given = {**signal, **output, "v": v}
    result = evaluate_levels(half, BACKEND, q_hat, given, 1e-12, levels=levels).result
    return result.value, result.error


def _end(v: float, q_hat: float, free_entropy: float, outcome: Outcome) -> Root:
    return Root(q_hat, v, free_entropy, 0.0, Errors(0.0, 0.0, 0.0), 0.0, outcome)


def recovery(free_entropy: float = np.inf) -> Root:
    """The solution at q_hat = infinity."""
    return _end(0.0, np.inf, free_entropy, Outcome.PERFECT_RECOVERY)


def nothing(outcome: Outcome) -> Root:
    """No number, and the reason why."""
    unknown = Errors(np.inf, np.inf, np.inf)
    return Root(np.nan, np.nan, np.nan, np.inf, unknown, np.nan, outcome)
