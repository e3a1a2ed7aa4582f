"""Every prior with every channel: it derives, solves at seeded points, and its error estimate is believable."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from replica import TeacherStudent, solve
from replica.ingredients import GaussianMixture
from replica.ingredients.channels import CHANNELS
from replica.ingredients.priors import PRIORS
from solvers.solution import Outcome

MIXTURE = GaussianMixture(("0.3", "0.7"), (-1, "0.5"), ("0.2", "0.1"))
ALL_PRIORS = {**{name: prior() for name, prior in PRIORS.items()}, "mixture": MIXTURE}
ALL_CHANNELS = {name: channel() for name, channel in CHANNELS.items()}
RANGES = {"alpha": (0.2, 3), "rho": (0.05, 0.6), "delta": (0.01, 0.5), "kappa": (0.3, 1.2)}
QUICK = {
    ("rademacher", "probit"),
    ("gauss-bernoulli", "sign"),
    ("laplace", "gaussian"),
    ("mixture", "margin"),
    ("rademacher", "poisson"),
}
PAIRS = [
    pytest.param(p, c, id=f"{p}, {c}", marks=() if (p, c) in QUICK else pytest.mark.slow)
    for p in ALL_PRIORS
    for c in ALL_CHANNELS
]


def points(model, name):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(3):
        yield {p.name: round(rng.uniform(*RANGES[p.name]), 2) for p in model.control_parameters}


@pytest.mark.parametrize(("prior", "channel"), PAIRS)
def test_a_pair_solves(prior, channel):
    model = TeacherStudent(ALL_PRIORS[prior], ALL_CHANNELS[channel])
    for point in points(model, f"{prior}, {channel}"):
        solution = solve(model, **point)
        assert solution.outcome.converged
        assert 0 <= solution["mmse"] <= float(sum_of_squares(model, point)) * (1 + 1e-12)
        assert solution.errors.total < 1e-9
        if solution.outcome is Outcome.CONVERGED and (prior, channel) in QUICK and channel != "poisson":
            # three sums in one another take minutes in more digits
            precise = solve(model, digits=25, **point)
            assert abs(float(precise["mmse"]) - solution["mmse"]) <= solution.errors.total + 1e-15


def sum_of_squares(model, point):
    """E x^2 at the point."""
    return model.second_moment.subs({s: point["rho"] for s in model.second_moment.free_symbols})  # noqa: C420 - rho may be absent


@pytest.mark.parametrize(
    ("channel", "point", "error"),
    [
        pytest.param(
            "poisson", {"alpha": "2.39", "rho": "0.17"}, 0.06350088194371913, marks=pytest.mark.slow
        ),
        ("laplace", {"alpha": "2.74", "rho": "0.08", "delta": "0.31"}, 3.91366322238725e-13),
    ],
)
def test_a_sparse_binary_signal(channel, point, error):
    """A first step of Newton at a rough quadrature that is short by accident; an error of 4e-13, whose
    integrand lives between the peaks of the law, to all its digits.
    """
    model = TeacherStudent(ALL_PRIORS["sparse-rademacher"], ALL_CHANNELS[channel])
    solution = solve(model, **point)
    assert solution.residual < 1e-12
    assert solution.errors.total < 1e-11 * error + 1e-13 * (error > 0.01)
    assert solution["mmse"] == pytest.approx(error, rel=1e-12)
    if channel == "laplace":
        precise = solve(model, digits=20, **point)
        assert solution["mmse"] == pytest.approx(float(precise["mmse"]), rel=1e-13)
