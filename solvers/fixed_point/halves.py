"""The two halves of a pair in doubles: v = signal(q_hat), continued as a power law, and how v is rounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.backends.float64 import Float64
from solvers.problem import FINEST, LEVELS, Batch, Evaluation, PairProblem, evaluate_levels

CONTINUED = 1e-4  # relative error of the continued law
SMALLEST = 1e-300  # v as a double
SATURATED, SATURATED_NESTED = 1e-60, 1e-30
"""v below which outputs that stay finite as v -> 0 are those of this v: their difference is of order sqrt(v).

Nested averages, with steps of width sqrt(v) inside a step, lose their digits before 1e-40."""
BACKEND = Float64()
EPS = 2.0**-52


@dataclass(frozen=True)
class SignalHalf:
    """The signal half at one set of parameters; beyond ``last`` (log q_hat) v = v_last e^(-power (s -
    last)).
    """

    problem: PairProblem
    parameters: Mapping[str, float]
    error_at_zero: float
    last: float = np.inf
    value: float = 0.0
    power: float = 1.0

    def __call__(
        self,
        q_hat: np.ndarray,
        tolerance: float,
        floor: float = 0.1,
        levels: tuple[int, int] = (LEVELS.start, FINEST),
    ) -> Batch:
        """v, dv/dq_hat and the error of v, clipped to [1e-300, v(0)]; quadratures at ``levels``."""
        level = levels[0]
        with np.errstate(all="ignore"):
            s = np.log(q_hat)
            near = s <= self.last
            v = self.value * np.exp(-self.power * (s - self.last))
            slope, error = -self.power * v / q_hat, CONTINUED * v * (1 + np.maximum(s - self.last, 0.0))
        if np.any(near):
            here, level = evaluate_levels(
                self.problem.signal, BACKEND, q_hat[near], self.parameters, tolerance, floor, levels
            )
            v[near], slope[near], error[near] = here
        return Batch(Evaluation(np.clip(v, SMALLEST, self.error_at_zero), slope, error), level)


def seen(problem: PairProblem, v: Any, saturated: Any) -> Any:
    """The v of the outputs, no smaller than they can tell where they stay finite as v -> 0."""
    least = SATURATED_NESTED if problem.nested else SATURATED
    return np.where(saturated, np.maximum(v, least), v)


def rounding_of(problem: PairProblem, q_hat: Any, v: Any) -> Any:
    """Error of v by rounding.

    A v from a spectral law is a difference of two numbers of size 1/q_hat where that is large; where it is
    small, the edges of a law on two scales, 1 and 1/q_hat, are roots of one polynomial and lose up to half as
    many digits.  Other v are sums of positive terms.
    """
    if not problem.spectral:
        return 4 * EPS * v
    return 4 * EPS * (1 / q_hat + v * np.sqrt(q_hat))
