"""f(s) = log output(signal(e^s)) - s, s = log q_hat, on a grid that holds every solution; its sign changes.

A value of f below its own error has no sign: brackets run from one believed sign to the next.  Beyond the
q_hat where a double holds the law of the observed signal, v continues as the power of q_hat that it has:
a first guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from solvers.fixed_point.halves import BACKEND, CONTINUED, EPS, SMALLEST, SignalHalf, rounding_of
from solvers.problem import FINEST, LEVELS, Evaluation, PairProblem, evaluate_levels

PER_DECADE, COARSE = 14, 6  # grid points, the latter beyond six decades
LOWEST = 1e-7
NOISY, NOISELESS = 1e8, 1e14
"""Highest q_hat tabulated when v -> 0 has no finite q_hat: with perfect recovery ruled out, or not."""
FARTHEST = 1e200  # highest q_hat looked at, by the continued law
DECADES_APART = 2  # between grid points there
CUBIC_STEPS = 7
ROUGH = 0.01  # tolerance at the ends
ROUGH_LEVELS = (2, 3)  # levels of nested averages at small v
SMALL = (1e-10, 1e-12, 1e-30, 1e-32)  # v that tell whether q_hat stays finite as v -> 0
THINNED = 4
CLEAR = 4  # errors of f beyond which its sign is clear
SPECTRAL_TOLERANCE = 1e-10  # of v from a spectral law
TABLE_TOLERANCE = 1e-4  # a sign and a first guess are all that the table is for
SIGN_TOLERANCE = 0.03  # the same, of q_hat, where a sign is all that is asked for first
SATURATING, DIVERGING = 1e-20, 1e-10
"""v below which an output half with averages is continued: finite at v = 0, or a power of v."""
SILENT = 1e-13  # q_hat at the largest v below which the outputs say nothing there
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
    """Sign changes of f: which point, between which s, and a first guess; ``curvature`` is f'' there."""

    point: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    guess: np.ndarray
    curvature: np.ndarray


def grid_of(problem: PairProblem, error_at_zero: float, output: Mapping[str, np.ndarray]) -> Grid:
    """Grid of s = log q_hat that holds every solution."""
    at_zero, small, smaller = _at_ends(problem, error_at_zero, output)
    points = at_zero.size
    at_zero = np.where(np.abs(at_zero) < SILENT, 0.0, at_zero)
    at_one = np.where(small[1] > 1.5 * small[0], np.inf, small[1])
    if not np.all(np.isfinite(at_one)):  # a noise of 1e-10 still saturates, later
        smaller = smaller or _at(problem, output, SMALL[2:], ROUGH, ROUGH_LEVELS)
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


def _continued(half: SignalHalf, grid: Grid, v: np.ndarray) -> SignalHalf:
    """The signal half with the power law of the table's end beyond it."""
    last, before = grid.s[grid.table - 1], grid.s[grid.table - 2]
    power = np.log(v[-2] / v[-1]) / (last - before)
    return replace(half, last=last, value=v[-1], power=float(np.nan_to_num(power, nan=1.0)))


