"""Dense Hebbian networks: interactions of P spins through patterns, without a tensor of couplings.

    H = -(N u/C(N, P)) sum_mu e_P(x_mu1 s_1, ..., x_muN s_N),   e_P the sum over i1 < ... < iP of products

so a pattern of +-1 that is retrieved has energy -u N at every N.  The field on a spin needs e_{P-1} of the
other spins, for every pattern: with e_k of all spins at hand, taking spin i out of prod_i (1 + t x_i s_i) is

    e_k(without i) = e_k - x_i s_i e_{k-1}(without i),

and putting it back flipped is as cheap.  The e_k at the start of a sweep come from power sums by Newton's
identities.  A sweep costs about 2 P operations for each spin, pattern and chain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from solvers.errors import InputError
from solvers.simulate.spin_systems import FloatArray

TIE = 1e-9
"""Fields below it are 0, in units of the largest that one pattern of +-1 can exert."""


@dataclass(frozen=True)
class DenseNetwork:
    """One draw of the patterns.

    Attributes:
        patterns: x, shape (patterns, N).
        order: P, how many spins interact.
        strength: u.
    """

    patterns: FloatArray = field(repr=False)
    order: int
    strength: float

    def __post_init__(self) -> None:
        if self.patterns.ndim != 2 or min(self.patterns.shape) < 1:
            raise InputError(f"patterns have shape (patterns, N), got {self.patterns.shape}")
        if not 2 <= self.order <= self.size:
            raise InputError(f"interactions have from 2 to N = {self.size} spins, got {self.order}")

    @property
    def size(self) -> int:
        """N."""
        return self.patterns.shape[1]

    @property
    def _scale(self) -> float:
        return self.size * self.strength / math.comb(self.size, self.order)

    @cached_property
    def _powers(self) -> list[FloatArray]:
        """x^k for k = 1, ..., P, of shape (N, patterns)."""
        columns = np.ascontiguousarray(self.patterns.T)
        return [columns**k for k in range(1, self.order + 1)]

    def _symmetric(self, spins: FloatArray, highest: int) -> list[FloatArray]:
        """e_0, ..., e_highest of each chain and pattern, shape (chains, patterns)."""
        sums = [
            spins @ power if k % 2 else np.broadcast_to(power.sum(axis=0), (len(spins), power.shape[1]))
            for k, power in enumerate(self._powers[:highest], 1)
        ]
        found: list[FloatArray] = [np.ones((len(spins), len(self.patterns)))]
        for k in range(1, highest + 1):
            terms = [(-1) ** (j - 1) * found[k - j] * sums[j - 1] for j in range(1, k + 1)]
            found.append(np.sum(terms, axis=0) / k)
        return found

    def energy(self, spins: FloatArray) -> FloatArray:
        """H/N of each chain."""
        return -self._scale / self.size * self._symmetric(spins, self.order)[-1].sum(axis=1)

    def heat_bath(self, spins: FloatArray, temperature: float, rng: np.random.Generator) -> None:
        """Spin after spin, each drawn from its law given the others."""
        # s = sign(h + (T/2) L) with L logistic is up with probability 1/(1 + exp(-2 h/T))
        noise = 0.5 * temperature * rng.logistic(size=spins.shape)
        self._sweep(spins, noise, 0.0)

    def align(self, spins: FloatArray) -> None:
        """Spin after spin, each along its field."""
        self._sweep(spins, np.zeros_like(spins), TIE * self._scale * math.comb(self.size, self.order - 1))

    def _sweep(self, spins: FloatArray, noise: FloatArray, tie: float) -> None:
        known = self._symmetric(spins, self.order - 1)
        for i, row in enumerate(self._powers[0]):
            values = spins[:, i, None] * row
            rest = [known[0]]
            for whole in known[1:]:
                rest.append(whole - values * rest[-1])
            drive = self._scale * (rest[-1] @ row) + noise[:, i]
            turned = drive * spins[:, i] < -tie
            if np.any(turned):
                spins[turned, i] *= -1
                for k in range(1, self.order):
                    known[k][turned] = rest[k][turned] - values[turned] * rest[k - 1][turned]
