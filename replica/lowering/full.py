"""Full replica symmetry breaking -> numbers: the infimum of the derived functional over functions x(q).

Of Ising spins the minimum over step functions, with half as many steps for the error; of spherical spins the
closed form of x where that is the minimum.  Where the replica-symmetric solution is the minimum it is
returned: the functional is convex, so its gradient tells.
"""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.polynomial import polynomial

from replica.action import nodes_of
from replica.ansatz import ReplicaSymmetric
from replica.expr.average import GaussianAverage
from replica.expr.parisi import Flow, OverlapIntegral
from replica.expr.stable import log2cosh
from replica.overlap_function import ORDER
from replica.symbols import beta, h, q
from solvers.broken_solution import BrokenSolution, Profile
from solvers.errors import InputError
from solvers.fixed_point.breaking import Broken, fully_broken
from solvers.fixed_point.parisi import AnyFunctional, Functional, Levels, gap
from solvers.simulate.threads import blas_threads
from solvers.solution import Errors, Outcome, Solution

FLOAT_DIGITS = 15
FEWEST, MOST, MOST_COLD = 4, 64, 128
"""Numbers of steps: doubled until the free entropy settles, or at most; those at T = 0 cost little."""
SETTLED = 1e-9
"""Change of the free entropy at which no more steps are taken, over 1 or its size."""
BELIEVED = 1e-6
"""Error of the free energy beyond which a solution is not given."""
NEAR = 1e-7
"""Distance from the infimum, over 1 or the size of Phi, at which no more steps are taken."""
UNRESOLVED = -0.1
"""Replicon, times the square of the number of steps, below which x changes on too short an interval."""
PROVEN = 1e-5
"""Distance of f from its supremum, as convexity bounds it, beyond which a solution is not given."""
MARGINAL, OPTIMAL = -1e-9, 1e-11
"""The replica-symmetric solution is the minimum if its replicon and its distance from the infimum say so."""


@dataclass(frozen=True)
class Linear:
    """constant + int_low^1 weight(q) x(q) dq + slope phi'(start), of a step function; weight a polynomial."""

    constant: float
    primitive: tuple[float, ...]
    slope: float

    def on(self, edges: np.ndarray, x: np.ndarray, magnetisation: float) -> float:
        """x above the last edge is 1 unless it has a value more."""
        values = np.append(x, 1.0)[: len(edges)]
        cells = np.diff(polynomial.polyval(np.append(edges, 1.0), self.primitive))
        return float(self.constant + values @ cells + self.slope * magnetisation)


def linear_in_order(expr: Any, at: Mapping[Any, Any]) -> Linear:
    """The numbers of an expression linear in x(q) and in the slope of the flow."""
    constant, slope, weight = sp.S.Zero, sp.S.Zero, sp.S.Zero
    for term in sp.Add.make_args(sp.expand(expr)):
        if term.has(Flow):
            (average,) = nodes_of(term, GaussianAverage)
            if average.body.derivatives != 1:
                raise ValueError(f"expected the slope of a flow in {term}")
            slope = sp.Add(slope, term.coeff(average))
        elif term.has(OverlapIntegral):
            (node,) = nodes_of(term, OverlapIntegral)
            weight += sp.expand(term.xreplace({node: node.body})).coeff(ORDER(node.var)).subs(node.var, q)
        else:
            constant += term
    return Linear(float(constant.subs(at)), _primitive(weight.subs(at)), float(slope.subs(at)))


def _coefficients(expr: Any) -> tuple[float, ...]:
    return tuple(float(c) for c in reversed(sp.Poly(expr, q).all_coeffs()))


def _primitive(expr: Any) -> tuple[float, ...]:
    return _coefficients(sp.Poly(expr, q).integrate().as_expr())


