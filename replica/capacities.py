"""capacity: how many random patterns per weight a perceptron can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy as sp

from replica.api import solve
from replica.parameters import validate
from solvers.continuation.crossing import crossing
from solvers.errors import InputError, NotConvergedError
from solvers.fixed_point.halves import EPS

DIGITS = 30
"""Digits to which a closed form is evaluated before it is rounded."""
SMALLEST = 2.0**-20
"""Of the bound by the first moment: where a positive entropy is no longer looked for."""


@dataclass(frozen=True)
class Capacity:
    """The ratio of patterns to weights above which no weights satisfy all constraints.

    Attributes
    ----------
    alpha:
        The capacity, replica-symmetric.
    error:
        Of alpha: rounding, and where it is a zero of the entropy what is left of the bracket and of Phi.
    condition:
        "q -> 1", where one solution is left; "Phi = 0 at q = 0", where on average none is; "Phi = 0".
    replicon:
        Positive where the replica-symmetric solution is stable at the capacity, 0 where it is marginal. Where
        it is negative the capacity is another: lower for spherical weights with a negative margin (M.
        Stojnic, arXiv 1306.3980).
    params:
        Name -> exact control parameter.
    """

    alpha: float
    error: float
    condition: str
    replicon: float
    params: Mapping[str, Fraction]

    @property
    def stable(self) -> bool:
        """Whether the replicon is not negative."""
        return self.replicon >= 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "params": {name: float(value) for name, value in self.params.items()},
            "capacity": self.alpha,
            "error": self.error,
            "condition": self.condition,
            "replicon": self.replicon,
            "stable": self.stable,
        }


def capacity(model: Any, **params: Any) -> Capacity:
    """The capacity of a perceptron at the parameters of its constraint.

    Raises
    ------
    InputError
        A model without one; a parameter unknown, missing or outside its domain; spherical weights with a
        constraint that has no sharp ends.
    NotConvergedError
        No zero of the entropy was bracketed.

    >>> from replica.models.perceptron import Perceptron
    >>> capacity(Perceptron("spherical"), kappa=0).alpha
    2.0
    """
    if not hasattr(model, "capacity_formula"):
        raise InputError(f"the model {getattr(model, 'name', model)!r} has no capacity")
    exact = validate([p for p in model.control_parameters if p.name != "alpha"], params)
    formula = model.capacity_formula()
    if formula is None:
        return _zero_of_entropy(model, exact)
    alpha, replicon = (_number(model, e, exact) for e in (formula.result, model.capacity_replicon()))
    condition = "q -> 1" if model.weights == "spherical" else "Phi = 0 at q = 0"
    return Capacity(alpha, EPS * alpha, condition, replicon, exact)


def _number(model: Any, expression: Any, exact: Mapping[str, Fraction]) -> float:
    at = {s: sp.Rational(str(exact[p.name])) for p, s in model.parameter_symbols() if p.name in exact}
    return float(sp.N(sp.sympify(expression).subs(at), DIGITS))


def _zero_of_entropy(model: Any, exact: Mapping[str, Fraction]) -> Capacity:
    """Where Phi of Ising weights vanishes: below the zero of the logarithm of the average number of
    solutions, which bounds it.
    """
    point: dict[str, Any] = dict(exact)

    def entropy(alpha: float) -> float:
        solution = solve(model, throw=False, alpha=alpha, **point)
        return float(solution.free_entropy) if solution.outcome.converged else float("nan")

    top = _number(model, model.annealed_capacity().result, exact)
    low, high, bound = top / 2, top, top
    while not (below := entropy(low)) > 0:
        low /= 2
        if low < SMALLEST * bound:
            raise NotConvergedError("no patterns per weight were found at which the entropy is positive")
    while not (above := entropy(high)) <= 0:
        if above > 0:
            low, below = high, above
        else:
            top = high  # no solution there
        if top - low < SMALLEST * bound:
            raise NotConvergedError("the solution ends before its entropy vanishes")
        high = (low + top) / 2
    found = crossing(entropy, (low, below), (high, above))
    if found is None:
        raise NotConvergedError("the zero of the entropy was lost")
    at = solve(model, alpha=found.lam, **point)
    left = abs(float(at.free_entropy)) + 8 * EPS
    error = found.width + left / abs(found.slope)
    return Capacity(found.lam, float(error), "Phi = 0", float(at["replicon"]), exact)
