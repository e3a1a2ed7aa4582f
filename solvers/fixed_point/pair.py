"""All solutions of v = signal(q_hat), q_hat = output(v), for many control parameters at once.

In s = log q_hat the equation is f(s) = log output(signal(e^s)) - s = 0.  The signal half is tabulated once
on a grid of s that contains every
solution (v lies in [0, 1] and the output half is monotone); every sign change of f is a solution, stable
under iteration when f
decreases through it.  Newton inside each bracket, on all points together, ends in three or four evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.backends.float64 import Float64
from solvers.problem import Evaluation, PairProblem, evaluate_batch
from solvers.solution import Errors, Outcome

PER_DECADE, COARSE = 14, 6  # grid points, the latter beyond six decades
LOWEST = 1e-7
NOISY, NOISELESS = (
    1e8,
    1e14,
)  # highest q_hat looked at when v -> 0 has no finite q_hat: with perfect recovery ruled out, or not
TABLE_TOLERANCE = 1e-4  # a sign and a first guess are all that the table is for
STARTS = ("global", "uninformed", "informed")
_BACKEND = Float64()
_EPS = 2.0**-52


@dataclass(frozen=True)
class Root:
    """One solution at one point: the iterated unknown, the error v = 1 - q and how they were reached."""

    q_hat: float
    v: float
    free_entropy: float
    residual: float
    errors: Errors
    slope: float
    outcome: Outcome


@dataclass(frozen=True)
class PointResult:
    """The chosen solution at one point, and the overlaps of all solutions found, in increasing order."""

    chosen: Root
    overlaps: tuple[float, ...]
    evaluations: int


@dataclass(frozen=True)
class _Brackets:
    """Sign changes of f: which point, between which s, and a first guess."""

    point: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    guess: np.ndarray


def solve_points(
    problem: PairProblem,
    signal: Mapping[str, float],
    output: Mapping[str, np.ndarray],
    recovered: np.ndarray,
    *,
    start: str = "global",
    tolerance: float = 1e-12,
) -> list[PointResult]:
    """Solve at one set of signal parameters and many sets of output parameters (arrays of one length).

    ``recovered`` marks the noiseless points at or above the exact threshold of perfect recovery, where q_hat
    = infinity is a
    solution; at the threshold itself no finite precision can tell. ``start`` chooses among several
    solutions: "global" the largest free entropy, "uninformed" the one reached from q = 0,
    "informed" the one reached from q = 1.  Non-convergence is an outcome of the point.
    """
    points = len(next(iter(output.values())))
    grid, at_zero = _grid(problem, output, tolerance)
    table = evaluate_batch(problem.signal, _BACKEND, np.exp(grid), signal, 1e-10)
    f, slope = _residual_table(problem, output, grid, table)
    brackets = _brackets(grid, f, slope, recovered)
    s, evaluations = _newton(problem, signal, output, brackets, tolerance)
    roots = _roots(problem, signal, output, brackets.point, s, tolerance)
    results = []
    for p in range(points):
        mine = [r for r, owner in zip(roots, brackets.point, strict=True) if owner == p]
        stable = [r for r in mine if r.slope < 1]
        # the ends of the interval: q = 0 when the outputs of an uninformative v = 1 say nothing, q = 1
        # without noise
        if at_zero[p] == 0:
            silent = _end_root(problem, signal, output, p, Outcome.UNINFORMATIVE)
            mine.insert(0, silent)
            if f[p, 0] < 0:
                stable.insert(0, silent)
        if recovered[p]:
            exact = _end_root(problem, signal, output, p, Outcome.PERFECT_RECOVERY)
            mine.append(exact)
            stable.append(exact)
        chosen = _choose(stable or mine, start)
        overlaps = tuple(sorted(1 - r.v for r in mine))
        results.append(PointResult(chosen, overlaps, evaluations + grid.size))
    return results


def _grid(
    problem: PairProblem, output: Mapping[str, np.ndarray], tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Grid of s = log q_hat that holds every solution, and q_hat at v = 1 of each point."""
    points = len(next(iter(output.values())))
    at_zero = evaluate_batch(problem.output, _BACKEND, np.ones(points), output, tolerance).value
    at_zero = np.where(np.abs(at_zero) < 1e-13, 0.0, at_zero)
    small = _at_small_error(problem, output, (1e-10, 1e-12))
    at_one = np.where(small[1] > 1.5 * small[0], np.inf, small[1])
    if not np.all(np.isfinite(at_one)):  # a noise of 1e-10 still saturates, later
        smaller = _at_small_error(problem, output, (1e-30, 1e-32))
        saturated = np.isfinite(smaller[1]) & (smaller[1] <= 1.5 * smaller[0])
        at_one = np.where(np.isfinite(at_one) | ~saturated, at_one, smaller[1])
    finite = at_one[np.isfinite(at_one)]
    low = LOWEST if np.any(at_zero == 0) else 0.9 * at_zero.min()
    unbounded = NOISELESS if _grows_like_inverse(small) else NOISY
    high = 1.2 * finite.max() if finite.size == points else unbounded
    decades = np.log10(high / low)
    count = max(16, int(np.ceil((PER_DECADE if decades < 6 else COARSE) * decades)))
    return np.linspace(np.log(low), np.log(high), count), at_zero


