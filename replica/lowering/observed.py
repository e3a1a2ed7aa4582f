"""Observables at a solution, as numbers: each is lowered and computed when it is first asked for.

A solve pays nothing for them.  Where one is an expected maximum (``replica.observables.Decision``) its places
of switching are found first, on a grid that closes in on them, and its average is then a sum over the
stretches between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import ceil, log10
from typing import Any

import numpy as np
import sympy as sp

from replica.lowering.program import Program, lower
from replica.observables import PHI, Decision, Observable
from replica.symbols import omega, q, q_hat
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP
from solvers.errors import NotConvergedError
from solvers.problem import LEVELS, Evaluation, at_level

FLOAT_DIGITS = 15
LOST = 7
"""Digits, of those asked for, that a quadrature may leave uncertain."""
REACH = 9.0
"""Standard deviations of omega within which decisions are looked for."""
CELLS, ZOOM = 2000, 64
FINEST = 1e-14
"""Accuracy of a place of switching in doubles, in standard deviations: the error is quadratic in it."""
CHORD_DIGITS = 5
"""Digits that one step along a chord adds at least."""
PROBABILITY_LEVEL = 7
BESIDE = 26
"""Binary digits of the distance from q = 0 of what is evaluated beside it."""
_ERROR = sp.Symbol("v", positive=True)
_DOUBLES = Float64()


@dataclass(frozen=True)
class Observed(Mapping[str, Any]):
    """Name -> number: the unknowns of a solution, then the observables of its model.

    An observable is computed at the first request and kept.  One whose quadrature does not converge raises
    ``NotConvergedError`` when it is asked for by name, and is passed over by iteration.

    ``parameters`` are in the orientation that the equations are written for, ``free_entropy`` is Phi at the
    solution, ``recovered`` marks perfect recovery.
    """

    model: Any
    parameters: Mapping[str, Fraction]
    unknowns: Mapping[str, Any]
    free_entropy: Any
    digits: int
    recovered: bool = False
    known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getitem__(self, name: str) -> Any:
        """An unknown or an observable."""
        if name in self.unknowns:
            return self.unknowns[name]
        if name not in self.known:
            self.known[name] = self._computed(name)
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        """The names of what has a number."""
        yield from self.unknowns
        for name in self._stated():
            try:
                self[name]
            except NotConvergedError:
                continue
            yield name

    def __len__(self) -> int:
        """How many there are."""
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        """Whether there is a number of that name."""
        return name in self.unknowns or name in self._stated()

    def _stated(self) -> Mapping[str, Observable]:
        state = self.model.observables_at_recovery if self.recovered else self.model.observables
        return state(self.parameters)

    def _computed(self, name: str) -> Any:
        stated = self._stated()[name]
        if self.recovered or stated is sp.oo:
            return constant(stated, self.digits)
        backend = _DOUBLES if self.digits <= FLOAT_DIGITS else Arb(self.digits + 10)
        with backend.context():
            given = {
                q_hat: self.unknowns["q_hat"],
                _ERROR: self.unknowns["mmse"],
                PHI: self.free_entropy,
            }
            point = {symbol: backend.number(Fraction(str(value))) for symbol, value in given.items()}
            point |= {s: backend.number(self.parameters[p.name]) for p, s in self.model.parameter_symbols()}
            result = self._evaluated(stated, point, backend)
            if not np.max(result.error) <= 10.0 ** (LOST - self.digits) * max(1.0, abs(float(result.value))):
                raise NotConvergedError(f"{name}: the quadrature's error stays at {np.max(result.error):.1e}")
            return _number(backend, result.value, self.digits)

    def _evaluated(self, stated: Observable, point: Point, backend: Any) -> Evaluation:
        """At the point; where that is 0/0 at q_hat = 0, on the line through two points beside it."""
        second = self.model.cycle().second_moment
        result = _evaluate(stated, second, point, backend, self.digits)
        if not (self.unknowns["q_hat"] == 0 and np.isnan(float(result.value))):
            return result
        beside = backend.rational(1, 2**BESIDE)
        near, far = (
            _evaluate(
                stated, second, {**point, _ERROR: point[_ERROR] * (1 - k * beside)}, backend, self.digits
            )
            for k in (1, 2)
        )
        return Evaluation(2 * near.value - far.value, None, 2 * near.error + far.error)


def constant(expression: Any, digits: int) -> Any:
    """A float, or an mpmath number of that many digits."""
    if expression is sp.oo:
        return float("inf")
    target = MP(max(digits, FLOAT_DIGITS))
    value = target.number(Fraction(str(sp.N(expression, target.digits + 10))))
    return float(value) if digits <= FLOAT_DIGITS else value


def recovered_entropy(model: Any, values: Mapping[str, Fraction], digits: int = FLOAT_DIGITS) -> Any:
    """Phi at perfect recovery, a float or an mpmath number; nan where it has none."""
    stated = model.recovered_entropy(values)
    if stated is sp.oo:
        return float("inf")
    backend = _DOUBLES if digits <= FLOAT_DIGITS else Arb(digits + 10)
    with backend.context():
        point = {s: backend.number(values[p.name]) for p, s in model.parameter_symbols()}
        result = _evaluate(stated, model.second_moment, point, backend, digits)
        if not np.isfinite(_as_double(backend, result.value)):
            return float("nan")
        return _number(backend, result.value, digits)


def _number(backend: Any, value: Any, digits: int) -> Any:
    """A float, or an mpmath number of that many digits."""
    exact = backend.to_fraction(backend.midpoint(value + backend.number(0)))  # a constant may be an int
    return float(exact) if digits <= FLOAT_DIGITS else MP(digits).number(exact)


Point = Mapping[sp.Symbol, Any]


def _evaluate(
    stated: Observable, second_moment: sp.Expr, point: Point, backend: Any, digits: int
) -> Evaluation:
    """The value, with the quadrature's error; q = E x^2 - v."""
    if isinstance(stated, Decision):
        stated, places = _decided(stated, second_moment, point, backend, digits)
        point = {**point, **places}
    program = _program((stated,), second_moment, tuple(point))

    last = program.finest if backend is _DOUBLES and program.depth > 1 else LEVELS.stop

    @lru_cache(maxsize=1)
    def at(level: int) -> Evaluation:
        found = program.run(backend, level, list(point.values()))
        return Evaluation(found.values[0], None, found.error)

    # below a double's rounding there is nothing to ask for
    accuracy = 1e-14 if digits <= FLOAT_DIGITS else 10.0 ** -(digits + 1)
    return at_level(lambda level: at(min(level, last)), accuracy)[0]


