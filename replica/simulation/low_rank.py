"""A spiked matrix: low-rank AMP with the denoisers of the model's priors.

Signs. Where every prior is symmetric the data leave the global sign open, (x -> -x, or (u, v) -> (-u, -v)):
errors and overlaps are then those of the better sign, the same for u and v.

Starts. With priors of mean 0 the estimate 0 is a fixed point, and a run starts from a small overlap with the
signal, 1/100 of its variance: what any weak side information gives, and far below the overlaps that are
compared. Where recovery starts by itself (weak recovery) the end does not depend on it; the number of
iterations does, like its logarithm. The informed start has an overlap of 99/100.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from replica.lowering.message_passing import input_functions
from replica.simulation.gamp import prior_moments
from replica.simulation.results import Experiment, Request
from replica.simulation.sizes import VECTOR_SIZE, RectangleSizes, SpikeSizes, affordable
from replica.simulation.state_evolution import state_evolution
from solvers.simulate.amp import Posterior
from solvers.simulate.instances import informed_start
from solvers.simulate.low_rank import LowRankRun, low_rank_amp, rectangular_spike, symmetric_spike

SMALL_OVERLAP, LARGE_OVERLAP = Fraction(1, 100), Fraction(99, 100)
"""Overlaps, relative to the variance of the signal, of the starts."""


def prepare(model: Any, asked: Request) -> Experiment:
    """Make a point of a ``SpikedMatrix`` ready."""
    exact, start = asked.exact, asked.start
    max_iterations, tolerance = asked.limits(500, 1e-4)
    asked.refuse("low-rank AMP, whose Onsager term is that of undamped iterations", "damping")
    size = asked.size(VECTOR_SIZE)
    sizes = (
        RectangleSizes(size, max(1, round(exact["alpha"] * size))) if model.rectangular else SpikeSizes(size)
    )
    affordable(sizes, asked.memory_budget)
    realised = {**exact, **sizes.ratios}
    priors = (model.prior, model.second_prior) if model.rectangular else (model.prior,)
    laws = [{p.name: float(realised[p.name]) for p in prior.parameters} for prior in priors]
    moments = [prior_moments(prior, {p.name: realised[p.name] for p in prior.parameters}) for prior in priors]
    posteriors = [_posterior(prior, law) for prior, law in zip(priors, laws, strict=True)]
    symmetric = all(prior.symmetric for prior in priors)
    mean, variance = moments[0]
    overlap = _start_overlap(start, centred=all(m == 0 for m, _ in moments))
    strength = float(realised["lam"])

    def one(rng: np.random.Generator) -> LowRankRun:
        vectors = [
            prior.sample(count, rng, **law)
            for prior, count, law in zip(priors, _lengths(sizes), laws, strict=True)
        ]
        if model.rectangular:
            observed = rectangular_spike(vectors[0], vectors[1], strength, rng)
        else:
            observed = symmetric_spike(vectors[0], strength, rng)
        begin = informed_start(vectors[0], float(overlap), rng, prior_mean=mean, prior_variance=variance)
        run = low_rank_amp(
            observed,
            strength,
            posteriors,
            begin,
            truth=vectors[0],
            symmetric=symmetric,
            max_iterations=max_iterations,
            tolerance=tolerance,
            scale=float(np.sqrt(variance)),
        )
        return replace(run, observed=_observed(run, vectors, symmetric) if run.iterations else {})

    return Experiment(
        realised,
        sizes,
        "informed" if start == "informed" else "uninformed",
        one,
        lambda length: state_evolution(model, realised, length, float(1 - overlap)),
    )


def _lengths(sizes: SpikeSizes | RectangleSizes) -> tuple[int, ...]:
    return (sizes.N, sizes.M) if isinstance(sizes, RectangleSizes) else (sizes.N,)


def _start_overlap(start: str | None, *, centred: bool) -> Fraction:
    if start == "informed":
        return LARGE_OVERLAP
    return SMALL_OVERLAP if centred else Fraction(0)


def _posterior(prior: Any, law: Mapping[str, float]) -> Posterior:
    functions = input_functions(prior)
    return lambda precision, field: functions(precision, field, law)


def _observed(run: LowRankRun, vectors: list[Any], symmetric: bool) -> dict[str, float]:
    """The final values by the names of a solution; the sign is the one of the larger overlap, for both."""
    estimates = [run.estimate] if run.other is None else [run.estimate, run.other]
    overlaps = np.array([e @ x / len(x) for e, x in zip(estimates, vectors, strict=True)])
    norms = [float(e @ e) / len(e) for e in estimates]
    moments = [float(x @ x) / len(x) for x in vectors]
    sign = -1.0 if symmetric and overlaps.sum() < 0 else 1.0
    # |x y^T - x_hat y_hat^T|^2 per entry
    pair = (0, -1)
    full, seen, both = (float(np.prod([side[k] for k in pair])) for side in (moments, norms, overlaps))
    names = ("m",) if run.other is None else ("m_u", "m_v")
    return {
        "mmse": float(run.mse[-1]),
        "q": norms[0],
        **{name: float(sign * value) for name, value in zip(names, overlaps, strict=True)},
        "matrix_mmse": full - 2 * both + seen,
    }
