"""Ising spins with dense random couplings, many disorder samples at once.

    H(s) = - sum_p sum_{i1 < ... < ip} J_{i1...ip} s_i1 ... s_ip - h sum_i s_i

Gaussian couplings of order p and weight c_p have variance c_p p! / N^(p-1), so that E[H_a H_b] = N xi(q_ab)
with xi(q) = sum_p c_p q^p, up to the coincident indices that H leaves out: exactly, N xi_N(q) below. SK is
c_2 = 1/2 (J_ij of variance 1/N), the Ising p-spin c_p = 1/2 (E. Gardner, Nucl. Phys. B 257, 747 (1985)).
Hopfield networks have J_ij = (1/N) sum_mu xi^mu_i xi^mu_j.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, permutations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from solvers.errors import InputError

FloatArray: TypeAlias = NDArray[np.floating]

HIGHEST_ORDER = 4
"""A dense tensor of order p has N^p entries; beyond four there is no size left to simulate."""


@dataclass(frozen=True)
class SpinSystem:
    """Disorder samples of one size.

    Attributes:
        couplings: order p -> symmetric array of shape (samples, N, ..., N), zero where two indices coincide.
            Every p-subset of spins is counted once in H.
        field: the uniform field h.
        weights: order p -> c_p if the couplings are Gaussian with E[H_a H_b] = N xi(q); None otherwise. It is
            what the equilibration check by energies and overlaps needs.
    """

    couplings: Mapping[int, FloatArray] = field(repr=False)
    field: float = 0.0
    weights: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if not self.couplings:
            raise InputError("a spin system needs couplings of at least one order")
        if not math.isfinite(self.field):
            raise InputError(f"the field is a finite number, got {self.field}")
        shapes = set()
        for order, J in self.couplings.items():
            if order not in range(1, HIGHEST_ORDER + 1):
                raise InputError(f"couplings have order 1 to {HIGHEST_ORDER}, got {order}")
            if J.ndim != order + 1 or len(set(J.shape[1:])) != 1:
                raise InputError(f"couplings of order {order} have shape (samples,) + {order} times N")
            if not np.all(np.isfinite(J)):
                raise InputError(f"a coupling of order {order} is not finite")
            shapes.add(J.shape[:2])
        if len(shapes) != 1:
            raise InputError(f"couplings of different orders disagree on (samples, N): {sorted(shapes)}")
        if min(shapes.pop()) < 1:
            raise InputError("a spin system has at least one sample and one spin")

    @property
    def samples(self) -> int:
        """Number of disorder samples."""
        return next(iter(self.couplings.values())).shape[0]

    @property
    def size(self) -> int:
        """Number of spins N."""
        return next(iter(self.couplings.values())).shape[1]

    def energy(self, spins: FloatArray) -> FloatArray:
        """H of configurations of shape (samples, N, chains): shape (samples, chains), in double precision."""
        S = np.asarray(spins, dtype=np.float64)
        total = -self.field * S.sum(axis=1)
        for order, J in self.couplings.items():
            total = total - (S * _contract(np.asarray(J, dtype=np.float64), S)).sum(1) / math.factorial(order)
        return total

    def force(self, spins: FloatArray) -> FloatArray:
        """-dH/ds_i at real-valued configurations of shape (samples, N, chains), of the same shape."""
        S = np.asarray(spins, dtype=np.float64)
        total = np.full_like(S, self.field)
        for order, J in self.couplings.items():
            total += _contract(np.asarray(J, dtype=np.float64), S) / math.factorial(order - 1)
        return total


def _contract(J: FloatArray, S: FloatArray) -> FloatArray:
    """sum over all but the first site index of J s ... s: (samples, N, chains)."""
    samples, N, chains = S.shape
    order = J.ndim - 1
    if order == 1:
        return np.broadcast_to(J[:, :, None], S.shape)
    # the last index is a matrix product, the others are summed with the chains side by side
    partial = np.matmul(J.reshape(samples, -1, N), S).reshape(*J.shape[:-1], chains)
    while partial.ndim > 3:
        partial = (partial * S.reshape(samples, *(1,) * (partial.ndim - 3), N, chains)).sum(axis=-2)
    return partial


def gaussian_spins(
    size: int,
    weights: Mapping[int, float],
    rng: np.random.Generator,
    *,
    samples: int = 1,
    field: float = 0.0,
) -> SpinSystem:
    """Mixed p-spin systems, xi(q) = sum_p c_p q^p; the first samples do not depend on how many are drawn.

    Args:
        size: N, at least the highest order.
        weights: order p -> c_p > 0.
        rng: draws the couplings.
        samples: how many.
        field: h.

    Raises:
        InputError: sizes or weights out of range.
    """
    if not weights or any(p not in range(1, HIGHEST_ORDER + 1) for p in weights):
        raise InputError(f"weights map an order from 1 to {HIGHEST_ORDER} to c_p, got {dict(weights)}")
    if any(not (math.isfinite(c) and c > 0) for c in weights.values()):
        raise InputError(f"the weights c_p are positive, got {dict(weights)}")
    if size < max(weights) or samples < 1:
        raise InputError(f"at least {max(weights)} spins and one sample, got {size} and {samples}")
    couplings = {p: np.zeros((samples, *(size,) * p)) for p in sorted(weights)}
    subsets = {p: _subsets(size, p) for p in couplings}
    for sample in range(samples):
        for p, J in couplings.items():
            deviation = math.sqrt(weights[p] * math.factorial(p) / size ** (p - 1))
            values = deviation * rng.standard_normal(subsets[p].shape[1])
            for order in permutations(range(p)):
                J[(sample, *subsets[p][list(order)])] = values
    return SpinSystem(couplings, field, {p: float(weights[p]) for p in couplings})


def sk_spins(size: int, rng: np.random.Generator, *, samples: int = 1, field: float = 0.0) -> SpinSystem:
    """Sherrington-Kirkpatrick systems, J_ij ~ N(0, 1/N)."""
    return gaussian_spins(size, {2: 0.5}, rng, samples=samples, field=field)


def _subsets(size: int, order: int) -> NDArray[np.intp]:
    """All i1 < ... < ip as an array of shape (p, number)."""
    if order == 2:
        return np.array(np.triu_indices(size, 1))
    return np.array(list(combinations(range(size), order)), dtype=np.intp).T


def random_patterns(networks: int, count: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Patterns of independent fair +-1: shape (networks, count, size)."""
    if min(networks, count, size) < 1:
        raise InputError(f"networks, patterns and spins are at least 1, got {networks}, {count}, {size}")
    return 2.0 * rng.integers(0, 2, (networks, count, size)) - 1.0


