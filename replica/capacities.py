"""capacity: how many random patterns per weight a perceptron can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from scipy.optimize import minimize
from scipy.special import expit

from replica.ansatz import ReplicaSymmetric
from replica.api import solve
from replica.expr.average import GaussianAverage
from replica.lowering.program import lower
from replica.parameters import validate
from replica.perceptron_limits import RATIO
from replica.symbols import alpha as alpha_symbol
from solvers.backends.float64 import Float64
from solvers.continuation.crossing import crossing
from solvers.errors import InputError, NotConvergedError
from solvers.fixed_point.halves import EPS
from solvers.problem import TYPICAL, Evaluation, at_level

SHRUNK, SHRUNK_STATES = "q -> 1", "q1 -> 1"
LEAST_RATIO = 1e-3
"""Smallest c = m/(1 - q_1) that is looked at: at c = 0 one step is none."""
DIGITS = 30
"""Digits to which a closed form is evaluated before it is rounded."""
STARTS = ([0.0, 0.0], [1.0, 2.0], [-2.0, 3.0])
"""logit q_0 and log c."""
QUADRATURE = 1e-13
"""Relative error of the average over fields that is asked for."""
ROUNDING = 1e-6
"""How far above the bound the entropy is negative beyond rounding: where q is tiny, the bound is sharp."""
_DOUBLES = Float64()
SMALLEST = 2.0**-20
"""Of the bound by the first moment: where a positive entropy is no longer looked for."""


@dataclass(frozen=True)
class Capacity:
    """The ratio of patterns to weights above which no weights satisfy all constraints.

    Attributes
    ----------
    alpha:
        The capacity under the model's ansatz; that of one step is lower where the symmetric one is unstable.
    error:
        Of alpha: rounding; for a zero of the entropy what is left of the bracket and of Phi; for an infimum
        the quadrature.
    condition:
        "q -> 1", where one solution is left; "q1 -> 1", where every state shrinks to a point; "Phi = 0 at q =
        0", where on average there is no solution; "Phi = 0".
    replicon:
        Positive where the solution is stable at the capacity, 0 where it is marginal; with one step that of
        the states. Where it is negative the capacity is another: lower for spherical weights with a negative
        margin (M. Stojnic, arXiv 1306.3980).
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
    if model.ansatz.steps:
        return _infimum(model, exact)
    alpha, replicon = (_number(model, e, exact) for e in (formula.result, model.capacity_replicon()))
    condition = SHRUNK if model.weights == "spherical" else "Phi = 0 at q = 0"
    return Capacity(alpha, EPS * alpha, condition, replicon, exact)


def _number(model: Any, expression: Any, exact: Mapping[str, Fraction]) -> float:
    at = {s: sp.Rational(str(exact[p.name])) for p, s in model.parameter_symbols() if p.name in exact}
    return float(sp.N(sp.sympify(expression).subs(at), DIGITS))


def _infimum(model: Any, exact: Mapping[str, Fraction]) -> Capacity:
    """The capacity of one step: the infimum over the outer overlap and the ratio c, or the symmetric one."""
    symmetric = capacity(model.with_ansatz(ReplicaSymmetric()), **dict[str, Any](exact))
    outer = model.order_parameters[0]
    control = {s: float(exact[p.name]) for p, s in model.parameter_symbols() if p.name in exact}
    formula = model.capacity_formula().result
    (pattern,) = formula.atoms(GaussianAverage)
    bound = lower([formula, pattern], (outer, RATIO, *control))
    replicon = lower([model.capacity_replicon()], (alpha_symbol, outer, RATIO, *control))

    def values(program: Any, level: int, *at: float) -> Evaluation:
        """The first value, and the relative error of the last, an average."""
        with _DOUBLES.context():
            found = program.run(_DOUBLES, level, [*at, *control.values()])
        return Evaluation(float(found.values[0]), None, float(np.max(found.error) / abs(found.values[-1])))

    def place(x: np.ndarray) -> tuple[float, float]:
        return float(expit(x[0])), LEAST_RATIO + float(np.exp(x[1]))

    def least(start: Any, level: int, accuracy: float) -> Any:
        options: Any = {"xatol": accuracy, "fatol": np.inf, "maxiter": 400}
        return minimize(
            lambda x: values(bound, level, *place(x)).value,
            start,
            method="Nelder-Mead",
            options=options,
        )

    rough = min((least(start, TYPICAL, 1e-3) for start in STARTS), key=lambda found: float(found.fun))
    _, level = at_level(lambda k: values(bound, k, *place(rough.x)), QUADRATURE, TYPICAL)
    fine = least(rough.x, level, 1e-7)  # the infimum is then good to the square of that
    at = place(fine.x)
    alpha, _, error = values(bound, level, *at)
    if not alpha < symmetric.alpha * (1 - 1e-9):
        return symmetric
    if not (rough.success and fine.success):
        raise NotConvergedError("the infimum over q_0 and c was not reached")
    stable = values(replicon, level, alpha, *at).value
    return Capacity(alpha, alpha * (error + 64 * EPS), SHRUNK_STATES, stable, exact)


def _zero_of_entropy(model: Any, exact: Mapping[str, Fraction]) -> Capacity:
    """Where Phi of Ising weights vanishes: below the zero of the logarithm of the average number of
    solutions, which bounds it.
    """
    point: dict[str, Any] = dict(exact)

    def entropy(alpha: float) -> float:
        with np.errstate(all="ignore"):  # where a branch is about to end
            solution = solve(model, throw=False, alpha=alpha, **point)
        return float(solution.free_entropy) if solution.outcome.converged else float("nan")

    top = _number(model, model.annealed_capacity().result, exact)
    low, high, bound = top / 2, top * (1 + ROUNDING), top
    top = high
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
