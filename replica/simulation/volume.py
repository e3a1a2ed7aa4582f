"""Solutions of sampled perceptrons beside the saddle point: counted for Ising weights, sampled on a sphere.

Ising: a run counts all solutions of a number of instances of N weights and as many of N/2.  E log Z = N Phi
+ c + O(1/N), so the entropy is the difference of the two means over N/2; what is left is of order 1/N^2.
Instances without a solution have no logarithm and are left out, which counts where alpha is near the
capacity.  The overlap has corrections of several orders at such sizes: it is shown and not compared.

Spherical: a run is one instance, with walkers on its solutions from independent starts; the overlap differs
from its limit by O(1/N), which is not in the error bar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from replica.simulation.results import Experiment, Request
from replica.simulation.sizes import PatternSizes, affordable, whole
from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome
from solvers.simulate.perceptron import LARGEST_SIZE, Solutions, all_solutions, billiard, one_solution
from solvers.simulate.spin_statistics import LARGEST_Z, drift, second_half
from solvers.simulate.threads import blas_threads

SIZES = {"ising": 16, "spherical": 100}
"""Numbers of weights by default."""
WALKERS = 4
LEAST_SWEEPS = 64
"""So that the drift of a walk has an error bar."""


@dataclass(frozen=True)
class VolumeSample:
    """What one run says of the solutions.

    Attributes
    ----------
    observed:
        The entropy; on the sphere the overlap of two solutions.
    overlap:
        Of two solutions, at this size.
    empty:
        How many instances had no solution (of all that were drawn).
    discrepancy:
        Of a walk: second quarter against second half, in error bars.
    """

    observed: Mapping[str, float]
    iterations: int
    outcome: AmpOutcome
    overlap: float = float("nan")
    empty: int = 0
    discrepancy: float = 0.0
    mse: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)


def prepare(model: Any, asked: Request) -> Experiment:
    """Make a point ready; ``max_iterations`` are the instances that a run counts, or the sweeps of a walk,
    ``tolerance`` the drift allowed to a walk, in error bars.
    """
    exact = asked.exact
    max_iterations, tolerance = asked.limits(64, LARGEST_Z)
    asked.refuse("a perceptron", "start", "damping")
    ising = model.weights == "ising"
    size = asked.size(SIZES[model.weights])
    if ising:
        if size % 2 or not 4 <= size <= LARGEST_SIZE:
            raise InputError(f"Ising weights are counted for an even N from 4 to {LARGEST_SIZE}, got {size}")
        patterns = 2 * max(1, round(exact["alpha"] * size / 2))  # a whole number for half the size too
    else:
        patterns = max(1, round(exact["alpha"] * size))
    whole("max_iterations", max_iterations, 1 if ising else LEAST_SWEEPS)
    sizes = PatternSizes(size, patterns)
    affordable(sizes, asked.memory_budget)
    params = {**exact, **sizes.ratios}
    bounds = _bounds(model, params)

    def one(rng: np.random.Generator) -> VolumeSample:
        with blas_threads(1):
            if ising:
                return _counted(sizes, bounds, max_iterations, rng)
            return _walked(sizes, bounds, max_iterations, tolerance, rng)

    return Experiment(params, sizes, "uninformed", one, lambda _: np.empty(0))


def _bounds(model: Any, params: Mapping[str, Fraction]) -> tuple[float, float]:
    """Between which values every field must lie."""
    name = model.constraint.name
    if name == "sign":
        return 0.0, np.inf
    if name not in ("margin", "interval"):
        raise InputError(f"only sharp constraints are simulated: sign, margin or interval, not {name}")
    kappa = float(params["kappa"])
    return (kappa, np.inf) if name == "margin" else (-kappa, kappa)


def _patterns(size: int, patterns: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((patterns, size)) / np.sqrt(size)


def _counted(
    sizes: PatternSizes, bounds: tuple[float, float], instances: int, rng: np.random.Generator
) -> VolumeSample:
    halved = sizes.N // 2, sizes.M // 2
    small, large = (
        _mean_over([all_solutions(_patterns(*shape, rng), *bounds) for _ in range(instances)])
        for shape in (halved, (sizes.N, sizes.M))
    )
    empty = 2 * instances - small.kept - large.kept
    if not (small.kept and large.kept):
        return VolumeSample({}, instances, AmpOutcome.NOT_FINITE, empty=empty)
    entropy = (large.log_number - small.log_number) / (sizes.N // 2)
    return VolumeSample({"entropy": entropy}, instances, AmpOutcome.CONVERGED, large.overlap, empty)


@dataclass(frozen=True)
class _Mean:
    log_number: float
    overlap: float
    kept: int


def _mean_over(found: list[Solutions]) -> _Mean:
    """Over the instances that have a solution."""
    some = [s for s in found if np.isfinite(s.log_number)]
    if not some:
        return _Mean(np.nan, np.nan, 0)
    return _Mean(
        float(np.mean([s.log_number for s in some])), float(np.mean([s.overlap for s in some])), len(some)
    )


def _walked(
    sizes: PatternSizes,
    bounds: tuple[float, float],
    sweeps: int,
    tolerance: float,
    rng: np.random.Generator,
) -> VolumeSample:
    patterns = _patterns(sizes.N, sizes.M, rng)
    starts = [one_solution(patterns, *bounds, rng) for _ in range(WALKERS)]
    walkers = [weights for weights in starts if weights is not None]
    if len(walkers) < WALKERS:
        return VolumeSample({}, sweeps, AmpOutcome.NOT_FINITE, empty=1)
    overlaps = billiard(patterns, *bounds, np.array(walkers), sweeps, rng)
    change = abs(float(drift(overlaps[:, None, None, None])[0]))
    outcome = AmpOutcome.CONVERGED if change <= tolerance else AmpOutcome.ITERATION_LIMIT
    overlap = float(second_half(overlaps).mean())
    return VolumeSample({"q": overlap}, sweeps, outcome, overlap, discrepancy=change)
