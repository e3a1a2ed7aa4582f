"""The observables of a sweep: those of single solutions, closed forms, and what is said where there is none."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from replica import cli, solve, sweep, sweeping
from replica.ingredients.channels import GaussianNoise, Sign
from replica.ingredients.priors import Gaussian, Rademacher
from replica.lowering import observed_points
from replica.models import BilinearSequenceRegression, build
from replica.models.spiked_matrix import SpikedMatrix
from replica.models.teacher_student import TeacherStudent
from solvers.errors import InputError
from solvers.solution import Outcome

SIGN = TeacherStudent(Gaussian(), Sign())
LINEAR = TeacherStudent(Gaussian(), GaussianNoise())
ERRORS = ("generalisation_error", "gibbs_error")


@pytest.fixture
def solved(monkeypatch):
    """How many points were solved."""
    sizes = []

    def count(model, points, start, solve=sweeping.solve_group):
        sizes.append(len(points))
        return solve(model, points, start)

    def one(model, point, start, solve=sweeping.solve_one):
        sizes.append(1)
        return solve(model, point, start)

    monkeypatch.setattr(sweeping, "solve_group", count)
    monkeypatch.setattr(sweeping, "solve_one", one)
    return sizes


def has_no_silent_nan(table, names):
    """nan only where the outcome says that there is no solution, or names the observable."""
    outcomes = table["outcome"].to_numpy().ravel()
    for name in names:
        for value, outcome in zip(table[name].to_numpy().ravel(), outcomes, strict=True):
            assert not np.isnan(value) or name in outcome or outcome.startswith("not "), (name, outcome)


# -- one pair of unknowns --


def test_errors_of_the_sign_are_angles_along_a_sweep():
    """arccos(sqrt q)/pi and arccos(q)/pi (Opper and Haussler, Phys. Rev. Lett. 66 (1991) 2677)."""
    table = sweep(SIGN, alpha=[0.5, 1, 2, 4], observables=ERRORS)
    overlap = table["q"].to_numpy()
    bayes, gibbs = np.arccos(np.sqrt(overlap)) / math.pi, np.arccos(overlap) / math.pi
    assert table["generalisation_error"].to_numpy() == pytest.approx(bayes, abs=1e-12)
    assert table["gibbs_error"].to_numpy() == pytest.approx(gibbs, abs=1e-12)
    assert list(table) == [
        *("mmse", "q", "q_hat", *ERRORS),
        *("free_entropy", "residual", "error", "outcome"),
    ]


@pytest.mark.parametrize(
    ("model", "own", "axis", "values"),
    [
        (SIGN, {}, "alpha", [1, 3]),
        (SpikedMatrix(Rademacher(), Gaussian()), {"alpha": 2}, "lam", [0.5, 2]),
        pytest.param(
            BilinearSequenceRegression(),
            {"alpha": 0.3, "beta": [0.5, 2], "rho": 0.2},
            "delta",
            [0.1, 0.4],
            marks=pytest.mark.slow,
        ),
        (build("perceptron", {"weights": "spherical"}), {"kappa": 0.5}, "alpha", [0.2, 0.6]),
    ],
    ids=["glm", "spiked", "bsr", "perceptron"],
)
def test_every_observable_of_a_solution(model, own, axis, values):
    """In arrays and one by one they agree, whatever the orientation."""
    grid = {**own, axis: values}
    first = {name: x[0] if isinstance(x, list) else x for name, x in grid.items()}
    names = list(solve(model, **first).values)
    table = sweep(model, observables=[n for n in names if n not in ("q", "q_hat", "mmse")], **grid)
    has_no_silent_nan(table, names)
    for index in np.ndindex(*table["mmse"].shape):
        picked = dict(zip(table["mmse"].dims, index, strict=True))
        at = {name: x[picked[name]] if name in picked else x for name, x in grid.items()}
        solution = solve(model, **at)
        for name in names:
            assert float(table[name][picked]) == pytest.approx(solution[name], rel=1e-9, abs=1e-10), name


def test_a_closed_form_is_one_evaluation_for_all_points(monkeypatch):
    """v + Delta for a linear output at 300 points, and no point on its own."""
    monkeypatch.setattr(observed_points, "_single", None)
    runs = []

    def counted(program, table, run=observed_points._run):
        runs.append(table.shape)
        return run(program, table)

    monkeypatch.setattr(observed_points, "_run", counted)
    ratios = [k / 100 for k in range(50, 350)]
    table = sweep(LINEAR, alpha=ratios, delta=0.1, observables=ERRORS)
    assert [shape[1] for shape in runs] == [256, 256, 44, 44]  # the points solved together, for either error
    expected = table["mmse"].to_numpy() + 0.1
    assert table["generalisation_error"].to_numpy() == pytest.approx(expected, abs=1e-14)


def test_what_is_not_defined_is_said():
    """A density has no finite loss without noise; information is then infinite, which is a number."""
    names = ("training_loss", "mutual_information")
    table = sweep(LINEAR, alpha=[0.5, 2], delta=[0, 0.1], observables=names)
    has_no_silent_nan(table, names)
    losses, information, outcomes = (table[n].to_numpy() for n in (*names, "outcome"))
    assert np.isnan(losses[:, 0]).all()
    assert np.all(information[:, 0] == np.inf)
    assert outcomes[0, 0] == f"{Outcome.CONVERGED.value}; not defined here: training_loss"
    assert outcomes[1, 0] == f"{Outcome.PERFECT_RECOVERY.value}; not defined here: training_loss"
    assert losses[:, 1] == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 0.1), abs=1e-12)
    assert outcomes[0, 1] == Outcome.CONVERGED.value


def test_at_perfect_recovery_the_errors_are_zero():
    names = (*ERRORS, "mutual_information")
    table = sweep(TeacherStudent(Rademacher(), Sign()), alpha=[1, 2], observables=names, start="global")
    assert table["outcome"].to_numpy()[1] == Outcome.PERFECT_RECOVERY.value
    assert [float(table[name][1]) for name in names] == pytest.approx([0, 0, math.log(2)])
    assert float(table["gibbs_error"][0]) > 0.1


def test_an_observable_that_did_not_converge_is_said_and_the_rest_stays(monkeypatch, tmp_path, solved):
    """The unknowns keep their numbers; a checkpoint keeps what was found."""
    monkeypatch.setattr(
        sweeping, "observed_at", lambda *given: [dict.fromkeys(given[-1], math.nan) for _ in given[1]]
    )
    path = tmp_path / "points.jsonl"
    for _ in range(2):
        table = sweep(SIGN, alpha=[1, 2], observables="gibbs_error", checkpoint=path)
        assert set(table["outcome"].to_numpy()) == {
            f"{Outcome.CONVERGED.value}; did not converge: gibbs_error"
        }
        assert np.isnan(table["gibbs_error"]).all()
        assert np.isfinite(table["q"]).all()
    assert solved == [2]


def test_a_point_that_did_not_converge_has_none(monkeypatch):
    def fail(model, points, start, solve=sweeping.solve_group):
        found = solve(model, points, start)
        lost = replace(found[0].chosen, outcome=Outcome.RESIDUAL)
        return [replace(found[0], chosen=lost), *found[1:]]

    monkeypatch.setattr(sweeping, "solve_group", fail)
    table = sweep(SIGN, alpha=[1, 2], observables="gibbs_error")
    assert np.isnan(table["gibbs_error"]).to_numpy().tolist() == [True, False]
    assert table["outcome"].to_numpy()[0] == Outcome.RESIDUAL.value


# -- the other solvers --


@pytest.mark.parametrize(
    ("name", "options", "grid", "asked"),
    [
        ("risk", {"loss": "square"}, {"alpha": 2, "lam": [0.1, 1]}, "generalisation_error"),
        ("sk", {}, {"T": [0, 0.5], "h": 0.2}, "replicon"),
        pytest.param(
            *("sk", {"ansatz": "fullrsb"}, {"T": [0, 2], "h": 0.2}, "squared_overlap"),
            marks=pytest.mark.slow,
        ),
        ("pspin", {"spins": "spherical", "ansatz": "1rsb"}, {"T": [0.5, 0.7], "h": 0}, "replicon1"),
        ("hopfield", {}, {"T": [0, 0.2], "alpha": 0.05}, "r"),
        ("gaussian_spins", {}, {"T": [2, 3], "J0": 0.5, "h": 0.1}, "stiffness"),
        (
            "perceptron",
            {"weights": "spherical", "ansatz": "1rsb", "constraint": "interval"},
            {"alpha": 0.2, "kappa": [0.4, 0.5]},
            "replicon1",
        ),
    ],
    ids=["risk", "sk", "full", "spherical", "hopfield", "gaussian", "perceptron"],
)
def test_models_of_several_unknowns(name, options, grid, asked):
    model = build(name, options)
    table = sweep(model, observables=asked, **grid)
    has_no_silent_nan(table, set(table) - {"outcome"})
    (axis,) = table.dims
    found = []
    for k, value in enumerate(grid[axis]):
        solution = solve(model, throw=False, **{**grid, axis: value})
        assert str(table["outcome"].to_numpy()[k]).startswith(solution.outcome.value)
        for known in solution.values:
            assert float(table[known][k]) == pytest.approx(solution[known], rel=1e-9, abs=1e-12), known
        found.append(asked in solution.values)
    assert any(found)
    assert np.isfinite(table[asked].to_numpy()).tolist() == found
    for variable in (*table.data_vars.values(), *table.coords.values()):
        assert variable.attrs["description"]


def test_every_variable_says_what_it_is():
    table = sweep(SIGN, alpha=[1, 2], observables=ERRORS)
    assert table["gibbs_error"].attrs == {
        "description": "error of a prediction drawn from the posterior",
        "units": "1",
    }
    assert table["free_entropy"].attrs["units"] == "nats per degree of freedom"
    assert table["alpha"].attrs["description"] == SIGN.control_parameters[0].doc
    for variable in table.data_vars.values():
        assert variable.attrs["description"] != "order parameter or conjugate at the saddle point"


# -- what is refused --


@pytest.mark.parametrize(
    ("model", "grid", "name", "message"),
    [
        (SIGN, {"alpha": [1]}, "gibs_error", "did you mean gibbs_error.*generalisation_error, gibbs_error"),
        (
            SIGN,
            {"alpha": [1]},
            "training_error",
            "allowed: generalisation_error|Allowed: generalisation_error",
        ),
        (build("sk", {}), {"T": [0.0], "h": [0.1]}, "replicon", "llowed: f, energy, entropy, V"),
        (build("risk", {}), {"alpha": [1], "lam": [1]}, "mse", "llowed: training_loss, generalisation_error"),
        (build("hopfield", {}), {"T": [0.1], "alpha": [0]}, "mmse", "llowed: f, energy, entropy"),
    ],
)
def test_a_name_that_no_point_has_is_refused_before_anything_is_solved(model, grid, name, message, solved):
    with pytest.raises(InputError, match=f"unknown observable '{name}': .*{message}") as caught:
        sweep(model, observables=name, **grid)
    assert "\n" not in str(caught.value)
    assert solved == []


# -- on disk --


def test_observables_are_added_to_the_points_of_a_checkpoint(tmp_path, solved):
    """Only the observables are computed, also where points of both kinds meet; then nothing is."""
    path = tmp_path / "points.jsonl"
    grid = {"alpha": [0.5, 2], "delta": [0, 0.1]}
    names = ("training_loss", "mutual_information")
    sweep(LINEAR, checkpoint=path, **{**grid, "alpha": [2]})
    first = sum(solved)
    again = sweep(LINEAR, checkpoint=path, observables=names, **grid)
    assert sum(solved) - first == 2
    content = path.read_bytes()
    assert sweep(LINEAR, checkpoint=path, observables=names, **grid).identical(again)
    assert (sum(solved) - first, path.read_bytes()) == (2, content)
    fresh = sweep(LINEAR, observables=names, **grid)
    xr.testing.assert_allclose(again, fresh, rtol=1e-11)
    fewer = sweep(LINEAR, checkpoint=path, **grid)
    assert names[0] not in fewer
    json_line = json.loads(content.splitlines()[-1])["points"][0]
    assert json_line["values"]["training_loss"] is None
    assert json_line["values"]["mutual_information"] == "inf"


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("risk", {"alpha": [1, 2], "lam": 0.5}),
        ("sk", {"T": [0, 0.5], "h": 0.2}),
        ("hopfield", {"T": 0.2, "alpha": [0, 0.02]}),
    ],
)
def test_models_of_several_unknowns_go_on_from_a_checkpoint(tmp_path, solved, name, grid):
    def stop(done, total):
        del total
        if done == 1:
            raise KeyboardInterrupt

    path, model = tmp_path / "points.jsonl", build(name, {})
    first = sweep(model, checkpoint=path, progress=stop, **grid)
    assert (first.attrs["interrupted"], first.attrs["computed"]) == (1, 1)
    assert str(first["outcome"].to_numpy()[1]) == "not computed: interrupted"
    whole = sweep(model, checkpoint=path, **grid)
    assert solved == [1, 1]
    assert whole.identical(sweep(model, **grid))


def test_a_checkpoint_knows_both_priors(tmp_path):
    path = tmp_path / "points.jsonl"
    sweep(SpikedMatrix(Rademacher(), Gaussian()), checkpoint=path, alpha=1, lam=2)
    with pytest.raises(InputError, match=r"is of statement SpikedMatrix.* not SpikedMatrix"):
        sweep(SpikedMatrix(Rademacher(), Rademacher()), checkpoint=path, alpha=1, lam=2)


def test_what_is_sent_to_workers_can_be_pickled():
    task = sweeping.Task(SIGN, [0], [{"alpha": 1}], "global", ERRORS, [None])
    assert pickle.loads(pickle.dumps(task)) == task
    assert pickle.loads(pickle.dumps(sweeping._carried_out))(task)[0].values.keys() >= set(ERRORS)


def test_the_command_line_writes_them(tmp_path, capsys):
    path = tmp_path / "x.nc"
    words = ["sweep", "glm", "channel=sign", "alpha=1,2", "--out", str(path)]
    assert cli.main([*words, "--observables", ",".join(ERRORS)]) == 0
    assert "gibbs_error" in capsys.readouterr().out
    with xr.open_dataset(path, engine="scipy") as table:
        assert table["gibbs_error"].attrs["description"] == "error of a prediction drawn from the posterior"
        assert table["gibbs_error"].to_numpy() == pytest.approx(
            np.arccos(table["q"].to_numpy()) / math.pi, abs=1e-12
        )
    assert cli.main([*words, "--force", "--observables", "error"]) == 2
    assert "unknown observable 'error'" in capsys.readouterr().err
