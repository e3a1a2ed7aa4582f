"""Spherical spins with full replica symmetry breaking -> numbers: the closed form of x(q) where it is a
minimum, else the minimum over step functions.

The closed form holds where x changes everywhere between q_min and q_max; it must not decrease there, and the
functional is convex, so its gradient tells whether it is the minimum.
"""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from scipy.optimize import brentq

from replica.action import nodes_of
from replica.ansatz import ReplicaSymmetric
from replica.expr.parisi import OverlapIntegral
from replica.full_checks import LOWEST
from replica.full_variation import CHI, LARGEST
from replica.lowering.full import (
    FLOAT_DIGITS,
    MARGINAL,
    OPTIMAL,
    embedded,
    linear_in_order,
    numbers_of,
    runs_of,
    solution_of,
)
from replica.overlap_function import ORDER
from replica.symbols import beta, h, q
from solvers.broken_solution import BrokenSolution, Profile
from solvers.errors import InputError
from solvers.fixed_point.breaking import Broken
from solvers.fixed_point.crisanti_sommers import SphericalFunctional
from solvers.fixed_point.parisi import gap
from solvers.solution import Errors, Outcome, Solution

STEPS = 256
"""Steps of the profile of a closed form."""
GRID = 400
"""Points that are searched for the ends."""
CLOSED = 1e-7
"""Error of the quadrature beyond which a closed form is not given."""


@dataclass(frozen=True)
class ClosedForm:
    """Where x(q) changes, as functions of q at the parameters: chi/T, x/T; and the ends.

    In units of T both are free of the temperature, which then enters through 1 - q_max = chi(q_max).
    """

    chi: Callable[[Any], Any]
    order: Callable[[Any], Any]
    low: float
    high: float


def closed_form(model: Any, exact: Mapping[str, Fraction]) -> ClosedForm | None:
    """The closed form between its ends; None where there are none, or where x would decrease or exceed 1."""
    saddle, temperature = model.saddle_point(), float(exact["T"])
    at = {h: sp.Rational(exact["h"])}
    chi, order = ((beta * saddle.update(f)).subs(at) for f in (CHI(q), ORDER(q)))
    start = (dict(saddle.conditions)[LOWEST] / beta**2).subs(LOWEST, q).subs(at)
    functions = [sp.lambdify(q, e, "numpy") for e in (chi, order, start)]
    response, x, begin = (_quiet(f) for f in functions)
    lows = [0.0] if abs(begin(0.0)) < 1e-14 else _zeros(begin, 1e-9, 1.0)
    highs = [1.0]
    if temperature > 0:
        end = dict(saddle.conditions)[LARGEST].subs(numbers_of(exact))
        highs = _zeros(_quiet(sp.lambdify(LARGEST, end, "numpy")), 0.0, 1.0)
    for low, high in ((a, b) for a in lows for b in reversed(highs) if a < b):
        grid = np.linspace(low, high, GRID)
        values = x(grid) if low > 0 else x(grid[1:])
        if np.all(np.isfinite(values)) and np.all(np.diff(values) > -1e-12) and temperature * values[-1] <= 1:
            return ClosedForm(response, x, low, high)
    return None


