"""What an associative memory stores: patterns from a finite law on each site, and means of noisy examples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from solvers.errors import InputError
from solvers.simulate.spin_systems import FloatArray

MANY = 1000
"""Examples of a pattern: the cumulants of their mean beyond the second are O(1/M) of Gaussian ones."""


def draw_patterns(
    count: int,
    size: int,
    values: Sequence[float],
    probabilities: Sequence[float],
    rng: np.random.Generator,
) -> FloatArray:
    """Patterns whose entries take these values with these probabilities: shape (count, N).

    Raises:
        InputError: a negative count, no spins, or probabilities that are none.
    """
    law = np.asarray(probabilities, dtype=np.float64)
    if count < 0 or size < 1:
        raise InputError(f"patterns are at least 0 and spins 1, got {count} and {size}")
    if len(values) != law.size or np.any(law < 0) or abs(law.sum() - 1) > 1e-12:
        raise InputError(f"each value has a probability, and they sum to 1: {list(values)}, {law.tolist()}")
    return np.asarray(values, dtype=np.float64)[rng.choice(law.size, size=(count, size), p=law / law.sum())]


def mean_examples(
    patterns: FloatArray, entropy: float, rng: np.random.Generator, examples: int = MANY
) -> FloatArray:
    """(1/(r M)) sum_a chi_a xi, chi_a = +-1 with probability (1 +- r)/2, independent for every site: xi on
    average, with variance rho xi^2.

    Args:
        patterns: xi, of any shape.
        entropy: rho = (1 - r^2)/(M r^2), which determines r; 0 returns the patterns.
        rng: draws how many of the M examples are right at each site.
        examples: M.

    Raises:
        InputError: a negative dataset entropy, or no example.
    """
    if not entropy >= 0 or examples < 1:
        raise InputError(f"rho is at least 0 and M at least 1, got {entropy} and {examples}")
    if entropy == 0:
        return np.array(patterns, dtype=np.float64)
    quality = 1 / math.sqrt(1 + examples * entropy)
    right = rng.binomial(examples, (1 + quality) / 2, size=patterns.shape)
    return patterns * ((2 * right - examples) / (examples * quality))
