"""Solutions of sampled perceptrons: counted one by one, caps of a sphere in three dimensions, Cover's theorem."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from scipy.optimize import linprog

from solvers.errors import InputError
from solvers.simulate.perceptron import all_solutions, billiard, one_solution

INF = np.inf


def drawn(size, patterns, rng):
    return rng.standard_normal((patterns, size)) / np.sqrt(size)


@pytest.mark.parametrize(("low", "high"), [(0.1, INF), (-0.8, 0.8), (-INF, 0.4)])
def test_counting_against_a_loop(low, high):
    patterns = drawn(7, 3, np.random.default_rng(1))
    solutions = [
        np.array(s)
        for s in itertools.product((1, -1), repeat=7)
        if np.all((patterns @ s >= low) & (patterns @ s <= high))
    ]
    found = all_solutions(patterns, low, high)
    overlaps = [a @ b / 7 for a in solutions for b in solutions]
    assert found.log_number == pytest.approx(np.log(len(solutions)), abs=1e-12)
    assert found.overlap == pytest.approx(np.mean(overlaps), abs=1e-12)


def test_large_instances_are_counted_in_pieces(monkeypatch):
    patterns = drawn(12, 4, np.random.default_rng(2))
    whole = all_solutions(patterns, 0.0, INF)
    monkeypatch.setattr("solvers.simulate.perceptron.CELLS", 100)
    assert all_solutions(patterns, 0.0, INF) == whole


def test_no_solution_and_too_many_weights():
    none = all_solutions(drawn(4, 2, np.random.default_rng(3)), 5.0, INF)
    assert none.log_number == -INF
    assert np.isnan(none.overlap)
    with pytest.raises(InputError, match="2 to 24"):
        all_solutions(np.zeros((1, 25)), 0.0, INF)


CAPS = [
    # with N = 3 the coordinates of a point of the unit sphere are uniform: two points have the overlap (E u)^2
    (np.eye(3)[:1], 0.3, INF, 0.65**2),
    (np.eye(3)[:1], -0.4, 0.4, 0.0),
    (np.eye(3)[:1], -INF, -0.5, 0.75**2),
    (np.eye(3)[:2], 0.0, INF, 0.5),  # a quarter of it: each of two coordinates has the mean 1/2
]


@pytest.mark.parametrize(("directions", "low", "high", "expected"), CAPS)
def test_the_billiard_is_uniform_on_a_cap(directions, low, high, expected):
    rng = np.random.default_rng(4)
    patterns = directions / np.sqrt(3)
    starts = np.array([one_solution(patterns, low, high, rng) for _ in range(40)])
    overlaps = billiard(patterns, low, high, starts, 160, rng)[20:]
    error = overlaps.std() / np.sqrt(overlaps.size / 3)
    assert overlaps.mean() == pytest.approx(expected, abs=4 * error)
    assert error < 0.01


def test_the_billiard_stays_inside():
    rng = np.random.default_rng(5)
    patterns = drawn(20, 25, rng)
    starts = np.array([one_solution(patterns, 0.0, INF, rng) for _ in range(3)])
    finished = starts.copy()

    class Recording:
        """Hands out directions and looks at nothing else."""

        standard_normal = staticmethod(rng.standard_normal)

    overlaps = billiard(patterns, 0.0, INF, finished, 30, Recording())
    assert np.array_equal(finished, starts)  # the starts are not written to
    assert np.all((overlaps > -1) & (overlaps <= 1))
    assert np.std(overlaps) > 0


def separable(patterns):
    """Whether some weights have all fields positive, by linear programming."""
    found = linprog(
        np.zeros(patterns.shape[1]), A_ub=-patterns, b_ub=-np.ones(len(patterns)), bounds=(None, None)
    )
    return found.status == 0


def cover(size, patterns):
    """The probability of that: T. M. Cover, IEEE Trans. Electron. Comput. 14 (1965) 326."""
    return sum(comb(patterns - 1, k) for k in range(size)) / 2 ** (patterns - 1)


def test_half_of_the_instances_at_twice_as_many_patterns_as_weights():
    """The capacity 2 of the sphere without a margin, exact at any size; below it descent finds a solution."""
    size, seeds, rng = 16, 80, np.random.default_rng(6)
    assert cover(size, 2 * size) == 0.5
    assert cover(2000, 3800) > 0.99
    assert cover(2000, 4200) < 0.01
    for patterns in (24, 32, 40):
        share, chance = (
            np.mean([separable(drawn(size, patterns, rng)) for _ in range(seeds)]),
            cover(size, patterns),
        )
        assert share == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / seeds) + 1e-12)
    for _ in range(10):
        instance = drawn(size, 20, rng)
        assert (one_solution(instance, 0.0, INF, rng) is not None) == separable(instance)
    hopeless = np.vstack([np.eye(3), -np.eye(3)])
    assert one_solution(hopeless, 0.5, INF, rng) is None
