"""Exact thermodynamics of at most 20 Ising spins, for every disorder sample.

Configuration number c has s_i = 1 - 2 (bit i of c). H is then the Walsh-Hadamard transform of its couplings,
each placed at the bits of its spins, so all 2^N energies cost N 2^N additions; the transform of the Boltzmann
weights gives every correlation, and that of its square the law of s XOR s', that is P(q).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from solvers.errors import InputError
from solvers.simulate.ensemble import Estimate, mean_and_error
from solvers.simulate.spin_systems import FloatArray, SpinSystem

LARGEST_SIZE = 20
"""2^20 energies are 8 MiB a sample."""


@dataclass(frozen=True)
class Enumeration:
    """Exact thermal averages of each sample, arrays of shape (samples, K) unless said otherwise.

    Attributes:
        temperatures: K of them.
        size: N.
        free_entropy: log Z / N.
        energy: <H> / N.
        magnetisation: <sum s> / N.
        ground_state: min H / N, shape (samples,).
        overlap: P(q) of two replicas, a probability for each of the N + 1 values of `overlap_values`, shape
            (samples, K, N + 1); last axis empty if it was not asked for.
        complete: whether all samples were done; an interruption keeps those that were.
    """

    temperatures: FloatArray
    size: int
    free_entropy: FloatArray = field(repr=False)
    energy: FloatArray = field(repr=False)
    magnetisation: FloatArray = field(repr=False)
    ground_state: FloatArray = field(repr=False)
    overlap: FloatArray = field(repr=False)
    complete: bool

    @property
    def overlap_values(self) -> FloatArray:
        """-1, -1 + 2/N, ..., 1."""
        return np.linspace(-1.0, 1.0, self.size + 1)

    def overlap_moment(self, power: int) -> FloatArray:
        """<q^power> of each sample."""
        if self.overlap.shape[2] == 0:
            raise InputError("overlaps were not asked for")
        return self.overlap @ self.overlap_values**power

    def quenched_free_entropy(self) -> list[Estimate]:
        """E log Z / N at each temperature, with its error over the samples.

        Raises:
            InputError: one sample only.
        """
        return [mean_and_error(column) for column in self.free_entropy.T]


def walsh_hadamard(values: FloatArray) -> FloatArray:
    """The transform sum_x (-1)^(popcount(x & y)) v[x] along the last axis, of length 2^N; unnormalised.

    >>> walsh_hadamard(np.array([1.0, 2.0, 0.0, 0.0]))
    array([ 3., -1.,  3., -1.])
    """
    out = np.array(values, dtype=np.float64)
    length = out.shape[-1]
    step = 1
    while step < length:
        pairs = out.reshape(*out.shape[:-1], -1, 2, step)
        pairs[..., 0, :], pairs[..., 1, :] = (
            pairs[..., 0, :] + pairs[..., 1, :],
            pairs[..., 0, :] - pairs[..., 1, :],
        )
        step *= 2
    return out


def all_energies(system: SpinSystem, sample: int) -> FloatArray:
    """H of the 2^N configurations of one sample.

    Raises:
        InputError: more than 20 spins, or no such sample.
    """
    N = system.size
    if N > LARGEST_SIZE:
        raise InputError(f"enumeration reaches {LARGEST_SIZE} spins, got {N}")
    if not 0 <= sample < system.samples:
        raise InputError(f"samples are numbered from 0 to {system.samples - 1}, got {sample}")
    spectrum = np.zeros(2**N)
    spectrum[1 << np.arange(N)] = -system.field
    for order, J in system.couplings.items():
        subsets = np.array(list(combinations(range(N), order)), dtype=np.intp).reshape(-1, order)
        # every order has its own masks, but order 1 adds to the field
        spectrum[(1 << subsets).sum(axis=1)] -= J[(sample, *subsets.T)]
    return walsh_hadamard(spectrum)


def enumerate_spins(
    system: SpinSystem,
    temperatures: FloatArray,
    *,
    overlaps: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Enumeration:
    """Exact averages of every sample at every temperature.

    Args:
        system: at most 20 spins.
        temperatures: positive, in any order, shape (K,).
        overlaps: whether P(q) is wanted, which takes two more transforms per temperature.
        progress: called with (samples done, samples).

    Raises:
        InputError: sizes or temperatures out of range.
    """
    T = np.array(temperatures, dtype=np.float64).reshape(-1)
    if T.size == 0 or not np.all(np.isfinite(T)) or np.any(T <= 0):
        raise InputError("temperatures are positive and finite; at T = 0 use the ground states")
    N, D, K = system.size, system.samples, T.size
    if N > LARGEST_SIZE:
        raise InputError(f"enumeration reaches {LARGEST_SIZE} spins, got {N}")
    free, energy, magnetisation = np.empty((D, K)), np.empty((D, K)), np.empty((D, K))
    ground = np.empty(D)
    overlap = np.empty((D, K, N + 1 if overlaps else 0))
    ups = np.bitwise_count(np.arange(2**N, dtype=np.uint32)).astype(np.intp)
    moment = (N - 2 * ups) / N
    done = 0
    try:
        for d in range(D):
            if progress is not None:
                progress(d, D)
            H = all_energies(system, d)
            ground[d] = H.min() / N
            for k in range(K):
                weight = np.exp(-(H - H.min()) / T[k])
                Z = weight.sum()
                weight /= Z
                free[d, k] = (math.log(Z) - H.min() / T[k]) / N
                energy[d, k] = H @ weight / N
                magnetisation[d, k] = moment @ weight
                if overlaps:
                    difference = walsh_hadamard(walsh_hadamard(weight) ** 2) / 2**N
                    # ups counts the differing spins: N differing ones are q = -1
                    overlap[d, k] = np.bincount(ups, weights=difference, minlength=N + 1)[::-1]
            done = d + 1
        if progress is not None:
            progress(D, D)
    except KeyboardInterrupt:
        if done == 0:
            raise
    return Enumeration(
        temperatures=T,
        size=N,
        free_entropy=free[:done],
        energy=energy[:done],
        magnetisation=magnetisation[:done],
        ground_state=ground[:done],
        overlap=overlap[:done],
        complete=done == D,
    )