def _at_small_error(
    problem: PairProblem, output: Mapping[str, np.ndarray], errors: tuple[float, float]
) -> list[np.ndarray]:
    """q_hat of each point at two small v."""
    points = len(next(iter(output.values())))
    return [
        evaluate_batch(problem.output, _BACKEND, np.full(points, v), output, np.inf).value for v in errors
    ]


def _grows_like_inverse(small: list[np.ndarray]) -> bool:
    """Whether q_hat ~ 1/v as v -> 0 at some point (noiseless real outputs): q_hat may run to any size."""
    return bool(np.any(small[1] > 50 * small[0]))


def _residual_table(
    problem: PairProblem, output: Mapping[str, np.ndarray], grid: np.ndarray, table: Evaluation
) -> tuple[np.ndarray, np.ndarray]:
    """f and df/ds, of shape (points, grid)."""
    points = len(next(iter(output.values())))
    f, slope = np.empty((points, grid.size)), np.empty((points, grid.size))
    v = np.clip(table.value, 1e-300, 1.0)
    for p in range(points):
        mine = {name: np.full(grid.size, values[p]) for name, values in output.items()}
        half = evaluate_batch(problem.output, _BACKEND, v, mine, TABLE_TOLERANCE)
        f[p] = np.log(half.value) - grid
        slope[p] = half.slope / half.value * table.slope * np.exp(grid) - 1
    return f, slope


def _brackets(grid: np.ndarray, f: np.ndarray, slope: np.ndarray, recovered: np.ndarray) -> _Brackets:
    """Sign changes between neighbours, with the root of the cubic Hermite interpolant as a first guess.

    On the way to perfect recovery f tends to a constant that is 0 at the threshold: a sign there is rounding.
    """
    flat = recovered[:, None] & (grid > np.log(1e8)) & (np.abs(f) < 1e-4)
    sign = np.where(flat, 1.0, np.sign(f))
    point, left = np.nonzero((sign[:, :-1] * sign[:, 1:] < 0) | (sign[:, :-1] == 0))
    step = grid[1] - grid[0]
    low, high = np.zeros(point.size), np.ones(point.size)
    f0, f1 = f[point, left], f[point, left + 1]
    d0, d1 = slope[point, left] * step, slope[point, left + 1] * step
    for _ in range(50):
        t = (low + high) / 2
        value = f0 + t * (d0 + t * (3 * (f1 - f0) - 2 * d0 - d1 + t * (2 * (f0 - f1) + d0 + d1)))
        same = np.sign(value) == np.sign(f0)
        low, high = np.where(same, t, low), np.where(same, high, t)
    return _Brackets(point, grid[left], grid[left + 1], grid[left] + step * (low + high) / 2)


def _step(
    problem: PairProblem,
    signal: Mapping[str, Any],
    output: Mapping[str, Any],
    s: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, Evaluation, Evaluation]:
    """f, the derivative of one pass of updates in log q_hat, and both halves."""
    q_hat = np.exp(s)
    inner = evaluate_batch(problem.signal, _BACKEND, q_hat, signal, tolerance)
    outer = evaluate_batch(problem.output, _BACKEND, np.clip(inner.value, 1e-300, 1.0), output, tolerance)
    with np.errstate(all="ignore"):
        return np.log(outer.value) - s, outer.slope / outer.value * inner.slope * q_hat, inner, outer


