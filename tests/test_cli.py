"""The command line alone, on a toy model: what it passes on, prints, writes and refuses."""

from __future__ import annotations

import io
import json
import os
import sys
import types
from enum import Enum
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
import xarray as xr
from latex_engine import compile_latex

import replica
from replica import cli, cli_output, cli_progress, models
from replica.derivation import Derivation, Kind, Rule
from replica.parameters import Parameter, unknown
from replica.saddle_point import SaddlePoint
from solvers.errors import InputError, NotConvergedError


class Outcome(Enum):
    CONVERGED = "converged to the tolerance"
    EXACT = "exact recovery"


class Toy:
    control_parameters = (
        Parameter("alpha", "alpha", "sample ratio", lower=Fraction(0), lower_open=True),
        Parameter("delta", "Delta", "noise variance", lower=Fraction(0)),
    )

    def __init__(self, options):
        self.options = options

    def derive(self):
        n, x = sp.symbols("n x")
        rule = Rule("n -> 0", Kind.LIMIT, lambda expr: expr.coeff(n, 1), "the linear term")
        return Derivation.start("Toy", sp.Symbol("Phi"), n * x + n**2).then(rule)

    def saddle_point(self):
        q, delta = sp.symbols("q Delta")
        return SaddlePoint(((q, 1 / (1 + delta)),), (Derivation.start("Overlap", q, 1 / (1 + delta)),))


class Report:
    def __init__(self, fields):
        self.fields = fields

    def to_dict(self):
        return self.fields

    def plot(self, path):
        path.write_bytes(b"a picture")


@pytest.fixture
def calls(monkeypatch):
    """Replace models and API by toys; return what they were called with."""
    calls = []

    def build(name, options):
        if name != "toy":
            raise InputError(unknown("model", name, ["toy"]))
        for option, value in options.items():
            if option != "channel":
                raise InputError(unknown("option", option, ["channel"]))
            if value not in ("gaussian", "sign"):
                raise InputError(unknown("channel", value, ["gaussian", "sign"]))
        return Toy(options)

    def solve(model, *, digits=None, start=None, throw=True, **parameters):
        calls.append(("solve", model.options, digits, start, parameters))
        if parameters["alpha"] == 7:
            raise NotConvergedError("the steps ran out\nbefore the tolerance was reached")
        values = {"q": np.float64(0.5), "mmse": "0.51399239074024007128", "error": float("nan")}
        return Report({"model": "toy", "values": values, "outcome": Outcome.CONVERGED, "point": parameters})

    def sweep(model, *, progress=None, executor=None, **parameters):
        calls.append(("sweep", model.options, progress, parameters))
        if parameters["delta"] == 7:
            raise KeyboardInterrupt("3 of 9 points are kept in x.jsonl")
        if parameters["delta"] == 8:
            raise KeyboardInterrupt
        alpha = np.atleast_1d(np.array(parameters["alpha"], dtype=object))
        outcome = np.array([Outcome.CONVERGED, *[Outcome.EXACT] * (len(alpha) - 1)], dtype=object)
        return xr.Dataset(
            {"q": ("alpha", np.linspace(0, 1, len(alpha))), "outcome": ("alpha", outcome)},
            coords={"alpha": alpha},
            attrs={"delta": parameters["delta"], "planted": True, "note": None, "model": "toy"},
        )

    def validate(model, *, d, seeds, progress=None, **parameters):
        calls.append(("validate", model.options, d, seeds, progress, parameters))
        return Report({"theory": 0.5, "simulated": 0.51, "error": 0.02, "z_score": float("inf")})

    def run(plot=None):
        calls.append(("demo", plot))

    monkeypatch.setattr(models, "MODELS", {"toy": "a toy"}, raising=False)
    monkeypatch.setattr(models, "OPTIONS", {"toy": {"channel": ("gaussian", "sign")}}, raising=False)
    monkeypatch.setattr(models, "build", build, raising=False)
    for name, function in {"solve": solve, "sweep": sweep, "validate": validate}.items():
        monkeypatch.setattr(replica, name, function, raising=False)
    demo = types.ModuleType("replica.demo")
    demo.run = run
    monkeypatch.setitem(sys.modules, "replica.demo", demo)
    return calls


