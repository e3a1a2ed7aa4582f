"""Networks whose energy is quadratic in the overlaps with patterns: Hopfield, multitasking.

    H = -(1/2N) sum_mu w_mu (g_mu . s)^2 + shift

At T > 0 the spins are updated all at once.  With a Gaussian field y_mu for each pattern (the hidden units of
the equivalent restricted Boltzmann machine: A. Barra, A. Bernacchia, E. Santucci, P. Contucci, Neural Netw.
34 (2012) 1),

    exp(w (g.s)^2/(2NT)) = integral dy exp(-N w y^2/(2T) + w y g.s/T) / normalisation,

so y given s is normal around g.s/N with variance T/(N w), and the spins given y are independent, each in the
field sum_mu w_mu y_mu g_mu.  Drawing one after the other keeps exp(-H/T).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from solvers.errors import InputError
from solvers.simulate.memory_chains import heat_bath_spins
from solvers.simulate.spin_systems import FloatArray

TIE = 1e-9
"""Fields below it are 0, in units of the mean square of a row: far above rounding."""


@dataclass(frozen=True)
class QuadraticNetwork:
    """One draw of the patterns.

    Attributes:
        patterns: g, shape (patterns, N).
        weights: w > 0, shape (patterns,).
        shift: constant energy, per spin.
    """

    patterns: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)
    shift: float = 0.0

    def __post_init__(self) -> None:
        if self.patterns.ndim != 2 or min(self.patterns.shape) < 1:
            raise InputError(f"patterns have shape (patterns, N), got {self.patterns.shape}")
        if self.weights.shape != self.patterns.shape[:1] or not np.all(self.weights > 0):
            raise InputError(f"every pattern has a positive weight, got {self.weights}")

    @property
    def size(self) -> int:
        """N."""
        return self.patterns.shape[1]

    @cached_property
    def _columns(self) -> FloatArray:
        """sqrt(w_mu) g_mu, a row for each spin."""
        return np.ascontiguousarray((self.patterns * np.sqrt(self.weights)[:, None]).T)

    def energy(self, spins: FloatArray) -> FloatArray:
        """H/N of each chain."""
        overlaps = spins @ self._columns / self.size
        return self.shift - 0.5 * (overlaps**2).sum(axis=1)

    def heat_bath(self, spins: FloatArray, temperature: float, rng: np.random.Generator) -> None:
        """The Gaussian fields given the spins, then the spins given the fields."""
        overlaps = spins @ self._columns / self.size
        hidden = overlaps + np.sqrt(temperature / self.size) * rng.standard_normal(overlaps.shape)
        spins[...] = heat_bath_spins(hidden @ self._columns.T, temperature, rng)

    def align(self, spins: FloatArray) -> None:
        """One sweep of zero-temperature dynamics, in the order of the sites; a spin does not feel itself."""
        columns = self._columns
        own = (columns**2).sum(axis=1) / self.size
        tie = TIE * float(own.mean())
        overlaps = spins @ columns / self.size
        for i, row in enumerate(columns):
            drive = overlaps @ row - own[i] * spins[:, i]
            turned = drive * spins[:, i] < -tie
            if np.any(turned):
                spins[turned, i] *= -1
                overlaps[turned] += 2 * spins[turned, i, None] * row / self.size
