"""Generalised approximate message passing, for any channel and any denoiser given as functions.

Source: S. Rangan, arXiv 1010.5141, with scalar variances, and with any denoiser: a separable one, or one of
a matrix as in arXiv 2410.18858 (GAMP-RIE). A vector signal of N coordinates has shape (N, 1). With F = X /
sqrt(d L) and alpha = n / (d L), one iteration is

    omega  = F s_hat - V g_old                          (outputs, with their Onsager term)
    g, -dg = channel(y, omega, V)
    q_hat  = alpha mean(-dg)
    R      = s_hat + F^T g / q_hat                      (the signal seen through Gaussian noise 1/q_hat)
    s_hat, V = denoiser(R, q_hat)

which for a separable prior is s_hat = f_in(A, B), V = mean df_in/dB at A = q_hat, B = q_hat R (`separable`),
and at large size its mean square error follows state evolution: q_hat = 2 alpha dPsi_out/dq at q = 1 - V,
which is alpha / (Delta + V) for a Gaussian channel, and V = MMSE(q_hat).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from solvers.errors import InputError
from solvers.simulate.sensing import FloatArray, Sensing
from solvers.simulate.threads import blas_threads

Channel: TypeAlias = Callable[[FloatArray, FloatArray, float], tuple[FloatArray, FloatArray]]
"""`channel(y, omega, V) -> (g, -dg/domega)`, all of shape (n,) but the scalar V."""
Denoiser: TypeAlias = Callable[[FloatArray, float], tuple[FloatArray, float]]
"""`denoiser(R, q_hat) -> (estimate, posterior variance per entry)`, R and the estimate of shape (d, L)."""
Posterior: TypeAlias = Callable[[float, FloatArray], tuple[FloatArray, FloatArray]]
"""`posterior(A, B) -> (mean, variance)` of each coordinate under the prior tilted by exp(B x - A x^2/2)."""

VARIANCE_FLOOR = 1e-14
"""V never goes below this times the prior variance: the rounding of a float32 product, squared. With no
noise V -> 0 and the channel would divide by zero."""
EXPLODED = 10.0
"""An estimate whose mean square distance to the prior mean, or whose error, is over this many prior
variances is not coming back."""
LARGE_VARIANCE = 2.0
PATIENCE = 5
"""V over LARGE_VARIANCE prior variances for more than PATIENCE iterations in a row is a divergence."""


SMALL_VARIANCE = 1e-10
STAGNATION = 10
"""V under SMALL_VARIANCE prior variances and no new smallest move for STAGNATION iterations: a recovery
with no noise, which float32 products stop near V = 1e-12, above a tolerance of 1e-6 or below it as the
instance has it."""
SILENT_VARIANCE, SILENCE = 1e-5, 1e-3
"""V under SILENT_VARIANCE prior variances and a q_hat that falls below SILENCE of the one before: a recovery
of discrete coordinates from discrete outputs, which no output near its threshold doubts any more."""


class AmpOutcome(enum.Enum):
    """How a run ended; the value is the sentence to show."""

    CONVERGED = "converged: the estimate changed by less than the tolerance"
    RECOVERED = "converged: the estimate is exact up to the rounding of the products"
    ITERATION_LIMIT = "not converged: the iteration limit was reached before the tolerance"
    NOT_FINITE = "diverged: an infinite or undefined number appeared; the last finite iterate is kept"
    EXPLODED = "diverged: the estimate grew far beyond the prior; the last iterate within bounds is kept"
    VARIANCE = "diverged: the posterior variance stayed above twice the prior variance"
    NEGATIVE_VARIANCE = "diverged: the denoiser returned a negative posterior variance"
    NO_INFORMATION = "diverged: the outputs gave a q_hat that is not positive (an even channel needs a start)"
    INTERRUPTED = "interrupted: the iterations done so far are kept"

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met, or the rounding of the products if that comes first."""
        return self in (AmpOutcome.CONVERGED, AmpOutcome.RECOVERED)

    @property
    def diverged(self) -> bool:
        """Whether the run left the region where its equations mean something."""
        return self in _DIVERGED


