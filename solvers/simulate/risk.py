"""Minimisers of convex risks on sampled data, by two algorithms: witnesses of the theory at finite size.

The risk is sum_mu loss(y_mu, x_mu.w) + l1 |w|_1 + (l2/2) |w|^2 with rows x_mu ~ N(0, I/d).  The losses and
their proximal operators are written here by hand, apart from the symbolic ones.  ``minimise`` is the
alternating direction method of multipliers in graph form (S. Boyd et al., Found. Trends Mach. Learn. 3 (2011)
1; N. Parikh and S. Boyd, Math. Program. Comput. 6 (2014) 77); ``message_passing`` is generalised approximate
message passing (S. Rangan, IEEE ISIT 2011, arXiv 1010.5141), whose fixed points are minimisers too and which
also gives the susceptibility V.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.errors import InputError
from solvers.simulate.threads import blas_threads

Array = Any


@dataclass(frozen=True)
class LossFunctions:
    """A loss l(u) of the residual y - h or the margin y h, on arrays: values, the minimiser u of
    (u - s)^2/(2 V) + l(u), and its derivative du/ds.
    """

    margin: bool
    value: Callable[[Array], Array]
    proximal: Callable[[Array, float], Array]
    slope: Callable[[Array, Array, float], Array]

    def argument(self, outputs: Array, fields: Array) -> Array:
        """U at given fields."""
        return outputs * fields if self.margin else outputs - fields

    def fields(self, outputs: Array, arguments: Array) -> Array:
        """The fields of given u (labels -1 and 1 where the loss is of the margin)."""
        return outputs * arguments if self.margin else outputs - arguments


def _logistic_minimiser(s: Array, v: float) -> Array:
    """u - V sigma(-u) = s: Newton kept inside the bracket [s, s + V], which it halves where it would leave.

    Plain Newton diverges for V beyond about 10.
    """
    from scipy.special import expit

    low, high = s.copy(), s + v
    u = (low + high) / 2
    for _ in range(100):
        excess = u - v * expit(-u) - s
        low, high = np.where(excess < 0, u, low), np.where(excess < 0, high, u)
        step = u - excess / (1 + v * expit(u) * expit(-u))
        # a root that is met is an end of the bracket
        inside = ((step > low) & (step < high)) | (np.abs(step - u) <= 1e-15 * (1 + np.abs(u)))
        following = np.where(inside, step, (low + high) / 2)
        if np.max(np.abs(following - u)) <= 1e-14 * (1 + np.max(np.abs(u))):
            return following
        u = following
    return u


def _logistic_slope(u: Array, s: Array, v: float) -> Array:
    from scipy.special import expit

    return 1 / (1 + v * expit(u) * expit(-u))


def loss_functions(name: str, threshold: float = 1.0) -> LossFunctions:
    """A loss by name; ``threshold`` is that of the Huber loss.

    Raises
    ------
    InputError
        An unknown name.
    """
    k = threshold
    table = {
        "square": LossFunctions(
            False, lambda u: u**2 / 2, lambda s, v: s / (1 + v), lambda u, s, v: np.full_like(u, 1 / (1 + v))
        ),
        "huber": LossFunctions(
            False,
            lambda u: np.where(np.abs(u) < k, u**2 / 2, k * np.abs(u) - k * k / 2),
            lambda s, v: s - v * np.clip(s / (1 + v), -k, k),
            lambda u, s, v: np.where(np.abs(u) < k, 1 / (1 + v), 1.0),
        ),
        "absolute": LossFunctions(
            False,
            np.abs,
            lambda s, v: np.sign(s) * np.maximum(np.abs(s) - v, 0),
            lambda u, s, v: (np.abs(s) > v).astype(float),
        ),
        "logistic": LossFunctions(True, lambda u: np.logaddexp(0, -u), _logistic_minimiser, _logistic_slope),
        "hinge": LossFunctions(
            True,
            lambda u: np.maximum(0, 1 - u),
            lambda s, v: s + np.clip(1 - s, 0, v),
            lambda u, s, v: ((s > 1) | (s < 1 - v)).astype(float),
        ),
        "squared hinge": LossFunctions(
            True,
            lambda u: np.maximum(0, 1 - u) ** 2 / 2,
            lambda s, v: np.where(s < 1, (s + v) / (1 + v), s),
            lambda u, s, v: np.where(s < 1, 1 / (1 + v), 1.0),
        ),
    }
    if name not in table:
        raise InputError(f"unknown loss '{name}', allowed: {', '.join(table)}")
    return table[name]


def soft_threshold(field: Array, curvature: float, l1: float, l2: float) -> Array:
    """The minimiser of curvature w^2/2 - field w + l1 |w| + l2 w^2/2."""
    return np.sign(field) * np.maximum(np.abs(field) - l1, 0) / (curvature + l2)


@dataclass(frozen=True)
class Minimum:
    """Weights at which an algorithm ended, with its last change (relative) and whether that is at the
    tolerance; ``susceptibility`` is V, nan where the algorithm does not give it.
    """

    weights: Array
    change: float
    iterations: int
    converged: bool
    susceptibility: float = float("nan")


def risk(
    inputs: Array, outputs: Array, weights: Array, loss: LossFunctions, l1: float, l2: float
) -> tuple[float, float]:
    """The risk per coordinate and the training loss per sample."""
    losses = loss.value(loss.argument(outputs, inputs @ weights))
    penalty = l1 * np.abs(weights).sum() + l2 * (weights**2).sum() / 2
    return float((losses.sum() + penalty) / weights.size), float(losses.mean())


def minimise(
    inputs: Array,
    outputs: Array,
    loss: LossFunctions,
    l1: float,
    l2: float,
    *,
    tolerance: float = 1e-7,
    iterations: int = 20_000,
    threads: int = 1,
) -> Minimum:
    """Alternating directions on z = X w and v = w; the step is rescaled while the two residuals are far
    apart.
    """
    samples, d = inputs.shape
    step = 1.0
    z, v = np.zeros(samples), np.zeros(d)
    a, b = np.zeros(samples), np.zeros(d)
    change = np.inf
    with blas_threads(threads):
        inverse = np.linalg.inv(inputs.T @ inputs + np.eye(d))
        for count in range(1, iterations + 1):
            w = inverse @ (inputs.T @ (z - a) + (v - b))
            h = inputs @ w
            relaxed_h, relaxed_w = 1.6 * h - 0.6 * z, 1.6 * w - 0.6 * v
            z_before, v_before = z, v
            u = loss.proximal(loss.argument(outputs, relaxed_h + a), 1 / step)
            z = loss.fields(outputs, u)
            v = soft_threshold(step * (relaxed_w + b), step, l1, l2)
            a, b = a + relaxed_h - z, b + relaxed_w - v
            primal = np.sqrt(((h - z) ** 2).sum() + ((w - v) ** 2).sum())
            dual = np.sqrt(((z - z_before) ** 2).sum() + ((v - v_before) ** 2).sum())
            change = float(max(primal, dual) / max(np.sqrt((z**2).sum() + (v**2).sum()), 1e-12))
            if change <= tolerance:
                return Minimum(v, change, count, True)
            if count % 50 == 0 and count < iterations // 2:
                factor = 2.0 if primal > 5 * dual else 0.5 if dual > 5 * primal else 1.0
                step, a, b = step * factor, a / factor, b / factor
    return Minimum(v, change, iterations, False)


def message_passing(
    inputs: Array,
    outputs: Array,
    loss: LossFunctions,
    l1: float,
    l2: float,
    *,
    tolerance: float = 1e-9,
    iterations: int = 2000,
    damping: float = 0.0,
    threads: int = 1,
) -> Minimum:
    """GAMP with one variance for all coordinates; ``damping`` in [0, 1) mixes in the weights before."""
    samples, d = inputs.shape
    w, f, variance = np.zeros(d), np.zeros(samples), 1.0
    sign = outputs if loss.margin else -np.ones(samples)
    change = np.inf
    with blas_threads(threads):
        for count in range(1, iterations + 1):
            omega = inputs @ w - variance * f
            s = loss.argument(outputs, omega)
            u = loss.proximal(s, variance)
            f = sign * (u - s) / variance
            curvature = float(((1 - loss.slope(u, s, variance)) / variance).sum() / d)
            if not curvature + l2 > 0:
                return Minimum(w, change, count, False)
            field = inputs.T @ f + curvature * w
            following = soft_threshold(field, curvature, l1, l2)
            new_variance = float((np.abs(field) > l1).mean() / (curvature + l2))
            if new_variance == 0:  # all weights vanish: nothing moves any more
                return Minimum(following, 0.0, count, True, 0.0)
            change = float(np.linalg.norm(following - w) / max(np.linalg.norm(following), 1e-12))
            w = damping * w + (1 - damping) * following
            variance = damping * variance + (1 - damping) * new_variance
            if change <= tolerance:
                return Minimum(w, change, count, True, variance)
            if not np.isfinite(change):
                break
    return Minimum(w, change, iterations, False)
