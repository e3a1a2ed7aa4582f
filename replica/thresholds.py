"""threshold: where along a control parameter a solution loses stability, ends, or is overtaken by another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np

from replica.api import solve
from replica.parameters import parse_number, show, unknown, validate, with_given
from replica.sweeping import start_named
from solvers.continuation.crossing import Crossing, crossing
from solvers.continuation.family import SMALLEST, STEP, Family, Point, jacobian, sizes, solution
from solvers.continuation.fold import Fold, fold
from solvers.continuation.follow import Track, Turn, turning
from solvers.errors import InputError, NotConvergedError
from solvers.solution import Errors, Outcome, Solution

FAMILIES = {
    "levels": "replica.lowering.field_family:field_family",
    "condensed": "replica.lowering.condensed_family:condensed_family",
    "pair": "replica.lowering.pair_family:pair_family",
}
"""By the ``solver`` of a model: the function (model, parameter, other parameters) -> ``Family``."""
FOLD, COEXISTENCE = "fold", "coexistence"
NOISE = 4e-16
"""Rounding of an equation or of an observable."""
ROUNDING = 1e-15
"""Relative error of a threshold below which doubles cannot tell."""
WIDENED = 60
"""How often an interval around ``near`` grows before the search ends."""


@dataclass(frozen=True)
class Threshold:
    """Where it is.

    Attributes
    ----------
    parameter, value:
        The control parameter and where the condition holds.
    error:
        Estimated, of the value: what a finer quadrature moves it by, the last step, rounding.
    kind:
        "vanishing observable", "fold" (the end of a branch) or "coexistence" (equal free entropies).
    condition:
        As it was asked for.
    solution:
        The solution there; with coexistence that of the first start, ``other`` that of the second.
    """

    parameter: str
    value: float
    error: float
    kind: str
    condition: str
    solution: Solution
    other: Solution | None = None

    def __float__(self) -> float:
        """The value."""
        return self.value

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        found = {self.parameter: self.value, "error": self.error, "kind": self.kind}
        found |= {"condition": self.condition, "solution": self.solution.to_dict()}
        return found | ({} if self.other is None else {"other": self.other.to_dict()})


def threshold(
    model: Any,
    parameter: str,
    *,
    condition: str,
    between: Sequence[Any] | None = None,
    near: Any = None,
    start: str | Sequence[str] | None = None,
    **params: Any,
) -> Threshold:
    """The value of a control parameter at which a condition holds on a branch of solutions.

    Parameters
    ----------
    model, parameter:
        A model and the name of the control parameter that is looked for.
    condition:
        The name of an unknown or observable that vanishes there ("replicon", "complexity"); "fold": the end
        of the branch, a spinodal; "coexistence": two branches have the same free entropy.
    between:
        Two values of the parameter.  A vanishing observable has opposite signs there, and a difference of
        free entropies too, the branches being solved for at both ends; a fold is looked for from the first
        value towards the second, then the other way round.
    near:
        One value instead, where the branch exists: it is followed both ways.
    start:
        Which branch, as in ``solve``; with coexistence a pair, ("informed", "uninformed") by default.
    params:
        The other control parameters.

    Raises
    ------
    InputError
        A parameter or condition that the model does not have; no sign change; no end of the branch.
    NotConvergedError
        No solution where the search begins, or a branch lost on the way.

    >>> from replica.models import sherrington_kirkpatrick
    >>> found = threshold(sherrington_kirkpatrick(), "T", condition="replicon", between=(0.3, 1), h=0.5)
    >>> f"{found.value:.12f}"
    '0.535104943115'
    """
    model = with_given(model, {*params, parameter})
    names = [p.name for p in model.control_parameters]
    if parameter not in names:
        raise InputError(unknown("parameter", parameter, names))
    if parameter in params:
        raise InputError(f"{parameter} is what is looked for: give it with between or near")
    if (between is None) == (near is None):
        raise InputError("give either between=(a, b) or near=a")
    ends = [parse_number(x, parameter) for x in ((near,) if between is None else between)]
    if between is not None and (len(ends) != 2 or ends[0] == ends[1]):
        raise InputError(f"between takes two different values of {parameter}")
    point = validate(model.control_parameters, {**params, parameter: ends[0]})
    for end in ends:
        validate(model.control_parameters, {**params, parameter: end})
    point.pop(parameter)
    search = _Search(model, parameter, point, _family(model, parameter, point))
    if condition == FOLD:
        return _end_of_branch(search, ends, start_named(_one(start), model))
    if condition == COEXISTENCE:
        pair = ("informed", "uninformed") if start is None else start
        if isinstance(pair, str) or len(pair) != 2:
            raise InputError("coexistence takes two starts, such as informed and uninformed")
        return _coexistence(search, ends, [start_named(s, model) for s in pair])
    return _vanishing(search, condition, ends, start_named(_one(start), model))


def _one(start: str | Sequence[str] | None) -> str | None:
    if start is not None and not isinstance(start, str):
        raise InputError("two starts are for coexistence only")
    return start


def _family(model: Any, parameter: str, params: Mapping[str, Fraction]) -> Family:
    if model.solver not in FAMILIES:
        raise InputError(f"thresholds are not looked for in the model {model.name}")
    module, name = FAMILIES[model.solver].split(":")
    return getattr(import_module(module), name)(model, parameter, params)


@dataclass(frozen=True)
class _Search:
    """A model along one parameter: ``params`` are the others."""

    model: Any
    parameter: str
    params: Mapping[str, Fraction]
    family: Family

    def solved(self, lam: Fraction, start: str) -> Point | None:
        """The solution from a start; None where there is none, or none of these unknowns."""
        values: dict[str, Any] = {**self.params, self.parameter: lam}
        found = solve(self.model, start=start, throw=False, **values)
        if not found.outcome.converged or any(name not in found.values for name in self.family.names):
            return None
        x = np.array([float(found[name]) for name in self.family.names])
        return solution(self.family, x, float(lam))

    def required(self, lam: Fraction, start: str) -> Point:
        """The same; NotConvergedError in place of None."""
        found = self.solved(lam, start)
        if found is None:
            raise NotConvergedError(f"no such solution at {self.parameter} = {show(lam)}")
        return found

    def described(self, family: Family, x: np.ndarray, lam: float, error: float) -> Solution:
        """The solution at the threshold."""
        values = dict(zip(family.names, map(float, x), strict=True)) | dict(family.observed(x, lam))
        entropy = values.pop("free_entropy")
        return Solution(
            values=values,
            params={**self.params, self.parameter: Fraction(lam)},
            free_entropy=entropy,
            residual=float(np.max(np.abs(family.residual(x, lam)), initial=0.0)),
            errors=Errors(0.0, error, ROUNDING),
            outcome=Outcome.CONVERGED,
            backend="float64",
            digits=15,
            stability=float("nan"),
            branches=(),
            evaluations=0,
        )


# --- a vanishing function of one branch, or of two ---------------------------------------------------------


Function = Callable[[Family, Sequence[np.ndarray], float], float]
"""(equations, unknowns of each branch, parameter) -> what vanishes."""


def _vanishing(search: _Search, name: str, ends: Sequence[Fraction], start: str) -> Threshold:
    def function(family: Family, xs: Sequence[np.ndarray], lam: float) -> float:
        if name in family.names:
            return float(xs[0][family.names.index(name)])
        return float(family.observed(xs[0], lam)[name])

    first = search.required(ends[0], start)
    known = [n for n in (*search.family.names, *search.family.observed(*first[:2])) if n != "free_entropy"]
    if name not in known:
        raise InputError(unknown("condition", name, [*known, FOLD, COEXISTENCE]))
    lam, error, (x,) = _crossed(search, function, ends, [start], name)
    family = search.family.finer or search.family
    return Threshold(
        search.parameter, lam, error, "vanishing observable", name, search.described(family, x, lam, error)
    )


def _coexistence(search: _Search, ends: Sequence[Fraction], starts: Sequence[str]) -> Threshold:
    def function(family: Family, xs: Sequence[np.ndarray], lam: float) -> float:
        first, second = (float(family.observed(x, lam)["free_entropy"]) for x in xs)
        return first - second

    for end in ends:
        one, two = (search.required(end, s).x for s in starts)
        if np.max(np.abs(one - two)) < 1e-6:
            raise InputError(
                f"both starts lead to the same solution at {search.parameter} = {show(end)}: "
                "coexistence needs two there"
            )
    what = "the difference of the free entropies"
    lam, error, (x, y) = _crossed(search, function, ends, starts, what)
    family = search.family.finer or search.family
    solutions = (search.described(family, z, lam, error) for z in (x, y))
    return Threshold(search.parameter, lam, error, COEXISTENCE, COEXISTENCE, *solutions)


def _crossed(
    search: _Search, function: Function, ends: Sequence[Fraction], starts: Sequence[str], what: str
) -> tuple[float, float, list[np.ndarray]]:
    """The zero, its error, and the unknowns there, with the finer quadrature where there is one."""
    tracks = [Track(search.family, [search.required(end, s) for end in ends]) for s in starts]

    def at(lam: float) -> float:
        points = [track.at(lam) for track in tracks]
        if any(p is None for p in points):
            return float("nan")
        return function(search.family, [p.x for p in points if p is not None], lam)

    low, high = _bracket(at, [float(e) for e in ends], search.parameter, what)
    found = crossing(at, low, high)
    if found is None:
        raise NotConvergedError(f"the branch was lost between {search.parameter} = {low[0]} and {high[0]}")
    lam, moved = found.lam, 0.0
    xs = [p.x for track in tracks if (p := track.at(lam)) is not None]
    if search.family.finer is not None:
        lam, xs = _refined(search.family.finer, function, found, xs)
        moved = abs(lam - found.lam)
    rounded = _rounding(search.family, function, at, found.lam, xs)
    return lam, moved + found.width + rounded + ROUNDING * abs(lam), xs


def _rounding(
    family: Family,
    function: Function,
    at: Callable[[float], float],
    lam: float,
    xs: Sequence[np.ndarray],
) -> float:
    """How far rounding in the equations moves the zero: much where the branch meets another one, its
    equations being singular there, or where the function only touches 0.
    """
    noise = NOISE
    for i, x in enumerate(xs):
        slopes = jacobian(lambda z: family.residual(z, lam), x)
        found = jacobian(lambda z, i=i: np.array([function(family, [*xs[:i], z, *xs[i + 1 :]], lam)]), x)
        if not (np.all(np.isfinite(slopes)) and np.all(np.isfinite(found))):
            return float("inf")
        left = NOISE * sizes(x) + np.abs(family.residual(x, lam))
        noise += float(np.sum(np.abs(found @ np.linalg.pinv(slopes)) * left))
        # an unknown closer to 0 than the step of a difference is not resolved, and half of that lies beyond
        noise += 2 * float(np.sum(np.abs(found) * np.abs(x) * (np.abs(x) < STEP * SMALLEST)))
    step = 1e-6 * max(abs(lam), 1e-2)
    here = at(lam)
    changes = [abs(at(lam + side * step) - here) / step for side in (-1, 1)]
    smallest = min((c for c in changes if np.isfinite(c)), default=0.0)
    return noise / max(smallest, 1e-300)


def _bracket(
    function: Callable[[float], float], ends: Sequence[float], parameter: str, what: str
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two places of opposite sign: the ends, or around the one that is given."""
    if len(ends) == 2:
        low, high = ((e, function(e)) for e in sorted(ends))
        if np.sign(low[1]) * np.sign(high[1]) > 0:
            raise InputError(
                f"{what} does not change sign between {parameter} = {low[0]:g} ({low[1]:.3g}) "
                f"and {high[0]:g} ({high[1]:.3g})"
            )
        return low, high
    (centre,) = ends
    step, points = 0.01 * max(abs(centre), 0.1), [(centre, function(centre))]
    for _ in range(WIDENED):
        for side in (-1, 1):
            edge = points[0] if side < 0 else points[-1]
            there = edge[0] + side * step
            value = function(there)
            if not np.isfinite(value):
                continue
            if np.sign(value) * np.sign(edge[1]) <= 0:
                low, high = sorted([edge, (there, value)])
                return low, high
            points = [(there, value), *points] if side < 0 else [*points, (there, value)]
        step *= 1.3
    raise InputError(f"{what} does not change sign on the branch through {parameter} = {centre:g}")


