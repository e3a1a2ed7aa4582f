"""The places s = log q_hat at which the equations of a pair are looked at, and what is remembered of them.

The places inside a table are multiples of one step, the same for all control parameters: both halves are
evaluated once at each, and the output half without the parameter that is only a factor of it.  Another
alpha, in a sweep or in a later call, finds them again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from solvers.fixed_point.halves import BACKEND
from solvers.problem import LEVELS, PairProblem, evaluate_levels

PER_DECADE, COARSE = 14, 6  # places, the latter beyond six decades where a place costs much
LOWEST = 1e-7
NOISY, NOISELESS = 1e8, 1e14
"""Highest q_hat tabulated when v -> 0 has no finite q_hat: with perfect recovery ruled out, or not."""
FARTHEST = 1e200  # highest q_hat looked at, by the continued law
DECADES_APART = 2  # between grid points there
ROUGH = 0.01  # tolerance at the ends
ROUGH_LEVELS = (2, 3)  # levels at small v
SMALL = (1e-10, 1e-12, 1e-30, 1e-32)  # v that tell whether q_hat stays finite as v -> 0
BESIDE = 2.0**-26  # relative distance from there where it is 0/0
STRAIGHT = 1e-2  # what of a line through 0 may be rounding
SILENT = 1e-13  # q_hat at the largest v below which the outputs say nothing there
REMEMBERED = 10_000  # rows


class Memory:
    """Rows of numbers by key: those not known yet are evaluated together, each once."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, Sequence[float]] = {}

    def __call__(
        self, keys: Sequence[Hashable], evaluate: Callable[[list[int]], Sequence[np.ndarray]]
    ) -> np.ndarray:
        """The rows of the keys, of shape (columns, keys); ``evaluate`` gives the columns at some of them."""
        new = [i for i, key in enumerate(keys) if key not in self._rows]
        if new:
            if len(self._rows) > REMEMBERED:
                self._rows.clear()
                new = list(range(len(keys)))
            columns = evaluate(new)
            self._rows.update((keys[i], row) for i, row in zip(new, zip(*columns, strict=True), strict=True))
        return np.array([self._rows[key] for key in keys]).T


@lru_cache(maxsize=256)
def memory(problem: PairProblem, what: Hashable) -> Memory:
    """What is remembered of a problem under the name of ``what`` was evaluated, at which parameters."""
    return Memory()


@dataclass(frozen=True)
class Grid:
    """s = log q_hat: a table up to ``table`` points, then a continuation.  At each point of parameters:
    output(v) at q_hat = 0 and whether it stays finite as v -> 0.
    """

    s: np.ndarray
    table: int
    at_zero: np.ndarray
    saturated: np.ndarray

    @cached_property
    def keys(self) -> list[Hashable]:
        """A name for each place; v beyond the table depends on where the table ends."""
        last = float(self.s[self.table - 1])
        inside = self.s[: self.table].tolist()
        return [*inside, *((last, s) for s in self.s[self.table :].tolist())]


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
    somewhere = at_zero[np.isfinite(at_zero)]  # a quadrature may have no number
    low = LOWEST if np.any(somewhere == 0) or not somewhere.size else 0.9 * somewhere.min()
    unbounded = NOISELESS if _grows_like_inverse(small) or finite.size == points else NOISY
    high = 1.2 * finite.max() if finite.size == points else FARTHEST
    high = max(high, 10 * low)  # where the outputs never say anything
    top = min(high, max(unbounded, 10 * low))
    costly = problem.nested or problem.spectral
    per_decade = COARSE if costly and np.log10(top / low) >= 6 else PER_DECADE
    first, last = int(np.floor(np.log10(low) * per_decade)), int(np.ceil(np.log10(top) * per_decade))
    s = np.arange(first, max(last, first + 3) + 1) * (np.log(10) / per_decade)
    steps = int(np.ceil(np.log10(high / top) / DECADES_APART))
    far = np.linspace(s[-1], max(np.log(high), s[-1]), steps + 1)[1:]
    return Grid(np.concatenate([s, far]), s.size, at_zero, np.isfinite(at_one))


def without_factor(problem: PairProblem, parameters: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The parameters of the output half with its factor at 1, and the factor."""
    if problem.factor is None:
        return dict(parameters), 1.0
    factor = parameters[problem.factor]
    return {**parameters, problem.factor: np.ones_like(factor)}, factor


def _at_ends(
    problem: PairProblem, error_at_zero: float, output: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """q_hat of each point at the largest v and, roughly, at two small v; also at two smaller ones where that
    is cheap.
    """
    every = (LEVELS.start, problem.finest)
    if problem.nested:
        at_zero = _at(problem, output, (error_at_zero,), ROUGH, every)[0]
        small = _at(problem, output, SMALL[:2], ROUGH, ROUGH_LEVELS)
    else:  # the small ones, of many nodes, are taken at the first level
        tolerances = (ROUGH, *(np.inf for _ in SMALL))
        levels = (ROUGH_LEVELS[0], problem.finest)
        at_zero, *small = _at(problem, output, (error_at_zero, *SMALL), tolerances, levels)
    if np.any(np.isnan(at_zero)):  # 0/0 where q = 0, as for a Laplace law: continued from beside
        beside = tuple(error_at_zero * (1 - k * BESIDE) for k in (1, 2))
        near, far = _at(problem, output, beside, BESIDE, every)
        line = 2 * near - far
        line = np.where(np.abs(line) < STRAIGHT * np.abs(near), 0.0, line)
        at_zero = np.where(np.isnan(at_zero), line, at_zero)
    return at_zero, small[:2], small[2:]


def _at(
    problem: PairProblem,
    output: Mapping[str, np.ndarray],
    errors: tuple[float, ...],
    tolerances: float | tuple[float, ...],
    levels: tuple[int, int],
) -> list[np.ndarray]:
    """q_hat of each point at some v, to the tolerance (of each v, or of all) or to 1e-13."""
    points = len(next(iter(output.values())))
    allowed = np.repeat(np.broadcast_to(tolerances, len(errors)), points)
    rest, factor = without_factor(problem, {n: np.tile(a, len(errors)) for n, a in output.items()})
    v = np.repeat(errors, points)

    def evaluate(new: list[int]) -> tuple[np.ndarray]:
        some = {name: values[new] for name, values in rest.items()}
        floor = SILENT / ROUGH
        return (
            evaluate_levels(problem.output, BACKEND, v[new], some, allowed[new], floor, levels).result.value,
        )

    keys = list(zip(v.tolist(), *(values.tolist() for values in rest.values()), strict=True))
    value = factor * memory(problem, ("ends", levels))(keys, evaluate)[0]
    return list(value.reshape(-1, points))


def _grows_like_inverse(small: list[np.ndarray]) -> bool:
    """Whether q_hat ~ 1/v as v -> 0 at some point (noiseless real outputs): q_hat may run to any size."""
    return bool(np.any(small[1] > 50 * small[0]))
