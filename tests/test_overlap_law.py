"""The overlap of two configurations: what steps of replica symmetry breaking say, and a simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from replica import InputError, solve
from replica.ansatz import KStepRSB, OneStepRSB
from replica.models import p_spin, sherrington_kirkpatrick
from replica.overlap_law import OverlapLaw, overlap_law
from solvers.simulate.spin_systems import sk_spins
from solvers.simulate.spins import geometric_temperatures, simulate_spins

SK = sherrington_kirkpatrick


@pytest.mark.parametrize(
    ("model", "atoms", "params"),
    [
        (SK(), 1, {"T": "0.5"}),
        (SK(OneStepRSB()), 2, {"T": "0.5"}),
        (SK(OneStepRSB()), 2, {"T": "0.5", "h": "0.3"}),
        (SK(KStepRSB(2)), 3, {"T": "0.5"}),
        (p_spin(3, ansatz=OneStepRSB()), 2, {"T": "0.4"}),
        (p_spin(3, "spherical", ansatz=OneStepRSB()), 2, {"T": "0.3"}),
        (p_spin(3, ansatz=OneStepRSB(m="0.4")), 2, {"T": "0.4"}),
    ],
)
def test_weights_sum_to_one_and_give_the_squared_overlap(model, atoms, params):
    """The second moment of the law is an observable that the solver computes on its own."""
    solution = solve(model, **params)
    law = overlap_law(solution)
    assert len(law.overlaps) == atoms
    assert sum(law.weights) == pytest.approx(1, abs=1e-14)
    assert all(w > 0 for w in law.weights)
    assert law.moment(2) == pytest.approx(solution["squared_overlap"], abs=1e-12)


def test_the_energy_is_that_of_the_law():
    """Gaussian couplings: e = -beta (xi(1) - E xi(q)), here -beta (1 - E q^2)/2 and -beta (1 - E q^3)/2."""
    for model, power, beta in ((SK(OneStepRSB()), 2, 2.0), (p_spin(3, ansatz=OneStepRSB()), 3, 2.5)):
        solution = solve(model, T=1 / beta)
        expected = -beta * (1 - overlap_law(solution).moment(power)) / 2
        assert solution["energy"] == pytest.approx(expected, abs=1e-9)


def test_one_step_as_written_by_hand():
    solution = solve(SK(OneStepRSB()), T="0.5")
    law = overlap_law(solution)
    assert law.overlaps == (solution["q0"], solution["q1"])
    assert law.weights == pytest.approx((solution["m"], 1 - solution["m"]), abs=1e-15)


def test_without_breaking_there_is_one_atom():
    assert overlap_law(solve(SK(OneStepRSB()), T="1.5")) == OverlapLaw((0.0,), (1.0,))
    assert overlap_law(solve(SK(OneStepRSB()), T=0)) == OverlapLaw((1.0,), (1.0,))
    # two steps that fall together: the atom that one step has
    one, two = (overlap_law(solve(p_spin(3, ansatz=KStepRSB(k)), T="0.4")) for k in (1, 2))
    assert [x for x, w in zip(two.overlaps, two.weights, strict=True) if w] == list(one.overlaps)


def test_mirrored():
    law = overlap_law(solve(SK(OneStepRSB()), T="0.5"))
    both = law.mirrored()
    assert both.moment(1) == pytest.approx(0, abs=1e-15)
    assert both.moment(2) == pytest.approx(law.moment(2), abs=1e-15)
    assert both.overlaps == tuple(-x for x in reversed(both.overlaps))


def test_what_has_no_law():
    with pytest.raises(InputError, match="> 1 replicas"):
        overlap_law(solve(p_spin(3, ansatz=OneStepRSB(m="1.2")), T="0.66"))
    nothing = replace(solve(SK(), T="0.5"), values={"m": 1.0})
    with pytest.raises(InputError, match="needs a solution with overlaps"):
        overlap_law(nothing)


@pytest.mark.slow
def test_a_simulated_law_has_the_moments_of_one_step():
    """SK at T = 0.6: E q^2 is 0.1840 in one step; finite systems lie above, by 0.063 and 0.035 with errors of
    0.024 and 0.018 in the samples of these seeds.
    """
    law = overlap_law(solve(SK(OneStepRSB()), T="0.6"))
    found = []
    for size in (64, 256):
        system = sk_spins(size, np.random.default_rng(2), samples=24)
        ladder = geometric_temperatures(0.6, 1.6, 8)
        run = simulate_spins(system, ladder, np.random.default_rng(3), sweeps=2000)
        sampled = run.distribution(0)
        second = float((sampled.q**2 * sampled.density * sampled.width).sum())
        assert second == pytest.approx(float(run.overlap_moments(2).mean[0]), abs=1e-3)
        found.append(second - law.moment(2))
    assert abs(found[0]) < 0.13
    assert abs(found[1]) < 0.07
