"""Spins with Gaussian energies to more digits than doubles have, against mpmath and closed forms."""

from __future__ import annotations

import mpmath
import pytest

from replica import GaussianField, solve
from replica.ansatz import FullRSB, KStepRSB, OneStepRSB
from replica.models import p_spin, sherrington_kirkpatrick
from solvers.errors import InputError


def test_the_symmetric_solution_of_sk_against_mpmath():
    s = solve(sherrington_kirkpatrick(), T="0.5", digits=30)
    with mpmath.workdps(35):
        line = [-12, -6, -3, -1, 0, 1, 3, 6, 12]

        def average(f, q):
            return mpmath.quad(lambda z: mpmath.npdf(z) * f(2 * mpmath.sqrt(q) * z), line)

        q = mpmath.findroot(lambda x: average(lambda w: mpmath.tanh(w) ** 2, x) - x, 0.53, tol=1e-31)
        phi = (1 - q) ** 2 + average(lambda w: mpmath.log(2 * mpmath.cosh(w)), q)
        assert abs(s["q"] - q) < 1e-29
        assert abs(s["f"] + phi / 2) < 1e-29
    assert s.errors.total < 1e-29
    assert f"{s['q']}".startswith("0.5303683920507946")


def test_one_step_at_two_precisions_and_on_two_backends():
    model = p_spin(3, "spherical", OneStepRSB())
    fine, coarse = solve(model, T="0.5", digits=40), solve(model, T="0.5", digits=20, backend="mpmath")
    doubles = solve(model, T="0.5")
    for name in ("q1", "m", "f", "replicon1"):
        assert abs(fine[name] - coarse[name]) < 2e-19
        assert abs(float(fine[name]) - doubles[name]) < 1e-12
    assert fine["q0"] == 0


@pytest.mark.slow
def test_one_step_of_ising_spins_to_thirty_digits():
    model = p_spin(3, ansatz=OneStepRSB())
    fine, finer = (solve(model, T="0.5", digits=d) for d in (30, 36))
    for name in ("q1", "m", "f"):
        assert abs(fine[name] - finer[name]) < 1e-29
    assert float(fine["f"]) == pytest.approx(-0.8231361419794834, abs=2e-15)


@pytest.mark.parametrize(
    ("model", "point"),
    [
        (sherrington_kirkpatrick(KStepRSB(2)), {"T": "0.5"}),
        (sherrington_kirkpatrick(FullRSB()), {"T": "0.5"}),
        (sherrington_kirkpatrick(), {"T": 0}),
        (GaussianField("q^3/2", "spherical", OneStepRSB(m=1)), {"T": "0.5"}),
    ],
)
def test_where_there_are_fifteen_digits_only(model, point):
    with pytest.raises(InputError, match="more than 15 digits are for"):
        solve(model, digits=30, **point)


def test_digits_of_steps_that_do_not_exist():
    with pytest.raises(InputError, match="no steps here"):
        solve(sherrington_kirkpatrick(OneStepRSB()), T="1.5", digits=20)