_DIVERGED = frozenset(
    {
        AmpOutcome.NOT_FINITE,
        AmpOutcome.EXPLODED,
        AmpOutcome.VARIANCE,
        AmpOutcome.NEGATIVE_VARIANCE,
        AmpOutcome.NO_INFORMATION,
    }
)


@dataclass(frozen=True)
class AmpStep:
    """One iteration, as given to the callback: its number from 1, the state after it, the change it made.

    `change` is the root mean square over the entries of the move of the estimate; `mse` is None without a
    truth.
    """

    iteration: int
    variance: float
    q_hat: float
    change: float
    mse: float | None


@dataclass(frozen=True)
class AmpRun:
    """A run of message passing; every number in it is finite.

    Attributes:
        estimate: the last accepted estimate, shape (d, L).
        mse: |S - S_hat|^2 / (d L) after each iteration, up to a global sign if `symmetric`; empty without a
            truth.
        variance: V after each iteration, what the run itself believes its mse to be.
        q_hat: inverse variance of the effective Gaussian noise at each iteration.
        change: root mean square move of the estimate at each iteration.
        outcome: how it ended.
        observed: what it says at its end of the values of a solution, by their names; filled by who knows
            the names.
    """

    estimate: FloatArray = field(repr=False)
    mse: FloatArray = field(repr=False)
    variance: FloatArray = field(repr=False)
    q_hat: FloatArray = field(repr=False)
    change: FloatArray = field(repr=False)
    outcome: AmpOutcome
    observed: Mapping[str, float] = field(default_factory=dict)

    @property
    def iterations(self) -> int:
        """Number of iterations accepted."""
        return len(self.q_hat)


@dataclass(frozen=True)
class _State:
    estimate: FloatArray
    variance: float
    score: FloatArray
    q_hat: float = 0.0


