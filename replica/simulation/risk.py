"""An empirical risk: its minimiser on sampled data, beside the overlaps of the saddle point.

The data are drawn from the model's teacher; the loss and the penalty are those written by hand in
``solvers.simulate.risk``, apart from the symbolic ones. The minimiser is exact up to the tolerance, so what
is left of a difference is the finite size and the error bar. It has no state evolution to follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from replica.simulation.results import Experiment, Request
from replica.simulation.sizes import RISK_SIZE, RiskSizes, affordable
from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome
from solvers.simulate.instances import sample_count
from solvers.simulate.risk import Minimum, loss_functions, minimise, risk

ACTIVE = 1e-7
"""Weights beyond this are not zero."""


@dataclass(frozen=True)
class RiskRun:
    """A minimiser and what it says of the values of a solution.

    Attributes
    ----------
    estimate:
        The weights, shape (d,).
    change:
        Last relative change.
    """

    estimate: np.ndarray = field(repr=False)
    change: float
    iterations: int
    outcome: AmpOutcome
    observed: Mapping[str, float]
    mse: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)


def prepare(model: Any, asked: Request) -> Experiment:
    """Make a point of an ``EmpiricalRisk`` ready."""
    exact = asked.exact
    max_iterations, tolerance = asked.limits(20_000, 1e-6)
    asked.refuse("the minimiser of a convex risk", "start", "damping")
    if max_iterations < 1:
        raise InputError(f"max_iterations is at least 1, got {max_iterations}")
    if not tolerance > 0.0:
        raise InputError(f"tolerance is positive, got {tolerance}")
    model.check(dict(exact))
    size = asked.size(RISK_SIZE)
    sizes = RiskSizes(size, sample_count(float(exact["alpha"]), (size, 1)))
    affordable(sizes, asked.memory_budget)
    realised = {**exact, **sizes.ratios}
    values = {name: float(value) for name, value in realised.items()}
    loss = loss_functions(model.loss.name, values.get("threshold", 1.0))
    l1, l2 = _strengths(model.penalty.name, values)
    prior = model.teacher_prior
    names = tuple(model.observables())

    def one(rng: np.random.Generator) -> RiskRun:
        teacher = prior.sample(sizes.d, rng, **{p.name: values[p.name] for p in prior.parameters})
        inputs = rng.standard_normal((sizes.n, sizes.d)) / np.sqrt(sizes.d)
        noise = {p.name: values[p.name] for p in model.teacher.parameters}
        outputs = model.teacher.sample(inputs @ teacher, rng, **noise)
        found = minimise(inputs, outputs, loss, l1, l2, tolerance=tolerance, iterations=max_iterations)
        energy, training = risk(inputs, outputs, found.weights, loss, l1, l2)
        measured = _measured(found, teacher) | {"training_loss": training, "energy": energy}
        outcome = AmpOutcome.CONVERGED if found.converged else AmpOutcome.ITERATION_LIMIT
        return RiskRun(found.weights, found.change, found.iterations, outcome, _ordered(measured, names))

    return Experiment(realised, sizes, "global", one, lambda _: np.empty(0))


def _strengths(penalty: str, values: Mapping[str, float]) -> tuple[float, float]:
    """Of the l1 norm and of half the square."""
    ratios = {"l1": 1.0, "l2": 0.0, "elastic net": values.get("l1_ratio")}
    ratio = ratios.get(penalty)
    if ratio is None:
        raise InputError(f"there is no minimiser for the penalty {penalty!r}: allowed: {', '.join(ratios)}")
    return values["lam"] * ratio, values["lam"] * (1 - ratio)


def _measured(found: Minimum, teacher: np.ndarray) -> dict[str, float]:
    """Overlaps and errors of the weights. The angle to the teacher is that of the vectors drawn."""
    w, d = found.weights, len(teacher)
    m, q = float(w @ teacher) / d, float(w @ w) / d
    rho = float(teacher @ teacher) / d
    cosine = m / np.sqrt(q * rho) if q > 0 and rho > 0 else 0.0
    return {
        "m": m,
        "q": q,
        "mse": rho + q - 2 * m,
        "generalisation_error": float(np.arccos(np.clip(cosine, -1.0, 1.0)) / np.pi),
        "active_fraction": float((np.abs(w) > ACTIVE).mean()),
    }


def _ordered(measured: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """What the model's solution has, the error first."""
    errors = [name for name in ("generalisation_error", "mse") if name in names]
    rest = [name for name in names if name not in errors]
    return {name: measured[name] for name in (*errors, "m", "q", *rest, "energy")}
