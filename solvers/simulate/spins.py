"""Monte Carlo of Ising spins: heat bath or Metropolis, with parallel tempering, all chains at once.

A run has `replicas` real replicas at each of K temperatures for each disorder sample. With tempering,
neighbouring temperatures of one replica exchange after every sweep with probability
min(1, exp((beta - beta')(E - E'))) (K. Hukushima, K. Nemoto, J. Phys. Soc. Jpn 65, 1604 (1996)), even and odd
pairs in turn. Real replicas never meet, so their overlap samples P(q).

Measured with numpy alone on one core of a busy machine: SK with N = 1000, 32 temperatures, two real replicas,
1e4 sweeps (6.4e8 updates), each measured, in 81 s of processor time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from solvers.errors import InputError
from solvers.simulate.spin_statistics import (
    FEW_SAMPLES,
    Curve,
    Equilibration,
    OverlapDistribution,
    curve,
    drift,
    gaussian_balance,
    jackknife,
    overlap_distribution,
    second_half,
)
from solvers.simulate.spin_sweeps import Rule, make_sweep, thresholds
from solvers.simulate.spin_systems import FloatArray, SpinSystem, overlap_covariance
from solvers.simulate.threads import blas_threads

REFRESH = 64
"""Sweeps between energies computed afresh; in between they follow the flips, in single precision."""
LARGEST_RECORD = 2**32
"""Bytes of measurements a run may keep."""


@dataclass(frozen=True)
class SpinRun:
    """The measurements of a run; the whole record, of which averages use the second half.

    Attributes:
        temperatures: increasing, K of them.
        size: N.
        external_field: h.
        weights: c_p of Gaussian couplings; None if they are not Gaussian, or if the energy in the field is
            not known because the magnetisation is along another reference.
        energy: H/N, shape (times, samples, replicas, K).
        magnetisation: overlap with the reference configuration (all up unless given), the same shape.
        overlap: of each pair of real replicas, shape (times, samples, pairs, K).
        flip_rate: updates that changed the spin, per temperature.
        swap_rate: exchanges accepted, per pair of neighbouring temperatures; empty without tempering.
        sweeps: sweeps done.
        every: sweeps between measurements.
        interrupted: whether it was stopped before its end.
    """

    temperatures: FloatArray
    size: int
    external_field: float
    weights: dict[int, float] | None
    energy: FloatArray = field(repr=False)
    magnetisation: FloatArray = field(repr=False)
    overlap: FloatArray = field(repr=False)
    flip_rate: FloatArray = field(repr=False)
    swap_rate: FloatArray = field(repr=False)
    sweeps: int
    every: int
    interrupted: bool

    def energies(self) -> Curve:
        """E<H>/N."""
        return curve(self.energy)

    def magnetisations(self) -> Curve:
        """E<m>."""
        return curve(self.magnetisation)

    def overlap_moments(self, power: int = 2) -> Curve:
        """E<q^power>."""
        return curve(self._overlaps() ** power)

    def distribution(self, index: int, bins: int | None = None) -> OverlapDistribution:
        """P(q) at the temperature of this index."""
        return overlap_distribution(self._overlaps()[..., index], self.size, bins)

    def binder(self, index: int) -> tuple[float, float]:
        """(3 - E<q^4>/E<q^2>^2)/2 at the temperature of this index, with its jackknife error over samples.

        Raises:
            InputError: one sample or one replica only.
        """
        q = second_half(self._overlaps()[..., index])
        moments = np.stack([(q**2).mean(axis=(0, 2)), (q**4).mean(axis=(0, 2))], axis=1)
        return jackknife(moments, lambda second, fourth: (3 - fourth / second**2) / 2)

    def equilibration(self) -> Equilibration:
        """Whether the run looks equilibrated.

        Raises:
            InputError: too few measurements to say.
        """
        pairs = self.overlap.shape[2] > 0
        balance = np.zeros(0)
        if self.weights is not None and pairs and self.energy.shape[1] >= FEW_SAMPLES:
            balance = gaussian_balance(
                self.energy + self.external_field * self.magnetisation,
                overlap_covariance(self.weights, self.size, self.overlap),
                1 / self.temperatures,
                float(overlap_covariance(self.weights, self.size, np.ones(1))[0]),
            )
        return Equilibration(drift(self.energy), drift(self.overlap**2) if pairs else np.zeros(0), balance)

    def _overlaps(self) -> FloatArray:
        if self.overlap.shape[2] == 0:
            raise InputError("an overlap needs at least two replicas")
        return self.overlap


def geometric_temperatures(lowest: float, highest: float, count: int) -> FloatArray:
    """A ladder with a constant ratio, the usual start for parallel tempering.

    Raises:
        InputError: bounds out of order, or fewer than two temperatures.
    """
    if not 0 < lowest < highest < np.inf or count < 2:
        raise InputError(
            f"a ladder has 0 < lowest < highest and at least 2 rungs: {lowest}, {highest}, {count}"
        )
    return np.geomspace(lowest, highest, count)


def simulate_spins(
    system: SpinSystem,
    temperatures: FloatArray,
    rng: np.random.Generator,
    *,
    sweeps: int,
    replicas: int = 2,
    tempering: bool = True,
    rule: Rule = Rule.GLAUBER,
    every: int = 1,
    start: FloatArray | None = None,
    reference: FloatArray | None = None,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 1,
) -> SpinRun:
    """Simulate every sample at every temperature.

    Args:
        system: the disorder samples.
        temperatures: increasing, positive, shape (K,).
        rng: draws everything; the same generator gives the same run.
        sweeps: at least 1; a sweep updates every spin of every chain once.
        replicas: real replicas at each temperature.
        tempering: exchange neighbouring temperatures after each sweep.
        rule: of the updates.
        every: sweeps between measurements.
        start: configurations +-1 of shape (samples, N), the same for all chains; random if None.
        reference: configurations of shape (samples, N) along which the magnetisation is measured (a pattern,
            say); all up if None.
        progress: called with (sweeps done, sweeps), about a hundred times.
        threads: of BLAS.

    Returns:
        the measurements. A KeyboardInterrupt ends the run and keeps the measurements made, if any.

    Raises:
        InputError: arguments out of range.
    """
    T = checked_temperatures(temperatures)
    if sweeps < 1 or replicas < 1 or not 1 <= every <= sweeps:
        raise InputError(
            "sweeps and replicas are at least 1 and `every` is from 1 to sweeps, "
            f"got {sweeps}, {replicas} and {every}"
        )
    D, N, K = system.samples, system.size, len(T)
    pairs = list(combinations(range(replicas), 2))
    times = sweeps // every
    needed = times * D * (2 * replicas + len(pairs)) * K * 8
    if needed > LARGEST_RECORD:
        raise InputError(f"the record would take {needed / 2**30:.0f} GiB: raise `every`")
    along = np.ones((D, N)) if reference is None else _checked_configurations(reference, D, N)
    chains = _Chains(system, T, replicas, rule, start, rng)
    energy, magnetisation = np.empty((times, D, replicas, K)), np.empty((times, D, replicas, K))
    overlap = np.empty((times, D, len(pairs), K))
    along = along[:, :, None, None].astype(np.float32)
    done, measured, interrupted = 0, 0, False
    try:
        with blas_threads(threads):
            while done < sweeps:
                if progress is not None and done % max(sweeps // 100, 1) == 0:
                    progress(done, sweeps)
                chains.sweep()
                if tempering and K > 1:
                    chains.exchange(done % 2)
                done += 1
                if done % every == 0:
                    spins = chains.by_temperature()
                    energy[measured] = chains.energies() / N
                    # sums of at most 2^24 signs are exact in single precision
                    magnetisation[measured] = (spins * along).sum(axis=1) / N
                    for index, (a, b) in enumerate(pairs):
                        overlap[measured, :, index] = (spins[:, :, a] * spins[:, :, b]).sum(axis=1) / N
                    measured += 1
    except KeyboardInterrupt:
        if measured == 0:
            raise
        interrupted = True
    if progress is not None and not interrupted:
        progress(done, sweeps)
    unknown = system.field != 0 and reference is not None
    return SpinRun(
        temperatures=T,
        size=N,
        external_field=system.field,
        weights=None if system.weights is None or unknown else dict(system.weights),
        energy=energy[:measured],
        magnetisation=magnetisation[:measured],
        overlap=overlap[:measured],
        flip_rate=chains.flips / (max(chains.swept, 1) * D * N * replicas),
        swap_rate=chains.swaps / np.maximum(chains.swap_trials, 1) if tempering else np.zeros(0),
        sweeps=done,
        every=every,
        interrupted=interrupted,
    )


def simulate_samples(
    draw: Callable[[np.random.Generator], SpinSystem],
    temperatures: FloatArray,
    *,
    samples: int,
    root: int = 0,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: object,
) -> SpinRun:
    """Simulate disorder samples one after another, or side by side in the processes of an executor.

    For systems so large that one sample fills a core; small ones run faster as one `SpinSystem` of many
    samples. Sample k draws its couplings and its run from child k of the root seed, whatever their number.

    Args:
        draw: couplings from a generator, one or more samples at a time (with an executor of processes, a
            function that pickles: `functools.partial(sk_spins, 1000)`).
        temperatures: as `simulate_spins`.
        samples: how many times to draw.
        root: the root seed.
        executor: any `concurrent.futures.Executor`.
        progress: called with (samples done, samples).
        options: of `simulate_spins`.

    Returns:
        all samples as one run. After a KeyboardInterrupt: those that were complete, if any.

    Raises:
        InputError: arguments out of range.
    """
    if samples < 1 or root < 0:
        raise InputError(f"samples are at least 1 and a root seed is not negative, got {samples} and {root}")
    children = np.random.SeedSequence(root).spawn(samples)
    runs: list[SpinRun] = []
    futures = []
    if executor is not None:
        futures = [executor.submit(_one_sample, draw, temperatures, child, options) for child in children]
    interrupted = False
    try:
        for index, child in enumerate(children):
            if progress is not None:
                progress(index, samples)
            run = futures[index].result() if futures else _one_sample(draw, temperatures, child, options)
            if run.interrupted:
                raise KeyboardInterrupt
            runs.append(run)
        if progress is not None:
            progress(samples, samples)
    except KeyboardInterrupt:
        if not runs:
            raise
        interrupted = True
    finally:
        for future in futures:
            future.cancel()
    return merge_runs(runs, interrupted=interrupted)


def _one_sample(
    draw: Callable[[np.random.Generator], SpinSystem],
    temperatures: FloatArray,
    seed: np.random.SeedSequence,
    options: dict[str, object],
) -> SpinRun:
    rng = np.random.Generator(np.random.SFC64(seed))
    return simulate_spins(draw(rng), temperatures, rng, **options)  # type: ignore[arg-type]


def merge_runs(runs: list[SpinRun], *, interrupted: bool = False) -> SpinRun:
    """Runs of the same size, temperatures and schedule as one with all their samples.

    Raises:
        InputError: no runs, or runs that differ in more than their samples.
    """
    if not runs:
        raise InputError("there is no run to merge")
    first = runs[0]
    for run in runs[1:]:
        same = run.size == first.size and np.array_equal(run.temperatures, first.temperatures)
        same = same and (run.sweeps, run.every, run.external_field) == (
            first.sweeps,
            first.every,
            first.external_field,
        )
        if not same or run.overlap.shape[2] != first.overlap.shape[2] or run.weights != first.weights:
            raise InputError("runs to merge differ in size, field, temperatures, replicas or schedule")
    counts = np.array([run.energy.shape[1] for run in runs], dtype=np.float64)
    return replace(
        first,
        energy=np.concatenate([run.energy for run in runs], axis=1),
        magnetisation=np.concatenate([run.magnetisation for run in runs], axis=1),
        overlap=np.concatenate([run.overlap for run in runs], axis=1),
        flip_rate=np.average([run.flip_rate for run in runs], axis=0, weights=counts),
        swap_rate=np.average([run.swap_rate for run in runs], axis=0, weights=counts),
        interrupted=interrupted or any(run.interrupted for run in runs),
    )


class _Chains:
    """The state of a run. Chains stay in their column; tempering moves temperatures between columns."""

    def __init__(
        self,
        system: SpinSystem,
        temperatures: FloatArray,
        replicas: int,
        rule: Rule,
        start: FloatArray | None,
        rng: np.random.Generator,
    ) -> None:
        D, N, K = system.samples, system.size, len(temperatures)
        C = replicas * K
        if start is None:
            self.spins = (2 * rng.integers(0, 2, (D, N, C), dtype=np.int8) - 1).astype(np.float32)
        else:
            configuration = _checked_configurations(start, D, N)
            self.spins = np.repeat(configuration[:, :, None], C, axis=2).astype(np.float32)
        self.system, self.rule, self.rng = system, rule, rng
        self.temperatures = temperatures
        # column[d, r, k] is the chain of sample d and replica r that is at temperature k
        self.column = np.tile(np.arange(C).reshape(replicas, K), (D, 1, 1))
        self._assign()
        self.step = make_sweep(system, C)
        self.energy = system.energy(self.spins)
        self.swept = 0
        self.flips = np.zeros(K)
        self.swaps, self.swap_trials = np.zeros(K - 1), np.zeros(K - 1)

    def _assign(self) -> None:
        D, R, K = self.column.shape
        self.of_column = np.empty((D, R * K))
        values = np.broadcast_to(self.temperatures, self.column.shape).reshape(D, -1)
        np.put_along_axis(self.of_column, self.column.reshape(D, -1), values, axis=1)

    def _by_temperature(self, values: FloatArray) -> FloatArray:
        D = len(values)
        return np.take_along_axis(values, self.column.reshape(D, -1), axis=1).reshape(self.column.shape)

    def sweep(self) -> None:
        noise = thresholds(self.spins, self.of_column, self.rule, self.rng)
        before = self.spins.copy()
        seen = self.step(self.spins, noise)
        change = np.subtract(self.spins, before, out=before)
        flipped = np.count_nonzero(change, axis=1)
        self.swept += 1
        if self.swept % REFRESH == 0:
            self.energy = self.system.energy(self.spins)
        else:
            self.energy = self.energy - np.einsum("dnc,dnc->dc", change, seen)
        self.flips += self._by_temperature(flipped).sum(axis=(0, 1))

    def exchange(self, parity: int) -> None:
        lower = np.arange(parity, len(self.temperatures) - 1, 2)
        if lower.size == 0:
            return
        E, beta = self.energies(), 1 / self.temperatures
        gain = (beta[lower] - beta[lower + 1]) * (E[..., lower] - E[..., lower + 1])
        accept = -self.rng.standard_exponential(gain.shape) < gain
        self.swaps[lower] += accept.sum(axis=(0, 1))
        self.swap_trials[lower] += accept.shape[0] * accept.shape[1]
        cold, warm = self.column[..., lower], self.column[..., lower + 1]
        self.column[..., lower] = np.where(accept, warm, cold)
        self.column[..., lower + 1] = np.where(accept, cold, warm)
        self._assign()

    def energies(self) -> FloatArray:
        """H of shape (samples, replicas, K)."""
        return self._by_temperature(self.energy)

    def by_temperature(self) -> FloatArray:
        """Spins of shape (samples, N, replicas, K)."""
        D, N, _ = self.spins.shape
        order = self.column.reshape(D, 1, -1)
        return np.take_along_axis(self.spins, order, axis=2).reshape(D, N, *self.column.shape[1:])


def checked_temperatures(temperatures: FloatArray) -> FloatArray:
    """Temperatures of a run as an array.

    Raises:
        InputError: they are not positive, finite and increasing.
    """
    T = np.array(temperatures, dtype=np.float64)
    if T.ndim != 1 or T.size == 0 or not np.all(np.isfinite(T)) or T[0] <= 0 or np.any(np.diff(T) <= 0):
        raise InputError("temperatures are positive, finite and increasing; for T = 0 see `memories`")
    return T


def _checked_configurations(spins: FloatArray, samples: int, size: int) -> FloatArray:
    array = np.asarray(spins, dtype=np.float64)
    if array.shape != (samples, size) or not np.all(np.abs(array) == 1):
        raise InputError(f"configurations are +-1 of shape ({samples}, {size}), got shape {array.shape}")
    return array
