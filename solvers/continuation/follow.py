"""Along a branch of solutions: by its parameter, or by its arclength past the places where it turns.

H. B. Keller, in Applications of Bifurcation Theory (Academic Press, 1977), p. 359 (pseudo-arclength).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from solvers.continuation.family import Family, Point, jacobian, newton, sizes, solution

SMALLEST_PART = 1e-4
"""Of the way to the wanted parameter: a shorter step is not tried."""


@dataclass
class Track:
    """The solutions of one branch met so far; ``at`` adds the one at any parameter that the branch reaches.

    Newton starts from the line through the two nearest solutions; where it fails, from half the way.
    """

    family: Family
    known: list[Point] = field(default_factory=list)

    def at(self, lam: float) -> Point | None:
        """The solution at lam; None where the branch does not get there."""
        part, start = 1.0, self._nearest(lam)[0].lam
        while part > SMALLEST_PART:
            nearest = self._nearest(lam)[0]
            if nearest.lam == lam:
                return nearest
            target = lam if part == 1.0 else nearest.lam + part * (lam - nearest.lam)
            found = solution(self.family, self._predicted(target), target)
            if found is None or self._jumped(found):
                part /= 2
                continue
            self.known.append(found)
            if target == lam or abs(found.lam - start) > 1e3 * abs(lam - start):
                return found
            part = min(1.0, 2 * part)
        return None

    def _nearest(self, lam: float) -> list[Point]:
        return sorted(self.known, key=lambda p: abs(p.lam - lam))

    def _predicted(self, lam: float) -> np.ndarray:
        first, *others = self._nearest(lam)
        second = next((p for p in others if abs(p.lam - first.lam) > 1e-9 * abs(first.lam)), None)
        if second is None:
            return first.x
        weight = (lam - first.lam) / (second.lam - first.lam)
        if abs(weight) > 3:
            return first.x
        return first.x + weight * (second.x - first.x)

    def _jumped(self, point: Point) -> bool:
        """Whether the unknowns have moved further than a branch would: by half their size."""
        near = self._nearest(point.lam)[0]
        return bool(np.max(np.abs(point.x - near.x) / sizes(near.x), initial=0.0) > 0.5)


class Turn(NamedTuple):
    """Beside a fold: unknowns, their direction along the branch, the parameter."""

    x: np.ndarray
    direction: np.ndarray
    lam: float


def turning(family: Family, start: Point, end: float, parts: float = 20.0, steps: int = 400) -> list[Turn]:
    """From a solution along the branch towards ``end``: the places next to the first fold, best guess first.

    Empty where the branch reaches ``end``, or leaves the domain of the equations, before it turns.  ``parts``
    is the number of steps that a straight branch would take.
    """
    span = end - start.lam
    unit = np.append(sizes(start.x), abs(span))
    length, largest = 1 / parts, 2 / parts
    y = np.append(start.x, start.lam)
    tangent = _tangent(family, y, unit)
    if tangent is None:
        return []
    tangent *= np.sign(tangent[-1] * span) or 1.0
    for _ in range(steps):
        found = _stepped(family, y, tangent, unit, length)
        ahead = None if found is None else _tangent(family, found, unit)
        if found is None or ahead is None or np.dot(ahead, tangent) ** 2 < 0.8:
            length /= 2
            if length < 1e-6:
                return []
            continue
        ahead *= np.sign(np.dot(ahead, tangent))
        if (found[-1] - end) * span > 0:
            return []
        if ahead[-1] * span <= 0:
            weight = tangent[-1] / (tangent[-1] - ahead[-1])
            guesses = ((1 - weight) * y + weight * found, y, found)
            across = ((1 - weight) * tangent + weight * ahead, tangent, ahead)
            return [Turn(g[:-1], (d * unit)[:-1], float(g[-1])) for g, d in zip(guesses, across, strict=True)]
        # an unknown that has grown is measured by its own size from here on
        grown = np.maximum(unit, np.append(sizes(found[:-1]), 0))
        ahead *= unit / grown
        y, tangent, unit = found, ahead / np.linalg.norm(ahead), grown
        length = min(1.5 * length, largest)
    return []


def _of(family: Family, y: np.ndarray) -> np.ndarray:
    return family.residual(y[:-1], float(y[-1]))


def _tangent(family: Family, y: np.ndarray, unit: np.ndarray) -> np.ndarray | None:
    """The direction in which F stays 0, of length 1 in the units."""
    with np.errstate(all="ignore"):
        slopes = jacobian(lambda z: _of(family, z), y) * unit
    if not np.all(np.isfinite(slopes)):
        return None
    return np.linalg.svd(slopes)[2][-1]


def _stepped(
    family: Family, y: np.ndarray, tangent: np.ndarray, unit: np.ndarray, length: float
) -> np.ndarray | None:
    """The solution at this distance along the tangent."""
    guess = y + length * tangent * unit

    def bordered(z: np.ndarray) -> np.ndarray:
        return np.append(_of(family, z), np.dot(tangent, (z - guess) / unit))

    found = newton(bordered, guess, unit)
    if found is None or np.max(np.abs(found[0] - guess) / unit) > length:
        return None
    return found[0]