def _quiet(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """With the shape of its argument, and infinite without a warning where xi'' vanishes."""

    def evaluated(t: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(np.float64(t) if np.ndim(t) == 0 else t) + 0.0 * t

    return evaluated


def _zeros(function: Callable[[Any], Any], low: float, high: float) -> list[float]:
    grid = np.linspace(low, high, GRID)
    values = np.array([function(t) for t in grid])
    found = [float(t) for t, v in zip(grid, values, strict=True) if v == 0]
    for a, b, left, right in zip(grid[:-1], grid[1:], values[:-1], values[1:], strict=True):
        if left * right < 0:
            found.append(float(brentq(function, a, b, xtol=1e-15)))
    return sorted(found)


def solve_spherical(model: Any, exact: Mapping[str, Fraction]) -> Solution:
    """The replica-symmetric solution where it is the minimum, the closed form where that is, else steps."""
    from replica.lowering.field import solve_field

    closed = closed_form(model, exact)
    if exact["T"] == 0:
        if closed is None:
            raise InputError("x(q) of this model is no closed form: at T = 0 ask for a number of steps")
        return _closed_solution(model, exact, closed, None)
    at = numbers_of(exact)
    functional = spherical_functional(model.derive().result, at)
    symmetric = solve_field(model.with_ansatz(ReplicaSymmetric()), exact)
    if symmetric.outcome.converged and symmetric["replicon"] > MARGINAL:
        bound = gap(functional, np.array([symmetric["q"]]), np.zeros(0))
        if bound < OPTIMAL:
            return embedded(symmetric, bound)
    if closed is not None:
        bound = functional.outside(closed.low, closed.high)
        if bound < OPTIMAL / float(exact["T"]) ** 2:
            return _closed_solution(model, exact, closed, bound)
    runs = runs_of(functional)
    found = [_step_values(model, at, run) for run in runs[-2:]]
    return solution_of(exact, runs, found, gap(functional, runs[-1].edges, runs[-1].x))


def spherical_functional(phi: Any, at: Mapping[Any, Any]) -> SphericalFunctional:
    """The numbers of the derived functional; its entropy is known by name to the solver."""
    energies = sp.S.Zero
    for term in sp.Add.make_args(sp.expand(phi)):
        nodes = nodes_of(term, OverlapIntegral)
        if len(nodes) == 1 and nodes[0].body.has(ORDER(q)) and not nodes[0].body.is_Pow and term.has(beta):
            energies += term
    entropy = sp.expand(phi - energies)
    if entropy.subs(beta, 2) != entropy:
        raise ValueError("an entropy that depends on the temperature")
    return SphericalFunctional(linear_in_order(energies, at).primitive)


def _steps(closed: ClosedForm, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """The closed form as a step function, its values those at the middles."""
    edges = np.linspace(closed.low, closed.high, STEPS + 1)
    return edges, (temperature or 1.0) * closed.order((edges[1:] + edges[:-1]) / 2)


def _step_values(model: Any, at: Mapping[Any, Any], run: Broken) -> dict[str, float]:
    """Of one number of steps."""
    observables, temperature = model.observables(), float(1 / at[beta])
    linear = {
        name: linear_in_order(observables[name], at).on(run.edges, run.x, 0.0)
        for name in ("energy", "squared_overlap")
    }
    curvature = float((beta**2 * model.covariance.diff(q, 2)).subs(at).subs(q, float(run.edges[-1])))
    last = np.append(run.x[:1], run.x)[-2:]
    free = -temperature * run.value
    return {
        "q_min": float(run.edges[0]),
        "q_max": float(run.edges[-1]),
        "x_max": float(last[1] + (last[1] - last[0]) / 2),
        "f": free,
        "energy": linear["energy"],
        "entropy": (linear["energy"] - free) / temperature,
        "squared_overlap": linear["squared_overlap"],
        "replicon": float(1 - curvature * run.moments.response[-1]),
    }


def _closed_solution(
    model: Any, exact: Mapping[str, Fraction], closed: ClosedForm, bound: float | None
) -> BrokenSolution:
    """By Gauss's rules between the ends, two for the error."""
    temperature = float(exact["T"])
    found = [_closed_values(model, exact, closed, count) for count in (40, 80)]
    values, changes = found[1], {name: abs(found[1][name] - found[0][name]) for name in found[1]}
    edges, x = _steps(closed, temperature)
    return BrokenSolution(
        values=values,
        params=dict(exact),
        free_entropy=-values["f"] / temperature if temperature else -values["f"],
        residual=0.0,
        errors=Errors(0.0, max(changes.values()), 1e-15 * abs(values["f"])),
        outcome=Outcome.CONVERGED if max(changes.values()) < CLOSED else Outcome.QUADRATURE,
        backend="float64",
        digits=FLOAT_DIGITS,
        stability=0.0,
        branches=(closed.high,),
        evaluations=2,
        profile=Profile(edges, x),
        uncertainty=changes,
        bound=bound,
    )


def _closed_values(
    model: Any, exact: Mapping[str, Fraction], closed: ClosedForm, count: int
) -> dict[str, float]:
    """Integrals with x between the ends in closed form and 1 above, where 1 - q_max = T chi(q_max)."""
    temperature, low, high = float(exact["T"]), closed.low, closed.high
    nodes, weights = np.polynomial.legendre.leggauss(count)
    places, weights = low + (high - low) * (1 + nodes) / 2, weights * (high - low) / 2
    # 1 + nodes lies above 0, so x is not asked at an end where it may be singular
    x, chi, last = closed.order(places), closed.chi(places), float(closed.chi(high))
    field = sp.lambdify(q, model.covariance.diff(q) + sp.Rational(exact["h"]) ** 2, "numpy")
    forces = field(places) + 0.0 * places
    inner, inner_weights = np.polynomial.legendre.leggauss(20)
    above = float((inner_weights / 2) @ (field(high + (1 - high) * (1 + inner) / 2) + 0.0 * inner))
    energy = -float(weights @ (x * forces)) - last * above
    if temperature == 0:
        return {
            "q_min": low,
            "q_max": high,
            "f": energy,
            "energy": energy,
            "y_max": float(closed.order(high)),
        }
    phi = -energy / (2 * temperature) + 0.5 * (low / (temperature * float(closed.chi(low))) if low else 0.0)
    phi += 0.5 * (np.log(1 - high) + float(weights @ (1 / chi)) / temperature)
    squared = 1 - temperature * float(weights @ (2 * places * x)) - (1 - high**2)
    free = -temperature * float(phi)
    return {
        "q_min": low,
        "q_max": high,
        "x_max": temperature * float(closed.order(high)),
        "f": free,
        "energy": energy,
        "entropy": (energy - free) / temperature,
        "squared_overlap": squared,
        "replicon": 0.0,
    }
