"""What a simulation returns, and what each kind of it prepares."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from replica.simulation.sizes import AnySizes, NetworkSizes, Sizes, VectorSizes, whole
from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome
from solvers.simulate.ensemble import mean_and_error

Progress = Callable[[int, int], None]


class Run(Protocol):
    """One instance: how its algorithm ended, its mse after each iteration where it has one, and what it says
    at its end of the values of a solution, by their names.
    """

    @property
    def outcome(self) -> AmpOutcome: ...  # noqa: D102

    @property
    def iterations(self) -> int: ...  # noqa: D102

    @property
    def mse(self) -> np.ndarray: ...  # noqa: D102

    @property
    def observed(self) -> Mapping[str, float]: ...  # noqa: D102


@dataclass(frozen=True)
class Request:
    """What is asked of a simulation, as ``simulate`` takes it; None where nothing is said."""

    exact: Mapping[str, Fraction]
    N: int | None
    d: int | None
    start: str | None
    damping: float | None
    memory_budget: int
    max_iterations: int | None
    tolerance: float | None

    def size(self, default: int) -> int:
        """N or d, whichever is given; InputError for both, or no integer of at least 2."""
        if self.N is not None and self.d is not None:
            raise InputError("N and d are two names of the size: give one of them")
        name, size = ("N", self.N) if self.N is not None else ("d", self.d)
        if size is None:
            return default
        whole(name, size, 2)
        return int(size)

    def limits(self, iterations: int, tolerance: float) -> tuple[int, float]:
        """Iterations and tolerance, by default these."""
        return (
            iterations if self.max_iterations is None else self.max_iterations,
            tolerance if self.tolerance is None else self.tolerance,
        )

    def refuse(self, algorithm: str, *options: str) -> None:
        """InputError where one of the options, which mean nothing to the algorithm, is given."""
        for name in options:
            if getattr(self, name) is not None:
                raise InputError(f"{name} has no meaning for {algorithm}")


@dataclass(frozen=True)
class Experiment:
    """A point made ready: exact parameters at the sizes, the start, how one instance is drawn and run, the
    mse predicted after so many iterations (empty where the algorithm has no such theory).
    """

    params: Mapping[str, Fraction]
    sizes: AnySizes
    start: str
    run: Callable[[np.random.Generator], Any]
    prediction: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Simulation:
    """Runs on independent instances, and the state evolution they should follow.

    Attributes
    ----------
    params:
        Control parameters at the sizes simulated (exact).
    runs:
        One a seed; ``run.mse[t]`` is the mean square error per entry of the signal after iteration t + 1, in
        the normalisation of the model's mmse, up to a global sign where the data leave it open. A run that
        minimises a risk has no such trajectory. ``run.observed`` holds the final values, by the names that a
        solution has for them; the first is the headline.
    state_evolution:
        The mse predicted after each iteration, without damping.
    start:
        "uninformed" (from the prior mean; for a spike of mean zero from an overlap of 1/100), "informed"
        (near the signal), "global" for the one minimum of a risk, or the state of a memory.
    """

    params: Mapping[str, Fraction]
    sizes: AnySizes
    runs: tuple[Any, ...] = field(repr=False)
    state_evolution: np.ndarray = field(repr=False)
    start: str = "uninformed"

    def trajectory(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard error over seeds of the mse after each iteration; a run that ended keeps its
        last mse.
        """
        length = max(run.mse.size for run in self.runs)
        padded = np.array(
            [np.pad(run.mse, (0, length - run.mse.size), mode="edge") for run in self.runs if run.mse.size]
        )
        if not len(padded):
            return np.empty(0), np.empty(0)
        spread = (
            padded.std(axis=0, ddof=1) / np.sqrt(len(padded)) if len(padded) > 1 else np.full(length, np.nan)
        )
        return padded.mean(axis=0), spread

    @property
    def finished(self) -> tuple[Any, ...]:
        """The runs that did not diverge."""
        return tuple(run for run in self.runs if not run.outcome.diverged and run.iterations)

    @property
    def quantities(self) -> tuple[str, ...]:
        """The names of what the runs observe, the headline first."""
        return tuple(self.finished[0].observed) if self.finished else ()

    def estimate(self, quantity: str) -> tuple[float, float]:
        """Mean and standard error of a quantity over the runs that did not diverge.

        Where runs say how finely they resolve (``run.resolution``, of one run), the error is at least that of
        all together: spins that never flipped in a hundred runs have not been seen to flip in none.
        """
        found = mean_and_error([run.observed[quantity] for run in self.finished])
        finest = max(getattr(run, "resolution", 0.0) for run in self.finished) / len(self.finished)
        return found.mean, max(found.error, finest)

    @property
    def mse(self) -> tuple[float, float]:
        """Mean and standard error of the final mse over the runs that did not diverge."""
        estimate = mean_and_error([float(run.mse[-1]) for run in self.finished])
        return estimate.mean, estimate.error


def point_root(seed: int, model: Any, sizes: AnySizes, params: Mapping[str, Fraction]) -> int:
    """The root seed of one point: a child of ``seed`` keyed by the model, the sizes and the exact parameters.

    The points of one comparison then draw independent instances, and a point draws the same ones whatever
    other points there are.

    Raises
    ------
    InputError
        A seed that is not a non-negative integer.
    """
    whole("seed", seed, 0)
    values = " ".join(f"{name}={value}" for name, value in sorted(params.items()))
    words = f"{_ingredients(model, sizes)} {sizes.label.replace(' ', '')} {values}"
    key = np.frombuffer(hashlib.sha256(words.encode()).digest(), dtype="<u4")
    child = np.random.SeedSequence(int(seed), spawn_key=[int(k) for k in key])
    return int.from_bytes(child.generate_state(4, np.uint32).astype("<u4").tobytes(), "little")


def _ingredients(model: Any, sizes: AnySizes) -> str:
    if not isinstance(sizes, Sizes | NetworkSizes | VectorSizes):
        return repr(model)
    prior = f"{model.prior!r} " if isinstance(sizes, VectorSizes) else ""
    return f"{model.name} {prior}{model.channel!r}"
