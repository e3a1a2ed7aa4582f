"""The numbers side of a saddle point whose cycle passes through one unknown: x -> conjugate(x) -> x.

For a pair (overlap, conjugate) the equations are v = signal(q_hat) and q_hat = output(v), where the error
v = E x^2 - q takes the place of the overlap: near recovery q loses its digits, v does not.  A problem
knows no SymPy and no model, only functions on a backend.
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


Moment = Callable[[Any, Mapping[str, Any]], Any]
"""(backend, signal parameters) -> a moment of the signal, a number of the backend."""


def unit_moment(backend: Any, parameters: Mapping[str, Any]) -> Any:
    """1, as for a centred signal of unit variance."""
    return backend.number(1)


@dataclass(frozen=True)
class PairProblem:
    """v = signal(q_hat; signal parameters), q_hat = output(v; output parameters).

    ``signal_parameters`` and ``output_parameters`` name the control parameters that each half needs, so that
    a sweep over the others can share a table.  ``free_entropy(backend, level, q_hat, v, parameters)``.

    ``second_moment`` is E x^2, so that q = second_moment - v.  ``prior_error`` is v at q_hat = 0, the
    variance of the signal: smaller than E x^2 where its mean is not 0; None evaluates the signal half there.

    ``spectral`` says that v is a difference of spectral integrals, with the rounding that this brings;
    ``nested`` that a half is an average inside an average, where more digits than a double's take minutes;
    ``finest`` is the last level at which the output half and the free entropy gain anything in doubles.
    ``factor`` names an output parameter that multiplies the output half and is not in it otherwise.
    """

    signal: Half
    output: Half
    free_entropy: Callable[[Any, int, Any, Any, Mapping[str, Any]], Evaluation]
    signal_parameters: tuple[str, ...]
    output_parameters: tuple[str, ...]
    second_moment: Moment = unit_moment
    prior_error: Moment | None = unit_moment
    spectral: bool = True
    nested: bool = False
    finest: int = 9
    factor: str | None = None

    def error_at_zero(self, backend: Any, parameters: Mapping[str, Any], tolerance: float) -> Any:
        """v at q_hat = 0 at one set of signal parameters."""
        with backend.context():
            if self.prior_error is not None:
                return self.prior_error(backend, parameters)
            zero = backend.number(0)
            result, _ = at_level(lambda k: self.signal(backend, k, zero, parameters), tolerance)
            return backend.midpoint(result.value)


LEVELS = range(3, 13)


def at_level(
    evaluate: Callable[[int], Evaluation],
    tolerance: float,
    start: int = LEVELS.start,
    *,
    relative: float | None = None,
) -> tuple[Evaluation, int]:
    """Raise the quadrature's level until its error is at the tolerance; the last level is returned whatever
    its error.  ``relative``: to the value, where that is between this and 1 (one number, no array).  An error
    that has not fallen for two levels is rounding, as is a value that is no number twice: the level where
    that shows is then the last.
    """
    least, strikes = np.inf, 0
    for level in range(start, LEVELS.stop):
        result = evaluate(level)
        scale = 1.0 if relative is None else min(1.0, max(abs(float(result.value)), relative))
        worst = np.max(result.error)
        if worst <= max(tolerance * scale, 1e-300):
            break
        strikes = strikes + 1 if worst > 0.5 * least or _lost(result.value) else 0
        least = min(least, worst)
        if strikes == 2:
            break
    return result, level


def _lost(value: Any) -> bool:
    return bool(np.any(np.isnan(np.asarray(value, dtype=float))))


TYPICAL, FINEST = 5, 9
"""Levels at which most averages have the digits of a double, and beyond which one has nothing to gain."""


FOUND, CLOSE = 1e-3, 1e-10
"""Relative errors: beyond the first an average has not found its body yet, and one that has not fallen is
no error of rounding; between both it may not have fallen by chance, once.
"""


class Batch(NamedTuple):
    """An evaluation of many points, and the first level that was enough for one of them."""

    result: Evaluation
    level: int


def evaluate_levels(
    half: Half,
    backend: Any,
    unknown: np.ndarray,
    parameters: Mapping[str, Any],
    tolerance: Any,
    floor: float = 0.1,
    levels: tuple[int, int] = (LEVELS.start, FINEST),
) -> Batch:
    """A half on arrays (float64), with the level raised only where the error asks for it, within ``levels``.

    The tolerance, one number or one for each point, is relative to the value, or to ``floor`` for smaller
    ones; where it is infinite the first level is taken as it is.  A point whose error no longer falls, from
    the second level on, is at rounding, and is left.
    """
    first, finest = levels
    value, slope, error = (np.full(unknown.shape, np.nan) for _ in range(3))
    before, stalls = np.full(unknown.shape, np.inf), np.zeros(unknown.shape, dtype=int)
    allowed = np.broadcast_to(tolerance, unknown.shape)
    pending = np.arange(unknown.size)
    reached = finest
    for level in range(first, finest + 1):
        everything = pending.size == unknown.size
        some = (
            parameters if everything else {n: p[pending] if np.ndim(p) else p for n, p in parameters.items()}
        )
        result = half(backend, level, unknown if everything else unknown[pending], some)
        value[pending], slope[pending], error[pending] = result.value, result.slope, result.error
        here, least = error[pending], before[pending]
        size = np.maximum(np.abs(value[pending]), floor)
        enough = here <= allowed[pending] * size
        if floor == 0:  # no relative accuracy is to be had of a value that has underflowed
            enough |= value[pending] == 0
        # a coarse level may be no better by chance, nor one at which a peak has just been found
        stalled = (here > 0.5 * least) & (level > LEVELS.start + 1) & (here <= FOUND * size)
        stalls[pending] += stalled
        rounding = stalled & ((here <= CLOSE * size) | (stalls[pending] > 1))
        left = ~(enough | rounding | np.isinf(allowed[pending]))
        if not left.all():
            reached = min(reached, level)
        before[pending] = here
        pending = pending[left]
        if pending.size == 0:
            break
    return Batch(Evaluation(value, slope, error), reached)


def evaluate_batch(
    half: Half,
    backend: Any,
    unknown: np.ndarray,
    parameters: Mapping[str, Any],
    tolerance: Any,
    floor: float = 0.1,
    finest: int = FINEST,
) -> Evaluation:
    """The same from the lowest level on, without the level reached."""
    return evaluate_levels(
        half, backend, unknown, parameters, tolerance, floor, (LEVELS.start, finest)
    ).result
