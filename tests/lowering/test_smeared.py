"""Own channels whose evidence has no closed form: sums on one lattice of fields, against plain double sums."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from replica import TeacherStudent, solve
from replica.expr.stable import normal_density
from replica.ingredients import ExpressionChannel, Probit, Rademacher
from replica.lowering import outputs
from replica.lowering.problem import pair_problem
from solvers.backends.float64 import Float64


def student(y, h):
    """Heavy tails: three degrees of freedom."""
    return 2 / (sp.pi * sp.sqrt(3)) * (1 + (y - h) ** 2 / 3) ** -2


SINE = ExpressionChannel(lambda y, h: normal_density(y, sp.sin(h), sp.Rational(1, 10)), sp.Reals)
CUBE = ExpressionChannel(lambda y, h: normal_density(y, h**3, sp.Rational(1, 2)), sp.Reals)
UNEQUAL = ExpressionChannel(lambda y, h: normal_density(y, h, 1 + h**2), sp.Reals)
HEAVY = ExpressionChannel(student, sp.Reals)


def by_hand(log_p, noise, outputs):
    """E_omega int dy Z'^2/Z and E_omega int dy Z log Z by trapezoids, Z' by the Gaussian's derivative."""
    t = np.linspace(-9, 9, 1601)
    weight = np.exp(-t * t / 2) / np.sqrt(2 * np.pi) * (t[1] - t[0])
    w = np.linspace(-8.5, 8.5, 141)
    fisher = entropy = 0.0
    for point in w:
        h = np.sqrt(1 - noise) * point + np.sqrt(noise) * t
        p = np.exp(log_p(outputs[:, None], h))
        z, slope = p @ weight, p @ (weight * t) / np.sqrt(noise)
        some = z > 1e-280
        share = np.exp(-(point**2) / 2) / np.sqrt(2 * np.pi) * (w[1] - w[0]) * (outputs[1] - outputs[0])
        fisher += share * np.sum(slope[some] ** 2 / z[some])
        entropy += share * np.sum(z[some] * np.log(z[some]))
    return fisher, entropy


@pytest.mark.parametrize(
    ("channel", "log_p", "reach", "accuracy"),
    [
        (SINE, lambda y, h: -5 * (y - np.sin(h)) ** 2 - np.log(np.pi / 5) / 2, 5, 1e-9),
        (
            UNEQUAL,
            lambda y, h: -((y - h) ** 2) / 2 / (1 + h**2) - np.log(2 * np.pi * (1 + h**2)) / 2,
            45,
            1e-9,
        ),
    ],
    ids=["sine", "unequal"],
)
def test_both_halves_of_an_own_channel(channel, log_p, reach, accuracy):
    noise = 0.5
    fisher, entropy = by_hand(log_p, noise, np.linspace(-reach, reach, 401))
    problem = pair_problem(TeacherStudent(Rademacher(), channel))
    half = problem.output(Float64(), 7, np.array([noise]), {"alpha": 1.0})
    assert half.value[0] == pytest.approx(fisher, rel=accuracy)
    phi = [
        problem.free_entropy(Float64(), 7, np.array([1.0]), np.array([noise]), {"alpha": a}).value[0]
        for a in (1.0, 2.0)
    ]
    assert phi[1] - phi[0] == pytest.approx(entropy, rel=accuracy)


@pytest.mark.parametrize("channel", [SINE, CUBE, UNEQUAL, HEAVY], ids=["sine", "cube", "unequal", "heavy"])
def test_the_lattice_agrees_with_nodes_of_their_own(channel, monkeypatch):
    problem = pair_problem(TeacherStudent(Rademacher(), channel))

    def half(level):
        return problem.output(Float64(), level, np.array([0.3]), {"alpha": 1.0})

    values = [half(level) for level in (4, 5, 6)]
    monkeypatch.setattr(outputs, "smeared_layer", lambda *_: None)
    reference = half(6)
    for result in values:
        assert abs(result.value[0] - reference.value[0]) <= result.error[0] + reference.error[0]
    assert values[-1].value[0] == pytest.approx(reference.value[0], rel=1e-8)
    assert values[-1].slope[0] == pytest.approx(reference.slope[0], rel=1e-6)
    assert values[-1].error[0] < 1e-6 * values[-1].value[0]


def test_labels_written_with_an_error_function():
    """erfc(-y h)/2 is the probit of noise 1/2."""
    labels = ExpressionChannel(lambda y, h: sp.erfc(-y * h) / 2, (-1, 1))
    values = [
        solve(TeacherStudent(Rademacher(), Probit()), alpha=1, delta="0.5")["mmse"],
        solve(TeacherStudent(Rademacher(), labels), alpha=1)["mmse"],
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-9)
