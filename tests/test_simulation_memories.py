"""simulate and validate for associative memories."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from fractions import Fraction

import pytest

from replica import InputError, simulate, validate
from replica.cli import main
from replica.models import dense_hebbian, hopfield, multitasking_hebbian
from replica.models.ferromagnets import ferromagnet


def gaps(check):
    return {c.name: c.simulated - c.theory for c in check.comparisons}


def stored(simulation) -> int:
    """Patterns besides the condensed ones."""
    return asdict(simulation.sizes)["patterns"]


# ------------------------------------------------------------------------------------- theory agrees


def test_hopfield_retrieval():
    check = validate(hopfield(), N=600, seeds=4, max_iterations=100, alpha="0.02", T="0.3")
    assert check.quantity == "m"
    assert [c.name for c in check.comparisons] == ["m", "q", "energy"]
    assert check.agrees
    assert check.error < 0.003
    assert check.simulation.start == "retrieval"
    assert check.simulation.sizes.label == "N = 600"


def test_dense_retrieval_from_examples():
    """The overlap with the examples, with the archetype itself, and q are three different numbers."""
    check = validate(dense_hebbian(3), N=56, seeds=4, max_iterations=80, gamma="0.05", T="0.3", rho="0.05")
    assert [c.name for c in check.comparisons] == ["n", "m", "q", "energy"]
    assert check.agrees
    assert all(abs(gap) < 0.05 for gap in gaps(check).values())


def test_multitasking_retrieves_patterns_together():
    check = validate(multitasking_hebbian(2), N=4000, seeds=4, max_iterations=100, d="0.3", T="0.1")
    assert [c.name for c in check.comparisons] == ["X1", "X2", "m1", "m2", "q", "energy"]
    assert check.agrees
    assert all(abs(gap) < 0.02 for gap in gaps(check).values())
    # without blur examples are patterns
    run = check.simulation.runs[0]
    assert run.observed["X1"] == run.observed["m1"]


def test_at_zero_temperature():
    """Patterns that hardly ever lose a spin: the error is that of counting flips, not 0."""
    check = validate(hopfield(), N=600, seeds=4, alpha="0.05", T=0)
    assert check.agrees
    assert [c.name for c in check.comparisons] == ["m", "energy"]
    assert check.error >= 2 / 600 / 4


def test_hierarchical_overlaps_without_noise():
    """m_k = (1 - d) d^(k-1): what arXiv 2308.04106 states, what the solver gives, what the spins do."""
    check = validate(multitasking_hebbian(2), N=3000, seeds=4, d="0.4", T=0)
    for k, name in enumerate(("X1", "X2")):
        assert check.solution[name] == pytest.approx(0.6 * 0.4**k, abs=1e-9)
    assert check.agrees


@pytest.mark.slow
def test_a_mixture_of_three_patterns():
    """At alpha = 0.005, T = 0.2 it is one of the states: overlaps near a half with all three."""
    check = validate(
        hopfield(3), N=1000, seeds=3, max_iterations=100, start="mixture", alpha="0.005", T="0.2"
    )
    assert check.agrees
    assert all(0.4 < check.simulation.estimate(f"m{k}")[0] < 0.55 for k in (1, 2, 3))


# ---------------------------------------------------------------------------- starts, sizes and seeds


def test_sizes_realise_the_load_exactly():
    simulation = simulate(hopfield(), N=333, seeds=2, max_iterations=64, alpha="0.02", T="0.3")
    assert simulation.params["alpha"] == Fraction(7, 333)
    assert stored(simulation) == 7
    dense = simulate(dense_hebbian(4), N=12, seeds=2, max_iterations=64, gamma="0.1", T="0.3", rho="0.1")
    # K = 2 gamma C(12, 4)/12 = 8.25: eight of them
    assert stored(dense) == 8
    assert dense.params["gamma"] == Fraction(8 * 12, 2 * 495)
    assert stored(simulate(hopfield(), N=50, seeds=2, alpha=0, T=0)) == 0


def test_seeds_repeat_and_extend():
    model, point = multitasking_hebbian(2), {"N": 200, "max_iterations": 64, "d": "0.3", "T": "0.2"}
    few, many = (simulate(model, seeds=seeds, **point) for seeds in (2, 3))
    assert [r.observed for r in few.runs] == [r.observed for r in many.runs[:2]]
    assert few.runs[0].observed != few.runs[1].observed


def test_d_is_a_dilution_where_the_model_has_one():
    with_name = simulate(multitasking_hebbian(2), N=100, seeds=2, max_iterations=64, d=0.25, T=0.5)
    assert with_name.params["d"] == Fraction(1, 4)
    assert with_name.sizes.label == "N = 100"
    assert simulate(hopfield(), d=100, seeds=2, alpha="0.02", T=0).sizes.label == "N = 100"


def test_global_is_the_state_of_lowest_free_energy():
    """Few patterns: retrieval; at a larger load the glass lies below it, and is refused."""
    options = {"N": 200, "seeds": 2, "max_iterations": 64, "start": "global", "T": "0.3"}
    assert simulate(hopfield(), alpha="0.01", **options).start == "retrieval"
    with pytest.raises(InputError, match="the glass that the start glass leads to"):
        simulate(hopfield(), alpha="0.09", **options)


def test_above_the_transition_there_is_no_memory():
    """T = 1.5: both say m = 0 and q = 0, from a start on the pattern."""
    check = validate(hopfield(), N=400, seeds=4, max_iterations=200, alpha="0.05", T="1.5")
    assert check.theory == pytest.approx(0, abs=1e-8)
    assert abs(check.simulated) < 0.03
    assert abs(gaps(check)["energy"]) < 0.02


# ------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate(hopfield(), start="glass", alpha="0.1", T="0.3"), "unstable in the glass"),
        (lambda: simulate(hopfield(), start="retrieval", alpha="0.8", T="0.3"), "unstable in the glass"),
        (lambda: simulate(hopfield(), start="informed", alpha="0.1", T="0.3"), "must be one of retrieval"),
        (lambda: simulate(hopfield(), alpha="0.136", T=0), "about to end or to branch"),
        (lambda: simulate(multitasking_hebbian(2), d="0.3", T="0.3"), "about to end or to branch"),
        (lambda: simulate(hopfield(), damping=0.1, alpha="0.1", T="0.3"), "damping has no meaning"),
        (lambda: simulate(hopfield(), max_iterations=9, alpha="0.1", T="0.3"), "at least 64"),
        (lambda: simulate(hopfield(), max_iterations=0, alpha="0.1", T=0), "at least 1"),
        (lambda: simulate(hopfield(), N=3, alpha="0.1", T="0.3"), "at least 4 spins"),
        (lambda: simulate(hopfield(), N=10**6, alpha="0.1", T="0.3"), "memory"),
        (lambda: simulate(dense_hebbian(4), N=2000, gamma="0.1", T="0.3"), "memory"),
        (lambda: simulate(multitasking_hebbian(2), d="1.5", T="0.3"), "d must be"),
        (lambda: simulate(ferromagnet(), T="0.5"), "no message passing"),
        (lambda: simulate(replace(ferromagnet(), simulation="memories"), T="0.5"), "has a field"),
        (lambda: simulate(_of_another_energy(), alpha="0.1", T="0.3"), "no simulation of memories"),
    ],
)
def test_refused(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def _of_another_energy():
    model = hopfield()
    return replace(model, energy=model.energy**2)


# ------------------------------------------------------------------------------------- command line


def test_command_line(capsys):
    words = ["validate", "hopfield", "alpha=0.02", "T=0.3", "--N", "200", "--seeds", "2", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["quantity"] == "m"
    assert found["sizes"]["patterns"] == 4
    words = ["validate", "multitasking", "K=2", "d=0.7", "T=0.05", "rho=0.1", "start=parallel"]
    assert main([*words, "--N", "300", "--seeds", "2"]) == 0
    assert "X1" in capsys.readouterr().out
    assert main(["validate", "hopfield", "alpha=0.1", "T=0.3", "start=glass", "--N", "100"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["validate", "dense", "P=4", "gamma=0.1", "T=0.3", "--N", "5000"]) == 2
    assert "memory" in capsys.readouterr().err


# -------------------------------------------------------------------------------- default sizes, slow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "params"),
    [
        (hopfield(), {"alpha": "0.02", "T": "0.3"}),
        (hopfield(), {"alpha": "0.05", "T": "0.5"}),
        (hopfield(), {"alpha": "0.1", "T": "0.2"}),
        (hopfield(), {"alpha": "0.1", "T": 0}),
        (dense_hebbian(3), {"gamma": "0.1", "T": "0.5"}),
        (dense_hebbian(3), {"gamma": "0.1", "T": "0.5", "rho": "0.1"}),
        (dense_hebbian(4), {"gamma": "0.1", "T": "0.3", "rho": "0.05"}),
        (dense_hebbian(3), {"gamma": "0.1", "T": 0, "rho": "0.1"}),
        (multitasking_hebbian(2), {"d": "0.3", "T": "0.1"}),
        (multitasking_hebbian(2), {"d": "0.7", "T": "0.05", "rho": "0.1", "start": "parallel"}),
        (multitasking_hebbian(3), {"d": "0.4", "T": "0.05", "rho": "0.05"}),
    ],
    ids=lambda case: case.name if hasattr(case, "name") else " ".join(f"{k}={v}" for k, v in case.items()),
)
def test_validate_agrees(model, params):
    """Within error bars at the default sizes, and the error bars are small enough to say something."""
    check = validate(model, **params)
    assert check.agrees, [(c.name, c.theory, c.simulated, c.error) for c in check.comparisons]
    assert check.converged == check.seeds
    assert all(c.error < 0.03 for c in check.comparisons)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "sizes", "params"),
    [
        (hopfield(), (50, 200, 800), {"alpha": "0.06", "T": "0.3"}),
        (dense_hebbian(3), (20, 50, 125), {"gamma": "0.1", "T": "0.3", "rho": "0.05"}),
    ],
)
def test_the_gap_to_theory_shrinks_with_the_size(model, sizes, params):
    """Small systems lie below the theory's overlap, some of them out of the valley; larger ones approach."""
    checks = [validate(model, N=N, seeds=48, max_iterations=100, **params) for N in sizes]
    found = [abs(check.simulated - check.theory) for check in checks]
    assert found[0] > 3 * found[2]
    assert found[2] < 4 * checks[2].error
