"""simulate: message passing on drawn instances of a model, beside its state evolution."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import sympy as sp

from replica.ingredients.factors import GaussianFactors
from replica.ingredients.priors import Prior
from replica.lowering.message_passing import hilbert_transform, input_functions, output_functions
from replica.lowering.problem import pair_problem
from replica.models.teacher_student import TeacherStudent
from replica.parameters import validate
from replica.symbols import PARAMETERS
from solvers.backends.float64 import Float64
from solvers.errors import InputError
from solvers.problem import evaluate_batch
from solvers.simulate.amp import AmpRun, Denoiser, gamp, separable
from solvers.simulate.ensemble import mean_and_error, run_seeds
from solvers.simulate.instances import bilinear_instance, draw_outputs, informed_start, sample_count
from solvers.simulate.rotational import rectangular_denoiser
from solvers.simulate.sensing import GIB, DenseGaussianSensing, FloatArray

Progress = Callable[[int, int], None]
START_OVERLAP = Fraction(1, 2)
"""Overlap, relative to the variance of the signal, of the start given where the estimate 0 is a fixed
point: an even channel and a signal of mean 0."""
NOISELESS_DAMPING = 0.1
MATRIX_SIZE, VECTOR_SIZE = 100, 2000
"""Sizes by default: d and N."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a matrix signal; ``ratios`` are the control parameters that they realise exactly."""

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

    @property
    def shape(self) -> tuple[int, int]:
        """Of the signal."""
        return self.d, self.L

    @property
    def samples(self) -> int:
        """How many outputs."""
        return self.n

    @property
    def label(self) -> str:
        """The size that the others follow from."""
        return f"d = {self.d}"

    @property
    def bytes(self) -> int:
        """Sensing matrix in single precision, signal with its factors."""
        entries = self.d * self.L
        return 4 * self.n * entries + 8 * (4 * entries + self.r * (self.d + self.L))


@dataclass(frozen=True)
class VectorSizes:
    """The sizes of a vector signal: N coordinates, M outputs."""

    N: int
    M: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """Alpha of these sizes."""
        return {"alpha": Fraction(self.M, self.N)}

    @property
    def shape(self) -> tuple[int, int]:
        """Of the signal: a column."""
        return self.N, 1

    @property
    def samples(self) -> int:
        """How many outputs."""
        return self.M

    @property
    def label(self) -> str:
        """The size that the other follows from."""
        return f"N = {self.N}"

    @property
    def bytes(self) -> int:
        """Sensing matrix in single precision, a few vectors."""
        return 4 * self.M * self.N + 64 * (self.M + self.N)


AnySizes: TypeAlias = Sizes | VectorSizes


@dataclass(frozen=True)
class _Signal:
    """What a run needs to know of the signal: how it is drawn and denoised, mean and variance of an entry,
    whether S and -S are equally likely.
    """

    draw: Callable[[np.random.Generator], FloatArray]
    denoiser: Denoiser
    mean: float
    variance: float
    symmetric: bool


