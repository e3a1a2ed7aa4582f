"""The numbers side of a saddle point whose cycle passes through one unknown: x -> conjugate(x) -> x.

For a pair (overlap, conjugate) the equations are v = signal(q_hat) and q_hat = output(v), where v = 1 - q is
the error: working with v keeps
its digits when it is small.  A problem knows no SymPy and no model, only functions on a backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Evaluation(NamedTuple):
    """Values, derivatives in the first argument, and the quadrature's error (float64)."""

    value: Any
    slope: Any
    error: Any


Half = Callable[[Any, int, Any, Mapping[str, Any]], Evaluation]
"""(backend, level, unknown, parameters) -> evaluation; arrays broadcast."""


@dataclass(frozen=True)
class PairProblem:
    """v = signal(q_hat; signal parameters), q_hat = output(v; output parameters).

    ``signal_parameters`` and ``output_parameters`` name the control parameters that each half needs, so that
    a sweep over
    the others can share a table.  ``free_entropy(backend, level, q_hat, v, parameters)``.
    """

    signal: Half
    output: Half
    free_entropy: Callable[[Any, int, Any, Any, Mapping[str, Any]], Evaluation]
    signal_parameters: tuple[str, ...]
    output_parameters: tuple[str, ...]


LEVELS = range(3, 13)


def at_level(
    evaluate: Callable[[int], Evaluation], tolerance: float, start: int = LEVELS.start
) -> tuple[Evaluation, int]:
    """Raise the quadrature's level until its error is at the tolerance; the last level is returned whatever
    its error.
    """
    for level in range(start, LEVELS.stop):
        result = evaluate(level)
        if np.all(result.error <= tolerance):
            break
    return result, level


def evaluate_batch(
    half: Half, backend: Any, unknown: np.ndarray, parameters: Mapping[str, Any], tolerance: float
) -> Evaluation:
    """A half on arrays (float64), with the level raised only where the error asks for it.

    The tolerance is relative to the value, or to 0.1 for smaller ones. A point whose error no longer falls
    is at rounding, and is left.
    """
    value, slope, error = (np.full(unknown.shape, np.nan) for _ in range(3))
    before = np.full(unknown.shape, np.inf)
    pending = np.arange(unknown.size)
    for level in LEVELS:
        some = {name: p[pending] if np.ndim(p) else p for name, p in parameters.items()}
        result = half(backend, level, unknown[pending], some)
        for target, source in ((value, result.value), (slope, result.slope), (error, result.error)):
            target[pending] = source
        enough = error <= tolerance * np.maximum(np.abs(value), 0.1)
        stuck = error > 0.5 * before
        before[pending] = error[pending]
        pending = pending[~(enough | stuck)[pending]]
        # beyond level 9 a double has nothing to gain
        if pending.size == 0 or level >= 9:
            break
    return Evaluation(value, slope, error)
