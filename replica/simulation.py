"""simulate: message passing on drawn instances of a model, beside its state evolution."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from replica.lowering.message_passing import hilbert_transform, output_functions
from replica.lowering.problem import pair_problem
from replica.parameters import validate
from solvers.backends.float64 import Float64
from solvers.errors import InputError
from solvers.problem import evaluate_batch
from solvers.simulate.amp import AmpRun, gamp
from solvers.simulate.ensemble import mean_and_error, run_seeds
from solvers.simulate.instances import bilinear_instance, draw_outputs, informed_start, sample_count
from solvers.simulate.rotational import rectangular_denoiser
from solvers.simulate.sensing import GIB, DenseGaussianSensing

Progress = Callable[[int, int], None]
START_OVERLAP = Fraction(1, 2)
"""Overlap of the start given to an even channel, for which the estimate 0 is a fixed point."""
NOISELESS_DAMPING = 0.1


@dataclass(frozen=True)
class Sizes:
    """The sizes of an instance; ``ratios`` are the control parameters that they realise exactly."""

    d: int
    L: int
    r: int
    n: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """alpha, beta and rho of these sizes."""
        return {
            "alpha": Fraction(self.n, self.d * self.L),
            "beta": Fraction(self.L, self.d),
            "rho": Fraction(self.r, self.d),
        }


@dataclass(frozen=True)
class Simulation:
    """Runs of message passing on independent instances, and the state evolution they should follow.

    Attributes
    ----------
    params:
        Control parameters at the sizes simulated (exact).
    runs:
        One ``AmpRun`` a seed; ``run.mse[t]`` is |S - S_hat|^2/(dL) after iteration t + 1.
    state_evolution:
        The mse predicted after each iteration.
    """

    params: Mapping[str, Fraction]
    sizes: Sizes
    runs: tuple[AmpRun, ...] = field(repr=False)
    state_evolution: np.ndarray = field(repr=False)

    def trajectory(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard error over seeds of the mse after each iteration; a run that ended keeps its
        last mse.
        """
        length = max(run.iterations for run in self.runs)
        padded = np.array(
            [
                np.pad(run.mse, (0, length - run.iterations), mode="edge")
                for run in self.runs
                if run.iterations
            ]
        )
        spread = (
            padded.std(axis=0, ddof=1) / np.sqrt(len(padded)) if len(padded) > 1 else np.full(length, np.nan)
        )
        return padded.mean(axis=0), spread

    @property
    def finished(self) -> tuple[AmpRun, ...]:
        """The runs that did not diverge."""
        return tuple(run for run in self.runs if not run.outcome.diverged and run.iterations)

    @property
    def mse(self) -> tuple[float, float]:
        """Mean and standard error of the final mse over the runs that did not diverge."""
        estimate = mean_and_error([float(run.mse[-1]) for run in self.finished])
        return estimate.mean, estimate.error


