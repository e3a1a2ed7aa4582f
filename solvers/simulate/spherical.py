"""Monte Carlo of spherical spins, sum_i x_i^2 = N, with the couplings of `spin_systems`.

Hybrid Monte Carlo along geodesics: a tangent velocity v of temperature T is drawn, the motion of energy
H(x) + |v|^2/2 on the sphere is followed by a leapfrog that rotates (x, v) exactly and kicks v by the tangent
force, and its end is accepted with probability min(1, exp(-change of energy / T)). The leapfrog is reversible
and keeps volume, so exp(-H/T) is kept exactly, whatever the step. Source: S. Byrne, M. Girolami, Scand. J.
Statist. 40, 825 (2013). Reliable where the dynamics equilibrates: above the dynamical temperature.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from solvers.errors import InputError
from solvers.simulate.spin_statistics import Curve, Equilibration, curve, drift
from solvers.simulate.spin_systems import FloatArray, SpinSystem
from solvers.simulate.spins import LARGEST_RECORD, checked_temperatures
from solvers.simulate.threads import blas_threads


@dataclass(frozen=True)
class SphericalRun:
    """The measurements of a run; the whole record, of which averages use the second half.

    Attributes:
        temperatures: increasing, K of them.
        size: N.
        energy: H/N, shape (times, samples, replicas, K).
        magnetisation: mean of x, the same shape.
        overlap: of each pair of real replicas, shape (times, samples, pairs, K).
        acceptance: share of the motions accepted, per temperature.
        interrupted: whether it was stopped before its end.
    """

    temperatures: FloatArray
    size: int
    energy: FloatArray = field(repr=False)
    magnetisation: FloatArray = field(repr=False)
    overlap: FloatArray = field(repr=False)
    acceptance: FloatArray = field(repr=False)
    interrupted: bool

    def energies(self) -> Curve:
        """E<H>/N."""
        return curve(self.energy)

    def magnetisations(self) -> Curve:
        """E<m>."""
        return curve(self.magnetisation)

    def overlap_moments(self, power: int = 2) -> Curve:
        """E<q^power>.

        Raises:
            InputError: one replica only.
        """
        if self.overlap.shape[2] == 0:
            raise InputError("an overlap needs at least two replicas")
        return curve(self.overlap**power)

    def equilibration(self) -> Equilibration:
        """Whether the run looks equilibrated: second quarter of the times against the second half."""
        pairs = self.overlap.shape[2] > 0
        return Equilibration(
            drift(self.energy), drift(self.overlap**2) if pairs else np.zeros(0), np.zeros(0)
        )


def simulate_spherical(
    system: SpinSystem,
    temperatures: FloatArray,
    rng: np.random.Generator,
    *,
    motions: int,
    replicas: int = 2,
    leaps: int = 10,
    step: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 1,
) -> SphericalRun:
    """Simulate every sample at every temperature, from a uniform start; measured after every motion.

    Args:
        system: the disorder samples, at least two spins.
        temperatures: increasing, positive, shape (K,).
        rng: draws everything.
        motions: at least 1.
        replicas: real replicas at each temperature.
        leaps: leapfrog steps per motion.
        step: of the leapfrog, in units where H and the kinetic energy are as above; N^(-1/4) / 2 if None,
            which keeps the acceptance as N grows.
        progress: called with (motions done, motions), about a hundred times.
        threads: of BLAS.

    Returns:
        the measurements. A KeyboardInterrupt ends the run and keeps the measurements made, if any.

    Raises:
        InputError: arguments out of range.
    """
    T = checked_temperatures(temperatures)
    D, N, K = system.samples, system.size, len(T)
    if N < 2 or motions < 1 or replicas < 1 or leaps < 1:
        raise InputError("a sphere has at least 2 dimensions; motions, replicas and leaps are at least 1")
    if step is not None and not 0 < step < math.inf:
        raise InputError(f"the step is positive, got {step}")
    length = step if step is not None else 0.5 * N**-0.25
    pairs = list(combinations(range(replicas), 2))
    needed = motions * D * (2 * replicas + len(pairs)) * K * 8
    if needed > LARGEST_RECORD:
        raise InputError(f"the record would take {needed / 2**30:.0f} GiB: run fewer motions at a time")
    chain_T = np.tile(T, replicas)
    shape = (D, replicas, K)
    x = rng.standard_normal((D, N, replicas * K))
    x *= math.sqrt(N) / np.linalg.norm(x, axis=1, keepdims=True)
    energy, magnetisation = np.empty((motions, *shape)), np.empty((motions, *shape))
    overlap = np.empty((motions, D, len(pairs), K))
    accepted = np.zeros(K)
    done = 0
    interrupted = False
    try:
        with blas_threads(threads):
            H = system.energy(x)
            while done < motions:
                if progress is not None and done % max(motions // 100, 1) == 0:
                    progress(done, motions)
                v = _tangent(rng.standard_normal(x.shape) * np.sqrt(chain_T), x)
                new, end = _leapfrog(system, x, v, length, leaps)
                H_new = system.energy(new)
                cost = H_new - H + ((end**2).sum(axis=1) - (v**2).sum(axis=1)) / 2
                accept = rng.standard_exponential(cost.shape) > cost / chain_T
                x = np.where(accept[:, None], new, x)
                H = np.where(accept, H_new, H)
                accepted += accept.reshape(shape).sum(axis=(0, 1))
                energy[done] = H.reshape(shape) / N
                magnetisation[done] = x.mean(axis=1).reshape(shape)
                by_replica = x.reshape(D, N, replicas, K)
                for index, (a, b) in enumerate(pairs):
                    overlap[done, :, index] = (by_replica[:, :, a] * by_replica[:, :, b]).mean(axis=1)
                done += 1
    except KeyboardInterrupt:
        if done == 0:
            raise
        interrupted = True
    if progress is not None and not interrupted:
        progress(done, motions)
    return SphericalRun(
        temperatures=T,
        size=N,
        energy=energy[:done],
        magnetisation=magnetisation[:done],
        overlap=overlap[:done],
        acceptance=accepted / (done * D * replicas),
        interrupted=interrupted,
    )


def _leapfrog(
    system: SpinSystem, x: FloatArray, v: FloatArray, step: float, leaps: int
) -> tuple[FloatArray, FloatArray]:
    N = x.shape[1]
    v = v + step / 2 * _tangent(system.force(x), x)
    for leap in range(leaps):
        rate = np.linalg.norm(v, axis=1, keepdims=True) / math.sqrt(N)
        cosine, sine = np.cos(rate * step), np.sin(rate * step)
        x, v = x * cosine + v / np.maximum(rate, 1e-300) * sine, v * cosine - x * rate * sine
        # rounding leaves the sphere by 1e-16 a leap; a million motions must not add up
        x *= math.sqrt(N) / np.linalg.norm(x, axis=1, keepdims=True)
        v = _tangent(v, x)
        kick = step if leap < leaps - 1 else step / 2
        v = v + kick * _tangent(system.force(x), x)
    return x, v


def _tangent(vector: FloatArray, x: FloatArray) -> FloatArray:
    """The part orthogonal to x, of norm sqrt(N)."""
    return vector - x * ((vector * x).sum(axis=1, keepdims=True) / x.shape[1])
