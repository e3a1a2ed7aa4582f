"""Monte Carlo of a network with memories in the valley of one state, several chains side by side.

A network says its energy and how one sweep updates the spins, at a temperature or at zero; here the chains
are run and measured.  Chains share the patterns and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from solvers.errors import InputError
from solvers.simulate.spin_statistics import drift, second_half
from solvers.simulate.spin_systems import FloatArray
from solvers.simulate.threads import blas_threads

FEWEST = 64
"""Sweeps that a record needs: its drift is judged by 16 bins of a quarter."""


class Network(Protocol):
    """Spins that patterns couple; configurations are +-1 of shape (chains, N)."""

    @property
    def size(self) -> int:
        """Number of spins N."""
        ...

    def energy(self, spins: FloatArray) -> FloatArray:
        """H/N of each chain."""
        ...

    def heat_bath(self, spins: FloatArray, temperature: float, rng: np.random.Generator) -> None:
        """Update every spin once, in place, so that exp(-H/T) stays the law of the chains."""
        ...

    def align(self, spins: FloatArray) -> None:
        """Let every spin follow its field once, one after another, in place; where it has none it stays."""
        ...


@dataclass(frozen=True)
class MemoryRun:
    """The measurements of a run, after each sweep.

    Attributes:
        overlap: (1/N) sum_i x_i s_i with each reference, shape (times, chains, references).
        energy: H/N, shape (times, chains).
        same: mean overlap of two chains, shape (times,); empty for one chain.
        spins: at the end, shape (chains, N).
    """

    overlap: FloatArray = field(repr=False)
    energy: FloatArray = field(repr=False)
    same: FloatArray = field(repr=False)
    spins: FloatArray = field(repr=False)

    def overlaps(self) -> FloatArray:
        """With each reference: mean over the chains and the second half of the sweeps."""
        return second_half(self.overlap).mean(axis=(0, 1))

    def discrepancy(self) -> float:
        """The second quarter of the sweeps against the second half, in error bars: the largest of all
        overlaps and the energy.
        """
        records = [self.energy, *np.moveaxis(self.overlap, 2, 0)]
        return max(float(abs(drift(record[:, None, :, None])[0])) for record in records)


def first_spins(fields: FloatArray, temperature: float, chains: int, rng: np.random.Generator) -> FloatArray:
    """Independent spins in given fields of shape (N,): shape (chains, N); at T = 0 along them, or random."""
    draw = rng.random((chains, fields.size))
    up = draw < 0.5 * (1 + np.sign(fields)) if temperature == 0 else draw < _up(fields, temperature)
    return np.where(up, 1.0, -1.0)


def heat_bath_spins(fields: FloatArray, temperature: float, rng: np.random.Generator) -> FloatArray:
    """Spins drawn from exp(field s/T), T > 0, of the shape of the fields."""
    return np.where(rng.random(fields.shape) < _up(fields, temperature), 1.0, -1.0)


def _up(fields: FloatArray, temperature: float) -> FloatArray:
    return 0.5 * (1 + np.tanh(fields / temperature))


def run_chains(
    network: Network,
    spins: FloatArray,
    temperature: float,
    rng: np.random.Generator,
    *,
    references: FloatArray,
    sweeps: int,
    threads: int = 1,
) -> MemoryRun:
    """Run heat-bath sweeps and measure after each.

    Args:
        network: energy and updates.
        spins: where the chains start, +-1 of shape (chains, N).
        temperature: T > 0.
        rng: draws everything.
        references: what overlaps are measured with, shape (references, N).
        sweeps: at least 64.
        threads: of BLAS.

    Raises:
        InputError: arguments out of range.
    """
    state = _checked(network, spins)
    if not temperature > 0:
        raise InputError(f"a Monte Carlo run needs T > 0, got {temperature}")
    if sweeps < FEWEST:
        raise InputError(f"sweeps are at least {FEWEST}, got {sweeps}")
    chains, size = state.shape
    overlap = np.empty((sweeps, chains, len(references)))
    energy, same = np.empty((sweeps, chains)), np.empty(sweeps if chains > 1 else 0)
    with blas_threads(threads):
        for t in range(sweeps):
            network.heat_bath(state, temperature, rng)
            overlap[t] = state @ references.T / size
            energy[t] = network.energy(state)
            if chains > 1:
                # |sum_c s_c|^2 counts every pair twice, and each chain with itself
                total = float((state.sum(axis=0) ** 2).sum())
                same[t] = (total / size - chains) / (chains * (chains - 1))
    return MemoryRun(overlap, energy, same, state)


@dataclass(frozen=True)
class Settled:
    """The end of zero-temperature dynamics: spins of shape (chains, N), H/N of each chain, whether none moved
    in the last sweep, sweeps done.
    """

    spins: FloatArray = field(repr=False)
    energy: FloatArray
    settled: bool
    sweeps: int


def settle(network: Network, spins: FloatArray, *, sweeps: int = 1000, threads: int = 1) -> Settled:
    """Align spins with their fields until none moves: every flip lowers H, so this ends in a local minimum.

    Raises:
        InputError: spins of the wrong shape or values, no sweep.
    """
    state = _checked(network, spins)
    if sweeps < 1:
        raise InputError(f"sweeps are at least 1, got {sweeps}")
    moved, done = True, 0
    with blas_threads(threads):
        while moved and done < sweeps:
            before = state.copy()
            network.align(state)
            moved, done = not np.array_equal(state, before), done + 1
    return Settled(state, network.energy(state), not moved, done)


def _checked(network: Network, spins: FloatArray) -> FloatArray:
    state = np.array(spins, dtype=np.float64)
    if state.ndim != 2 or state.shape[1] != network.size or not np.all(np.abs(state) == 1):
        raise InputError(f"a start is +-1 of shape (chains, {network.size}), got {state.shape}")
    if state.shape[0] < 1:
        raise InputError("a run needs at least one chain")
    return state
