"""simulate and validate for spins with Gaussian energies."""

from __future__ import annotations

import pytest

from replica import GaussianField, InputError, simulate, validate
from replica.ansatz import OneStepRSB
from replica.cli import main
from replica.models.gaussian_field import p_spin, sherrington_kirkpatrick

SK = sherrington_kirkpatrick


def test_sk_above_its_transition():
    """At T = 1.6 the energy is -beta/2, up to O(1/N)."""
    check = validate(SK(), N=64, seeds=6, max_iterations=300, T="1.6")
    assert check.quantity == "energy"
    assert check.theory == pytest.approx(-1 / 3.2, abs=1e-12)
    assert abs(check.simulated - check.theory) < max(3 * check.error, 0.02)
    assert check.simulation.sizes.label == "N = 64"


def test_a_mixed_model_given_by_its_covariance():
    """Nobody typed in its couplings: they follow from the covariance. Annealed energy -beta xi(1)."""
    model = GaussianField(lambda q: q**2 / 4 + q**3 / 4)
    check = validate(model, N=32, seeds=6, max_iterations=400, T="1.5")
    assert check.theory == pytest.approx(-1 / 3, abs=1e-12)
    assert abs(check.simulated - check.theory) < max(3 * check.error, 0.03)


def test_runs_repeat_and_measure_overlaps():
    first, second = (simulate(SK(), N=24, seeds=2, max_iterations=80, T=1) for _ in range(2))
    assert [run.observed for run in first.runs] == [run.observed for run in second.runs]
    assert all(0 < run.squared_overlap < 1 for run in first.runs)


@pytest.mark.slow
def test_one_step_below_the_transition_with_its_drift():
    """SK at T = 0.5: one step says -0.7117; finite sizes lie above it and fall towards it (N^(-2/3))."""
    checks = [validate(SK(OneStepRSB()), N=N, seeds=12, max_iterations=3000, T="1/2") for N in (64, 256)]
    gaps = [check.simulated - check.theory for check in checks]
    assert gaps[0] > gaps[1] > 0
    assert gaps[1] < 0.5 * gaps[0] + 2 * checks[1].error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate(p_spin(3, "spherical"), T=2), "only Ising spins"),
        (lambda: simulate(SK(), T=0), "T > 0"),
        (lambda: simulate(SK(), T=1, start="informed"), "no meaning"),
        (lambda: simulate(p_spin(5), T=1), "orders 1 to 4"),
        (lambda: simulate(p_spin(4), N=3, T=1), "at least 4"),
        (lambda: simulate(SK(), T=1, max_iterations=3), "at least 40"),
        (lambda: simulate(SK(), N=10**6, T=1), "memory"),
    ],
)
def test_bad_runs(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_command_line(capsys):
    assert main(["validate", "sk", "T=1.6", "--N", "16", "--seeds", "2"]) in (0, None)
    assert "energy" in capsys.readouterr().out
    assert main(["solve", "field", "covariance=import os", "T=1"]) == 2
    assert "sum of terms" in capsys.readouterr().err
