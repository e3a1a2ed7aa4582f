"""Zero-temperature dynamics of networks with memories: whether a pattern stays, and how much of it.

Spins align with their fields one after another until none wants to move; a spin without a field keeps its
value. Every flip lowers H, so the dynamics ends in a local minimum.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from solvers.errors import InputError
from solvers.simulate.ensemble import Estimate, mean_and_error
from solvers.simulate.spin_sweeps import make_sweep
from solvers.simulate.spin_systems import FloatArray, SpinSystem, hopfield_spins, random_patterns
from solvers.simulate.threads import blas_threads


class QuenchOutcome(enum.Enum):
    """How a quench ended; the value is the sentence to show."""

    SETTLED = "settled: every spin is along its field, in every chain"
    SWEEP_LIMIT = "not settled: spins still moved at the limit of sweeps"
    INTERRUPTED = "interrupted: the spins are as they were then"


@dataclass(frozen=True)
class Quench:
    """The end of zero-temperature dynamics.

    Attributes:
        spins: +-1, shape (samples, N, chains).
        energy: H/N, shape (samples, chains).
        settled: chains that reached a local minimum, shape (samples, chains).
        sweeps: done.
        outcome: of all chains together.
    """

    spins: FloatArray = field(repr=False)
    energy: FloatArray = field(repr=False)
    settled: NDArray[np.bool_] = field(repr=False)
    sweeps: int
    outcome: QuenchOutcome

    def overlaps(self, configurations: FloatArray) -> FloatArray:
        """(1/N) sum_i xi_i s_i with configurations of the shape of the spins: shape (samples, chains)."""
        return (self.spins * configurations).mean(axis=1)


def quench(
    system: SpinSystem,
    start: FloatArray,
    *,
    sweeps: int = 1000,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 1,
) -> Quench:
    """Align spins with their fields in the order of the sites, until none moves.

    Args:
        system: the networks.
        start: +-1, shape (samples, N, chains).
        sweeps: limit.
        progress: called with (sweep, spins that moved).
        threads: of BLAS.

    Raises:
        InputError: a start of the wrong shape or values.
    """
    spins = np.array(start, dtype=np.float64)
    if spins.ndim != 3 or spins.shape[:2] != (system.samples, system.size) or not np.all(np.abs(spins) == 1):
        raise InputError(
            f"a start is +-1 of shape ({system.samples}, {system.size}, chains), got {spins.shape}"
        )
    if spins.shape[2] < 1 or sweeps < 1:
        raise InputError(f"chains and sweeps are at least 1, got {spins.shape[2]} and {sweeps}")
    # double precision: a tie between patterns must not be decided by rounding
    step = make_sweep(system, spins.shape[2], np.float64)
    moved = np.ones((spins.shape[0], spins.shape[2]), dtype=np.intp)
    done = 0
    outcome = QuenchOutcome.SWEEP_LIMIT
    try:
        with blas_threads(threads):
            while done < sweeps and np.any(moved):
                before = spins.copy()
                step(spins, None)
                moved = np.count_nonzero(spins != before, axis=1)
                done += 1
                if progress is not None:
                    progress(done, int(moved.sum()))
    except KeyboardInterrupt:
        outcome = QuenchOutcome.INTERRUPTED
    else:
        outcome = QuenchOutcome.SWEEP_LIMIT if np.any(moved) else QuenchOutcome.SETTLED
    return Quench(spins, system.energy(spins) / system.size, moved == 0, done, outcome)


@dataclass(frozen=True)
class Retrieval:
    """Overlap kept with a pattern after a quench that starts near it.

    Attributes:
        size: N.
        patterns: stored in each network.
        overlap: of each network, mean over the patterns tried, shape (networks,).
        final: the overlap of every quench, shape (networks, tried).
        outcome: whether all settled (the worst of the networks).
    """

    size: int
    patterns: int
    overlap: FloatArray = field(repr=False)
    final: FloatArray = field(repr=False)
    outcome: QuenchOutcome

    @property
    def load(self) -> float:
        """alpha = P/N."""
        return self.patterns / self.size

    def mean(self) -> Estimate:
        """Over networks, with its error."""
        return mean_and_error(self.overlap)


def hopfield_retrieval(
    size: int,
    patterns: int,
    rng: np.random.Generator,
    *,
    networks: int = 10,
    tried: int = 16,
    flipped: float = 0.0,
    sweeps: int = 1000,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 1,
) -> Retrieval:
    """Store random patterns in Hopfield networks and start from (corrupted) patterns.

    Args:
        size: N.
        patterns: P, alpha = P/N.
        rng: draws patterns and corruptions; the first networks do not depend on how many follow.
        networks: how many, one after another.
        tried: patterns tried per network, at most P.
        flipped: probability that a spin of the start is flipped, below 1/2.
        sweeps: limit of each quench.
        progress: called with (networks done, networks).
        threads: of BLAS.

    Returns:
        the overlaps; after a KeyboardInterrupt those of the networks that were complete, if any.

    Raises:
        InputError: arguments out of range.
    """
    if size < 2 or patterns < 1 or networks < 1 or tried < 1:
        raise InputError(
            f"sizes are at least 2, patterns, networks and trials 1: {size}, {patterns}, {networks}, {tried}"
        )
    if not 0 <= flipped < 0.5:
        raise InputError(f"the flipped fraction is in [0, 1/2), got {flipped}")
    tried = min(tried, patterns)
    finals: list[FloatArray] = []
    outcome = QuenchOutcome.SETTLED
    try:
        for index in range(networks):
            if progress is not None:
                progress(index, networks)
            xi = random_patterns(1, patterns, size, rng)
            target = np.swapaxes(xi[:, :tried], 1, 2)
            signs = np.where(rng.random(target.shape) < flipped, -1.0, 1.0)
            run = quench(hopfield_spins(xi), target * signs, sweeps=sweeps, threads=threads)
            if run.outcome is QuenchOutcome.INTERRUPTED:
                raise KeyboardInterrupt
            if run.outcome is QuenchOutcome.SWEEP_LIMIT:
                outcome = run.outcome
            finals.append(run.overlaps(target)[0])
        if progress is not None:
            progress(networks, networks)
    except KeyboardInterrupt:
        if not finals:
            raise
        outcome = QuenchOutcome.INTERRUPTED
    final = np.array(finals)
    return Retrieval(size, patterns, final.mean(axis=1), final, outcome)
