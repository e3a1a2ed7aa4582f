"""Branches, their ends and zeros along them, on equations written by hand whose answers are closed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solvers.continuation.crossing import crossing, zeros
from solvers.continuation.family import Family, jacobian, newton, solution
from solvers.continuation.fold import fold
from solvers.continuation.follow import Track, turning


def family(residual, *names):
    return Family(names or ("x",), residual, lambda x, lam: {"free_entropy": 0.0})


def magnet(coupling):
    """m = tanh(b (m + h)) along the field h."""
    return family(lambda x, h: np.tanh(coupling * (x + h)) - x)


@pytest.mark.parametrize("coupling", [1.05, 2.0, 6.0])
def test_the_coercive_field_of_a_mean_field_magnet(coupling):
    """dh/dm = 0 at m^2 = 1 - 1/b, h = artanh(m)/b - m: to rounding, from a start far away."""
    equations = magnet(coupling)
    start = solution(equations, np.array([0.999]), 0.3)
    assert start is not None
    found = fold(equations, turning(equations, start, -1.0)[0])
    assert found is not None
    m = math.sqrt(1 - 1 / coupling)
    assert found.lam == pytest.approx(math.atanh(m) / coupling - m, abs=3e-16)
    assert found.x[0] == pytest.approx(m, abs=1e-10)
    assert abs(found.curvature) > 0.01


def test_a_fold_of_two_unknowns_of_different_sizes():
    """x^2 + y' = lam + 1, y' = 3x/10, y' = 10^4 y: the fold is at x = -0.15."""
    equations = family(
        lambda x, lam: np.array([x[0] ** 2 + 1e4 * x[1] - lam - 1, 1e4 * x[1] - 0.3 * x[0]]), "x", "y"
    )
    start = solution(equations, np.array([3.0, 1e-4]), 9.0)
    assert start is not None
    found = fold(equations, turning(equations, start, -5.0)[0])
    assert found is not None
    assert found.lam == pytest.approx(-1.0225, abs=4e-16)
    assert found.x == pytest.approx([-0.15, -4.5e-6], abs=1e-11)


def test_a_branch_without_an_end_has_no_fold():
    equations = magnet(0.8)
    start = solution(equations, np.array([0.9]), 1.0)
    assert start is not None
    assert turning(equations, start, -1.0) == []


def test_a_cusp_is_no_simple_fold():
    """x^3 = lam has a singular Jacobian at 0, and no two solutions that meet."""
    equations = family(lambda x, lam: x**3 - lam)
    start = solution(equations, np.array([1.0]), 1.0)
    assert start is not None
    places = turning(equations, start, -1.0)
    assert all(fold(equations, place) is None for place in places)


def test_a_branch_is_followed_and_not_left():
    """Past the coercive field there is no solution of the branch that was followed, and no other is given."""
    equations = magnet(2.0)
    start = solution(equations, np.array([0.95]), 0.2)
    assert start is not None
    track = Track(equations, [start])
    there = track.at(-0.26)
    assert there is not None
    assert there.x[0] == pytest.approx(np.tanh(2 * (there.x[0] - 0.26)), abs=1e-14)
    assert there.x[0] > 0.7
    assert track.at(-0.4) is None


def test_newton_fails_rather_than_wander():
    assert newton(lambda x: x**2 + 1, np.array([0.3])) is None
    assert newton(np.log, np.array([-1.0])) is None


def test_differences_of_fourth_order():
    x = np.array([0.3, 40.0])
    found = jacobian(lambda z: np.array([np.sin(z[0]) * z[1], np.exp(z[0]) + z[1] ** 2]), x)
    exact = [[math.cos(0.3) * 40, math.sin(0.3)], [math.exp(0.3), 80.0]]
    assert found == pytest.approx(np.array(exact), rel=1e-9)


@pytest.mark.parametrize(
    ("function", "low", "high", "zero"),
    [
        (lambda x: math.cos(x) - x, 0.0, 1.0, 0.7390851332151607),
        (lambda x: x**9 - 0.5**9, 0.0, 4.0, 0.5),
        (lambda x: math.atan(1e3 * (x - 0.1)), -5.0, 0.3, 0.1),
    ],
)
def test_bracketed_zeros(function, low, high, zero):
    found = crossing(function, (low, function(low)), (high, function(high)))
    assert found is not None
    assert found.lam == pytest.approx(zero, abs=2e-14)
    assert found.width < 1e-13


def test_a_bracket_that_leaves_the_domain_has_no_zero():
    assert crossing(lambda x: math.nan, (0.0, -1.0), (1.0, 1.0)) is None


def test_pairs_of_zeros_between_two_nodes_are_found():
    grid = np.linspace(0.0, 3.0, 31)
    found = zeros(lambda x: (x - 1.04) * (x - 1.06) * (x - 2.5), grid)
    assert found == pytest.approx([1.04, 1.06, 2.5], abs=1e-11)
    assert zeros(lambda x: (x - 1.05) ** 2 + 1e-9, grid) == []