def simulate(
    model: Any,
    *,
    d: int = 100,
    seeds: int = 8,
    max_iterations: int = 200,
    tolerance: float = 1e-4,
    damping: float | None = None,
    seed: int = 0,
    memory_budget: int = 4 * GIB,
    progress: Progress | None = None,
    **params: Any,
) -> Simulation:
    """Run message passing (GAMP with the rotationally invariant denoiser) on instances of size d.

    Parameters
    ----------
    model:
        A model of a matrix signal.
    d:
        Dimension of a token; L = beta d, r = rho d and n = alpha d L are rounded to integers (at least 1).
    seeds:
        Independent instances; at least 2, for an error bar.
    max_iterations:
        Iterations allowed to a run.
    tolerance:
        Root mean square move of the estimate at which a run has converged.
    damping:
        Share of the old iterate kept; by default 0, and 0.1 without noise, where single runs can be unstable.
    seed:
        Root of all random numbers: the same seed draws the same instances at the same point, and independent
        ones at another (see ``point_root``).
    progress:
        Called as ``progress(done, seeds)``.
    memory_budget:
        Bytes allowed for the sensing matrix (4 n d L), the signal and its factors.
    params:
        Control parameters, as for ``solve``.

    Raises
    ------
    InputError
        Bad parameters; sizes below 2; a sensing matrix over the memory budget.
    """
    exact = validate(model.control_parameters, params)
    _whole("d", d, 2)
    _whole("seeds", seeds, 2)
    sizes = _sizes(d, exact)
    _affordable(sizes, memory_budget)
    realised = {**exact, **sizes.ratios}
    root = point_root(seed, model, sizes, realised)
    noise = {p.name: float(realised[p.name]) for p in model.channel.parameters}
    canonical = {name: float(value) for name, value in model.canonical(realised).items()}
    hilbert, output = hilbert_transform(model), output_functions(model.channel)
    noiseless = noise.get("delta") == 0
    keep = (NOISELESS_DAMPING if noiseless else 0.0) if damping is None else damping

    def channel(observed: Any, field: Any, variance: float) -> tuple[Any, Any]:
        return output(observed, field, variance, noise)

    def denoiser(seen: Any, conjugate: float) -> Any:
        return rectangular_denoiser(seen, conjugate, lambda x, q: hilbert(x, q, canonical))

    def one(rng: np.random.Generator) -> AmpRun:
        signal = bilinear_instance(sizes.d, sizes.L, sizes.r, rng)
        sensing = DenseGaussianSensing(sizes.n, (sizes.d, sizes.L), rng, memory_budget=memory_budget)
        observed = draw_outputs(sensing, signal, lambda h, r: model.channel.sample(h, r, **noise), rng)
        start, variance = (
            informed_start(signal, float(START_OVERLAP), rng) if model.channel.symmetric else (None, None)
        )
        return gamp(
            sensing,
            observed,
            channel,
            denoiser,
            truth=signal,
            max_iterations=max_iterations,
            tolerance=tolerance,
            damping=keep,
            start=start,
            start_variance=variance,
            symmetric=model.channel.symmetric,
        )

    runs = tuple(run_seeds(one, seeds, root=root, progress=progress))
    if not runs:
        raise KeyboardInterrupt("interrupted before the first instance was done")
    length = max(run.iterations for run in runs)
    initial = 1 - START_OVERLAP if model.channel.symmetric else Fraction(1)
    return Simulation(realised, sizes, runs, state_evolution(model, realised, length, float(initial)))


def point_root(seed: int, model: Any, sizes: Sizes, params: Mapping[str, Fraction]) -> int:
    """The root seed of one point: a child of ``seed`` keyed by the model, the sizes and the exact parameters.

    The points of one comparison then draw independent instances, and a point draws the same ones whatever
    other points there are.

    Raises
    ------
    InputError
        A seed that is not a non-negative integer.
    """
    _whole("seed", seed, 0)
    values = " ".join(f"{name}={value}" for name, value in sorted(params.items()))
    words = f"{model.name} {getattr(model, 'channel', '')!r} d={sizes.d} {values}"
    key = np.frombuffer(hashlib.sha256(words.encode()).digest(), dtype="<u4")
    child = np.random.SeedSequence(int(seed), spawn_key=[int(k) for k in key])
    return int.from_bytes(child.generate_state(4, np.uint32).astype("<u4").tobytes(), "little")


def state_evolution(
    model: Any, params: Mapping[str, Fraction], iterations: int, initial: float = 1.0
) -> np.ndarray:
    """The mse after each iteration of undamped message passing from a start of mse ``initial``: v ->
    signal(output(v)).
    """
    problem = pair_problem(model)
    values = {name: np.array([float(x)]) for name, x in model.canonical(dict(params)).items()}
    signal = {name: values[name] for name in problem.signal_parameters}
    output = {name: values[name] for name in problem.output_parameters}
    v, backend, trajectory = np.array([initial]), Float64(), []
    for _ in range(iterations):
        conjugate = evaluate_batch(problem.output, backend, v, output, 1e-10).value
        v = np.clip(evaluate_batch(problem.signal, backend, conjugate, signal, 1e-10).value, 1e-14, 1.0)
        trajectory.append(float(v[0]))
    return np.array(trajectory)


def _sizes(d: int, exact: Mapping[str, Fraction]) -> Sizes:
    columns = max(1, round(exact["beta"] * d))
    rank = max(1, round(exact["rho"] * d))
    return Sizes(d, columns, rank, sample_count(float(exact["alpha"]), (d, columns)))


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} must be an integer of at least {least}, got {value!r}")


def _affordable(sizes: Sizes, budget: int) -> None:
    """Refuse before anything is drawn: sensing matrix in single precision, signal with its factors."""
    entries = sizes.d * sizes.L
    needed = 4 * sizes.n * entries + 8 * (4 * entries + sizes.r * (sizes.d + sizes.L))
    if needed > budget:
        raise InputError(
            f"d = {sizes.d}, L = {sizes.L}, r = {sizes.r}, n = {sizes.n} need {needed / GIB:.3g} GiB of "
            f"memory, the budget is {budget / GIB:.3g} GiB; raise memory_budget or lower d"
        )
