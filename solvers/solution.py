"""What a solve returns: the numbers, how far they can be believed, and how it ended."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Outcome(enum.Enum):
    """How a solve ended; the value is the sentence to show."""

    CONVERGED = "converged: the residual is at the tolerance"
    PERFECT_RECOVERY = "perfect recovery: q_hat is infinite and the error is exactly zero"
    UNINFORMATIVE = "converged: the outputs carry no information, the overlap is exactly zero"
    SYMMETRIC = "converged: replica symmetric, no step of breaking lowers the free entropy"
    FEWER = "converged: a solution with fewer steps, one step more does not lower the free entropy"
    ALONE = "converged: replica symmetric, there is no other solution at this size of the blocks"
    RESIDUAL = "not converged: the residual did not reach the tolerance"
    QUADRATURE = "not converged: the quadrature's error stays above the tolerance"
    THRESHOLD = (
        "not converged: too close to the threshold of perfect recovery for the precision: ask for more digits"
    )
    NO_SOLUTION = "not converged: no solution was bracketed between the bounds of q_hat"
    DIVERGES = "not converged: the partition function diverges at these parameters"

    @property
    def converged(self) -> bool:
        """Whether the numbers can be believed."""
        return self in _BELIEVED


_BELIEVED = frozenset(
    (
        Outcome.CONVERGED,
        Outcome.PERFECT_RECOVERY,
        Outcome.UNINFORMATIVE,
        Outcome.SYMMETRIC,
        Outcome.FEWER,
        Outcome.ALONE,
    )
)


@dataclass(frozen=True)
class Errors:
    """Separate estimates of the error of the unknowns: stopping early, the quadrature, rounding."""

    iteration: float
    quadrature: float
    rounding: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.iteration + self.quadrature + self.rounding


@dataclass(frozen=True)
class Solution:
    """A solution of saddle-point equations.  ``solution["q"]`` is the value of an unknown or of an
    observable.

    Attributes
    ----------
    values:
        Name -> number: float on the float64 backend, ``mpmath.mpf`` (printing the digits asked for)
        otherwise.
    params:
        Name -> exact control parameter (Fraction).
    free_entropy:
        Phi at the solution, per degree of freedom, in nats.
    residual:
        |update - value|/|value| of the iterated unknown.
    errors:
        Estimates, see ``Errors``.
    stability:
        Derivative of one pass of updates at the solution: beyond 1 in modulus plain iteration is unstable
        there.
    branches:
        The values of the first order parameter at every solution found, the chosen one included.
    """

    values: Mapping[str, Any]
    params: Mapping[str, Any]
    free_entropy: Any
    residual: float
    errors: Errors
    outcome: Outcome
    backend: str
    digits: int
    stability: float
    branches: tuple[float, ...]
    evaluations: int

    def __getitem__(self, name: str) -> Any:
        """An unknown or observable by name."""
        try:
            return self.values[name]
        except KeyError:
            raise KeyError(f"no '{name}' in this solution; there are: {', '.join(self.values)}") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: numbers of more than 15 digits are decimal strings, infinities are strings."""
        return {
            "params": {name: _plain(value, self.digits) for name, value in self.params.items()},
            **{name: _plain(value, self.digits) for name, value in self.values.items()},
            "free_entropy": _plain(self.free_entropy, self.digits),
            "residual": self.residual,
            "errors": {
                "iteration": self.errors.iteration,
                "quadrature": self.errors.quadrature,
                "rounding": self.errors.rounding,
            },
            "outcome": self.outcome.value,
            "backend": self.backend,
            "digits": self.digits,
            "stability": self.stability,
            "branches": list(self.branches),
            "evaluations": self.evaluations,
        }


def _plain(value: Any, digits: int) -> Any:
    number = float(value)
    if number in (float("inf"), float("-inf")):
        return "inf" if number > 0 else "-inf"
    if digits <= 15:
        return number
    return str(value)


def unsolved(
    params: Mapping[str, Any],
    outcome: Outcome = Outcome.RESIDUAL,
    *,
    residual: float = float("inf"),
    errors: Errors | None = None,
    digits: int = 15,
    branches: tuple[float, ...] = (),
    evaluations: int = 0,
) -> Solution:
    """No number is given where a solve failed: what was reached, nan among it, does not travel."""
    infinite = float("inf")
    return Solution(
        values={},
        params=dict(params),
        free_entropy=infinite,
        residual=residual,
        errors=Errors(infinite, 0.0, 0.0) if errors is None else errors,
        outcome=outcome,
        backend="float64",
        digits=digits,
        stability=infinite,
        branches=branches,
        evaluations=evaluations,
    )