def functional_of(expr: Any, at: Mapping[Any, Any]) -> Functional:
    """The numbers of Parisi's functional, or of its limit at zero temperature, as it was derived."""
    (average,) = (t for t in sp.Add.make_args(expr) if isinstance(t, GaussianAverage))
    flow = average.body
    frozen = flow.terminal == sp.Abs(flow.bound_symbols[1])
    if not (frozen or flow.terminal == log2cosh(flow.bound_symbols[1])):
        raise ValueError(f"no evaluation of a flow from {flow.terminal}")
    order = flow.order.func
    variance = average.variance.subs(flow.at, q)
    if sp.expand(variance.diff(q) - flow.rate) != 0:
        raise ValueError("the variance of the field at the smallest overlap is not that of the flow")
    weight = sp.S.Zero
    coupling = sp.expand(expr - average)  # none where the covariance is linear, a random field
    for term in sp.Add.make_args(coupling) if coupling != 0 else ():
        (node,) = nodes_of(term, OverlapIntegral)
        weight -= sp.expand(term.xreplace({node: node.body})).coeff(order(node.var))
    return Functional(
        _coefficients(variance.subs(at)),
        _primitive(sp.expand(weight).subs(at)),
        float(average.mean.subs(at)),
        frozen,
    )


@lru_cache(maxsize=64)
def _observables(model: Any) -> dict[str, Any]:
    return model.observables()


def solve_full(
    model: Any,
    exact: Mapping[str, Fraction],
    digits: int = FLOAT_DIGITS,
    start: str = "global",
    backend: str | None = None,
) -> Solution:
    """The infimum; ``start`` has no meaning, there is one minimum."""
    if backend not in (None, "float64") or digits > FLOAT_DIGITS:
        raise InputError("spins with Gaussian energies are solved in float64: ask for at most 15 digits")
    if model.spins == "spherical":
        from replica.lowering.full_spherical import solve_spherical

        return solve_spherical(model, exact)
    with blas_threads(1):
        return _solve_cold(model, exact) if exact["T"] == 0 else _solve_warm(model, exact)


def numbers_of(exact: Mapping[str, Fraction]) -> dict[Any, Any]:
    """The parameters as symbols -> exact numbers."""
    found = {h: sp.Rational(exact["h"])}
    return found | ({beta: 1 / sp.Rational(exact["T"])} if exact["T"] else {})


def _solve_warm(model: Any, exact: Mapping[str, Fraction]) -> Solution:
    from replica.lowering.field import solve_field

    at = numbers_of(exact)
    functional = functional_of(model.derive().result, at)
    symmetric = solve_field(model.with_ansatz(ReplicaSymmetric()), exact)
    if symmetric.outcome.converged and symmetric["replicon"] > MARGINAL:
        bound = gap(functional, np.array([symmetric["q"]]), np.zeros(0))
        if bound < OPTIMAL:
            return embedded(symmetric, bound)
    runs = runs_of(functional)
    best = runs[-1]
    bound = gap(functional, best.edges, best.x)
    temperature = float(exact["T"])
    found = [_values(model, at, run) | {"f": -temperature * run.value} for run in runs[-2:]]
    for values, run in zip(found, runs[-2:], strict=True):
        values["energy"] = energy_of(model, at, run)
        values["entropy"] = (values["energy"] - values["f"]) / temperature
    found = [{name: v[name] for name in _NAMES} for v in found]
    return solution_of(exact, runs, found, bound)


_NAMES = ("q_min", "q_max", "x_max", "f", "energy", "entropy", "squared_overlap", "replicon")


def runs_of(functional: AnyFunctional) -> list[Broken]:
    """More and more steps, until the value settles."""
    runs, most = [fully_broken(functional, FEWEST)], MOST_COLD if functional.frozen else MOST
    while len(runs[-1].x) < most and not _settled(functional, runs):
        runs.append(fully_broken(functional, 2 * (len(runs[-1].edges) - 1), runs[-1]))
        if not runs[-1].converged:
            break
    return runs


def _settled(functional: AnyFunctional, runs: list[Broken]) -> bool:
    """Whether twice as many steps changed nothing, and no other function is much better: few steps do not see
    x change on a short interval.
    """
    size = max(1.0, abs(runs[-1].value))
    if len(runs) < 2 or abs(runs[-1].value - runs[-2].value) > SETTLED * size:
        return False
    best = runs[-1]
    if functional.frozen:
        return len(best.x) > MOST // 2
    if gap(functional, best.edges, best.x) > NEAR * size:
        return False
    return bool(
        1 - functional.rate(best.edges[-1]) * best.moments.response[-1] > UNRESOLVED / len(best.x) ** 2
    )