class _EndedError(Exception):
    def __init__(self, outcome: AmpOutcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


def mean_square_error(estimate: FloatArray, truth: FloatArray, *, symmetric: bool = False) -> float:
    """|S - S_hat|^2 / (d L); with `symmetric`, the smaller of the two for S and -S (even channels)."""
    error = float(np.mean((truth - estimate) ** 2))
    return min(error, float(np.mean((truth + estimate) ** 2))) if symmetric else error


def separable(posterior: Posterior) -> Denoiser:
    """The denoiser of independent coordinates, from the posterior mean and variance of one."""

    def denoiser(R: FloatArray, q_hat: float) -> tuple[FloatArray, float]:
        mean, variance = posterior(q_hat, q_hat * R)
        return mean, float(np.mean(variance))

    return denoiser


def gamp(
    sensing: Sensing,
    y: FloatArray,
    channel: Channel,
    denoiser: Denoiser,
    *,
    truth: FloatArray | None = None,
    max_iterations: int = 200,
    tolerance: float = 1e-6,
    damping: float = 0.0,
    start: FloatArray | None = None,
    start_variance: float | None = None,
    prior_variance: float = 1.0,
    prior_mean: float | FloatArray = 0.0,
    symmetric: bool = False,
    callback: Callable[[AmpStep, FloatArray], None] | None = None,
    threads: int = 1,
) -> AmpRun:
    """Run message passing from y to an estimate of S.

    Args:
        sensing: the operator F, n samples of shape (d, L).
        y: outputs, shape (n,).
        channel: `(y, omega, V) -> (g, -dg/domega)`.
        denoiser: `(R, q_hat) -> (estimate, posterior variance per entry)`.
        truth: S, to record the mse.
        max_iterations: at least 1.
        tolerance: converged when the root mean square move of the estimate is below tolerance
            sqrt(prior_variance), divided by 1 - damping, which damping would otherwise make easier to meet.
        damping: in [0, 1): the share of the old g, estimate and V kept; 0 follows state evolution.
        start: initial estimate, shape (d, L); the prior mean when None. An even channel (y = |h|) needs
            one, since 0 is a fixed point there: see `informed_start`.
        start_variance: V at the start, the mean square error believed of `start`; the prior variance when
            None.
        prior_variance: variance of an entry of S.
        prior_mean: mean of an entry of S, a number or an array of shape (d, L).
        symmetric: measure the mse up to a global sign.
        callback: called with each accepted `AmpStep` and its estimate; a KeyboardInterrupt from it ends the
            run like one from the keyboard.
        threads: how many threads BLAS may use during the run; see `solvers.simulate.threads`.

    Returns:
        the run. A divergence or an interruption is an outcome, not an exception, and leaves the last finite
        iterate.

    Raises:
        InputError: shapes that do not match, values that are not finite, or options out of range.
    """
    _check_options(max_iterations, tolerance, damping, prior_variance, prior_mean, start_variance)
    _check_array("y", y, (sensing.samples,))
    for name, array in (("truth", truth), ("start", start)):
        if array is not None:
            _check_array(name, array, sensing.shape)
    state = _State(
        estimate=np.full(sensing.shape, prior_mean) if start is None else np.array(start, dtype=np.float64),
        variance=max(
            prior_variance if start_variance is None else start_variance, VARIANCE_FLOOR * prior_variance
        ),
        score=np.zeros(sensing.samples),
    )
    steps: list[AmpStep] = []
    prior = (prior_mean, prior_variance)
    target = tolerance * np.sqrt(prior_variance)
    outcome = AmpOutcome.ITERATION_LIMIT
    estimate = state.estimate
    try:
        with blas_threads(threads):
            for new, q_hat in _iterate(sensing, y, channel, denoiser, state, damping, prior):
                change = float(np.sqrt(np.mean((new.estimate - estimate) ** 2))) / (1.0 - damping)
                mse = None if truth is None else mean_square_error(new.estimate, truth, symmetric=symmetric)
                if mse is not None and mse > EXPLODED * prior_variance:
                    raise _EndedError(AmpOutcome.EXPLODED)
                estimate = new.estimate
                step = AmpStep(len(steps) + 1, new.variance, q_hat, change, mse)
                steps.append(step)
                if callback is not None:
                    callback(step, estimate)
                if change < target:
                    believable = new.variance <= LARGE_VARIANCE * prior_variance
                    outcome = AmpOutcome.CONVERGED if believable else AmpOutcome.VARIANCE
                    break
                if _is_at_rounding(steps, prior_variance):
                    outcome = AmpOutcome.RECOVERED
                    break
                if _variance_is_stuck(steps, prior_variance):
                    outcome = AmpOutcome.VARIANCE
                    break
                if len(steps) >= max_iterations:
                    break
    except _EndedError as end:
        outcome = end.outcome
    except KeyboardInterrupt:
        outcome = AmpOutcome.INTERRUPTED
    return AmpRun(
        estimate=estimate,
        mse=np.array([step.mse for step in steps if step.mse is not None], dtype=np.float64),
        variance=np.array([step.variance for step in steps], dtype=np.float64),
        q_hat=np.array([step.q_hat for step in steps], dtype=np.float64),
        change=np.array([step.change for step in steps], dtype=np.float64),
        outcome=outcome,
    )


def _iterate(
    sensing: Sensing,
    y: FloatArray,
    channel: Channel,
    denoiser: Denoiser,
    state: _State,
    damping: float,
    prior: tuple[float | FloatArray, float],
) -> Iterator[tuple[_State, float]]:
    """The states after each iteration with the q_hat used, without end; raises `_EndedError`."""
    while True:
        # a divergence is an outcome, found by the checks below, so numpy need not also warn of it
        with np.errstate(all="ignore"):
            state, q_hat = _iteration(sensing, y, channel, denoiser, state, damping, prior)
        yield state, q_hat


def _iteration(
    sensing: Sensing,
    y: FloatArray,
    channel: Channel,
    denoiser: Denoiser,
    state: _State,
    damping: float,
    prior: tuple[float | FloatArray, float],
) -> tuple[_State, float]:
    prior_mean, prior_variance = prior
    alpha = sensing.samples / (sensing.shape[0] * sensing.shape[1])
    omega = sensing.forward(state.estimate)
    omega -= state.variance * state.score
    score, minus_slope = channel(y, omega, state.variance)
    q_hat = alpha * float(np.mean(minus_slope))
    _require(bool(np.isfinite(q_hat) and np.all(np.isfinite(score))), AmpOutcome.NOT_FINITE)
    silent = state.variance <= SILENT_VARIANCE * prior_variance and q_hat < SILENCE * state.q_hat
    _require(not silent, AmpOutcome.RECOVERED)
    _require(q_hat > 0.0, AmpOutcome.NO_INFORMATION)
    if damping > 0.0:
        score = (1.0 - damping) * score + damping * state.score
    observed = sensing.adjoint(score)
    observed /= q_hat
    observed += state.estimate
    _require(bool(np.all(np.isfinite(observed))), AmpOutcome.NOT_FINITE)
    estimate, raw_variance = denoiser(observed, q_hat)
    variance = float(raw_variance)
    _require(bool(np.isfinite(variance) and np.all(np.isfinite(estimate))), AmpOutcome.NOT_FINITE)
    _require(variance >= 0.0, AmpOutcome.NEGATIVE_VARIANCE)
    if damping > 0.0:
        estimate = (1.0 - damping) * estimate + damping * state.estimate
        variance = (1.0 - damping) * variance + damping * state.variance
    _require(float(np.mean((estimate - prior_mean) ** 2)) <= EXPLODED * prior_variance, AmpOutcome.EXPLODED)
    return _State(estimate, max(variance, VARIANCE_FLOOR * prior_variance), score, q_hat), q_hat


def _require(condition: bool, otherwise: AmpOutcome) -> None:
    if not condition:
        raise _EndedError(otherwise)


def _variance_is_stuck(steps: list[AmpStep], prior_variance: float) -> bool:
    recent = steps[-PATIENCE - 1 :]
    return len(recent) > PATIENCE and all(step.variance > LARGE_VARIANCE * prior_variance for step in recent)


def _is_at_rounding(steps: list[AmpStep], prior_variance: float) -> bool:
    if len(steps) <= STAGNATION or steps[-1].variance > SMALL_VARIANCE * prior_variance:
        return False
    changes = [step.change for step in steps]
    return min(changes[-STAGNATION:]) >= min(changes[:-STAGNATION])


def _check_options(
    max_iterations: int,
    tolerance: float,
    damping: float,
    prior_variance: float,
    prior_mean: float | FloatArray,
    start_variance: float | None,
) -> None:
    if max_iterations < 1:
        raise InputError(f"max_iterations is at least 1, got {max_iterations}")
    if not tolerance > 0.0:
        raise InputError(f"tolerance is positive, got {tolerance}")
    if not 0.0 <= damping < 1.0:
        raise InputError(f"damping lies in [0, 1), got {damping}")
    if not (prior_variance > 0.0 and np.isfinite(prior_variance)):
        raise InputError(f"prior_variance is positive, got {prior_variance}")
    if not np.all(np.isfinite(prior_mean)):
        raise InputError(f"prior_mean is finite, got {prior_mean}")
    if start_variance is not None and not (start_variance >= 0.0 and np.isfinite(start_variance)):
        raise InputError(f"start_variance is at least 0, got {start_variance}")


def _check_array(name: str, array: FloatArray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}, expected {shape}")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds values that are not finite")
