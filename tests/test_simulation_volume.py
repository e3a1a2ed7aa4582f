"""simulate and validate for perceptrons."""

from __future__ import annotations

import numpy as np
import pytest

from replica import InputError, NotConvergedError, Perceptron, simulate, solve, validate
from replica.cli import main
from solvers.simulate.perceptron import all_solutions


@pytest.mark.parametrize(
    ("constraint", "point"),
    [("margin", {"alpha": "1/4", "kappa": 0}), ("interval", {"alpha": "1/2", "kappa": 1})],
)
def test_the_entropy_of_ising_weights(constraint, point):
    check = validate(Perceptron("ising", constraint), seeds=8, max_iterations=48, **point)
    assert check.quantity == "entropy"
    assert check.error < 0.008
    assert abs(check.simulated - check.theory) < 4 * check.error
    assert check.agrees
    assert check.simulation.sizes.label == "N = 16"
    assert 0 <= np.mean([run.overlap for run in check.simulation.runs]) < 0.3


def test_the_drift_of_the_entropy_with_the_size():
    """E log Z/N lies above Phi by c/N: 0.5128 at alpha = 1/4, and twice the size has half of the excess."""
    rng, limit = np.random.default_rng(1), solve(Perceptron(), alpha="1/4", kappa=0)["entropy"]
    excess, errors = [], []
    for size, count in ((4, 1500), (8, 1500), (16, 500)):
        shape = size // 4, size
        logs = [
            all_solutions(rng.standard_normal(shape) / size**0.5, 0.0, np.inf).log_number
            for _ in range(count)
        ]
        excess.append(np.mean(logs) / size - limit)
        errors.append(np.std(logs) / size / count**0.5)
    assert excess[0] > excess[1] > excess[2] > 0
    for k in (0, 1):
        assert excess[k + 1] == pytest.approx(excess[k] / 2, abs=3 * errors[k + 1] + 0.1 * excess[k])


@pytest.mark.parametrize(
    ("constraint", "point"),
    [
        ("margin", {"alpha": 1, "kappa": 0}),
        pytest.param("margin", {"alpha": 3, "kappa": -1}, marks=pytest.mark.slow),
        pytest.param("margin", {"alpha": "1/4", "kappa": 1}, marks=pytest.mark.slow),
        pytest.param("interval", {"alpha": 1, "kappa": 1}, marks=pytest.mark.slow),
    ],
)
def test_the_overlap_on_the_sphere(constraint, point):
    check = validate(Perceptron("spherical", constraint), N=24, seeds=6, **point)
    assert check.quantity == "q"
    assert abs(check.simulated - check.theory) < max(4 * check.error, 0.04)
    assert check.error < 0.06
    assert check.decided


def test_runs_repeat():
    first, second = (
        simulate(Perceptron(), N=8, seeds=2, max_iterations=4, alpha="1/2", kappa=0) for _ in range(2)
    )
    assert [run.observed for run in first.runs] == [run.observed for run in second.runs]


def test_sizes_realise_alpha():
    assert simulate(Perceptron(), N=8, seeds=2, max_iterations=2, alpha="0.3", kappa=0).sizes.M == 2
    with pytest.raises(NotConvergedError):  # no instance has a solution
        validate(Perceptron(), N=8, seeds=2, max_iterations=2, alpha=3, kappa=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate(Perceptron(), N=9, alpha=1, kappa=0), "even N from 4 to 24"),
        (lambda: simulate(Perceptron(), N=26, alpha=1, kappa=0), "even N from 4 to 24"),
        (lambda: simulate(Perceptron(), alpha=1, kappa=0, start="informed"), "no meaning"),
        (lambda: simulate(Perceptron("ising", "probit"), alpha=1, delta=1), "only sharp constraints"),
        (lambda: simulate(Perceptron("spherical"), alpha=1, kappa=0, max_iterations=10), "at least 64"),
        (lambda: simulate(Perceptron("spherical"), N=10**5, alpha=1, kappa=0), "memory"),
    ],
)
def test_bad_runs(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_command_line(capsys):
    assert main(["validate", "perceptron", "alpha=0.25", "kappa=0", "--N", "8", "--seeds", "3"]) == 0
    assert "entropy" in capsys.readouterr().out
