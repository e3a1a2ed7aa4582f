"""f(s) = log output(signal(e^s)) - s, s = log q_hat, on a grid that holds every solution; its sign changes.

A value of f below its own error has no sign: brackets run from one believed sign to the next.  Beyond the
q_hat where a double holds the law of the observed signal, v continues as the power of q_hat that it has:
a first guess.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from solvers.fixed_point.halves import BACKEND, CONTINUED, EPS, SATURATED, SMALLEST, SignalHalf, rounding_of
from solvers.fixed_point.lattice import Grid, memory, without_factor
from solvers.problem import FINEST, LEVELS, TYPICAL, Evaluation, PairProblem, evaluate_levels

CUBIC_STEPS = 7
BENDS = (1e-2, 1e3)  # q_hat between which v bends most
APART = (1.3, 2.6)  # distances in s of the places that are evaluated first: between these, and elsewhere
EVEN = 1 / 8  # of the difference from the chord, which is the error where it is only curved
CLEAR = 4  # errors of f beyond which its sign is clear
SPECTRAL_TOLERANCE = 1e-10  # of v from a spectral law
TABLE_TOLERANCE = 1e-4  # a sign and a first guess are all that the table is for
FINE = 1e-13  # of v where a sign is not clear: beside q = 0 it hangs on the digits of 1 - v
SIGN_TOLERANCE = 0.03  # the same, of q_hat, where a sign is all that is asked for first
SATURATING, DIVERGING = 1e-20, 1e-10
"""v below which an output half with averages is continued: finite at v = 0, or a power of v."""
SMALLEST_SIGN = 1e-10  # of q_hat/alpha, where the table asks for a sign
TABLE_FINEST = 6  # what that leaves uncertain has no believed sign


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


@dataclass(frozen=True)
class Signal:
    """The signal half on a grid; beyond the last q_hat that doubles take it is continued."""

    half: SignalHalf
    grid: Grid

    @property
    def problem(self) -> PairProblem:
        """The equations."""
        return self.half.problem

    def __call__(self, index: np.ndarray, *, fine: bool = False) -> Evaluation:
        """v, dv/dq_hat and the error of v at some places of the grid, to a first guess or to all digits."""
        inside = index < self.grid.table
        result = Evaluation(*np.empty((3, index.size)))
        if np.any(inside):
            _put(result, inside, self._tabulated(index[inside], fine))
        if not np.all(inside):
            _put(result, ~inside, self._continued(index[~inside]))
        return result

    def _tabulated(self, index: np.ndarray, fine: bool) -> Evaluation:
        problem, q_hat, keys = self.problem, np.exp(self.grid.s[index]), self.grid.keys
        half = replace(self.half, last=np.inf)
        if problem.spectral:
            tolerance, levels = SPECTRAL_TOLERANCE, (LEVELS.start, FINEST)
        elif fine:
            tolerance, levels = FINE, (TYPICAL, FINEST)
        else:
            tolerance, levels = TABLE_TOLERANCE, (LEVELS.start, FINEST if problem.nested else TABLE_FINEST)

        def evaluate(new: list[int]) -> Evaluation:
            return half(q_hat[new], tolerance, 0.0, levels).result

        return Evaluation(*memory(problem, ("signal", self.name, fine))([keys[i] for i in index], evaluate))

    def _continued(self, index: np.ndarray) -> Evaluation:
        return self.half(np.exp(self.grid.s[index]), np.inf).result

    @property
    def name(self) -> Hashable:
        """What v depends on beside q_hat."""
        return tuple(self.half.parameters.values())

    @cached_property
    def places(self) -> np.ndarray:
        """Where v is evaluated first: all of the table where it is a spectral law, else every few places of
        it; and all places where v is continued.
        """
        index = np.arange(self.grid.s.size)
        inside = index < self.grid.table - 2
        if self.problem.spectral:
            return index
        near, far = (max(1, round(apart / (self.grid.s[1] - self.grid.s[0]))) for apart in APART)
        low, high = np.log(BENDS)
        every = np.where((self.grid.s > low) & (self.grid.s < high), near, far)
        return index[~inside | (index % every == 0)]

    @cached_property
    def everywhere(self) -> np.ndarray:
        """V at all places, interpolated where it is not evaluated: log v in s."""
        v, slope, error = self(self.places)
        if self.places.size == self.grid.s.size:
            return v
        s, some = self.grid.s, self.places
        return np.exp(interpolated(s, some, np.log(v), slope * np.exp(s[some]) / v, error)[0])


def tabulated(half: SignalHalf, grid: Grid) -> Signal:
    """The signal half on the grid, continued with the power law of the table's end beyond it."""
    signal = Signal(half, grid)
    if grid.table == grid.s.size:
        return signal
    before, last = signal(signal.places[signal.places < grid.table]).value[-2:]
    power = np.log(before / last) / (grid.s[grid.table - 1] - grid.s[grid.table - 2])
    power = float(np.nan_to_num(power, nan=1.0))
    return Signal(replace(half, last=grid.s[grid.table - 1], value=last, power=power), grid)