@dataclass(frozen=True)
class Simulation:
    """Runs of message passing on independent instances, and the state evolution they should follow.

    Attributes
    ----------
    params:
        Control parameters at the sizes simulated (exact).
    runs:
        One ``AmpRun`` a seed; ``run.mse[t]`` is |S - S_hat|^2 per entry of the signal after iteration t + 1,
        up to a global sign where the outputs leave it open.
    state_evolution:
        The mse predicted after each iteration, without damping.
    start:
        "uninformed" (from the prior mean) or "informed" (from an overlap of 1/2 with the signal).
    """

    params: Mapping[str, Fraction]
    sizes: AnySizes
    runs: tuple[AmpRun, ...] = field(repr=False)
    state_evolution: np.ndarray = field(repr=False)
    start: str = "uninformed"

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
    N: int | None = None,
    d: int | None = None,
    seeds: int = 8,
    max_iterations: int = 200,
    tolerance: float = 1e-4,
    damping: float | None = None,
    seed: int = 0,
    memory_budget: int = 4 * GIB,
    progress: Progress | None = None,
    **params: Any,
) -> Simulation:
    """Run message passing (GAMP, with the denoiser of the model's prior) on instances of a given size.

    Parameters
    ----------
    model:
        A ``TeacherStudent``: a vector signal with a separable prior, or a matrix signal (bilinear sequence
        regression).
    N, d:
        The size, under either name. A vector has N coordinates (2000 by default) and M = alpha N outputs; a
        matrix d rows (100 by default), L = beta d columns, r = rho d and n = alpha d L. All are rounded to
        integers (at least 1).
    seeds:
        Independent instances; at least 2, for an error bar.
    max_iterations:
        Iterations allowed to a run.
    tolerance:
        Root mean square move of the estimate, over the standard deviation of the signal, at which a run has
        converged.
    damping:
        Share of the old iterate kept; by default 0, and 0.1 where outputs determine their field, where single
        runs can be unstable.
    seed:
        Root of all random numbers: the same seed draws the same instances at the same point, and independent
        ones at another (see ``point_root``).
    progress:
        Called as ``progress(done, seeds)``.
    memory_budget:
        Bytes allowed for the sensing matrix (4 for each entry) and the signal.
    params:
        Control parameters, as for ``solve``.

    Raises
    ------
    InputError
        Bad parameters; sizes below 2; a sensing matrix over the memory budget; a model that has no message
        passing.
    """
    size = _size(model, N, d)
    exact = validate(model.control_parameters, params)
    _whole("seeds", seeds, 2)
    sizes = _sizes(model, size, exact)
    _affordable(sizes, memory_budget)
    realised = {**exact, **sizes.ratios}
    root = point_root(seed, model, sizes, realised)
    signal, channel = _signal(model, sizes, realised), model.at(realised).channel
    output = output_functions(channel)
    noise = {p.name: float(realised[p.name]) for p in channel.parameters}
    noiseless = channel.exact_share(realised) > 0
    keep = (NOISELESS_DAMPING if noiseless else 0.0) if damping is None else damping
    informed = channel.symmetric and signal.mean == 0

    def one(rng: np.random.Generator) -> AmpRun:
        truth = signal.draw(rng)
        sensing = DenseGaussianSensing(sizes.samples, sizes.shape, rng, memory_budget=memory_budget)
        observed = draw_outputs(sensing, truth, lambda h, r: channel.sample(h, r, **noise), rng)
        start, variance = None, None
        if informed:
            start, variance = informed_start(truth, float(START_OVERLAP), rng, prior_variance=signal.variance)
        return gamp(
            sensing,
            observed,
            lambda y, omega, v: output(y, omega, v, noise),
            signal.denoiser,
            truth=truth,
            max_iterations=max_iterations,
            tolerance=tolerance,
            damping=keep,
            start=start,
            start_variance=variance,
            symmetric=channel.symmetric and signal.symmetric,
            prior_mean=signal.mean,
            prior_variance=signal.variance,
        )

    runs = tuple(run_seeds(one, seeds, root=root, progress=progress))
    if not runs:
        raise KeyboardInterrupt("interrupted before the first instance was done")
    length = max(run.iterations for run in runs)
    share = 1 - START_OVERLAP if informed else Fraction(1)
    prediction = state_evolution(model, realised, length, float(share))
    return Simulation(realised, sizes, runs, prediction, "informed" if informed else "uninformed")


def point_root(seed: int, model: Any, sizes: AnySizes, params: Mapping[str, Fraction]) -> int:
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
    prior = f"{model.prior!r} " if isinstance(sizes, VectorSizes) else ""
    words = f"{model.name} {prior}{model.channel!r} {sizes.label.replace(' ', '')} {values}"
    key = np.frombuffer(hashlib.sha256(words.encode()).digest(), dtype="<u4")
    child = np.random.SeedSequence(int(seed), spawn_key=[int(k) for k in key])
    return int.from_bytes(child.generate_state(4, np.uint32).astype("<u4").tobytes(), "little")


