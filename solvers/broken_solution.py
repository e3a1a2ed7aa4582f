"""A solution with full replica symmetry breaking: its numbers, and the function that it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from solvers.solution import Solution


class Profile(NamedTuple):
    """x(q) as the step function that was solved for: ``x[j]`` between ``edges[j]`` and ``edges[j + 1]``.

    Below the first edge, q_min, x is 0, above the last, q_max, it is 1.  At zero temperature x is over the
    temperature, and the last of its values, one more than there are intervals, holds up to q = 1.
    """

    edges: np.ndarray
    x: np.ndarray

    @property
    def middles(self) -> np.ndarray:
        """The overlaps at which the values of x are best taken: the middles of the steps."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def order(self, q: np.ndarray | float) -> np.ndarray:
        """x(q), interpolated between the middles of the steps; inside [q_min, q_max]."""
        return np.asarray(np.interp(q, self.middles, self.x[: len(self.edges) - 1]))

    def overlap(self, x: np.ndarray | float) -> np.ndarray:
        """q(x), interpolated; q_min and q_max outside the values that x takes."""
        known = self.x[: len(self.edges) - 1]
        return np.asarray(np.interp(x, known, self.middles, left=self.edges[0], right=self.edges[-1]))


@dataclass(frozen=True)
class BrokenSolution(Solution):
    """A ``Solution`` with the function x(q).

    Attributes
    ----------
    profile:
        The function.
    uncertainty:
        Name of a value -> how much it changes from half the number of steps and nodes; for ``q_min``,
        ``q_max``, ``x_max`` and ``replicon``, which are extrapolated in the number of steps, by how much.
    bound:
        How much Phi may lie above its infimum over all functions, from convexity; None at zero temperature.
    """

    profile: Profile = field(default_factory=lambda: Profile(np.zeros(1), np.zeros(0)), repr=False)
    uncertainty: Mapping[str, float] = field(default_factory=dict)
    bound: float | None = None