def residual_table(signal: Signal, output: Mapping[str, np.ndarray], recovered: np.ndarray) -> Table:
    """f, df/ds and where f is beyond its error, of shape (points, grid).

    A sign is all that most of the table is for.  Unless v is a spectral law, known everywhere, f is evaluated
    at some of the places first, roughly where the output half is a nested average, interpolated between, and
    evaluated better where that leaves the sign uncertain, and beside its changes.
    """
    grid, v = signal.grid, signal.everywhere
    points = len(next(iter(output.values())))
    table = Table(*(np.empty((points, grid.s.size), dtype=kind) for kind in (float, float, bool)))
    for p in range(points):
        outer = Output(signal, {name: values[p] for name, values in output.items()}, bool(grid.saturated[p]))
        f, slope, noise = _residual(signal, outer, signal.places, fine=False)
        if signal.places.size < grid.s.size:
            f, slope, noise = interpolated(grid.s, signal.places, f, slope, noise)
            unsure = np.flatnonzero(_to_refine(f, noise) & (v >= outer.resolved))
            if unsure.size:
                f[unsure], slope[unsure], noise[unsure] = _residual(signal, outer, unsure, fine=True)
        table.f[p], table.slope[p] = f, slope
        table.believed[p] = _believed(grid, p, v, f, noise, bool(recovered[p]))
    return table


def _put(target: Evaluation, where: np.ndarray, source: Evaluation) -> None:
    for array, values in zip(target, source, strict=True):
        array[where] = values


@dataclass(frozen=True)
class Output:
    """q_hat = output(v) on a grid at one set of parameters, down to any v.

    A quadrature cannot follow steps of width sqrt(v) to any v: below ``resolved`` it is continued by the
    power of v that it has there.  A closed form needs no such help.
    """

    signal: Signal
    parameters: Mapping[str, float]
    saturated: bool

    @property
    def resolved(self) -> float:
        """The v below which it is continued."""
        return SATURATING if self.saturated else DIVERGING

    def __call__(self, index: np.ndarray, v: np.ndarray, *, fine: bool) -> Evaluation:
        """Output(v) at some places of the grid, to the tolerance of a sign or of a first guess."""
        near = v >= self.resolved
        result = Evaluation(*np.full((3, v.size), np.nan))
        if np.any(near):
            _put(result, near, self._remembered(index[near], v[near], fine))
        if np.all(near):
            return result
        if self.saturated or not np.any(near):
            end, known = self.resolved, self._at_resolved()
        else:
            last = np.flatnonzero(near)[np.argmin(v[near])]
            end, known = v[last], Evaluation(*(a[last] for a in result))
        if not (known.error > 0 or np.any(result.error[near] > 0)):
            _put(result, ~near, self._remembered(index[~near], v[~near], fine))
            return result
        power = known.slope * end / known.value
        beyond = known.value * (v[~near] / end) ** power
        slope = power * beyond / v[~near]
        if self.saturated:
            slope = np.where(v[~near] < SATURATED, 0.0, slope)
        _put(result, ~near, Evaluation(beyond, slope, CONTINUED * np.abs(beyond)))
        return result

    def _at_resolved(self) -> Evaluation:
        """Output(v) at the end of what is resolved."""
        parameters, factor = without_factor(self.signal.problem, self.parameters)

        def evaluate(_: list[int]) -> Evaluation:
            return self._evaluated(parameters, np.array([self.resolved]), TABLE_TOLERANCE, 0.1)

        name = ("resolved", tuple(map(float, parameters.values())))
        return Evaluation(*(factor * memory(self.signal.problem, name)([self.resolved], evaluate)[:, 0]))

    def _remembered(self, index: np.ndarray, v: np.ndarray, fine: bool) -> Evaluation:
        """Output(v) with its factor rounded up to a power of two, times what that is too much."""
        parameters, factor = without_factor(self.signal.problem, self.parameters)
        cell = 2.0 ** np.ceil(np.log2(factor)) if factor > 0 else 1.0
        if self.signal.problem.factor is not None:
            parameters[self.signal.problem.factor] = cell
        tolerance, floor = self._asked(index, v, fine)
        keys = [
            (self.signal.grid.keys[i], allowed) for i, allowed in zip(index, tolerance.tolist(), strict=True)
        ]
        name = ("output", self.signal.name, tuple(map(float, parameters.values())), fine)

        def evaluate(new: list[int]) -> Evaluation:
            first = LEVELS.start + 1 if fine and not self.signal.problem.nested else LEVELS.start
            return self._evaluated(parameters, v[new], tolerance[new], floor, first)

        return Evaluation(*(factor / cell * memory(self.signal.problem, name)(keys, evaluate)))

    def _asked(self, index: np.ndarray, v: np.ndarray, fine: bool) -> tuple[np.ndarray, float]:
        """Tolerance of each value, relative to itself or to a floor.

        One average costs little: a value is relative to small ones too where a sign hangs on it.  Of nested
        averages an error that is a small part of q_hat leaves the sign clear, be the value large or small;
        what is beyond is continued from the last one.
        """
        if not self.signal.problem.nested:
            return np.full(v.size, TABLE_TOLERANCE), SMALLEST_SIGN if fine else 0.1
        q_hat = np.exp(self.signal.grid.s[index])
        if fine:
            tolerance = TABLE_TOLERANCE * np.minimum(10 * q_hat, 1.0)
        else:
            tolerance = SIGN_TOLERANCE * np.minimum(q_hat, 1.0)
        return np.where(v == v.min(), np.minimum(tolerance, TABLE_TOLERANCE), tolerance), 1.0

    def _evaluated(
        self,
        parameters: Mapping[str, Any],
        v: np.ndarray,
        tolerance: Any,
        floor: float,
        first: int = LEVELS.start,
    ) -> Evaluation:
        problem, levels = self.signal.problem, (first, TABLE_FINEST)
        mine = {name: np.full(v.size, value) for name, value in parameters.items()}
        return evaluate_levels(problem.output, BACKEND, v, mine, tolerance, floor, levels).result