def _at_ends(
    problem: PairProblem, error_at_zero: float, output: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """q_hat of each point at the largest v and at two small v; also at two smaller ones where that is cheap:
    all averages are then evaluated together.
    """
    every = (LEVELS.start, problem.finest)
    if problem.nested:
        at_zero = _at(problem, output, (error_at_zero,), ROUGH, every)[0]
        return at_zero, _at(problem, output, SMALL[:2], ROUGH, ROUGH_LEVELS), []
    tolerance = (ROUGH, *(np.inf for _ in SMALL))
    at_zero, *small = _at(problem, output, (error_at_zero, *SMALL), tolerance, every)
    return at_zero, small[:2], small[2:]


def _at(
    problem: PairProblem,
    output: Mapping[str, np.ndarray],
    errors: tuple[float, ...],
    tolerance: Any,
    levels: tuple[int, int],
) -> list[np.ndarray]:
    """q_hat of each point at some v, to the tolerance (one, or one for each v) or to 1e-13."""
    points = len(next(iter(output.values())))
    several = {name: np.tile(values, len(errors)) for name, values in output.items()}
    v, allowed = np.repeat(errors, points), np.repeat(np.broadcast_to(tolerance, len(errors)), points)
    value = evaluate_levels(problem.output, BACKEND, v, several, allowed, SILENT / ROUGH, levels).result.value
    return list(value.reshape(-1, points))


def _grows_like_inverse(small: list[np.ndarray]) -> bool:
    """Whether q_hat ~ 1/v as v -> 0 at some point (noiseless real outputs): q_hat may run to any size."""
    return bool(np.any(small[1] > 50 * small[0]))


def tabulated(half: SignalHalf, grid: Grid) -> tuple[SignalHalf, Evaluation]:
    """v on the grid; the half is continued beyond the last q_hat that doubles take."""
    q_hat = np.exp(grid.s)
    tolerance = SPECTRAL_TOLERANCE if half.problem.spectral else TABLE_TOLERANCE
    cheap = not (half.problem.spectral or half.problem.nested)
    levels = (LEVELS.start, TABLE_FINEST if cheap else FINEST)
    v = half(q_hat[: grid.table], tolerance, 0.0, levels).result
    if grid.table == grid.s.size:
        return half, v
    half = _continued(half, grid, v.value)
    beyond = half(q_hat[grid.table :], np.inf).result
    return half, Evaluation(*(np.concatenate([a, b]) for a, b in zip(v, beyond, strict=True)))


def residual_table(
    problem: PairProblem,
    half: SignalHalf,
    output: Mapping[str, np.ndarray],
    grid: Grid,
    v: Evaluation,
    recovered: np.ndarray,
) -> Table:
    """f, df/ds and where f is beyond its error, of shape (points, grid).

    A sign is all that most of the table is for.  Where the halves are nested averages, f is evaluated at each
    ``THINNED``-th place first, roughly, interpolated between, and evaluated better where that leaves the sign
    uncertain, and beside its changes.
    """
    points = len(next(iter(output.values())))
    table = Table(*(np.empty((points, grid.s.size), dtype=kind) for kind in (float, float, bool)))
    for p in range(points):
        mine = {name: values[p] for name, values in output.items()}
        resolved = SATURATING if grid.saturated[p] else DIVERGING

        def residual(
            index: np.ndarray, rough: Any = None, mine: Any = mine, resolved: float = resolved
        ) -> Any:
            here = Evaluation(*(a[index] for a in v))
            outer = _output_table(problem, here.value, mine, resolved, rough)
            return _residual(problem, grid, index, here, outer)

        if problem.nested:
            some = _thinned(grid, v.value, resolved)
            # an error that is a small part of q_hat leaves the sign clear, be the value large or small
            f, slope, noise = residual(some, SIGN_TOLERANCE * np.minimum(np.exp(grid.s[some]), 1.0))
            f, slope, noise = interpolated(grid.s, some, f, slope, noise)
            unsure = np.flatnonzero(_to_refine(f, noise) & (v.value >= resolved))
            if unsure.size:
                fine = TABLE_TOLERANCE * np.minimum(10 * np.exp(grid.s[unsure]), 1.0)
                f[unsure], slope[unsure], noise[unsure] = residual(unsure, fine)
        else:
            f, slope, noise = residual(np.arange(grid.s.size))
        table.f[p], table.slope[p] = f, slope
        table.believed[p] = _believed(grid, p, v.value, f, noise, bool(recovered[p]))
    return table


def _residual(
    problem: PairProblem, grid: Grid, index: np.ndarray, v: Evaluation, outer: Evaluation
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f, df/ds and the error of f at some places of the grid."""
    s, q_hat = grid.s[index], np.exp(grid.s[index])
    rounding = np.where(index < grid.table, rounding_of(problem, q_hat, v.value), 0.0)
    with np.errstate(all="ignore"):
        passed = np.abs(outer.slope / outer.value)
        f = np.log(outer.value) - s
        slope = outer.slope / outer.value * v.slope * q_hat - 1
        relative = outer.error / outer.value
        # a value that is smaller than q_hat although all of its error is added has a clear sign
        noise = passed * (v.error + rounding) + np.where(f < 0, np.log1p(relative), relative)
    return f, slope, 2 * noise + 16 * EPS * (1 + np.abs(s))


def interpolated(
    s: np.ndarray, some: np.ndarray, f: np.ndarray, slope: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f, df/ds and the error of f everywhere, by cubic Hermite interpolation between ``some`` places.

    Its difference from the chord counts as its error: of one order of the step more than it has.
    """
    left = np.clip(np.searchsorted(some, np.arange(s.size), side="right") - 1, 0, some.size - 2)
    low, step = s[some[left]], s[some[left + 1]] - s[some[left]]
    t = (s - low) / step
    f0, f1 = f[left], f[left + 1]
    d0, d1 = slope[left] * step, slope[left + 1] * step
    with np.errstate(all="ignore"):
        square, cube = 3 * (f1 - f0) - 2 * d0 - d1, 2 * (f0 - f1) + d0 + d1
        values = f0 + t * (d0 + t * (square + t * cube))
        slopes = (d0 + t * (2 * square + 3 * t * cube)) / step
        errors = np.abs(values - f0 - t * (f1 - f0)) + np.maximum(noise[left], noise[left + 1])
    values[some], slopes[some], errors[some] = f, slope, noise
    return values, slopes, errors


def _to_refine(f: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Where the sign of f is not clear, and on both sides of its changes."""
    changes = f[1:] * f[:-1] <= 0
    unsure = ~(np.abs(f) > CLEAR * noise)
    unsure[1:] |= changes
    unsure[:-1] |= changes
    return unsure


def _believed(
    grid: Grid, p: int, v: np.ndarray, f: np.ndarray, noise: np.ndarray, recovered: bool
) -> np.ndarray:
    """Where f has a sign.

    On the way to perfect recovery f tends to a constant that is 0 at the threshold: a small f there is not
    believed.  Nor is any where v is too small for a double and output(v) is not finite at v = 0.
    """
    believed = np.abs(f) > noise  # not where anything is nan
    if not grid.saturated[p]:
        believed &= v > SMALLEST
    if recovered:
        believed &= (np.exp(grid.s) < 1e8) | (np.abs(f) > 1e-4)
    return believed


def _thinned(grid: Grid, v: np.ndarray, resolved: float) -> np.ndarray:
    """Every few places of the table, and all of those where v or the output half is continued."""
    index = np.arange(grid.s.size)
    inside = (index < grid.table - 2) & (v >= resolved)
    return index[~inside | (index % THINNED == 0)]


def _output_table(
    problem: PairProblem,
    v: np.ndarray,
    parameters: Mapping[str, float],
    resolved: float,
    rough: np.ndarray | None = None,
) -> Evaluation:
    """q_hat = output(v) down to any v, to the tolerance of a table or to ``rough`` ones of their own.

    A quadrature cannot follow steps of width sqrt(v) to any v: below ``resolved`` it is continued by the
    power of v that it has there.  A closed form needs no such help.
    """
    near = v >= resolved

    def at(index: np.ndarray) -> Evaluation:
        some, levels = v[index], (LEVELS.start, TABLE_FINEST)
        mine = {name: np.full(some.size, value) for name, value in parameters.items()}
        if rough is None:
            tolerance, floor = TABLE_TOLERANCE, 0.1
        else:  # what is beyond is continued from the last one
            tolerance, floor = np.where(some == v[near].min(), TABLE_TOLERANCE, rough[index]), 1.0
        return evaluate_levels(problem.output, BACKEND, some, mine, tolerance, floor, levels).result

    result = Evaluation(*(np.full(v.shape, np.nan) for _ in range(3)))
    if np.any(near):
        for target, source in zip(result, at(near), strict=True):
            target[near] = source
    if np.all(near):
        return result
    if not np.any(result.error[near] > 0):
        for target, source in zip(result, at(~near), strict=True):
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
    square, cube = 3 * (f1 - f0) - 2 * d0 - d1, 2 * (f0 - f1) + d0 + d1
    t = f0 / (f0 - f1)  # of the chord; then Newton in a bracket that shrinks
    for _ in range(CUBIC_STEPS):
        value = f0 + t * (d0 + t * (square + t * cube))
        same = np.sign(value) == np.sign(f0)
        low, high = np.where(same, t, low), np.where(same, high, t)
        with np.errstate(all="ignore"):
            t = t - value / (d0 + t * (2 * square + 3 * t * cube))
        t = np.where((t >= low) & (t <= high), t, (low + high) / 2)
    curvature = (2 * square + 6 * t * cube) / step**2
    return Brackets(point, grid[left], grid[right], grid[left] + step * t, curvature)


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
