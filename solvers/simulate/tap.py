"""Message passing for SK: the iteration that solves the TAP equations.

    m^{t+1} = tanh beta (h + J m^t - beta (1 - q_t) m^{t-1}),    q_t = |m^t|^2 / N,    m^0 = 0

E. Bolthausen, Commun. Math. Phys. 325, 333 (2014): the Onsager term takes the magnetisation of the step
before, which makes the cavity fields Gaussian at every step (state evolution). The mean square move shrinks
by beta^2 E sech^4(beta (h + sqrt(q) z)) per step, so the iteration converges above the Almeida-Thouless line
and not below it. Fixed points are stationary points of the TAP free entropy.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import entr

from solvers.errors import InputError
from solvers.simulate.spin_systems import FloatArray
from solvers.simulate.threads import blas_threads


class TapOutcome(enum.Enum):
    """How an iteration ended; the value is the sentence to show."""

    CONVERGED = "converged: the magnetisations move by less than the tolerance"
    ITERATION_LIMIT = "not converged: the iteration limit was reached before the tolerance"
    INTERRUPTED = "interrupted: the iterations done so far are kept"


@dataclass(frozen=True)
class TapRun:
    """An iteration of the TAP equations.

    Attributes:
        magnetisation: the last m, shape (N,); a solution only if the outcome is CONVERGED.
        overlap: q_t = |m^t|^2 / N after each step.
        change: root mean square move of m at each step.
        outcome: how it ended.
    """

    magnetisation: FloatArray = field(repr=False)
    overlap: FloatArray = field(repr=False)
    change: FloatArray = field(repr=False)
    outcome: TapOutcome

    @property
    def iterations(self) -> int:
        """Steps made."""
        return len(self.change)

    def rate(self, first: int | None = None, last: int | None = None) -> float:
        """Factor of the mean square move per step, fitted to steps `first` to `last` or to the second half.

        At large N it is beta^2 E sech^4; at finite N the last steps follow the slowest mode of the sample.

        Raises:
            InputError: fewer than four steps, or moves that reached 0.
        """
        start = len(self.change) // 2 if first is None else first - 1
        moves = self.change[max(start, 0) : last]
        if len(moves) < 4 or np.any(moves <= 0):
            raise InputError("a rate of convergence needs at least four steps that move")
        return float(np.exp(2 * np.polyfit(np.arange(len(moves)), np.log(moves), 1)[0]))


def tap_iterate(
    J: FloatArray,
    temperature: float,
    field: float = 0.0,
    *,
    start: FloatArray | None = None,
    tolerance: float = 1e-10,
    iterations: int = 1000,
    progress: Callable[[int, float], None] | None = None,
    threads: int = 1,
) -> TapRun:
    """Iterate to a fixed point.

    Args:
        J: symmetric with zero diagonal and variance 1/N, shape (N, N).
        temperature: T > 0.
        field: h. With h = 0 the start must not be 0, which is a fixed point.
        start: m^0 in [-1, 1]; 0 if None.
        tolerance: of the root mean square move.
        iterations: limit.
        progress: called with (step, move).
        threads: of BLAS.

    Raises:
        InputError: arguments out of range.
    """
    J = _checked_couplings(J)
    N = len(J)
    _check_point(temperature, field)
    if tolerance <= 0 or iterations < 1:
        raise InputError(f"tolerance and iterations are positive, got {tolerance} and {iterations}")
    m = np.zeros(N) if start is None else _checked_magnetisation(start, N)
    if field == 0 and not np.any(m):
        raise InputError("with no field, m = 0 is a fixed point: give another start")
    beta = 1 / temperature
    before = np.zeros(N)
    overlaps: list[float] = []
    changes: list[float] = []
    outcome = TapOutcome.ITERATION_LIMIT
    try:
        with blas_threads(threads):
            for step in range(1, iterations + 1):
                memory = beta * (1 - float(m @ m) / N)
                after = np.tanh(beta * (field + J @ m - memory * before))
                before, m = m, after
                changes.append(float(np.linalg.norm(m - before)) / math.sqrt(N))
                overlaps.append(float(m @ m) / N)
                if progress is not None:
                    progress(step, changes[-1])
                if changes[-1] < tolerance:
                    outcome = TapOutcome.CONVERGED
                    break
    except KeyboardInterrupt:
        outcome = TapOutcome.INTERRUPTED
    steps = min(len(overlaps), len(changes))
    return TapRun(m, np.array(overlaps[:steps]), np.array(changes[:steps]), outcome)


def tap_free_entropy(J: FloatArray, m: FloatArray, temperature: float, field: float = 0.0) -> float:
    """The TAP free entropy per spin, whose stationary points solve the TAP equations.

    (1/N) [sum_i S(m_i) + (beta/2) m.J m + beta h sum_i m_i] + (beta^2/4) (1 - q)^2, q = |m|^2 / N, with S the
    entropy of a spin of mean m_i. At the paramagnet m = 0 it is log 2 + beta^2/4. Source: D. J. Thouless,
    P. W. Anderson, R. G. Palmer, Phil. Mag. 35, 593 (1977), with J_ij^2 replaced by its mean.

    Raises:
        InputError: arguments out of range.
    """
    J = _checked_couplings(J)
    N = len(J)
    m = _checked_magnetisation(m, N)
    _check_point(temperature, field)
    beta = 1 / temperature
    entropy = float(np.sum(entr((1 + m) / 2) + entr((1 - m) / 2)))
    q = float(m @ m) / N
    return (entropy + beta * float(m @ J @ m) / 2 + beta * field * float(m.sum())) / N + beta**2 * (
        1 - q
    ) ** 2 / 4


def _checked_couplings(J: FloatArray) -> FloatArray:
    array = np.asarray(J, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) < 2:
        raise InputError(f"couplings of one sample have shape (N, N), got {array.shape}")
    if not np.all(np.isfinite(array)) or not np.array_equal(array, array.T) or np.any(np.diag(array)):
        raise InputError("couplings are finite and symmetric, with zero diagonal")
    return array


def _checked_magnetisation(m: FloatArray, N: int) -> FloatArray:
    array = np.array(m, dtype=np.float64)
    if array.shape != (N,) or not np.all(np.abs(array) <= 1):
        raise InputError(f"magnetisations are N = {N} numbers in [-1, 1]")
    return array


def _check_point(temperature: float, field: float) -> None:
    if not (math.isfinite(temperature) and temperature > 0 and math.isfinite(field)):
        raise InputError(f"a temperature is positive and a field finite, got {temperature} and {field}")
