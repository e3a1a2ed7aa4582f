"""One sweep of single-spin updates over many chains, in the order of the sites.

Both rules are one comparison of the local field h_i with a random threshold, so the sweep does not know them:

    heat bath (Glauber):  s_i' = sign(h_i + L / (2 beta)),     L logistic
    Metropolis:           s_i' = sign(h_i - s_i E / (2 beta)), E exponential

The first is P(s_i' = 1) = 1 / (1 + e^(-2 beta h_i)); the second flips when 2 s_i h_i < E / beta, which has
probability min(1, e^(-2 beta s_i h_i)). With no threshold the sweep is zero-temperature dynamics, and a spin
without a field keeps its value. Each update keeps the Boltzmann law, so the sweep does.

Pair couplings run in blocks of sites: one matrix product gives the fields that the other spins exert on a
block, and inside it a spin needs one product of a short row with the block, over all chains at once. This
is what makes numpy fast enough; the additions are those of the plain algorithm.
"""

from __future__ import annotations

import enum
import math
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from solvers.simulate.spin_systems import FloatArray, SpinSystem

SpinArray: TypeAlias = NDArray[np.floating]
"""+-1 as floats, shape (samples, N, chains), so that fields are matrix products."""

BLOCK = 32
"""Sites per block: 32 to 128 take the same time within a tenth at N = 1000 and 4000; 32 is best at 256."""
TIE = 1e-9
"""Coupling of a spin to itself in zero-temperature dynamics, in units of the largest coupling: it decides
where the field is 0, and is far above the rounding of a field."""


class Rule(enum.Enum):
    """How a spin is updated.

    Glauber mixes at any temperature. Metropolis moves more at low temperature; at high temperature it flips
    nearly every spin in every sweep, and overlaps then forget slowly.
    """

    GLAUBER = "glauber"
    METROPOLIS = "metropolis"


class Sweep(Protocol):
    """Updates the spins in place."""

    def __call__(self, spins: SpinArray, noise: FloatArray | None, /) -> FloatArray:
        """One sweep with thresholds (`noise`) of the shape of the spins, or none at zero temperature.

        Returns:
            the field (couplings and external) that each spin saw at its update, of the same shape.
        """
        ...


def thresholds(
    spins: SpinArray, temperatures: FloatArray, rule: Rule, rng: np.random.Generator
) -> FloatArray:
    """The random part of one sweep; temperatures of shape (samples, chains), all positive."""
    scale = (0.5 * temperatures[:, None, :]).astype(spins.dtype)
    if rule is Rule.METROPOLIS:
        noise = rng.standard_exponential(spins.shape, dtype=spins.dtype)
        noise *= spins
        return np.multiply(noise, -scale, out=noise)
    noise = rng.random(spins.shape, dtype=spins.dtype)
    # random() may return 0; a logarithm of 0 would reach the fields of a block as 0 * infinity
    np.clip(noise, 2.0**-25, 1 - 2.0**-24, out=noise)
    np.divide(noise, 1 - noise, out=noise)
    np.log(noise, out=noise)
    return np.multiply(noise, scale, out=noise)


def make_sweep(system: SpinSystem, chains: int, dtype: type[np.floating] = np.float32) -> Sweep:
    """The sweep for a system: blocked for pair couplings, site by site with tensors."""
    higher = any(order > 2 for order in system.couplings)
    return _tensor_sweep(system, dtype) if higher else _pair_sweep(system, chains, dtype)


def _site_fields(system: SpinSystem, dtype: type[np.floating]) -> FloatArray:
    """Fields that do not depend on the spins: (samples, N, 1)."""
    sites = np.full((system.samples, system.size, 1), system.field)
    if 1 in system.couplings:
        sites = sites + system.couplings[1][:, :, None]
    return sites.astype(dtype)


def _pair_sweep(system: SpinSystem, chains: int, dtype: type[np.floating]) -> Sweep:
    samples, N = system.samples, system.size
    J = system.couplings.get(2)
    outside = np.zeros((samples, N, N), dtype) if J is None else J.astype(dtype)
    tie = TIE * float(np.max(np.abs(outside), initial=0.0)) or TIE
    sites = _site_fields(system, dtype)
    one = np.ones((samples, 1, chains), dtype)
    seen = np.empty((samples, N, chains), dtype)
    blocks = []
    for a in range(0, N, BLOCK):
        e = min(a + BLOCK, N)
        k = e - a
        # row i of [J inside | identity] times [spins of the block ; their fields from outside] is h_i
        rows = np.zeros((samples, k, 2 * k), dtype)
        rows[:, :, :k] = outside[:, a:e, a:e]
        rows[:, np.arange(k), np.arange(k)] = tie
        rows[:, np.arange(k), k + np.arange(k)] = 1
        outside[:, a:e, a:e] = 0
        work = np.empty((samples, 2 * k, chains), dtype)
        steps = [(rows[:, i : i + 1], seen[:, a + i : a + i + 1], work[:, i : i + 1]) for i in range(k)]
        blocks.append((slice(a, e), k, work, steps))

    def sweep(spins: SpinArray, noise: FloatArray | None) -> FloatArray:
        drive = sites if noise is None else noise + sites
        matmul, copysign = np.matmul, np.copysign
        for span, k, work, steps in blocks:
            work[:, :k] = spins[:, span]
            if len(blocks) > 1:
                matmul(outside[:, span], spins, out=work[:, k:])
                work[:, k:] += drive[:, span]
            else:
                work[:, k:] = drive
            for row, field, spin in steps:
                matmul(row, work, out=field)
                copysign(one, field, out=spin)
            spins[:, span] = work[:, :k]
        return seen if noise is None else seen - noise

    return sweep


def _tensor_sweep(system: SpinSystem, dtype: type[np.floating]) -> Sweep:
    samples, N = system.samples, system.size
    sites = _site_fields(system, dtype)
    tensors = [
        # field of site i: 1/(p-1)! times the sum over the other p-1 indices, the last as a matrix product
        (J / math.factorial(p - 1)).astype(dtype).reshape(samples, N, -1, N)
        for p, J in system.couplings.items()
        if p > 1
    ]
    orders = [p for p in system.couplings if p > 1]
    tie = TIE * max(float(np.max(np.abs(J), initial=0.0)) for J in tensors)

    def field(site: int, spins: SpinArray) -> FloatArray:
        total = np.broadcast_to(sites[:, site], (samples, spins.shape[2])) + tie * spins[:, site]
        for p, J in zip(orders, tensors, strict=True):
            partial = np.matmul(J[:, site], spins)
            for left in range(p - 2, 0, -1):
                partial = partial.reshape(samples, N ** (left - 1), N, -1)
                partial = (partial * spins[:, None]).sum(axis=2)
            total += partial[:, 0]
        return total

    def sweep(spins: SpinArray, noise: FloatArray | None) -> FloatArray:
        seen = np.empty_like(spins)
        for i in range(N):
            seen[:, i] = field(i, spins)
            drive = seen[:, i] if noise is None else seen[:, i] + noise[:, i]
            np.copysign(1, drive, out=spins[:, i])
        return seen

    return sweep
