"""State evolution of noiseless phase retrieval of a Gaussian signal, written by hand."""

from __future__ import annotations

import numpy as np


def next_overlap(q, alpha):
    """One pass of q = q_hat/(1 + q_hat), q_hat = alpha E g^2 with g = (y tanh(omega y/V) - omega)/V, V = 1 - q,
    for y = |h|, as (next q)/q - 1, by trapezoids.
    """
    nodes = np.linspace(-9, 9, 901)
    weights = np.exp(-(nodes**2) / 2) * (nodes[1] - nodes[0])
    share = np.outer(weights, weights) / (2 * np.pi)
    omega, y = np.sqrt(q) * nodes[:, None], np.sqrt(q) * nodes[:, None] + np.sqrt(1 - q) * nodes
    g = (y * np.tanh(omega * y / (1 - q)) - omega) / (1 - q)
    q_hat = alpha * np.sum(share * g**2)
    return q_hat / (1 + q_hat) / q - 1
