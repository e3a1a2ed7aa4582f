"""Pairs written by hand: priors with a mean, discrete priors, outputs that diverge at recovery."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.backends.float64 import Float64
from solvers.fixed_point.pair import solve_points
from solvers.problem import Evaluation, PairProblem, evaluate_levels
from solvers.solution import Outcome


def pair(signal, output, **moments):
    """A problem from closed forms (value, slope)."""

    def half(function):
        def evaluate(backend, level, at, parameters):
            with np.errstate(all="ignore"):
                value, slope = function(at, parameters)
            return Evaluation(value, slope, np.zeros(np.shape(at)))

        return evaluate

    def entropy(backend, level, q_hat, v, parameters):
        return Evaluation(-v, 0 * v, np.zeros(np.shape(v)))

    return PairProblem(half(signal), half(output), entropy, (), ("alpha",), **moments)


def gaussian(variance):
    return lambda t, _: (variance / (1 + variance * t), -(variance**2) / (1 + variance * t) ** 2)


def noisy(v, p):
    return p["alpha"] / (0.1 + v), -p["alpha"] / (0.1 + v) ** 2


def solved(problem, alpha, recovered=False):
    return solve_points(problem, {}, {"alpha": np.array([alpha])}, np.array([recovered]))[0]


@pytest.mark.parametrize("evaluate_at_zero", [True, False])
def test_a_gaussian_prior_with_a_mean(evaluate_at_zero):
    """x ~ N(1, 2): v solves v (0.1 + v + 2 alpha) = 2 (0.1 + v), and q = E x^2 - v = 3 - v."""
    moments = {
        "second_moment": lambda backend, _: backend.number(3),
        "prior_error": None if evaluate_at_zero else lambda backend, _: backend.number(2),
    }
    result = solved(pair(gaussian(2.0), noisy, **moments), 0.7)
    v = max(np.roots([1, 0.1 + 2 * 0.7 - 2, -0.2]))
    assert result.chosen.outcome is Outcome.CONVERGED
    assert result.chosen.v == pytest.approx(v, rel=1e-12)
    assert result.overlaps == pytest.approx((3 - v,), rel=1e-12)


def exponential(t, _):
    return np.exp(-t), -np.exp(-t)


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("recovered", [True, False])
def test_a_discrete_prior_with_outputs_that_diverge_at_recovery(power, recovered):
    """v = exp(-t), t = alpha v^-power: t exp(-power t) = alpha has two roots below alpha = 1/(e power)."""

    def diverging(v, p):
        return p["alpha"] * v**-power, -power * p["alpha"] * v ** (-power - 1)

    result = solved(pair(exponential, diverging), 0.1, recovered)
    roots = [q for q in result.overlaps if q < 1]
    for q in roots:
        t = -np.log1p(-q)
        assert t * np.exp(-power * t) == pytest.approx(0.1, rel=1e-8)
    assert len(roots) == 2
    assert (1.0 in result.overlaps) == recovered
    above = solved(pair(exponential, diverging), 5.0, recovered)
    assert above.overlaps == ((1.0,) if recovered else ())
    assert above.chosen.outcome is (Outcome.PERFECT_RECOVERY if recovered else Outcome.NO_SOLUTION)


@pytest.mark.parametrize("wrong", [0.0, 1e-2, -0.3])
def test_newton_goes_on_while_f_falls_although_its_slope_is_inexact(wrong):
    """A step below 1e-9 ends the iteration only where f does not fall any more."""

    def steered(v, p):
        value, slope = noisy(v, p)
        return value, slope * (1 + wrong)

    result = solved(pair(gaussian(1.0), steered), 0.7)
    v = max(np.roots([1, 0.1 + 0.7 - 1, -0.1]))
    assert result.chosen.outcome is Outcome.CONVERGED
    assert result.chosen.residual <= 1e-12
    assert result.chosen.v == pytest.approx(v, rel=1e-12)


def test_no_relative_accuracy_is_asked_of_what_has_underflowed():
    """An exact 0 whose error is that of rounding is left at the first level; a small value is not."""
    levels = []

    def half(backend, level, at, parameters):
        levels.append((level, at.size))
        return Evaluation(np.where(at > 1, 0.0, 1e-20), 0 * at, np.full(at.shape, 1e-15 * 4.0**-level))

    found = evaluate_levels(half, Float64(), np.array([0.5, 2.0, 3.0]), {}, 1e-4, 0.0, (3, 6))
    assert levels == [(3, 3), (4, 1), (5, 1), (6, 1)]
    assert list(found.result.value) == [1e-20, 0, 0]
