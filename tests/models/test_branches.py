"""Every solution is found from a table that is evaluated at few places, as from one evaluated at all of them."""

from __future__ import annotations

import numpy as np
import pytest

from replica import TeacherStudent, solve
from replica.ingredients import (
    Bernoulli,
    Discrete,
    GaussBernoulli,
    Gaussian,
    GaussianNoise,
    Laplace,
    LaplaceNoise,
    MarginStep,
    Probit,
    Quantiser,
    Rademacher,
    Sign,
    SparseRademacher,
    SymmetricInterval,
)
from solvers.fixed_point import table

PRIORS = [
    Gaussian(),
    Rademacher(),
    GaussBernoulli(),
    Bernoulli(),
    SparseRademacher(),
    Laplace(),
    Discrete((-3, -1, 1, 3), ("1/4",) * 4),
    Discrete((0, 1, 10), ("1/2", "49/100", "1/100")),
]
CHANNELS = [
    GaussianNoise(),
    Sign(),
    Probit(),
    MarginStep(),
    SymmetricInterval(),
    Quantiser(),
    LaplaceNoise(),
]
EVERYWHERE = (0.01, 0.01)
RANGES = {"alpha": (-1, 1), "rho": (-2.5, -0.1), "delta": (-5, 1), "kappa": (-1, 0.6)}  # decades


def point(model, rng):
    """Values of the control parameters drawn evenly in their logarithms."""
    return {p.name: float(f"{10 ** rng.uniform(*RANGES[p.name]):.6g}") for p in model.control_parameters}


@pytest.mark.parametrize("seed", [3, *(pytest.param(k, marks=pytest.mark.slow) for k in range(4, 30))])
def test_few_places_find_what_all_places_find(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    several = 0
    for _ in range(10):
        prior, channel = PRIORS[rng.integers(len(PRIORS))], CHANNELS[rng.integers(len(CHANNELS))]
        model = TeacherStudent(prior=prior, channel=channel)
        at = point(model, rng)
        quick = solve(model, throw=False, **at)
        with monkeypatch.context() as patched:
            patched.setattr(table, "APART", EVERYWHERE)
            whole = solve(model, throw=False, **at)
        assert quick.outcome is whole.outcome
        assert quick.branches == pytest.approx(whole.branches, rel=1e-9, abs=1e-11)
        assert quick.free_entropy == pytest.approx(whole.free_entropy, rel=1e-9, abs=1e-11, nan_ok=True)
        several += len(quick.branches) > 1
    assert several > 1 or seed > 3  # of most seeds