def _newton(
    problem: PairProblem,
    signal: Mapping[str, float],
    output: Mapping[str, np.ndarray],
    brackets: _Brackets,
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
        f, gain, _, _ = _step(problem, signal, mine, s[pending], tolerance)
        evaluations += pending.size
        if iteration == 0:
            rising[pending] = gain > 1
        inside = f > 0
        left = np.where(rising[pending], ~inside, inside)  # the root lies to the right of s
        lower[pending] = np.where(left, s[pending], lower[pending])
        upper[pending] = np.where(left, upper[pending], s[pending])
        target = s[pending] - f / (gain - 1)
        outside = ~((target >= lower[pending]) & (target <= upper[pending]))
        target = np.where(outside, (lower[pending] + upper[pending]) / 2, target)
        moved = np.abs(target - s[pending])
        s[pending] = target
        pending = pending[(moved > 1e-9) & (np.abs(f) > 4 * _EPS)]
    return s, evaluations


def _roots(
    problem: PairProblem,
    signal: Mapping[str, float],
    output: Mapping[str, np.ndarray],
    point: np.ndarray,
    s: np.ndarray,
    tolerance: float,
) -> list[Root]:
    """Evaluate each solution once more: residual, errors, free entropy."""
    if s.size == 0:
        return []
    mine = {name: values[point] for name, values in output.items()}
    f, gain, inner, outer = _step(problem, signal, mine, s, tolerance)
    s = s - f / (gain - 1)  # a last correction, smaller than what was just measured
    q_hat, v = np.exp(s), inner.value - inner.slope * np.exp(s) * f / (gain - 1)
    both = {**{name: np.full(s.size, value) for name, value in signal.items()}, **mine}
    phi = _batch_entropy(problem, q_hat, v, both)
    stiffness = np.maximum(np.abs(1 - gain), 1e-12)
    passed = np.abs(outer.slope) / outer.value
    quadrature = (
        np.abs(inner.slope) * q_hat * (inner.error * passed + outer.error / outer.value) / stiffness
        + inner.error
    )
    # v is a difference of two numbers of size 1/q_hat
    rounding = 4 * _EPS / q_hat * (1 + np.abs(inner.slope) * q_hat * passed / stiffness)
    iteration = np.abs(inner.slope) * q_hat * f * f
    roots = []
    for k in range(s.size):
        errors = Errors(float(iteration[k]), float(quadrature[k]), float(rounding[k]))
        residual = float(abs(f[k]))
        # rounding of v moves f by its relative error: that much residual is not for the iteration to remove
        allowed = 1e-11 + 8 * _EPS / q_hat[k] * passed[k]
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

    return evaluate_batch(half, _BACKEND, q_hat, {**parameters, "v": v}, 1e-12).value


def _end_root(
    problem: PairProblem,
    signal: Mapping[str, float],
    output: Mapping[str, np.ndarray],
    p: int,
    outcome: Outcome,
) -> Root:
    exact = Errors(0.0, 0.0, 0.0)
    if outcome is Outcome.PERFECT_RECOVERY:
        return Root(np.inf, 0.0, np.inf, 0.0, exact, 0.0, outcome)
    mine = {**signal, **{name: values[p] for name, values in output.items()}}
    tiny = np.array([LOWEST])  # Phi is linear in q_hat there
    phi = _batch_entropy(
        problem, tiny, np.array([1.0]), {name: np.array([value]) for name, value in mine.items()}
    )
    return Root(0.0, 1.0, float(phi[0]), 0.0, exact, 0.0, outcome)


def _choose(roots: list[Root], start: str) -> Root:
    if not roots:
        nothing = Errors(np.inf, np.inf, np.inf)
        return Root(np.nan, np.nan, np.nan, np.inf, nothing, np.nan, Outcome.NO_SOLUTION)
    if start == "uninformed":
        return max(roots, key=lambda r: r.v)
    if start == "informed":
        return min(roots, key=lambda r: r.v)
    return max(roots, key=lambda r: r.free_entropy)
