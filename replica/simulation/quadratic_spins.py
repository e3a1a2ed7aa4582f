"""Gaussian spins: exact averages over the Gibbs law of sampled couplings beside the saddle point.

One instance is one system of N spins and another of N/2: twice the one minus the other is free of what is of
order 1/N.  Couplings of a finite size fluctuate, and just above the temperature where Z diverges some have no
Gibbs law: these count as diverged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp

from replica.simulation.results import Experiment, Request
from replica.simulation.sizes import SpinSizes, affordable
from replica.symbols import q
from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome
from solvers.simulate.quadratic_spins import GibbsMoments, draw_quadratic, gibbs_moments

SIZE, LEAST = 500, 20
"""Number of spins by default, and the fewest."""


@dataclass(frozen=True)
class QuadraticSample:
    """One draw; ``observed`` by the names of the solution, empty where there is no Gibbs law."""

    observed: Mapping[str, float]
    outcome: AmpOutcome
    iterations: int = 1
    mse: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)


def prepare(model: Any, asked: Request) -> Experiment:
    """Make a point ready; nothing is iterated, so that there are no options."""
    exact = asked.exact
    asked.refuse("an exact average, where nothing is iterated", "damping", "max_iterations", "tolerance")
    if not model.is_finite(exact):
        raise InputError("the partition function diverges at these parameters: there is nothing to simulate")
    sizes = SpinSizes(asked.size(SIZE), 2)
    if sizes.N < LEAST:
        raise InputError(f"Gaussian spins are simulated with at least {LEAST} of them, got N = {sizes.N}")
    affordable(sizes, asked.memory_budget)
    temperature, strength, external = (float(exact[name]) for name in ("T", "J0", "h"))
    covariance = sp.Poly(model.covariance, q)
    variance, spread = (float(k * covariance.coeff_monomial(q**k)) for k in (2, 1))
    # without a field on the spins m = q = 0 in every system
    names = ("r", "energy") if external == spread == 0 else GibbsMoments._fields

    def system(size: int, rng: np.random.Generator) -> GibbsMoments | None:
        couplings = draw_quadratic(size, variance, strength, rng)
        return gibbs_moments(couplings, rng.normal(external, np.sqrt(spread), size), temperature)

    def one(rng: np.random.Generator) -> QuadraticSample:
        whole, half = system(2 * (sizes.N // 2), rng), system(sizes.N // 2, rng)
        if whole is None or half is None:
            return QuadraticSample({}, AmpOutcome.NOT_FINITE)
        values = {name: 2 * getattr(whole, name) - getattr(half, name) for name in names}
        return QuadraticSample(values, AmpOutcome.CONVERGED)

    return Experiment(exact, sizes, model.default_start, one, lambda _: np.empty(0))