def run(*words):
    return cli.main([str(word) for word in words])


POINT = ["alpha=0.3", "delta=1/10"]
VALUES = {"alpha": Fraction(3, 10), "delta": Fraction(1, 10)}


def test_models_lists_names_and_options(calls, capsys):
    assert run("models") == 0
    assert capsys.readouterr().out == "toy  a toy\n       channel=gaussian|sign\n"


def test_help_and_no_command(capsys):
    assert run() == 0
    assert "commands:" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0


def test_solve_passes_exact_numbers_and_options(calls, capsys):
    assert run("solve", "toy", *POINT, "channel=sign", "--digits", 50, "--start", "informed") == 0
    assert calls == [("solve", {"channel": "sign"}, 50, "informed", VALUES)]
    lines = capsys.readouterr().out.splitlines()
    assert "values.mmse   0.51399239074024007128" in lines
    assert "outcome       converged to the tolerance" in lines
    assert "values.error  -" in lines


def test_options_and_parameters_come_in_any_order(calls, capsys):
    assert run("solve", "--json", "toy", "alpha=0.3", "--digits=20", "delta=1/10", "--start", "informed") == 0
    assert calls == [("solve", {}, 20, "informed", VALUES)]


def test_json_is_strict(calls, capsys):
    assert run("solve", "toy", *POINT, "--json") == 0
    fields = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert fields["values"] == {"q": 0.5, "mmse": "0.51399239074024007128", "error": None}
    assert fields["outcome"] == "converged to the tolerance"
    assert fields["point"] == {"alpha": "3/10", "delta": "1/10"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["solve", "toy", "alpha=0.3", "delta=-0.1"], "delta must be >= 0, got -0.1"),
        (["solve", "toy", "alpha=-1", "delta=1"], "alpha must be > 0, got -1"),
        (["solve", "toy", "alpha=0", "delta=1"], "alpha must be > 0, got 0"),
        (["solve", "toy", "alpha=0.3"], "missing parameter delta"),
        (["solve", "toy", *POINT, "rho=1"], "unknown parameter 'rho': allowed: alpha, delta"),
        (["solve", "toy", *POINT, "alpha=0.3"], "alpha is given twice"),
        (["solve", "toy", *POINT, "digits=3"], "unknown parameter 'digits'"),
        (["solve", "toy", *POINT, "throw=0"], "unknown parameter 'throw'"),
        (["solve", "toy", "alpha=nan", "delta=1"], "alpha must be a finite number"),
        (["solve", "toy", "alpha=abc", "delta=1"], "alpha must be a finite number"),
        (["solve", "toy", "alpha=__import__('os')", "delta=1"], "alpha must be a finite number"),
        (["solve", "toy", "alpha=0.1,0.2", "delta=1"], "alpha must be a finite number"),
        (["solve", "toy", "alpha"], "expected name=value, got 'alpha'"),
        (["solve", "toy", "=3"], "expected name=value, got '=3'"),
        (["solve", "toy", *POINT, "channel=cubic"], "unknown channel 'cubic': allowed: gaussian, sign"),
        (["solve", "toi", *POINT], "unknown model 'toi': did you mean toy? Allowed: toy"),
        (["solve", "toy", *POINT, "--digits", "0"], "argument --digits: must be a positive whole number"),
        (["solve", "toy", *POINT, "--digits", "1.5"], "argument --digits: must be a positive whole number"),
        (["solve", "toy", *POINT, "--jsn"], "unrecognized argument --jsn"),
        (["solve"], "the following arguments are required: MODEL"),
        (["solv"], "invalid choice: 'solv'"),
        (["models", "x"], "unrecognized argument x"),
        (["derive", "toy", "alpha=1"], "unknown option 'alpha': allowed: channel"),
        (["derive", "toy", "--to", "toy.pdf"], "must end in .tex or .md"),
        (["derive", "toy", "--to", "nowhere/toy.md"], "there is no folder 'nowhere'"),
        (["validate", "toy", *POINT, "--d", "0"], "argument --d/--N: must be a positive whole number"),
        (["validate", "toy", *POINT, "--seeds", "-1"], "argument --seeds"),
        (["validate", "toy", *POINT, "--plot", "check.txt"], "must end in .png or .pdf or .svg"),
        (["demo", "--plot", "nowhere/check.png"], "there is no folder 'nowhere'"),
        (["sweep", "toy", *POINT], "required: --out"),
        (["sweep", "toy", *POINT, "--out", "x.csv"], "must end in .nc"),
        (["sweep", "toy", *POINT, "--out", "nowhere/x.nc"], "there is no folder 'nowhere'"),
        (["sweep", "toy", "alpha=0.1:0.2", "delta=1", "--out", "x.nc"], "alpha must be a number, a list"),
        (["sweep", "toy", "alpha=0:1:3", "delta=1", "--out", "x.nc"], "alpha must be > 0, got 0"),
        (["sweep", "toy", "alpha=1,2", "--out", "x.nc"], "missing parameter delta"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_computed(calls, capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("replica: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert calls == []
    assert list(tmp_path.iterdir()) == []


def test_not_converged_exits_1_with_its_sentence(calls, capsys):
    assert run("solve", "toy", "alpha=7", "delta=1") == 1
    assert capsys.readouterr().err == "replica: the steps ran out before the tolerance was reached\n"


@pytest.mark.parametrize(
    ("delta", "kept"), [(7, "3 of 9 points are kept in x.jsonl"), (8, "nothing was written")]
)
def test_an_interruption_exits_130_and_says_what_was_kept(calls, capsys, tmp_path, delta, kept):
    assert run("sweep", "toy", "alpha=1,2", f"delta={delta}", "--out", tmp_path / "x.nc") == 130
    assert capsys.readouterr().err == f"replica: interrupted; {kept}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 2])
def test_an_interrupted_sweep_writes_the_points_it_has(calls, capsys, tmp_path, monkeypatch, kept):
    def sweep(model, *, progress=None, **parameters):
        q = [0.5] * kept + [np.nan] * (3 - kept)
        return xr.Dataset({"q": ("alpha", q)}, attrs={"interrupted": 1, "computed": kept})

    monkeypatch.setattr(replica, "sweep", sweep)
    path = tmp_path / "x.nc"
    assert run("sweep", "toy", "alpha=1,2,3", "delta=1", "--out", path) == 130
    said = f"2 of 3 points are kept in {path}" if kept else "nothing was written"
    assert capsys.readouterr().err == f"replica: interrupted; {said}\n"
    assert path.exists() == bool(kept)
    if kept:
        with xr.open_dataset(path, engine="scipy") as dataset:
            assert np.isfinite(dataset["q"].values).sum() == 2


def test_sweep_writes_a_file_that_xarray_reads(calls, capsys, tmp_path):
    path = tmp_path / "curve.nc"
    assert run("sweep", "toy", "alpha=0.1:0.5:3", "delta=0.1", "channel=sign", "--out", path) == 0
    grid = [Fraction(1, 10), Fraction(3, 10), Fraction(1, 2)]
    assert calls == [("sweep", {"channel": "sign"}, None, {"alpha": grid, "delta": Fraction(1, 10)})]
    with xr.open_dataset(path, engine="scipy") as dataset:
        assert dataset["alpha"].values.tolist() == [0.1, 0.3, 0.5]
        assert dataset["q"].values.tolist() == [0, 0.5, 1]
        assert dataset["outcome"].values.tolist() == [Outcome.CONVERGED.value, *[Outcome.EXACT.value] * 2]
        assert dataset.attrs["delta"] == "1/10"
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: q, outcome over alpha 3",
        "     2  exact recovery",
        "     1  converged to the tolerance",
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_does_not_overwrite_unless_forced(calls, capsys, tmp_path):
    path = tmp_path / "curve.nc"
    path.write_text("precious")
    words = ["sweep", "toy", "alpha=1,2", "delta=1", "--out", path]
    assert run(*words) == 2
    assert "exists; --force overwrites it" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert calls == []
    assert run(*words, "--force") == 0
    assert path.read_bytes().startswith(b"CDF")


def test_netcdf_3_takes_every_type_of_a_dataset(tmp_path):
    dataset = xr.Dataset(
        {
            "flag": ("x", np.array([True, False])),
            "big": ("x", np.array([1, 2**40])),
            "small": ("x", np.array([1, 2], dtype="uint64")),
            "text": ("x", ["a", "bcd"]),
            "mixed": ("x", np.array([Outcome.EXACT, None], dtype=object)),
            "scalar": Fraction(1, 4),
            "empty": ("y", np.array([], dtype=int)),
        },
        coords={"x": np.array([Fraction(1, 2), Fraction(3, 4)], dtype=object)},
        attrs={
            "flag": True,
            "table": {"a": Fraction(1, 3)},
            "list": [1, 2],
            "none": None,
            "nan": float("nan"),
        },
    )
    cli_output.write_dataset(dataset, tmp_path / "all.nc")
    with xr.open_dataset(tmp_path / "all.nc", engine="scipy") as back:
        assert back["flag"].values.tolist() == [1, 0]
        assert back["big"].values.tolist() == [1, 2.0**40]
        assert back["small"].values.tolist() == [1, 2]
        assert back["text"].values.tolist() == ["a", "bcd"]
        assert back["mixed"].values.tolist() == ["exact recovery", ""]
        assert float(back["scalar"]) == 0.25
        assert back["x"].values.tolist() == [0.5, 0.75]
        assert json.loads(back.attrs["table"]) == {"a": "1/3"}
    assert dataset["flag"].dtype == bool


def test_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        cli_output.write_dataset(xr.Dataset(), tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []


def test_derive_prints_markdown(calls, capsys):
    assert run("derive", "toy", "channel=sign") == 0
    out = capsys.readouterr().out
    assert out.startswith("## Toy\n")
    assert "## Overlap" in out
    assert "$$\\begin{aligned}\nq &=" in out[out.index("## Saddle point") :]


def test_derive_writes_markdown_and_a_document_that_compiles(calls, tmp_path):
    assert run("derive", "toy", "--to", tmp_path / "toy.md") == 0
    assert (tmp_path / "toy.md").read_text().rstrip().endswith("\\end{aligned}$$")
    assert run("derive", "toy", "--to", tmp_path / "toy.tex") == 0
    compile_latex((tmp_path / "toy.tex").read_text())


def test_validate(calls, capsys, tmp_path):
    assert run("validate", "toy", *POINT, "--d", 60, "--seeds", 3, "--plot", tmp_path / "c.png") == 0
    assert calls == [("validate", {}, 60, 3, None, VALUES)]
    assert (tmp_path / "c.png").read_bytes() == b"a picture"
    assert "simulated  0.51" in capsys.readouterr().out
    assert run("validate", "toy", *POINT, "--json") == 0
    assert calls[1][2:4] == (None, 8)  # the model's own size
    assert json.loads(capsys.readouterr().out)["z_score"] is None


def test_demo(calls, tmp_path):
    assert run("demo") == 0
    assert run("demo", "--plot", tmp_path / "demo.png") == 0
    assert calls == [("demo", None), ("demo", tmp_path / "demo.png")]


def test_progress_is_drawn_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with cli_progress.progress_bar("sweep") as progress:
        assert progress is None
    monkeypatch.setattr(sys, "stderr", Terminal())
    with cli_progress.progress_bar("sweep") as progress:
        assert progress is not None
        progress(1, 2)
        progress(2, 2)
    assert "sweep" in sys.stderr.getvalue()


def test_a_file_that_cannot_be_written_is_one_line(calls, capsys, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "toy.md")

    monkeypatch.setattr(cli_output, "write_text", refuse)
    assert run("derive", "toy", "--to", tmp_path / "toy.md") == 2
    assert capsys.readouterr().err == "replica: error: [Errno 13] Permission denied: 'toy.md'\n"


def test_a_folder_without_permission_is_refused_before_computing(calls, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert run("sweep", "toy", *POINT, "--out", tmp_path / "x.nc") == 2
    assert "cannot write in the folder" in capsys.readouterr().err
    assert calls == []
