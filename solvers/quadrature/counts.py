"""Sums over counts: the first ones one by one, then octaves by Gauss rules for sums.

A smooth f is summed over N successive integers by m nodes, exactly if f is a polynomial of degree below 2m:
the Gauss rule of the discrete measure, whose orthogonal polynomials are those of Gram (discrete Chebyshev
polynomials; G. Szego, Orthogonal Polynomials, section 2.8).  With m = N the nodes are the integers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from solvers.backends.base import Array

FIRST = 16
"""Counts summed one by one."""
POWER = 2
"""The rule is exact to twice the degree of the last coefficients seen: its error is about their square."""


class Block(NamedTuple):
    """Nodes and weights for a block of counts, and the orthonormal polynomials that tell its error, of shape
    (2, nodes); None if the sum is complete.
    """

    nodes: Array
    weights: Array
    last: Array | None


@lru_cache(maxsize=512)
def count_block(first: int, index: int, nodes: int | None) -> Block:
    """Block ``index``: FIRST counts from ``first``, then FIRST, 2 FIRST, 4 FIRST, ... of them; complete sums
    for ``nodes`` = None.
    """
    if index == 0:
        return Block(first + np.arange(FIRST, dtype=float), np.ones(FIRST), None)
    size = FIRST * 2 ** (index - 1)
    start = first + size
    if nodes is None or nodes >= size:
        return Block(start + np.arange(size, dtype=float), np.ones(size), None)
    k = np.arange(1, nodes, dtype=float)
    beta = k**2 * (float(size) ** 2 - k**2) / (4 * (4 * k**2 - 1))
    places, vectors = np.linalg.eigh(np.diag(np.sqrt(beta), 1) + np.diag(np.sqrt(beta), -1))
    weights = size * vectors[0] ** 2
    last = vectors[-2:] / vectors[0]
    return Block(start + (size - 1) / 2 + places, weights, last)


def block_error(block: Block, values: Array) -> Array:
    """Error of the sum of values over a block (last axis), from the coefficients of the last polynomials."""
    if block.last is None:
        return np.zeros(values.shape[:-1])
    terms = block.weights * values
    scale = np.abs(terms).sum(axis=-1)
    coefficients = np.abs(terms @ block.last.T).max(axis=-1)
    ratio = np.where(scale > 0, coefficients / np.where(scale > 0, scale, 1.0), 0.0)
    return scale * np.minimum(ratio, 1.0) ** POWER