def _refined(
    family: Family, function: Function, found: Crossing, xs: Sequence[np.ndarray]
) -> tuple[float, list[np.ndarray]]:
    """Three chord steps with the finer equations."""
    lam, current = found.lam, list(xs)
    for _ in range(3):
        points = [solution(family, x, lam) for x in current]
        if any(p is None for p in points):
            raise NotConvergedError("the quadrature's error is too large at the threshold")
        current = [p.x for p in points if p is not None]
        value = function(family, current, lam)
        if not np.isfinite(found.slope) or found.slope == 0 or abs(value / found.slope) < ROUNDING * abs(lam):
            break
        lam -= value / found.slope
    return lam, current


# --- the end of a branch -----------------------------------------------------------------------------------


def _end_of_branch(search: _Search, ends: Sequence[Fraction], start: str) -> Threshold:
    routes = [(ends[0], ends[1]), (ends[1], ends[0])] if len(ends) == 2 else []
    if not routes:
        (centre,) = ends
        reach = max(abs(centre), Fraction(1, 10))
        routes = [(centre, centre + reach), (centre, centre - reach)]
    met = False
    for begin, end in routes:
        first = search.solved(begin, start)
        if first is None:
            continue
        met = True
        for near in turning(search.family, first, float(end)):
            found = fold(search.family, near)
            if found is not None:
                return _folded(search, found)
    if not met:
        raise NotConvergedError(f"no such solution at {search.parameter} = {', '.join(map(show, ends))}")
    raise InputError(f"the branch has no fold from {search.parameter} = {', '.join(map(show, ends))} on")


def _folded(search: _Search, found: Fold) -> Threshold:
    family, moved = search.family, 0.0
    if family.finer is not None:
        finer = fold(family.finer, Turn(found.x, found.direction, found.lam))
        if finer is None:
            raise NotConvergedError("the quadrature's error is too large at the end of the branch")
        family, moved, found = family.finer, abs(finer.lam - found.lam), finer
    error = moved + found.moved + ROUNDING * abs(found.lam)
    return Threshold(
        search.parameter,
        found.lam,
        error,
        FOLD,
        FOLD,
        search.described(family, found.x, found.lam, error),
    )
