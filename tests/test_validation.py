"""simulate and validate: message passing from the lowered ingredients, against theory and against formulas by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from scipy.special import log_ndtr, logsumexp
from scipy.stats import norm

from replica import simulate, solve, validate
from replica.lowering.message_passing import hilbert_transform, output_functions
from replica.models import BilinearSequenceRegression, build
from replica.simulation import Sizes, point_root, state_evolution
from replica.symbols import beta as BETA
from solvers.errors import InputError, NotConvergedError
from solvers.simulate.amp import AmpOutcome
from solvers.simulate.rotational import rectangular_denoiser, shrink
from solvers.solution import Outcome
from tests.solvers.simulate_by_hand import (
    one_thread,  # noqa: F401 an autouse fixture
    oriented,
    stieltjes,
)

BSR = BilinearSequenceRegression()
SIGN, ABS = (build("bsr", {"channel": name}) for name in ("sign", "abs"))
POINTS = [
    (0.3, 1, 0.2, 0.1),
    (0.37, 1.7, 0.43, 0.23),
    (0.37, 0.4, 0.3, 0.23),
    (0.8, 3, 1.5, 0.05),
    (0.25, 1, 0.2, 0),
    (0.5, 1, 0.2, 0),
]
FIRST = {"alpha": 0.3, "beta": 1, "rho": 0.2, "delta": 0.1}
LARGE = [*POINTS, (0.5, 2.5, 0.75, 0.1), (0.2, 0.5, 0.1, 0)]


def at(point):
    return dict(zip(("alpha", "beta", "rho", "delta"), point, strict=True))


# --- theory and message passing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point",
    [pytest.param(p, marks=[] if p[0] < 0.5 else [pytest.mark.slow]) for p in POINTS],
    ids=[str(p) for p in POINTS],
)
def test_message_passing_agrees_with_theory(point):
    check = validate(BSR, d=50, seeds=4, **at(point))
    print(
        f"{point}: theory {check.theory:.5f}, simulated {check.simulated:.5f} +- {check.error:.5f}, z {check.z_score:.2f}"
    )
    assert check.agrees
    assert check.seeds == 4
    assert check.theory == check.solution["mmse"]
    if point == (0.5, 1, 0.2, 0):
        assert check.solution.outcome is Outcome.PERFECT_RECOVERY
        assert check.simulated < 1e-6
    else:
        assert abs(check.simulated - check.theory) < 0.05 + 4 * check.error
    fields = json.loads(json.dumps(check.to_dict(), allow_nan=False))
    assert fields["theory"] == check.theory
    assert fields["agrees"] is True
    assert len(fields["mse"]) == 4
    assert fields["sizes"]["d"] == 50


def test_each_iteration_follows_state_evolution(tmp_path):
    point = at(POINTS[0])
    check = validate(BSR, d=50, seeds=6, seed=3, **point)
    mean, error = check.simulation.trajectory()
    prediction = check.simulation.state_evolution
    assert len(prediction) == len(mean)
    # 1/d = 0.02 of the finite size, beside the error bar
    assert np.all(np.abs(mean - prediction) < 4 * error + 0.02)
    assert prediction[-1] == pytest.approx(check.theory, abs=1e-3)
    assert np.all(np.diff(prediction) <= 0)
    path = tmp_path / "check.png"
    check.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_exact_recovery(tmp_path):
    validate(BSR, d=20, seeds=2, **at(POINTS[-1])).plot(tmp_path / "recovered.png")
    assert (tmp_path / "recovered.png").stat().st_size > 1000


def test_state_evolution_ends_at_the_solution():
    params = {name: Fraction(str(x)) for name, x in at(POINTS[2]).items()}
    assert state_evolution(BSR, params, 60)[-1] == pytest.approx(solve(BSR, **params)["mmse"], abs=1e-9)


def test_the_theory_is_that_of_the_sizes():
    simulation = simulate(BSR, d=11, seeds=2, alpha=0.37, beta=1.7, rho=0.43, delta=0.2, max_iterations=3)
    sizes = simulation.sizes
    assert (sizes.d, sizes.L, sizes.r, sizes.n) == (11, 19, 5, 77)
    assert simulation.params == {
        "alpha": Fraction(77, 209),
        "beta": Fraction(19, 11),
        "rho": Fraction(5, 11),
        "delta": Fraction(1, 5),
    }


def test_a_seed_reproduces_a_run_and_another_does_not():
    first, again, other = (simulate(BSR, d=12, seeds=2, seed=s, **at(POINTS[0])) for s in (1, 1, 2))
    assert [r.mse.tolist() for r in first.runs] == [r.mse.tolist() for r in again.runs]
    assert first.mse != other.mse
    longer = simulate(BSR, d=12, seeds=3, seed=1, **at(POINTS[0]))
    assert longer.runs[0].mse.tolist() == first.runs[0].mse.tolist()


def test_other_points_draw_other_instances():
    """The children of one seed: each point has its own, whatever the order of its parameters or other points."""
    params = {"alpha": Fraction(3, 10), "beta": Fraction(1), "rho": Fraction(1, 5), "delta": Fraction(1, 10)}
    sizes = Sizes(10, 10, 2, 30)
    root = point_root(0, BSR, sizes, params)
    assert root == point_root(0, BSR, sizes, dict(reversed(params.items())))
    others = [
        point_root(1, BSR, sizes, params),
        point_root(0, SIGN, sizes, params),
        point_root(0, BSR, Sizes(20, 20, 4, 120), params),
        *(
            point_root(0, BSR, sizes, {**params, name: value + Fraction(1, 10**9)})
            for name, value in params.items()
        ),
    ]
    assert len({root, *others}) == 1 + len(others)
    # two noise levels: the teachers and inputs differ, so that the errors of the two points are independent
    drawn = []
    for noise in ("0.1", "0.1000000001"):
        runs = simulate(BSR, d=12, seeds=8, max_iterations=1, **{**FIRST, "delta": noise}).runs
        drawn.append([run.mse[0] for run in runs])
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.95
    with pytest.raises(InputError, match="seed must be an integer of at least 0, got -1"):
        simulate(BSR, d=12, seeds=2, seed=-1, **FIRST)


def test_runs_that_did_not_converge_decide_nothing(tmp_path):
    """Stopped at the second iteration: the mean may lie anywhere, and is no evidence even within its error bar."""
    stopped = validate(BSR, d=12, seeds=4, max_iterations=2, **FIRST)
    assert (stopped.converged, stopped.seeds, stopped.decided) == (0, 4, False)
    near = dataclasses.replace(stopped, z_score=0.0)
    assert not near.agrees
    assert near.verdict == "UNDECIDED: 0 of 4 runs converged"
    assert json.loads(json.dumps(near.to_dict()))["verdict"] == near.verdict
    figure = near.plot(tmp_path / "stopped.png")
    (axes,) = figure.axes
    assert "UNDECIDED: 0 of 4 runs converged" in axes.get_title()
    assert "not converged: 4 of 4 runs" in [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(
    ("converged", "verdict"),
    [
        (4, "agrees"),
        (3, "agrees: 3 of 4 runs converged"),
        (2, "agrees: 2 of 4 runs converged"),
        (1, "UNDECIDED: 1 of 4 runs converged"),
    ],
)
def test_at_least_half_must_converge(converged, verdict):
    whole = validate(BSR, d=12, seeds=4, max_iterations=3, **FIRST)
    outcomes = [AmpOutcome.CONVERGED if k < converged else AmpOutcome.ITERATION_LIMIT for k in range(4)]
    runs = [
        dataclasses.replace(run, outcome=outcome)
        for run, outcome in zip(whole.simulation.runs, outcomes, strict=True)
    ]
    check = dataclasses.replace(
        whole, z_score=0.1, simulation=dataclasses.replace(whole.simulation, runs=tuple(runs))
    )
    assert (check.verdict, check.agrees) == (verdict, converged >= 2)
    far = dataclasses.replace(check, z_score=50.0)
    assert (far.verdict.split(":")[0], far.agrees) == ("DISAGREES" if converged >= 2 else "UNDECIDED", False)


def test_an_interruption_keeps_complete_runs():
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    assert len(simulate(BSR, d=12, seeds=4, progress=stop, **at(POINTS[0])).runs) == 2
    with pytest.raises(KeyboardInterrupt):
        simulate(
            BSR, d=12, seeds=4, progress=lambda *_: (_ for _ in ()).throw(KeyboardInterrupt), **at(POINTS[0])
        )


def test_runs_that_diverge_are_not_a_result(monkeypatch):
    from replica.lowering import message_passing

    def explode(*_):
        return lambda *_: (np.full(50, np.nan), np.full(50, np.nan))

    monkeypatch.setattr(message_passing, "output_functions", explode)
    with pytest.raises((NotConvergedError, InputError)) as caught:
        validate(BSR, d=12, seeds=2, **at(POINTS[0]))
    assert "\n" not in str(caught.value)


def test_sign_outputs_agree():
    check = validate(SIGN, d=50, seeds=4, alpha=0.6, beta=1, rho=0.2)
    assert check.agrees
    assert abs(check.simulated - check.theory) < 0.05 + 4 * check.error


@pytest.mark.slow
def test_absolute_outputs_agree():
    check = validate(ABS, d=60, seeds=4, alpha=1.2, beta=1, rho=0.2, delta=0.1)
    assert check.theory < 0.3
    assert check.agrees
    assert abs(check.simulated - check.theory) < 0.05 + 4 * check.error


@pytest.mark.slow
@pytest.mark.parametrize("point", LARGE, ids=str)
def test_message_passing_agrees_with_theory_at_a_hundred(point):
    check = validate(BSR, d=100, seeds=8, **at(point))
    print(
        f"{point}: theory {check.theory:.5f}, simulated {check.simulated:.5f} +- {check.error:.5f}, z {check.z_score:.2f}"
    )
    assert check.agrees


# --- the denoiser ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("beta", "rho"), [(1.0, 0.2), (1.7, 0.43), (0.4, 0.3), (3.0, 1.5)])
@pytest.mark.parametrize("q_hat", [0.3, 2.0, 20.0])
def test_the_denoiser_is_tweedies_formula(beta, rho, q_hat):
    """s - score(s)/q_hat, the score being that of the stated prior; orientation and shrinkage by hand."""
    rng = np.random.default_rng(0)
    d, L = 24, round(24 * beta)
    b, r = oriented(L / d, rho)
    canonical = {"beta": b, "rho": r}
    transform = hilbert_transform(BSR)
    R = (
        rng.standard_normal((d, round(rho * d)))
        @ rng.standard_normal((round(rho * d), L))
        / np.sqrt(round(rho * d))
    )
    R += rng.standard_normal((d, L)) / np.sqrt(q_hat)
    denoised = rectangular_denoiser(R, q_hat, lambda x, k: transform(x, k, canonical))
    wide = R if d <= L else R.T
    left, values, right = np.linalg.svd(wide, full_matrices=False)
    values = values / np.sqrt(wide.shape[1])
    s, h = sp.symbols("s h")
    score = sp.lambdify((s, h), BSR.prior.score(s, h).subs(BETA, b), "numpy")
    by_hand = -stieltjes(values**2, q_hat, b, r).real  # 1e-7 above the axis
    lowered = transform(values**2, q_hat, canonical)
    bulk = stieltjes(values**2, q_hat, b, r).imag > 1e-2
    np.testing.assert_allclose(lowered[bulk], by_hand[bulk], rtol=1e-4, atol=1e-4)
    shrunk = np.maximum(values - score(values, lowered) / q_hat, 0)
    np.testing.assert_allclose(
        shrunk, shrink(values, q_hat, b, lambda x, k: transform(x, k, canonical)), atol=1e-12
    )
    expected = np.sqrt(wide.shape[1]) * (left * shrunk) @ right
    np.testing.assert_allclose(denoised.estimate, expected if d <= L else expected.T, atol=1e-9)


@pytest.mark.parametrize(
    ("beta", "rho", "q_hat"), [(1.0, 0.2, 2.0), (2.0, 0.5, 5.0), (2.0, 0.5, 60.0), (3.0, 1.5, 1.0)]
)
def test_the_hilbert_transform_is_a_principal_value(beta, rho, q_hat):
    """Inside the support and outside, by subtraction of the pole on a grid of the density found by hand."""
    top = 2.5 * (1 + beta**-0.5) ** 2 * (1 + rho**-0.5) ** 2 + 4 * (1 + beta**-0.5) ** 2 / q_hat
    root = (np.arange(200_000) + 0.5) / 200_000 * np.sqrt(top)
    x, dx = root**2, 2 * root * (root[1] - root[0])
    density = stieltjes(x, q_hat, beta, rho).imag / np.pi
    density[density < 1e-5] = 0
    assert float(density @ dx) == pytest.approx(1, abs=2e-3)
    density /= float(density @ dx)
    inside = np.flatnonzero(density > 0.2 * density[x > 0.2].max())
    at_nodes = inside[np.linspace(0.3 * inside.size, 0.7 * inside.size, 3).astype(int)]
    for k in at_nodes:
        # PV int rho(t)/(x - t) dt = int (rho(t) - rho(x))/(x - t) dt + rho(x) log(x/(top - x))
        gap = x[k] - x
        gap[k] = np.inf
        principal = float(((density - density[k]) / gap) @ dx) + density[k] * math.log(x[k] / (top - x[k]))
        got = float(hilbert_transform(BSR)(np.array([x[k]]), q_hat, {"beta": beta, "rho": rho})[0])
        assert got == pytest.approx(principal, abs=5e-3 * (1 + abs(principal)))
    edge = x[np.flatnonzero(density)[-1]]
    for outside in (1.02 * edge, 1.5 * edge, 10 * edge):
        expected = float((density / (outside - x)) @ dx)
        got = float(hilbert_transform(BSR)(np.array([outside]), q_hat, {"beta": beta, "rho": rho})[0])
        assert got == pytest.approx(expected, rel=5e-3)


# --- output functions ------------------------------------------------------------------------------------------------

OMEGA = np.array([-2.5, -0.3, 0.0, 0.4, 1.7])


def derivative(log_z, omega, h=1e-4):
    """Central differences of order 4."""
    return (8 * (log_z(omega + h) - log_z(omega - h)) - (log_z(omega + 2 * h) - log_z(omega - 2 * h))) / (
        12 * h
    )


def test_gaussian_output_function():
    y = np.array([0.3, -1.0, 2.0, 0.0, 1.0])
    g, slope = output_functions(BSR.channel)(y, OMEGA, 0.7, {"delta": 0.2})
    np.testing.assert_allclose(g, (y - OMEGA) / 0.9, rtol=1e-13)
    np.testing.assert_allclose(slope, np.full(5, 1 / 0.9), rtol=1e-13)


@pytest.mark.parametrize("V", [0.7, 0.01])
def test_sign_output_function(V):
    y = np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    g, slope = output_functions(SIGN.channel)(y, OMEGA, V, {})
    u = y * OMEGA / math.sqrt(V)
    ratio = np.exp(norm.logpdf(u) - log_ndtr(u))
    np.testing.assert_allclose(g, y * ratio / math.sqrt(V), rtol=1e-9)
    np.testing.assert_allclose(slope, ratio * (ratio + u) / V, rtol=1e-6)


@pytest.mark.parametrize("V", [0.7, 0.05])
def test_absolute_output_function(V):
    delta = 0.2
    y = np.array([0.3, -0.4, 2.0, 0.0, 1.0])

    def log_z(omega):
        halves = []
        for sign in (1, -1):
            mean = (V * y + delta * sign * omega) / (V + delta)
            gauss = norm.logpdf(y, sign * omega, math.sqrt(V + delta))
            halves.append(gauss + log_ndtr(mean / math.sqrt(V * delta / (V + delta))))
        return logsumexp(halves, axis=0)

    g, slope = output_functions(ABS.channel)(y, OMEGA, V, {"delta": delta})
    np.testing.assert_allclose(g, derivative(log_z, OMEGA), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(
        slope, -derivative(lambda w: derivative(log_z, w, 1e-3), OMEGA, 1e-3), rtol=1e-4, atol=1e-4
    )
