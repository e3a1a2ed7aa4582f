"""All solutions of v = signal(q_hat), q_hat = output(v), for many control parameters at once.

In s = log q_hat the equation is f(s) = log output(signal(e^s)) - s = 0.  The signal half is tabulated
once on a
grid of s that contains every solution (v lies between 0 and its value at q_hat = 0, and the output half is
monotone); every sign change of f is a solution, stable under iteration when f decreases through it.  Newton
inside each bracket, on all points together, ends in three or four evaluations.

A value of f below its own error has no sign: brackets run from one believed sign to the next.  Beyond
the q_hat
where a double holds the law of the observed signal, v continues as the power of q_hat that it has
there: a first
guess.  What doubles cannot finish is finished in more digits, where the exact parameters are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.fixed_point.far import far_root
from solvers.fixed_point.refine import refine
from solvers.problem import Evaluation, PairProblem, evaluate_batch
from solvers.solution import Errors, Outcome

PER_DECADE, COARSE = 14, 6  # grid points, the latter beyond six decades
LOWEST = 1e-7
NOISY, NOISELESS = (
    1e8,
    1e14,
)  # highest q_hat tabulated when v -> 0 has no finite q_hat: with perfect recovery ruled out, or not
FARTHEST = 1e200  # highest q_hat looked at, by the continued law
DECADES_APART = 2  # between grid points there
CONTINUED = 1e-4  # relative error of the continued law
TABLE_TOLERANCE = 1e-4  # a sign and a first guess are all that the table is for
SATURATING, DIVERGING = 1e-20, 1e-10
"""v below which an output half with averages is continued: finite at v = 0, or a power of v."""
SMALLEST = 1e-300  # v as a double
POLISH_DIGITS = 18
POLISH_ABOVE, POLISH_RELATIVE = 1e-9, 1e-5  # errors of v beyond which a root is finished in more digits
TABLE_FINEST = 6  # what that leaves uncertain has no believed sign
STARTS = ("global", "uninformed", "informed")
_BACKEND = Float64()
_EPS = 2.0**-52


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


@dataclass(frozen=True)
class PointResult:
    """The chosen solution at one point, and the overlaps of all solutions found, in increasing order."""

    chosen: Root
    overlaps: tuple[float, ...]
    evaluations: int


@dataclass(frozen=True)
class _Grid:
    """s = log q_hat: a table up to ``table`` points, then a continuation.  At each point of parameters:
    output(v) at q_hat = 0 and whether it stays finite as v -> 0.
    """

    s: np.ndarray
    table: int
    at_zero: np.ndarray
    saturated: np.ndarray


@dataclass(frozen=True)
class _Signal:
    """The signal half at one set of parameters; beyond ``last`` (log q_hat) v = v_last e^(-power (s -
    last)).
    """

    problem: PairProblem
    parameters: Mapping[str, float]
    error_at_zero: float
    last: float = np.inf
    value: float = 0.0
    power: float = 1.0

    def __call__(self, q_hat: np.ndarray, tolerance: float, floor: float = 0.1) -> Evaluation:
        """v, dv/dq_hat and the error of v, clipped to [1e-300, v(0)]."""
        with np.errstate(all="ignore"):
            s = np.log(q_hat)
            near = s <= self.last
            v = self.value * np.exp(-self.power * (s - self.last))
            slope, error = -self.power * v / q_hat, CONTINUED * v
        if np.any(near):
            here = evaluate_batch(
                self.problem.signal, _BACKEND, q_hat[near], self.parameters, tolerance, floor
            )
            v[near], slope[near], error[near] = here
        return Evaluation(np.clip(v, SMALLEST, self.error_at_zero), slope, error)


@dataclass(frozen=True)
class _Brackets:
    """Sign changes of f: which point, between which s, and a first guess."""

    point: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    guess: np.ndarray


@dataclass(frozen=True)
class _Table:
    """f and df/ds (points, grid), and where the sign of f is believed."""

    f: np.ndarray
    slope: np.ndarray
    believed: np.ndarray


def solve_points(
    problem: PairProblem,
    signal: Mapping[str, float],
    output: Mapping[str, np.ndarray],
    recovered: np.ndarray,
    *,
    start: str = "global",
    tolerance: float = 1e-12,
    exact: Sequence[Mapping[str, Fraction]] | None = None,
    digits: int = POLISH_DIGITS,
) -> list[PointResult]:
    """Solve at one set of signal parameters and many sets of output parameters (arrays of one length).

    ``recovered`` marks the points at which q_hat = infinity is a solution, the noiseless ones at or above the
    exact threshold of perfect recovery; at the threshold itself no finite precision can tell.
    ``start`` chooses
    among several solutions: "global" the largest free entropy, "uninformed" the one reached from q = 0,
    "informed" the one reached from q = 1.  With ``exact`` parameters, solutions that doubles cannot
    resolve are
    found and polished in as many digits as it takes (up to ``digits``, if that is more than 60).
    Non-convergence is an outcome of the point.
    """
    points = len(next(iter(output.values())))
    half = _Signal(problem, signal, float(problem.error_at_zero(_BACKEND, signal, tolerance)))
    grid = _grid(problem, half.error_at_zero, output, tolerance)
    v = half(np.exp(grid.s[: grid.table]), 1e-10 if problem.spectral else TABLE_TOLERANCE, 0.0)
    half = _continued(half, grid, v.value)
    table = _residual_table(problem, half, output, grid, v, recovered)
    brackets = _brackets(grid.s, table)
    s, evaluations = _newton(problem, half, output, brackets, tolerance)
    found = _roots(problem, half, output, brackets.point, s, tolerance)
    results = []
    for p in range(points):
        mine = [r for r, owner in zip(found, brackets.point, strict=True) if owner == p]
        last = _unresolved(grid, table, p)
        if exact is not None and not problem.nested:
            mine = _polished(problem, exact[p], mine, digits)
            if last is not None and not recovered[p]:
                mine.append(_beyond(problem, exact[p], last, digits))
        elif last is not None and not recovered[p]:
            mine.append(_nothing(Outcome.THRESHOLD))
        genuine = [r for r in mine if r.outcome.converged]
        stable = [r for r in genuine if not r.slope >= 1]
        # the ends of the interval: q_hat = 0 when the outputs of an uninformative v say nothing, and
        # infinity without noise
        if grid.at_zero[p] == 0:
            silent = _end_root(problem, half, output, p, Outcome.UNINFORMATIVE)
            genuine.insert(0, silent)
            signs = table.f[p][table.believed[p]]
            if not signs.size or signs[0] < 0:
                stable.insert(0, silent)
        if recovered[p]:
            recovery = _end_root(problem, half, output, p, Outcome.PERFECT_RECOVERY)
            genuine.append(recovery)
            stable.append(recovery)
        failed = [r for r in mine if not r.outcome.converged]
        chosen = _choose(stable or failed or genuine, start)
        second = float(problem.second_moment(_BACKEND, signal))
        overlaps = tuple(sorted(second - r.v for r in genuine if r.outcome.converged))
        results.append(PointResult(chosen, overlaps, evaluations + grid.s.size))
    return results


def _grid(
    problem: PairProblem, error_at_zero: float, output: Mapping[str, np.ndarray], tolerance: float
) -> _Grid:
    """Grid of s = log q_hat that holds every solution."""
    points = len(next(iter(output.values())))
    at_zero = evaluate_batch(
        problem.output, _BACKEND, np.full(points, error_at_zero), output, tolerance
    ).value
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
    return _Grid(np.concatenate([s, far]), count, at_zero, np.isfinite(at_one))


def _continued(half: _Signal, grid: _Grid, v: np.ndarray) -> _Signal:
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
    return [
        evaluate_batch(problem.output, _BACKEND, np.full(points, v), output, np.inf).value for v in errors
    ]


def _grows_like_inverse(small: list[np.ndarray]) -> bool:
    """Whether q_hat ~ 1/v as v -> 0 at some point (noiseless real outputs): q_hat may run to any size."""
    return bool(np.any(small[1] > 50 * small[0]))


def _residual_table(
    problem: PairProblem,
    half: _Signal,
    output: Mapping[str, np.ndarray],
    grid: _Grid,
    table: Evaluation,
    recovered: np.ndarray,
) -> _Table:
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
    rounding = np.where(np.arange(grid.s.size) < grid.table, _rounding(problem, q_hat, v), 0.0)
    for p in range(points):
        resolved = SATURATING if grid.saturated[p] else DIVERGING
        outer = _output_table(problem, v, {name: values[p] for name, values in output.items()}, resolved)
        with np.errstate(all="ignore"):
            passed = np.abs(outer.slope / outer.value)
            f[p] = np.log(outer.value) - grid.s
            slope[p] = outer.slope / outer.value * table.slope * q_hat - 1
            noise = passed * (table.error + rounding) + outer.error / outer.value
            noise = 2 * noise + 16 * _EPS * (1 + np.abs(grid.s))
        believed[p] = np.abs(f[p]) > noise  # not where anything is nan
        if not grid.saturated[p]:
            believed[p] &= v > SMALLEST
        if recovered[p]:
            believed[p] &= (q_hat < 1e8) | (np.abs(f[p]) > 1e-4)
    return _Table(f, slope, believed)


def _output_table(
    problem: PairProblem, v: np.ndarray, parameters: Mapping[str, float], resolved: float
) -> Evaluation:
    """q_hat = output(v) down to any v.

    A quadrature cannot follow steps of width sqrt(v) to any v: below ``resolved`` it is continued by the
    power of v that it has there.  A closed form needs no such help.
    """

    def at(some: np.ndarray) -> Evaluation:
        mine = {name: np.full(some.size, value) for name, value in parameters.items()}
        return evaluate_batch(problem.output, _BACKEND, some, mine, TABLE_TOLERANCE, finest=TABLE_FINEST)

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


def _rounding(problem: PairProblem, q_hat: Any, v: Any) -> Any:
    """Error of v by rounding.

    A v from a spectral law is a difference of two numbers of size 1/q_hat where that is large; where it is
    small, the edges of a law on two scales, 1 and 1/q_hat, are roots of one polynomial and lose up to half as
    many digits.  Other v are sums of positive terms.
    """
    if not problem.spectral:
        return 4 * _EPS * v
    return 4 * _EPS * (1 / q_hat + v * np.sqrt(q_hat))


def _brackets(grid: np.ndarray, table: _Table) -> _Brackets:
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
    return _Brackets(point, grid[left], grid[right], grid[left] + step * (low + high) / 2)


def _unresolved(grid: _Grid, table: _Table, p: int) -> float | None:
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


def _polished(
    problem: PairProblem, exact: Mapping[str, Fraction], roots: list[Root], digits: int
) -> list[Root]:
    """The roots, those that doubles leave uncertain finished in more digits; each once."""
    kept: list[Root] = []
    for root in roots:
        if not (np.isfinite(root.q_hat) and np.isfinite(root.slope)):
            continue  # a sign of rounding beside q = 0
        far = not root.outcome.converged or root.q_hat >= NOISELESS
        better = _refined(problem, exact, Fraction(root.q_hat)) if far or not _sharp(root) else root
        if all(abs(better.q_hat - r.q_hat) > 1e-9 * r.q_hat for r in kept):
            kept.append(better)
    return kept


def _sharp(root: Root) -> bool:
    return root.errors.total <= min(POLISH_ABOVE, POLISH_RELATIVE * root.v)


def _refined(problem: PairProblem, exact: Mapping[str, Fraction], q_hat: Fraction) -> Root:
    try:
        fine = refine(problem, exact, q_hat, POLISH_DIGITS, Arb)
    except (ValueError, ArithmeticError):  # no number comes out beside q = 0 or v = 0
        return _nothing(Outcome.RESIDUAL)
    return Root(
        float(fine.q_hat),
        float(fine.v),
        float(fine.free_entropy),
        fine.residual,
        fine.errors,
        fine.slope,
        Outcome.CONVERGED if fine.converged else Outcome.RESIDUAL,
    )


def _beyond(problem: PairProblem, exact: Mapping[str, Fraction], last: float, digits: int) -> Root:
    """The root beyond the last f that doubles resolve, or the reason why there is none."""
    q_hat = far_root(problem, exact, last, digits, Arb)
    return _nothing(Outcome.THRESHOLD) if q_hat is None else _refined(problem, exact, q_hat)


def _step(
    problem: PairProblem,
    half: _Signal,
    output: Mapping[str, Any],
    s: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, Evaluation, Evaluation]:
    """f, the derivative of one pass of updates in log q_hat, and both halves."""
    q_hat = np.exp(s)
    inner = half(q_hat, tolerance)
    outer = evaluate_batch(problem.output, _BACKEND, inner.value, output, tolerance)
    with np.errstate(all="ignore"):
        return np.log(outer.value) - s, outer.slope / outer.value * inner.slope * q_hat, inner, outer


def _newton(
    problem: PairProblem,
    half: _Signal,
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
        pending = pending[(moved > 1e-9) & (np.abs(f) > 4 * _EPS)]
    return s, evaluations


def _roots(
    problem: PairProblem,
    half: _Signal,
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
    rounding = _rounding(problem, q_hat, inner.value) * (1 + np.abs(inner.slope) * q_hat * passed / stiffness)
    iteration = np.abs(inner.slope) * q_hat * f * f
    roots = []
    for k in range(s.size):
        errors = Errors(float(iteration[k]), float(quadrature[k]), float(rounding[k]))
        residual = float(abs(f[k]))
        # rounding of v moves f by its relative error: that much residual is not for the iteration to remove
        allowed = 1e-11 + 2 * _rounding(problem, q_hat[k], v[k]) * passed[k]
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
    half: _Signal,
    output: Mapping[str, np.ndarray],
    p: int,
    outcome: Outcome,
) -> Root:
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


def _choose(roots: list[Root], start: str) -> Root:
    if not roots:
        return _nothing(Outcome.NO_SOLUTION)
    if start == "uninformed":
        return max(roots, key=lambda r: r.v)
    if start == "informed":
        return min(roots, key=lambda r: r.v)
    return max(roots, key=lambda r: r.free_entropy)


def _nothing(outcome: Outcome) -> Root:
    unknown = Errors(np.inf, np.inf, np.inf)
    return Root(np.nan, np.nan, np.nan, np.inf, unknown, np.nan, outcome)
