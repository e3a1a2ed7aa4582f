"""A signal behind projections and a channel: GAMP with the functions of the model's own ingredients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from replica.ingredients.factors import GaussianFactors
from replica.ingredients.priors import Prior
from replica.ingredients.symmetric_factors import SymmetricFactors
from replica.lowering import message_passing
from replica.simulation.results import Experiment, Request
from replica.simulation.sizes import (
    MATRIX_SIZE,
    VECTOR_SIZE,
    AnySizes,
    NetworkSizes,
    Sizes,
    VectorSizes,
    affordable,
)
from replica.simulation.state_evolution import state_evolution
from replica.symbols import parameter_symbol
from solvers.errors import InputError
from solvers.simulate.amp import AmpRun, Denoiser, gamp, separable
from solvers.simulate.instances import (
    bilinear_instance,
    draw_outputs,
    informed_start,
    sample_count,
    symmetric_instance,
)
from solvers.simulate.rotational import rectangular_denoiser
from solvers.simulate.sensing import DenseGaussianSensing, FloatArray
from solvers.simulate.symmetric import PRECISION, symmetric_denoiser, symmetric_scale

START_OVERLAP = Fraction(1, 2)
"""Overlap, relative to the variance of the signal, of an informed start: given where the estimate 0 is a
fixed point, an even channel and a signal of mean 0."""
NOISELESS_DAMPING = 0.1


@dataclass(frozen=True)
class _Signal:
    """What a run needs to know of the signal: how it is drawn and denoised, mean and variance of an entry,
    whether S and -S are equally likely; ``unit`` is the mse of the run over that of the model, and
    ``precision`` the q_hat of the model over that of the run.
    """

    draw: Callable[[np.random.Generator], FloatArray]
    denoiser: Denoiser
    mean: Any
    variance: float
    symmetric: bool
    unit: float = 1.0
    precision: float = 1.0


def prepare(model: Any, asked: Request) -> Experiment:
    """Make a point of a ``TeacherStudent`` ready."""
    exact, start, damping = asked.exact, asked.start, asked.damping
    max_iterations, tolerance = asked.limits(200, 1e-4)
    if not isinstance(model.prior, Prior | GaussianFactors | SymmetricFactors):
        raise InputError(f"there is no message passing for the prior {model.prior!r}")
    size = asked.size(VECTOR_SIZE if isinstance(model.prior, Prior) else MATRIX_SIZE)
    sizes = _sizes(model, size, exact)
    affordable(sizes, asked.memory_budget)
    realised = {**exact, **sizes.ratios}
    signal, channel = _signal(model, sizes, realised), model.at(realised).channel
    output = message_passing.output_functions(channel)
    noise = {p.name: float(realised[p.name]) for p in channel.parameters}
    noiseless = channel.exact_share(realised) > 0
    keep = (NOISELESS_DAMPING if noiseless else 0.0) if damping is None else damping
    centred = not np.any(signal.mean)
    informed = (channel.symmetric and centred) if start is None else start == "informed"

    def one(rng: np.random.Generator) -> AmpRun:
        truth = signal.draw(rng)
        sensing = DenseGaussianSensing(sizes.samples, sizes.shape, rng, memory_budget=asked.memory_budget)
        observed = draw_outputs(sensing, truth, lambda h, r: channel.sample(h, r, **noise), rng)
        begin, variance = None, None
        if informed:
            begin, variance = informed_start(
                truth,
                float(START_OVERLAP),
                rng,
                prior_mean=signal.mean,
                prior_variance=signal.variance,
                symmetric=isinstance(sizes, NetworkSizes),
            )
        run = gamp(
            sensing,
            observed,
            lambda y, omega, v: output(y, omega, v, noise),
            signal.denoiser,
            truth=truth,
            max_iterations=max_iterations,
            tolerance=tolerance,
            damping=keep,
            start=begin,
            start_variance=variance,
            symmetric=channel.symmetric and signal.symmetric,
            prior_mean=signal.mean,
            prior_variance=signal.variance,
        )
        return _in_units(run, signal)

    share = 1 - START_OVERLAP if informed else Fraction(1)
    return Experiment(
        realised,
        sizes,
        "informed" if informed else "uninformed",
        one,
        lambda length: state_evolution(model, realised, length, float(share)),
    )


def _in_units(run: AmpRun, signal: _Signal) -> AmpRun:
    """The run in the normalisation of the model, with its final mse by the name that a solution has."""
    mse = run.mse / signal.unit
    return replace(
        run,
        estimate=run.estimate if signal.unit == 1 else run.estimate / symmetric_scale(len(run.estimate)),
        mse=mse,
        variance=run.variance / signal.unit,
        q_hat=run.q_hat * signal.precision,
        observed={"mmse": float(mse[-1])} if mse.size else {},
    )


def _sizes(model: Any, size: int, exact: Mapping[str, Fraction]) -> Sizes | NetworkSizes | VectorSizes:
    alpha = float(exact["alpha"])
    if isinstance(model.prior, Prior):
        return VectorSizes(size, sample_count(alpha, (size, 1)))
    if isinstance(model.prior, SymmetricFactors):
        width = max(1, round(exact["kappa"] * size))
        return NetworkSizes(size, width, sample_count(alpha, (size, size)))
    columns = max(1, round(exact["beta"] * size))
    rank = max(1, round(exact["rho"] * size))
    return Sizes(size, columns, rank, sample_count(alpha, (size, columns)))


def _signal(model: Any, sizes: AnySizes, params: Mapping[str, Fraction]) -> _Signal:
    if isinstance(sizes, VectorSizes):
        return _vector(model, sizes, params)
    canonical = {name: float(value) for name, value in model.canonical(dict(params)).items()}
    hilbert = message_passing.hilbert_transform(model)

    def transform(x: Any, conjugate: float) -> Any:
        return hilbert(x, conjugate, canonical)

    if isinstance(sizes, NetworkSizes):
        return _network(sizes, transform)
    assert isinstance(sizes, Sizes)
    return _Signal(
        lambda rng: bilinear_instance(sizes.d, sizes.L, sizes.r, rng),
        lambda seen, conjugate: rectangular_denoiser(seen, conjugate, transform),
        0.0,
        1.0,
        True,
    )


def _vector(model: Any, sizes: VectorSizes, params: Mapping[str, Fraction]) -> _Signal:
    prior = model.prior
    values = {p.name: params[p.name] for p in prior.parameters}
    laws = {name: float(value) for name, value in values.items()}
    posterior = message_passing.input_functions(prior)
    mean, variance = prior_moments(prior, values)
    return _Signal(
        lambda rng: prior.sample(sizes.N, rng, **laws).reshape(sizes.shape),
        separable(lambda precision, field: posterior(precision, field, laws)),
        mean,
        variance,
        prior.symmetric,
    )


def prior_moments(prior: Any, values: Mapping[str, Fraction]) -> tuple[float, float]:
    """Mean and variance of a coordinate."""
    at = {
        parameter_symbol(p): sp.Rational(values[p.name].numerator, values[p.name].denominator)
        for p in prior.parameters
    }
    mean = sp.sympify(prior.mean).subs(at)
    return float(mean), float(sp.sympify(prior.second_moment).subs(at) - mean**2)


def _network(sizes: NetworkSizes, transform: Callable[[Any, float], Any]) -> _Signal:
    """The symmetric signal sqrt(2 d) S: its fields are those of the network, and its mse per entry, the
    variance of a field, is 2 mmse (see ``solvers.simulate.symmetric``).
    """
    scale = symmetric_scale(sizes.d)
    return _Signal(
        lambda rng: scale * symmetric_instance(sizes.d, sizes.r, rng),
        lambda seen, conjugate: symmetric_denoiser(seen, conjugate, transform),
        scale * np.eye(sizes.d),
        2 * sizes.d / sizes.r,
        False,
        2.0,
        PRECISION,
    )