def state_evolution(
    model: Any, params: Mapping[str, Fraction], iterations: int, initial: float = 1.0
) -> np.ndarray:
    """The mse after each iteration of undamped message passing: v -> signal(output(v)), from ``initial``
    times the variance of the signal.
    """
    model = model.at(params)
    problem = pair_problem(model)
    values = {name: np.array([float(x)]) for name, x in model.canonical(dict(params)).items()}
    signal = {name: values[name] for name in problem.signal_parameters}
    output = {name: values[name] for name in problem.output_parameters}
    backend, trajectory = Float64(), []
    prior_error = problem.error_at_zero(backend, {name: float(v[0]) for name, v in signal.items()}, 1e-10)
    v = np.array([initial * float(prior_error)])
    while len(trajectory) < iterations:
        conjugate = evaluate_batch(problem.output, backend, v, output, 1e-10).value
        after = np.clip(
            evaluate_batch(problem.signal, backend, conjugate, signal, 1e-10).value, 1e-14, prior_error
        )
        # at the fixed point the rest repeats
        repeats = abs(float(after[0] - v[0])) <= 1e-12 * float(after[0])
        trajectory += [float(after[0])] * (iterations - len(trajectory) if repeats else 1)
        v = after
    return np.array(trajectory)


def _size(model: Any, N: int | None, d: int | None) -> int:
    """The size asked for, under either name."""
    if not (isinstance(model, TeacherStudent) and isinstance(model.prior, Prior | GaussianFactors)):
        raise InputError(f"there is no message passing for the model {getattr(model, 'name', model)!r}")
    if N is not None and d is not None:
        raise InputError("N and d are two names of the size: give one of them")
    name, size = ("N", N) if N is not None else ("d", d)
    if size is None:
        return VECTOR_SIZE if isinstance(model.prior, Prior) else MATRIX_SIZE
    _whole(name, size, 2)
    return int(size)


def _sizes(model: Any, size: int, exact: Mapping[str, Fraction]) -> AnySizes:
    if isinstance(model.prior, Prior):
        return VectorSizes(size, sample_count(float(exact["alpha"]), (size, 1)))
    columns = max(1, round(exact["beta"] * size))
    rank = max(1, round(exact["rho"] * size))
    return Sizes(size, columns, rank, sample_count(float(exact["alpha"]), (size, columns)))


def _signal(model: Any, sizes: AnySizes, params: Mapping[str, Fraction]) -> _Signal:
    values = {p.name: params[p.name] for p in model.prior.parameters}
    if isinstance(sizes, VectorSizes):
        prior, laws = model.prior, {name: float(value) for name, value in values.items()}
        posterior = input_functions(prior)
        at = {PARAMETERS[name]: sp.Rational(v.numerator, v.denominator) for name, v in values.items()}
        mean = sp.sympify(prior.mean).subs(at)
        return _Signal(
            lambda rng: prior.sample(sizes.N, rng, **laws).reshape(sizes.shape),
            separable(lambda precision, field: posterior(precision, field, laws)),
            float(mean),
            float(sp.sympify(prior.second_moment).subs(at) - mean**2),
            prior.symmetric,
        )
    canonical = {name: float(value) for name, value in model.canonical(dict(params)).items()}
    hilbert = hilbert_transform(model)

    def transform(x: Any, conjugate: float) -> Any:
        return hilbert(x, conjugate, canonical)

    return _Signal(
        lambda rng: bilinear_instance(sizes.d, sizes.L, sizes.r, rng),
        lambda seen, conjugate: rectangular_denoiser(seen, conjugate, transform),
        0.0,
        1.0,
        True,
    )


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} must be an integer of at least {least}, got {value!r}")


def _affordable(sizes: AnySizes, budget: int) -> None:
    """Refuse before anything is drawn."""
    if sizes.bytes > budget:
        named = ", ".join(f"{name} = {value}" for name, value in asdict(sizes).items())
        raise InputError(
            f"{named} need {sizes.bytes / GIB:.3g} GiB of memory, the budget is {budget / GIB:.3g} GiB; "
            f"raise memory_budget or lower {next(iter(asdict(sizes)))}"
        )