def _residual(
    signal: Signal, output: Output, index: np.ndarray, *, fine: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f, df/ds and the error of f at some places of the grid."""
    v = signal(index, fine=fine)
    outer = output(index, v.value, fine=fine)
    s, q_hat = signal.grid.s[index], np.exp(signal.grid.s[index])
    rounding = np.where(index < signal.grid.table, rounding_of(signal.problem, q_hat, v.value), 0.0)
    passed = np.abs(outer.slope / outer.value)
    f = np.log(outer.value) - s
    slope = outer.slope / outer.value * v.slope * q_hat - 1
    relative = 2 * outer.error / outer.value
    # a value that is smaller than q_hat although all of its error is added has a clear sign
    noise = 2 * passed * (v.error + rounding) + np.where(f < 0, np.log1p(relative), relative)
    return f, slope, noise + 16 * EPS * (1 + np.abs(s))


def interpolated(
    s: np.ndarray, some: np.ndarray, f: np.ndarray, slope: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f, df/ds and the error of f everywhere, by cubic Hermite interpolation between ``some`` places.

    Its cubic part counts as its error, one order of the step more than it has, and as much of its difference
    from the chord as the next even order may be; all of that where their signs differ, since slopes may be
    lost to rounding.
    """
    left = np.clip(np.searchsorted(some, np.arange(s.size), side="right") - 1, 0, some.size - 2)
    low, step = s[some[left]], s[some[left + 1]] - s[some[left]]
    t = (s - low) / step
    f0, f1 = f[left], f[left + 1]
    d0, d1 = slope[left] * step, slope[left + 1] * step
    square, cube = 3 * (f1 - f0) - 2 * d0 - d1, 2 * (f0 - f1) + d0 + d1
    values = f0 + t * (d0 + t * (square + t * cube))
    slopes = (d0 + t * (2 * square + 3 * t * cube)) / step
    chord = f0 + t * (f1 - f0)
    away, cubic = np.abs(values - chord), np.abs(cube * t * (1 - t) * (t - 0.5))
    errors = np.where(values * chord > 0, EVEN * away + cubic, away) + np.maximum(
        noise[left], noise[left + 1]
    )
    values[some], slopes[some], errors[some] = f, slope, noise
    return values, slopes, errors


def _to_refine(f: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Where the sign of f is not clear, and on both sides of its changes."""
    changes = f[1:] * f[:-1] <= 0
    clear = CLEAR * noise
    clear = np.where(f < 0, np.minimum(clear, noise + np.log(CLEAR)), clear)  # noise is log(1 + error) there
    unsure = ~(np.abs(f) > clear)
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