def hopfield_spins(patterns: FloatArray, *, field: float = 0.0) -> SpinSystem:
    """Hopfield networks storing patterns of shape (networks, count, N) of +-1, J_ii = 0."""
    if patterns.ndim != 3 or not np.all(np.abs(patterns) == 1):
        raise InputError("patterns are +-1 of shape (networks, count, N)")
    N = patterns.shape[2]
    J = np.matmul(np.swapaxes(patterns, 1, 2), patterns) / N
    J[:, np.arange(N), np.arange(N)] = 0.0
    return SpinSystem({2: J}, field)


def elementary_symmetric(order: int, size: int, q: FloatArray) -> FloatArray:
    """sum over i1 < ... < ip of the product of N signs with mean q, over its value at q = 1.

    From (p+1) e_{p+1} = M e_p - (N - p + 1) e_{p-1} with M = N q (Krawtchouk polynomials). As N grows it
    tends to q^p.
    """
    M = size * np.asarray(q, dtype=np.float64)
    before, now = np.zeros_like(M), np.ones_like(M)
    for p in range(order):
        before, now = now, (M * now - (size - p + 1) * before) / (p + 1)
    return now / math.comb(size, order)


def overlap_covariance(weights: Mapping[int, float], size: int, q: FloatArray) -> FloatArray:
    """xi_N(q) = E[H_a H_b] / N at finite N: sum_p c_p (p!/N^p) e_p, which tends to sum_p c_p q^p."""
    return np.sum(
        [
            c * math.perm(size, p) / size**p * elementary_symmetric(p, size, q)
            for p, c in sorted(weights.items())
        ],
        axis=0,
    )