@lru_cache(maxsize=256)
def _program(
    expressions: tuple[sp.Expr, ...], second_moment: sp.Expr, symbols: tuple[sp.Symbol, ...]
) -> Program:
    return lower([sp.sympify(e).subs(q, second_moment - _ERROR) for e in expressions], symbols)


def _decided(
    decision: Decision, second_moment: sp.Expr, point: Point, backend: Any, digits: int
) -> tuple[sp.Expr, Point]:
    """The error of a decision with its places of switching as symbols, and the numbers of these."""
    symbols = tuple(point)
    doubles = [_as_double(backend, value) for value in point.values()]
    with _DOUBLES.context():
        (variance,) = _program((decision.variance,), second_moment, symbols).run(_DOUBLES, 0, doubles).values
    program = _program(decision.probabilities, second_moment, (omega, *symbols))

    def chances(at: np.ndarray) -> np.ndarray:
        with _DOUBLES.context():
            values = program.run(_DOUBLES, PROBABILITY_LEVEL, [at, *doubles]).values
        return np.array([np.broadcast_to(v, at.shape) for v in values], dtype=float)

    chosen, places = switches_between(chances, float(variance) ** 0.5)
    names = tuple(sp.Symbol(f"b_{k}", real=True) for k in range(len(places)))
    finer = max(0, ceil((digits / 2 + 2 + log10(FINEST)) / CHORD_DIGITS))
    found = {}
    for name, place, pair in zip(names, places, pairwise(chosen), strict=True):
        found[name] = backend.number(Fraction(place))
        for _ in range(finer):
            step = 1e-4 * float(variance) ** 0.5
            ends = chances(np.array([place - step, place + step]))
            slope = np.diff(ends[pair[1]] - ends[pair[0]])[0] / (2 * step)
            values = program.run(backend, PROBABILITY_LEVEL, [found[name], *point.values()]).values
            difference = (values[pair[1]] - values[pair[0]]) / backend.number(Fraction(float(slope)))
            found[name] = backend.midpoint(found[name] - difference)
    return decision.within(chosen, names), found


def _as_double(backend: Any, value: Any) -> float:
    return float(backend.to_float(value))


def switches_between(
    chances: Callable[[np.ndarray], np.ndarray], deviation: float
) -> tuple[tuple[int, ...], list[float]]:
    """Which of several functions is the largest, from left to right, and where it changes.

    ``chances`` maps places (n,) to values (functions, n); places are looked for within nine deviations of 0,
    to 1e-14 of one.

    >>> switches_between(lambda t: np.array([-t, 0 * t, t - 1]), 1.0)[0]
    (0, 1, 2)
    """
    if deviation == 0:
        return (int(np.argmax(chances(np.zeros(1))[:, 0])),), []
    grid = np.linspace(-REACH, REACH, CELLS) * deviation
    for _ in range(2):  # look closer where a second one nearly takes over
        values = np.sort(chances(grid), axis=0)
        gap = values[-1] - values[-2]
        near = 1 + np.flatnonzero((gap[1:-1] <= gap[:-2]) & (gap[1:-1] <= gap[2:]))
        near = near[:ZOOM]
        added = [np.linspace(grid[k - 1], grid[k + 1], ZOOM) for k in near]
        grid = np.unique(np.concatenate([grid, *added]))
    largest = np.argmax(chances(grid), axis=0)
    chosen, places = [int(largest[0])], []
    pending = [(grid[k], grid[k + 1]) for k in np.flatnonzero(np.diff(largest))][::-1]
    while pending:
        low, high = pending.pop()
        inner = np.linspace(low, high, ZOOM)
        largest = np.argmax(chances(inner), axis=0)
        changes = np.flatnonzero(np.diff(largest))
        if changes.size == 0:
            continue
        if np.unique(largest).size == 2:  # more changes than one are rounding
            first = changes[0]
            if high - low <= FINEST * deviation * ZOOM:
                chosen.append(int(largest[-1]))
                places.append(float(inner[first] + inner[first + 1]) / 2)
            else:
                pending.append((inner[first], inner[first + 1]))
            continue
        pending += [(inner[k], inner[k + 1]) for k in changes][::-1]
    return tuple(chosen), places
