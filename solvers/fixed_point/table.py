"""f(s) = log output(signal(e^s)) - s, s = log q_hat, on a grid that holds every solution; its sign changes.

A value of f below its own error has no sign: brackets run from one believed sign to the next.  Beyond the
q_hat where a double holds the law of the observed signal, v continues as the power of q_hat that it has there:
a first guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from solvers.fixed_point.halves import BACKEND, CONTINUED, EPS, SMALLEST, SignalHalf, rounding_of
from solvers.problem import Evaluation, PairProblem, evaluate_batch

PER_DECADE, COARSE = 14, 6  # grid points, the latter beyond six decades
LOWEST = 1e-7
NOISY, NOISELESS = 1e8, 1e14
"""Highest q_hat tabulated when v -> 0 has no finite q_hat: with perfect recovery ruled out, or not."""
FARTHEST = 1e200  # highest q_hat looked at, by the continued law
DECADES_APART = 2  # between grid points there
TABLE_TOLERANCE = 1e-4  # a sign and a first guess are all that the table is for
SATURATING, DIVERGING = 1e-20, 1e-10
"""v below which an output half with averages is continued: finite at v = 0, or a power of v."""
TABLE_FINEST = 6  # what that leaves uncertain has no believed sign


@dataclass(frozen=True)
class Grid:
    """s = log q_hat: a table up to ``table`` points, then a continuation.  At each point of parameters:
    output(v) at q_hat = 0 and whether it stays finite as v -> 0.
    """

    s: np.ndarray
    table: int
    at_zero: np.ndarray
    saturated: np.ndarray


@dataclass(frozen=True)
class Table:
    """f and df/ds (points, grid), and where the sign of f is believed."""

    f: np.ndarray
    slope: np.ndarray
    believed: np.ndarray


@dataclass(frozen=True)
class Brackets:
    """Sign changes of f: which point, between which s, and a first guess."""

    point: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    guess: np.ndarray


def grid_of(
    problem: PairProblem, error_at_zero: float, output: Mapping[str, np.ndarray], tolerance: float
) -> Grid:
    """Grid of s = log q_hat that holds every solution."""
    points = len(next(iter(output.values())))
    at_zero = evaluate_batch(problem.output, BACKEND, np.full(points, error_at_zero), output, tolerance).value
    at_zero = np.where(np.abs(at_zero) < 1e-13, 0.0, at_zero)
    small = _at_small_error(problem, output, (1e-10, 1e-12))
    at_one = np.where(small[1] > 1.5 * small[0], np.inf, small[1])
    if not np.all(np.isfinite(at_one)):  # a noise of 1e-10 still saturates, later
        smaller = _at_small_error(problem, output, (1e-30, 1e-32))
        saturated = np.isfinite(smaller[1]) & (smaller[1] <= 1.5 * smaller[0])
        at_one = np.where(np.isfinite(at_one) | ~saturated, at_one, smaller[1])
    finite = at_one[np.isfinite(at_one)]
    low = LOWEST if np.any(at_zero == 0) else 0.9 * at_zero.min()
    unbounded = NOISELESS if _grows_like_inverse(small) or finite.size == points else NOISY
    high = 1.2 * finite.max() if finite.size == points else FARTHEST
    top = min(high, max(unbounded, 10 * low))
    decades = np.log10(top / low)
    count = max(16, int(np.ceil((PER_DECADE if decades < 6 else COARSE) * decades)))
    s = np.linspace(np.log(low), np.log(top), count)
    steps = int(np.ceil(np.log10(high / top) / DECADES_APART))
    far = np.linspace(np.log(top), np.log(high), steps + 1)[1:]
    return Grid(np.concatenate([s, far]), count, at_zero, np.isfinite(at_one))


def continued(half: SignalHalf, grid: Grid, v: np.ndarray) -> SignalHalf:
    """The signal half with the power law of the table's end beyond it, or beyond the last q_hat that doubles
    take.
    """
    if grid.table == grid.s.size:
        return half
    last, before = grid.s[grid.table - 1], grid.s[grid.table - 2]
    power = np.log(v[-2] / v[-1]) / (last - before)
    return replace(half, last=last, value=v[-1], power=float(np.nan_to_num(power, nan=1.0)))


def _at_small_error(
    problem: PairProblem, output: Mapping[str, np.ndarray], errors: tuple[float, float]
) -> list[np.ndarray]:
    """q_hat of each point at two small v."""
    points = len(next(iter(output.values())))
    return [evaluate_batch(problem.output, BACKEND, np.full(points, v), output, np.inf).value for v in errors]


def _grows_like_inverse(small: list[np.ndarray]) -> bool:
    """Whether q_hat ~ 1/v as v -> 0 at some point (noiseless real outputs): q_hat may run to any size."""
    return bool(np.any(small[1] > 50 * small[0]))


def residual_table(
    problem: PairProblem,
    half: SignalHalf,
    output: Mapping[str, np.ndarray],
    grid: Grid,
    table: Evaluation,
    recovered: np.ndarray,
) -> Table:
    """f, df/ds and where f is beyond its error, of shape (points, grid).

    On the way to perfect recovery f tends to a constant that is 0 at the threshold: a small f there is not
    believed.  Nor is any where v is too small for a double and output(v) is not finite at v = 0.
    """
    points = len(next(iter(output.values())))
    f, slope = np.empty((points, grid.s.size)), np.empty((points, grid.s.size))
    believed = np.empty(f.shape, dtype=bool)
    q_hat = np.exp(grid.s)
    if grid.table < grid.s.size:
        beyond = half(q_hat[grid.table :], np.inf)
        table = Evaluation(*(np.concatenate([a, b]) for a, b in zip(table, beyond, strict=True)))
    v = table.value
    rounding = np.where(np.arange(grid.s.size) < grid.table, rounding_of(problem, q_hat, v), 0.0)
    for p in range(points):
        resolved = SATURATING if grid.saturated[p] else DIVERGING
        outer = _output_table(problem, v, {name: values[p] for name, values in output.items()}, resolved)
        with np.errstate(all="ignore"):
            passed = np.abs(outer.slope / outer.value)
            f[p] = np.log(outer.value) - grid.s
            slope[p] = outer.slope / outer.value * table.slope * q_hat - 1
            noise = passed * (table.error + rounding) + outer.error / outer.value
            noise = 2 * noise + 16 * EPS * (1 + np.abs(grid.s))
        believed[p] = np.abs(f[p]) > noise  # not where anything is nan
        if not grid.saturated[p]:
            believed[p] &= v > SMALLEST
        if recovered[p]:
            believed[p] &= (q_hat < 1e8) | (np.abs(f[p]) > 1e-4)
    return Table(f, slope, believed)


def _output_table(
    problem: PairProblem, v: np.ndarray, parameters: Mapping[str, float], resolved: float
) -> Evaluation:
    """q_hat = output(v) down to any v.

    A quadrature cannot follow steps of width sqrt(v) to any v: below ``resolved`` it is continued by the
    power of v that it has there.  A closed form needs no such help.
    """

    def at(some: np.ndarray) -> Evaluation:
        mine = {name: np.full(some.size, value) for name, value in parameters.items()}
        return evaluate_batch(problem.output, BACKEND, some, mine, TABLE_TOLERANCE, finest=TABLE_FINEST)

    near = v >= resolved
    result = Evaluation(*(np.full(v.shape, np.nan) for _ in range(3)))
    if np.any(near):
        for target, source in zip(result, at(v[near]), strict=True):
            target[near] = source
    if np.all(near):
        return result
    if not np.any(result.error[near] > 0):
        for target, source in zip(result, at(v[~near]), strict=True):
            target[~near] = source
        return result
    last = np.flatnonzero(near)[np.argmin(v[near])]
    with np.errstate(all="ignore"):
        power = result.slope[last] * v[last] / result.value[last]
        beyond = result.value[last] * (v[~near] / v[last]) ** power
        result.value[~near], result.slope[~near] = beyond, power * beyond / v[~near]
    result.error[~near] = CONTINUED * np.abs(beyond)
    return result


def brackets_of(grid: np.ndarray, table: Table) -> Brackets:
    """Changes between neighbouring believed signs, with the root of the cubic Hermite interpolant as a first
    guess.
    """
    index = np.where(table.believed, np.arange(grid.size), -1)
    before = np.maximum.accumulate(index, axis=1)[:, :-1]
    sign = np.sign(table.f)
    known = np.take_along_axis(sign, np.maximum(before, 0), axis=1)
    point, right = np.nonzero(table.believed[:, 1:] & (before >= 0) & (known * sign[:, 1:] < 0))
    left, right = before[point, right], right + 1
    step = grid[right] - grid[left]
    low, high = np.zeros(point.size), np.ones(point.size)
    f0, f1 = table.f[point, left], table.f[point, right]
    d0, d1 = table.slope[point, left] * step, table.slope[point, right] * step
    for _ in range(50):
        t = (low + high) / 2
        value = f0 + t * (d0 + t * (3 * (f1 - f0) - 2 * d0 - d1 + t * (2 * (f0 - f1) + d0 + d1)))
        same = np.sign(value) == np.sign(f0)
        low, high = np.where(same, t, low), np.where(same, high, t)
    return Brackets(point, grid[left], grid[right], grid[left] + step * (low + high) / 2)


def unresolved(grid: Grid, table: Table, p: int) -> float | None:
    """q_hat of the last believed f > 0 when f then sinks into its error and does not come out again."""
    believed = np.flatnonzero(table.believed[p])
    if grid.saturated[p] or not believed.size or believed[-1] >= grid.table - 1:
        return None
    last = believed[-1]
    if not table.f[p, last] > 0 or not np.all(np.isfinite(table.f[p, last : grid.table])):
        return None
    # an f that is lost because v has underflowed is not small
    if np.abs(table.f[p, last : grid.table]).max() > 1.0:
        return None
    return float(np.exp(grid.s[last]))
