"""Averages over omega of functions of log Z, Z'/Z, ... at many outputs at once, from one lattice of fields.

Where P(y|h) is smooth in h, its trapezoidal sums over h ~ N(omega, V) for all y and all omega are one product
of matrices, P(y|h) times N(h; omega, V) He_k((h - omega)/sqrt(V)) V^(-k/2): no derivative of P, and no search
for its peaks at each omega.  The step in h is that of the narrowest peak, less where the Gaussian has fallen
there, so a P much narrower than the field asks for too many nodes and is left to nodes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from solvers.backends.float64 import Float64
from solvers.quadrature.peaks import Peaks
from solvers.quadrature.rules import PEAKED, estimated

_FLOAT = Float64()
REACH = 8.6
"""Standard deviations of the field that are summed: the Gaussian has fallen to 1e-16."""
MOST_FIELDS, MOST_VALUES, MOST_WEIGHTS, MOST_TERMS = 40_000, 2 * 10**7, 5 * 10**6, 2 * 10**9
"""Nodes in h, values of P, of N(h; omega, V), and products in all, beyond which other nodes are cheaper."""
SPARSE, NEGLIGIBLE = 0.1, 1e-40
"""Share of the values of P above the latter, relative to their maximum, below which only those are kept."""
CHUNK = 2**21
"""Values of the kernel at a time."""
SMALLEST = 1e-280
"""Z relative to its maximum below which it counts as 0."""
DIGITS = (8.0, 11.0, 14.0, 17.0, 20.0)
"""Of the sums at levels 3, 4, ...; more than is asked of them, so that half and quarter of the nodes tell."""

FALL_FIELDS, FALL_SHARED = 0.3, 0.9
"""By which powers of 2 the steps in h (beside the digits) and in omega fall from level to level: peaks are no
Gaussians, and log Z switches from one peak to another."""


class Layer(NamedTuple):
    """At each output: the averages over omega of all bodies, the error of the worst, and E_omega Z."""

    columns: list[Any]
    error: Any
    mass: Any


class Functions(NamedTuple):
    """Lowered, of (backend, *arguments, ...): log P of y, h; bodies and what passes errors on, of y, omega,
    log Z, Z'/Z, ...; which bodies count; the highest derivative of Z.
    """

    log_density: Callable[..., Any]
    bodies: Callable[..., tuple[Any, ...]]
    passed: Callable[..., tuple[Any, ...]]
    counted: tuple[bool, ...]
    order: int


def smeared_layer(
    functions: Functions,
    level: int,
    arguments: Sequence[float],
    law: tuple[float, float, float],
    y: Any,
    peaks: Peaks,
) -> Layer | None:
    """The layer at outputs y of shape (n,), in doubles; None where it takes too many nodes."""
    mean, shared, noise = law
    if not (shared >= 0 and noise > 0):
        return None
    deviation = np.sqrt(shared + noise)
    step_h, step_w = _steps(level, law, peaks)
    ends = 2 * REACH * deviation, 2 * REACH * np.sqrt(shared)
    if not (ends[0] < MOST_FIELDS * step_h and ends[1] <= MOST_FIELDS * step_w):
        return None
    h, (w, weights) = _lattice(mean, REACH * deviation, step_h), _means(mean, shared, step_w)
    if y.size * h.size > MOST_VALUES or w.size * h.size > MOST_WEIGHTS:
        return None
    log = np.broadcast_to(functions.log_density(*arguments, y[:, None], h), (y.size, h.size))
    log = np.where(np.isfinite(log), log, -np.inf)
    top = (log - (h - mean) ** 2 / (2 * deviation**2)).max(axis=1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    density = _kept(np.exp(np.minimum(log - top, 600.0)))
    if density.size * w.size > MOST_TERMS:
        return None
    jet = _jets(density, h, w, noise, functions.order, 1)
    zero = ~(jet[0] > SMALLEST)
    values = _values(functions, arguments, y, w, jet, top, zero)
    columns, error = [], np.zeros(y.size)
    for value, counts in zip(values, functions.counted, strict=True):
        terms = value * weights
        fine, half, quarter = (s * terms[:, _offset(w.size, s) :: s].sum(axis=1) for s in (1, 2, 4))
        columns.append(fine)
        if counts and w.size > 1:
            error += estimated(_FLOAT, fine, half, quarter, np.abs(terms).sum(axis=1), PEAKED).error
    error += _error_of_fields(functions, arguments, (y, h, w), density, noise, jet, top, zero, weights)
    mass = (np.where(zero, 0.0, jet[0]) * np.exp(top) * weights).sum(axis=1)
    return Layer(columns, error, mass)


def _steps(level: int, law: tuple[float, float, float], peaks: Peaks) -> tuple[float, float]:
    """Steps in h and omega: the error across a Gaussian of width s is 2 exp(-2 (pi s/step)^2)."""
    mean, shared, noise = law
    wanted = DIGITS[min(level - 3, len(DIGITS) - 1)] * np.log(10)
    away = (peaks.place - mean) ** 2 / (2 * (shared + noise))
    width = peaks.narrower / np.sqrt(peaks.sharpness + 1 / noise)
    some = np.isfinite(peaks.place) & (away < wanted)
    finer = 2.0 ** (FALL_FIELDS * (level - 3))
    # a narrow peak is a Gaussian
    need = finer ** np.minimum(3 * width / np.sqrt(noise), 1.0)
    need = need * np.sqrt(np.maximum(wanted - away, 1.0) / 2) / np.pi
    step_h = float(np.min((width / need)[some], initial=np.sqrt(noise)))
    most = finer * np.sqrt(wanted / 2) / np.pi
    step_w = float(np.sqrt(noise * shared / (noise + shared)) / 2.0 ** (FALL_SHARED * (level - 3)))
    return min(step_h, np.sqrt(noise) / most), step_w


def _lattice(mean: float, reach: float, step: float) -> Any:
    half = 4 * int(np.ceil(reach / step / 4))
    return mean + reach * np.arange(-half, half + 1) / half


def _means(mean: float, shared: float, step: float) -> tuple[Any, Any]:
    """Values of omega ~ N(mean, shared) and their weights; one where it does not vary."""
    if shared == 0:
        return np.array([mean]), np.ones(1)
    w = _lattice(mean, REACH * np.sqrt(shared), step)
    return w, (w[1] - w[0]) * np.exp(-((w - mean) ** 2) / (2 * shared)) / np.sqrt(2 * np.pi * shared)


def _offset(count: int, stride: int) -> int:
    return (count // 2) % stride


def _kept(density: Any) -> Any:
    """The values of P, as a sparse matrix where most are negligible; ``size`` counts those kept."""
    kept = density > NEGLIGIBLE * density.max(axis=1, keepdims=True)
    return sparse.csr_array(np.where(kept, density, 0.0)) if kept.mean() < SPARSE else density


def _jets(density: Any, h: Any, w: Any, noise: float, order: int, stride: int) -> list[Any]:
    """Z and its derivatives in omega, without the factor exp(top), from every few of the fields."""
    first = _offset(h.size, stride)
    some, fields = density[:, first::stride], h[first::stride, None]
    scale = stride * (h[1] - h[0]) / np.sqrt(2 * np.pi * noise)
    parts = []
    step = max(1, CHUNK // fields.size)
    for start in range(0, w.size, step):
        t = (fields - w[start : start + step]) / np.sqrt(noise)
        before, kernel = np.zeros(t.shape), scale * np.exp(-t * t / 2)
        jet = [some @ kernel]
        for k in range(order):  # times Hermite polynomials
            before, kernel = kernel, t * kernel - k * before
            jet.append(some @ kernel / noise ** ((k + 1) / 2))
        parts.append(jet)
    return [np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)]


def _at(functions: Functions, arguments: Any, y: Any, w: Any, jet: Any, top: Any, zero: Any) -> list[Any]:
    z = np.where(zero, 1.0, jet[0])
    outputs, omega = np.broadcast_arrays(y[:, None], w)
    ratios = [np.where(zero, 0.0, d / z) for d in jet[1:]]
    return [*arguments, outputs, omega, np.log(z) + top, *ratios]


def _values(functions: Functions, arguments: Any, y: Any, w: Any, jet: Any, top: Any, zero: Any) -> list[Any]:
    found = functions.bodies(_FLOAT, *_at(functions, arguments, y, w, jet, top, zero))
    return [np.where(zero, 0.0, np.broadcast_to(v, zero.shape)) for v in found]


def _error_of_fields(
    functions: Functions,
    arguments: Any,
    nodes: tuple[Any, Any, Any],
    density: Any,
    noise: float,
    jet: Any,
    top: Any,
    zero: Any,
    weights: Any,
) -> Any:
    """What the sums over h add to the error, looked at on every fourth omega."""
    y, h, w = nodes
    some = slice(_offset(w.size, 4), None, 4)
    fine, zero = [d[:, some] for d in jet], zero[:, some]
    half, quarter = (_jets(density, h, w[some], noise, functions.order, s) for s in (2, 4))
    z = np.where(zero, 1.0, fine[0])
    doubts = []
    for k, (a, b, c) in enumerate(zip(fine, half, quarter, strict=True)):
        size = np.maximum(np.abs(a), z / noise ** (k / 2))
        doubts.append(estimated(_FLOAT, a, b, c, size, PEAKED).error / z)
    spread = [doubts[0]]
    spread += [e + np.abs(a / z) * doubts[0] for e, a in zip(doubts[1:], fine[1:], strict=True)]
    slopes = functions.passed(_FLOAT, *_at(functions, arguments, y, w[some], fine, top, zero))
    worst = np.zeros(zero.shape)
    for k, slope in enumerate(slopes):
        worst = np.maximum(worst, np.abs(slope) * spread[k % len(spread)])
    return 4 * (np.where(zero, 0.0, worst) * weights[some]).sum(axis=1)