def _values(model: Any, at: Mapping[Any, Any], run: Broken) -> dict[str, float]:
    """Of one number of steps, but for the energy."""
    squared = linear_in_order(_observables(model)["squared_overlap"], at)
    curvature = float((beta**2 * model.covariance.diff(q, 2)).subs(at).subs(q, float(run.edges[-1])))
    last = np.append(0.0, run.x)[-2:]
    return {
        "squared_overlap": squared.on(run.edges, run.x, run.moments.magnetisation),
        "q_min": float(run.edges[0]),
        "q_max": float(run.edges[-1]),
        "x_max": float(last[1] + (last[1] - last[0]) / 2),
        "replicon": float(1 - curvature * run.moments.response[-1]),
    }


def energy_of(model: Any, at: Mapping[Any, Any], run: Broken) -> float:
    """-dPhi/dbeta at fixed x, by differences of fourth order.

    On step functions it converges faster than the closed form of ``model.observables``, which holds at the
    minimum over all functions.
    """
    inverse, phi = at[beta], model.derive().result
    step = inverse / 1000

    def value(k: int) -> float:
        functional = functional_of(phi, {**at, beta: inverse + k * step})
        return Levels(functional, run.edges).at(run.x).value

    return float(-(8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * step))


_SECOND_ORDER = ("q_min", "q_max", "x_max", "replicon")
"""Values whose error falls as the square of the number of steps: they are extrapolated."""


def _extrapolated(
    rough: Mapping[str, float], fine: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Values, and what they changed by."""
    values, changes = {}, {}
    for name, value in fine.items():
        change = value - rough[name]
        weight = 1 / 3 if name in _SECOND_ORDER else 0.0
        values[name] = value + weight * change
        changes[name] = abs(change) * (weight or 1.0)
    for name in ("x_max", "replicon"):  # it is not negative: what is below 0 is error
        if name in values:
            changes[name] = max(changes[name], -values["replicon"])
    return values, changes


def _solve_cold(model: Any, exact: Mapping[str, Fraction]) -> Solution:
    ground = model.ground_state().derive().result
    runs = runs_of(functional_of(ground, numbers_of(exact)))
    found = [
        {"q_min": float(run.edges[0]), "q_max": 1.0, "f": -run.value, "energy": -run.value}
        for run in runs[-2:]
    ]
    return solution_of(exact, runs, found, None)


def solution_of(
    exact: Mapping[str, Fraction],
    runs: list[Broken],
    found: list[dict[str, float]],
    bound: float | None,
) -> BrokenSolution:
    """From the last runs and the values of the last two."""
    values, changes = _extrapolated(*found)
    temperature = float(exact["T"])
    if bound is not None and values["replicon"] < UNRESOLVED / len(runs[-1].x) ** 2:
        changes["f"] = max(changes["f"], temperature * bound)
    best = runs[-1]
    converged = best.converged and changes["f"] < BELIEVED and (bound or 0.0) * temperature < PROVEN
    return BrokenSolution(
        values=values,
        params=dict(exact),
        free_entropy=best.value,
        residual=best.residual,
        errors=Errors(best.decrease, changes["f"], 1e-15 * abs(best.value)),
        outcome=Outcome.CONVERGED if converged else Outcome.RESIDUAL,
        backend="float64",
        digits=FLOAT_DIGITS,
        stability=0.0,
        branches=(values["q_max"],),
        evaluations=sum(run.evaluations for run in runs),
        profile=Profile(best.edges, best.x),
        uncertainty=changes,
        bound=bound,
    )


def embedded(symmetric: Solution, bound: float | None) -> BrokenSolution:
    """The replica-symmetric solution: x jumps from 0 to 1 at its overlap."""
    overlap = symmetric["q"]
    kept = ("f", "energy", "entropy", "squared_overlap", "replicon")
    values = {"q_min": overlap, "q_max": overlap} | {k: symmetric[k] for k in kept}
    names = ("params", "free_entropy", "residual", "errors", "backend", "digits", "stability", "branches")
    return BrokenSolution(
        values=values,
        outcome=Outcome.SYMMETRIC,
        evaluations=symmetric.evaluations,
        profile=Profile(np.array([overlap]), np.zeros(0)),
        uncertainty=dict.fromkeys(values, symmetric.errors.total),
        bound=bound,
        **{name: getattr(symmetric, name) for name in names},
    )
