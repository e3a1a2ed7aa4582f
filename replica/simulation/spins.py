"""Ising spins with Gaussian energies: parallel tempering of sampled couplings beside the saddle point.

One instance is one sample of the couplings, with two real replicas at each rung of a ladder of temperatures
above the one asked for.  The energy of a finite system differs from its limit by O(1/N), or by N^(-2/3) where
replica symmetry is broken: this is not in the error bar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import perm
from typing import Any

import numpy as np
import sympy as sp

from replica.expr.polynomials import polynomial_coefficients
from replica.simulation.results import Experiment, Request
from replica.simulation.sizes import SpinSizes, affordable
from replica.symbols import q
from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome
from solvers.simulate.spin_statistics import LARGEST_Z, drift, second_half
from solvers.simulate.spin_systems import HIGHEST_ORDER, gaussian_spins
from solvers.simulate.spins import geometric_temperatures, simulate_spins

SIZES = {1: 256, 2: 256, 3: 64, 4: 32}
"""Numbers of spins by default, by the highest power in the covariance."""
RUNGS, HOT = 12, 1.5
"""Temperatures of a ladder, and its top over that where the annealed free entropy loses the entropy log 2."""


@dataclass(frozen=True)
class SpinSample:
    """One sample of the couplings.

    Attributes
    ----------
    observed:
        The energy per spin, over the second half of the sweeps: what is compared with theory.
    squared_overlap:
        Of two real replicas. Where theory says 0 it is of order 1/N, so it is shown and not compared.
    discrepancy:
        Second quarter against second half, in error bars: the larger of energy and squared overlap.
    """

    observed: Mapping[str, float]
    squared_overlap: float
    iterations: int
    outcome: AmpOutcome
    discrepancy: float
    mse: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)


def prepare(model: Any, asked: Request) -> Experiment:
    """Make a point ready; ``max_iterations`` are sweeps, ``tolerance`` the drift allowed, in error bars."""
    exact = asked.exact
    max_iterations, tolerance = asked.limits(2000, LARGEST_Z)
    asked.refuse("a Monte Carlo run", "start", "damping")
    if model.spins != "ising":
        raise InputError("only Ising spins are simulated beside theory")
    if exact["T"] == 0:
        raise InputError("a Monte Carlo run needs T > 0")
    weights = _weights(model.covariance)
    order = max(weights)
    sizes = SpinSizes(asked.size(SIZES[order]), order)
    if order > sizes.N:
        raise InputError(f"couplings of {order} spins need at least {order} of them, got N = {sizes.N}")
    affordable(sizes, asked.memory_budget)
    # distinct spins only: with this factor the variance of H is N xi(1) at every N
    scaled = {p: c * sizes.N**p / perm(sizes.N, p) for p, c in weights.items()}
    if max_iterations < 40:
        raise InputError(f"max_iterations, the sweeps, is at least 40, got {max_iterations}")
    coldest, external = float(exact["T"]), float(exact["h"])
    frozen = float(np.sqrt(sum(weights.values()) / (2 * np.log(2))))  # log 2 = beta^2 xi(1)/2
    hottest = HOT * max(frozen, coldest)
    ladder = (
        geometric_temperatures(coldest, hottest, RUNGS) if coldest < hottest / 1.6 else np.array([coldest])
    )

    def one(rng: np.random.Generator) -> SpinSample:
        system = gaussian_spins(sizes.N, scaled, rng, field=external)
        run = simulate_spins(system, ladder, rng, sweeps=max_iterations)
        energy = float(second_half(run.energy)[..., 0].mean())
        overlap = float((second_half(run.overlap)[..., 0] ** 2).mean())
        changes = np.abs([drift(run.energy)[0], drift(run.overlap**2)[0]])
        outcome = AmpOutcome.CONVERGED if changes.max() <= tolerance else AmpOutcome.ITERATION_LIMIT
        return SpinSample({"energy": energy}, overlap, run.sweeps, outcome, float(changes.max()))

    return Experiment(exact, sizes, "global", one, lambda _: np.empty(0))


def _weights(covariance: sp.Expr) -> dict[int, float]:
    """Power -> coefficient."""
    coefficients = polynomial_coefficients(sp.expand(covariance), q) or {}
    found = {int(power): float(value) for power, value in coefficients.items() if value != 0}
    if not found or 0 in found or max(found) > HIGHEST_ORDER:
        raise InputError(
            f"couplings of orders 1 to {HIGHEST_ORDER} are simulated, not a covariance {covariance}"
        )
    return found
