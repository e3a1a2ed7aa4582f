"""From a bracket to a solution: Newton on all points together, then the residual, the errors and Phi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.fixed_point.halves import BACKEND, EPS, SignalHalf, rounding_of
from solvers.fixed_point.table import LOWEST, Brackets
from solvers.problem import Evaluation, PairProblem, evaluate_batch
from solvers.solution import Errors, Outcome


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


def _step(
    problem: PairProblem,
    half: SignalHalf,
    output: Mapping[str, Any],
    s: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, Evaluation, Evaluation]:
    """f, the derivative of one pass of updates in log q_hat, and both halves."""
    q_hat = np.exp(s)
    inner = half(q_hat, tolerance)
    outer = evaluate_batch(problem.output, BACKEND, inner.value, output, tolerance)
    with np.errstate(all="ignore"):
        return np.log(outer.value) - s, outer.slope / outer.value * inner.slope * q_hat, inner, outer


def newton(
    problem: PairProblem,
    half: SignalHalf,
    output: Mapping[str, np.ndarray],
    brackets: Brackets,
    tolerance: float,
) -> tuple[np.ndarray, int]:
    """Newton's iteration kept inside its bracket, all points together; a point leaves when its step is at
    rounding.
    """
    s, lower, upper = brackets.guess.copy(), brackets.lower.copy(), brackets.upper.copy()
    rising = np.zeros(s.size, dtype=bool)
    pending = np.arange(s.size)
    evaluations = 0
    for iteration in range(40):
        if pending.size == 0:
            break
        mine = {name: values[brackets.point[pending]] for name, values in output.items()}
        f, gain, _, _ = _step(problem, half, mine, s[pending], tolerance)
        evaluations += pending.size
        if iteration == 0:
            rising[pending] = gain > 1
        inside = f > 0
        left = np.where(rising[pending], ~inside, inside)  # the root lies to the right of s
        lower[pending] = np.where(left, s[pending], lower[pending])
        upper[pending] = np.where(left, upper[pending], s[pending])
        with np.errstate(all="ignore"):
            target = s[pending] - f / (gain - 1)
        outside = ~((target >= lower[pending]) & (target <= upper[pending]))
        target = np.where(outside, (lower[pending] + upper[pending]) / 2, target)
        moved = np.abs(target - s[pending])
        s[pending] = target
        pending = pending[(moved > 1e-9) & (np.abs(f) > 4 * EPS)]
    return s, evaluations


def roots_at(
    problem: PairProblem,
    half: SignalHalf,
    output: Mapping[str, np.ndarray],
    point: np.ndarray,
    s: np.ndarray,
    tolerance: float,
) -> list[Root]:
    """Evaluate each solution once more: residual, errors, free entropy."""
    if s.size == 0:
        return []
    mine = {name: values[point] for name, values in output.items()}
    f, gain, inner, outer = _step(problem, half, mine, s, tolerance)
    with np.errstate(all="ignore"):
        last = np.nan_to_num(f / (gain - 1))  # a last correction, smaller than what was just measured
    q_hat = np.exp(s - last)
    v = inner.value - inner.slope * q_hat * last
    both = {**{name: np.full(s.size, value) for name, value in half.parameters.items()}, **mine}
    phi = _batch_entropy(problem, q_hat, v, both)
    stiffness = np.maximum(np.abs(1 - gain), 1e-12)
    with np.errstate(all="ignore"):  # at q = 0 an even channel says nothing
        passed = np.abs(outer.slope) / outer.value
        quadrature = (
            np.abs(inner.slope) * q_hat * (inner.error * passed + outer.error / outer.value) / stiffness
            + inner.error
        )
    rounding = rounding_of(problem, q_hat, inner.value) * (
        1 + np.abs(inner.slope) * q_hat * passed / stiffness
    )
    iteration = np.abs(inner.slope) * q_hat * f * f
    roots = []
    for k in range(s.size):
        errors = Errors(float(iteration[k]), float(quadrature[k]), float(rounding[k]))
        residual = float(abs(f[k]))
        # rounding of v moves f by its relative error: that much residual is not for the iteration to remove
        allowed = 1e-11 + 2 * rounding_of(problem, q_hat[k], v[k]) * passed[k]
        if not (np.isfinite(phi[k]) and residual <= allowed):
            outcome = Outcome.RESIDUAL
        elif not errors.quadrature <= 1e-10 + 64 * errors.rounding:
            outcome = Outcome.QUADRATURE
        else:
            outcome = Outcome.CONVERGED
        roots.append(
            Root(float(q_hat[k]), float(v[k]), float(phi[k]), residual, errors, float(gain[k]), outcome)
        )
    return roots


def _batch_entropy(problem: PairProblem, q_hat: Any, v: Any, parameters: Mapping[str, Any]) -> np.ndarray:
    def half(backend: Any, level: int, at: Any, values: Mapping[str, Any]) -> Evaluation:
        rest = {name: value for name, value in values.items() if name != "v"}
        return problem.free_entropy(backend, level, at, values["v"], rest)

    return evaluate_batch(half, BACKEND, q_hat, {**parameters, "v": v}, 1e-12).value


def end_root(
    problem: PairProblem,
    half: SignalHalf,
    output: Mapping[str, np.ndarray],
    p: int,
    outcome: Outcome,
) -> Root:
    """The solution at an end of the interval: q_hat = 0, or infinite."""
    exact = Errors(0.0, 0.0, 0.0)
    if outcome is Outcome.PERFECT_RECOVERY:
        return Root(np.inf, 0.0, np.inf, 0.0, exact, 0.0, outcome)
    mine = {**half.parameters, **{name: values[p] for name, values in output.items()}}
    tiny = np.array([LOWEST])  # Phi is linear in q_hat there
    phi = _batch_entropy(
        problem,
        tiny,
        np.array([half.error_at_zero]),
        {name: np.array([value]) for name, value in mine.items()},
    )
    return Root(0.0, half.error_at_zero, float(phi[0]), 0.0, exact, 0.0, outcome)


def nothing(outcome: Outcome) -> Root:
    """No number, and the reason why."""
    unknown = Errors(np.inf, np.inf, np.inf)
    return Root(np.nan, np.nan, np.nan, np.inf, unknown, np.nan, outcome)
