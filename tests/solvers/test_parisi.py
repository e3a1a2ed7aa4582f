"""The Parisi functional on step functions: quadrature written here, differences, convexity."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solvers.fixed_point.breaking import coarse_interval, fully_broken
from solvers.fixed_point.monotone import minimise_monotone
from solvers.fixed_point.parisi import Functional, Levels, gap
from solvers.quadrature.dilated import dilation

WARM = Functional((0.0, 4.0), (0.0, 0.0, 1.0), 0.4)  # SK at T = 1/2 with beta h = 0.4
COLD = Functional((0.0, 1.0), (0.0, 0.0, 0.25), 0.3, frozen=True)
CASES = [
    (WARM, np.array([0.2, 0.45, 0.64]), np.array([0.15, 0.4])),
    (COLD, np.array([0.2, 0.5, 0.8]), np.array([0.4, 0.9, 2.0])),
]


def nested(functional, edges, x):
    """The functional by Gauss-Hermite rules of 56 nodes inside each other, and the squared slopes of phi."""
    z, weights = np.polynomial.hermite_e.hermegauss(56)
    weights = weights / weights.sum()
    spread = [np.interp(q, (0, 1), (0, sum(functional.variance))) for q in edges]
    steps = list(zip(np.diff([*spread, sum(functional.variance)]), np.append(x, 1.0), strict=False))

    def phi(w, left):
        if not left:
            return np.abs(w) if functional.frozen else np.logaddexp(w, -w)
        (variance, size), rest = left[0], left[1:]
        if functional.frozen and not rest:  # two half-lines: a kink spoils the rule
            s = math.sqrt(variance)
            up, down = (0.5 * np.vectorize(math.erfc)(-(t / s + size * s) / math.sqrt(2)) for t in (w, -w))
            return (np.log(np.exp(size * w) * up + np.exp(-size * w) * down) + size**2 * variance / 2) / size
        inside = size * phi(w[..., None] + math.sqrt(variance) * z, rest)
        top = inside.max(axis=-1, keepdims=True)
        return (top[..., 0] + np.log(np.exp(inside - top) @ weights)) / size

    start = functional.mean + math.sqrt(spread[0]) * z
    values = np.append(x, 1.0)[: len(edges)]
    coupling = np.diff(np.append(edges, 1.0) ** 2 * functional.coupling[2])
    return weights @ phi(start, steps) - values @ coupling


@pytest.mark.parametrize(("functional", "edges", "x"), CASES, ids=["warm", "cold"])
def test_the_value_is_that_of_nested_quadrature(functional, edges, x):
    assert Levels(functional, edges).at(x).value == pytest.approx(nested(functional, edges, x), abs=2e-10)


@pytest.mark.parametrize(("functional", "edges", "x"), CASES, ids=["warm", "cold"])
def test_gradient_and_hessian_by_differences(functional, edges, x):
    levels, step = Levels(functional, edges), 1e-5
    state = levels.at(x)
    sides = [[levels.at(x + sign * step * e) for sign in (1, -1)] for e in np.eye(x.size)]
    slope = [(up.value - down.value) / (2 * step) for up, down in sides]
    curvature = [(up.gradient - down.gradient) / (2 * step) for up, down in sides]
    assert state.gradient == pytest.approx(slope, abs=1e-9)
    assert levels.hessian(state) == pytest.approx(np.array(curvature), abs=1e-9)
    assert np.all(np.linalg.eigvalsh(levels.hessian(state)) > 0)  # Auffinger and Chen: convex


@pytest.mark.parametrize(("functional", "edges", "x"), CASES, ids=["warm", "cold"])
def test_moments_are_derivatives(functional, edges, x):
    """dphi/dw at the start from the mean; E phi'^2 from moving an edge: dPhi/dq_j = (x_j - x_(j+1))(v'/2)(q_j -
    E phi'^2); the density of w and its responses from a tiny level that is split off.
    """
    levels, step = Levels(functional, edges), 1e-5
    moments = levels.moments(levels.at(x))

    def value(mean=functional.mean, moved=0.0):
        other = Functional(functional.variance, functional.coupling, mean, functional.frozen)
        return Levels(other, edges + moved * np.eye(len(edges))[1]).at(x).value

    mean = functional.mean
    assert (value(mean + step) - value(mean - step)) / (2 * step) == pytest.approx(
        moments.magnetisation, abs=1e-8
    )
    expected = (x[0] - x[1]) * functional.variance[1] / 2 * (moments.overlap[1] - edges[1])
    assert (value(moved=step) - value(moved=-step)) / (2 * step) == pytest.approx(expected, abs=1e-8)
    split = np.insert(edges, 2, edges[1] + 1e-3)
    near = Levels(functional, split)
    overlaps = near.moments(near.at(np.insert(x, 1, x[1]))).overlap
    # d<phi'^2>/dq = v' <phi''^2>
    slope = (overlaps[2] - overlaps[1]) / 1e-3
    assert slope == pytest.approx(functional.variance[1] * moments.response[1], rel=5e-3)


def test_x_of_zero_is_a_limit():
    edges = np.array([0.0, 0.3, 0.6])
    levels = Levels(Functional((0.0, 4.0), (0.0, 0.0, 1.0), 0.0), edges)
    zero, tiny = (levels.at(np.array([first, 0.4])) for first in (0.0, 1e-7))
    assert tiny.value == pytest.approx(zero.value, abs=1e-7)
    assert tiny.gradient == pytest.approx(zero.gradient, abs=1e-6)
    assert levels.hessian(tiny) == pytest.approx(levels.hessian(zero), abs=1e-5)


def test_averages_between_grids_are_exact_on_exponentials():
    """E cosh(a u) = cosh(a w) e^(a^2 v/2) on dilated grids, with a continuation |w| + c beyond the nodes."""
    outer, inner, variance = 0.2 * np.arange(80), 0.8 * 0.2 * np.arange(80), 1 - 0.8**2
    average = dilation(outer / 0.8, math.sqrt(variance) / 0.8, 0.2, 80)
    found = (average.weights * average.onto(np.cosh(1.3 * inner), 0.8, 0.0)).sum(axis=1)
    near = outer < 6
    assert found[near] == pytest.approx(np.cosh(1.3 * outer[near]) * np.exp(1.3**2 * variance / 2), rel=1e-13)


def test_monotone_minimum_of_a_quadratic():
    """Isotonic regression, with its pools known: values 1, 3, 2 become 1, 2.5, 2.5; a ceiling cuts."""
    target = np.array([1.0, 3.0, 2.0])

    def function(x):
        return float(((x - target) ** 2).sum() / 2), x - target, lambda: np.eye(3)

    found = minimise_monotone(function, np.array([0.5, 1.0, 4.0]))
    assert found.converged
    assert found.x == pytest.approx([1.0, 2.5, 2.5], abs=1e-9)
    assert minimise_monotone(function, np.ones(3), ceiling=2.2).x == pytest.approx([1.0, 2.2, 2.2], abs=1e-6)


def test_the_gap_bounds_the_distance_from_the_infimum():
    functional = Functional((0.0, 4.0), (0.0, 0.0, 1.0), 0.0)
    best = fully_broken(functional, 16).value
    few = fully_broken(functional, 4)
    assert 0 < few.value - best < gap(functional, few.edges, few.x) < 20 * (few.value - best)
    worse = gap(functional, np.array([0.5303683920507946]), np.zeros(0))  # replica-symmetric
    assert 2 * 0.7923929451346979 - best < worse < 0.1


def test_the_interval_is_found_roughly():
    low, high, x = coarse_interval(Functional((0.0, 4.0), (0.0, 0.0, 1.0), 0.0))
    assert low == 0
    assert high == pytest.approx(0.638, abs=0.05)
    assert float(x(np.array(0.3))) == pytest.approx(0.2, abs=0.05)


def test_errors_fall_as_the_fourth_power_of_the_number_of_steps():
    functional = Functional((0.0, 4.0), (0.0, 0.0, 1.0), 0.0)
    runs = [fully_broken(functional, 4)]
    for steps in (8, 16):
        runs.append(fully_broken(functional, steps, runs[-1]))
    changes = -np.diff([run.value for run in runs])
    assert changes[:-1] / changes[1:] == pytest.approx([16], rel=0.05)
