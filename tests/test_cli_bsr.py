"""The command line end to end, as its own process, on bilinear sequence regression."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from latex_engine import compile_latex

POINT = ["alpha=0.3", "beta=1", "rho=0.2", "delta=0.1"]
MMSE = "0.51399239074024007128"
COMMAND = shutil.which("replica", path=str(Path(sys.executable).parent)) or "replica"


def replica(*words, status=0):
    run = subprocess.run(
        [COMMAND, *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == status, run.stderr
    if status:
        assert run.stderr.startswith("replica: ")
        assert run.stderr.count("\n") == 1
        return run.stderr
    return run.stdout


def find(fields, name):
    """Return the field of that name, wherever it is nested."""
    if name in fields:
        return fields[name]
    for value in fields.values():
        if isinstance(value, dict) and (found := find(value, name)) is not None:
            return found
    return None


def test_models_lists_bsr():
    assert "bsr" in replica("models")


def test_solve_in_double_precision():
    fields = json.loads(replica("solve", "bsr", *POINT, "--json"))
    assert float(find(fields, "mmse")) == pytest.approx(float(MMSE), abs=1e-10)


@pytest.mark.slow
def test_solve_prints_a_table():
    assert MMSE[:11] in replica("solve", "bsr", *POINT)


@pytest.mark.slow
def test_solve_to_twenty_digits():
    fields = json.loads(replica("solve", "bsr", *POINT, "--digits", 20, "--json"))
    assert str(find(fields, "mmse"))[:21] == MMSE[:21]


@pytest.mark.slow
@pytest.mark.parametrize("start", ["uninformed", "informed"])
def test_solve_follows_a_branch(start):
    fields = json.loads(replica("solve", "bsr", *POINT, "--start", start, "--json"))
    assert 0 <= float(find(fields, "mmse")) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("words", [["channel=sign"], ["channel=abs", "delta=0.1"]])
def test_solve_with_another_channel(words):
    fields = json.loads(replica("solve", "bsr", *words, "alpha=0.8", "beta=1", "rho=0.2", "--json"))
    assert 0 < float(find(fields, "mmse")) < 1


@pytest.mark.slow
def test_derive_writes_a_document_that_compiles(tmp_path):
    replica("derive", "bsr", "--to", tmp_path / "bsr.tex")
    compile_latex((tmp_path / "bsr.tex").read_text(encoding="utf-8"))
    replica("derive", "bsr", "--to", tmp_path / "bsr.md")
    assert (tmp_path / "bsr.md").read_text(encoding="utf-8").count("$$") >= 4
    assert "$$" in replica("derive", "bsr")


def test_sweep_writes_a_labelled_grid(tmp_path):
    path = tmp_path / "curve.nc"
    words = ["sweep", "bsr", "alpha=0.1:0.5:3", "beta=1", "rho=0.1,0.2", "delta=0.1", "--out", path]
    replica(*words)
    with xr.open_dataset(path, engine="scipy") as dataset:
        assert dict(dataset.sizes) == {"alpha": 3, "rho": 2}
        assert {"mmse", "q", "q_hat", "free_entropy", "outcome"} <= set(dataset.data_vars)
        value = float(dataset["mmse"].sel(alpha=0.3, rho=0.2))
        assert value == pytest.approx(float(MMSE), abs=1e-10)
    assert "--force" in replica(*words, status=2)


@pytest.mark.slow
def test_validate_compares_with_message_passing(tmp_path):
    plot = tmp_path / "check.png"
    words = ["validate", "bsr", *POINT, "--d", 30, "--seeds", 2]
    fields = json.loads(replica(*words, "--json", "--plot", plot))
    assert float(find(fields, "theory")) == pytest.approx(float(MMSE), abs=1e-10)
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["solve", "bsr", "alpha=-0.3", "beta=1", "rho=0.2", "delta=0.1"], "alpha must be >"),
        (["solve", "bsr", "alpha=0.3", "beta=1", "rho=0.2", "delta=-0.1"], "delta must be >= 0, got -0.1"),
        (["solve", "bsr", "alpha=0.3", "beta=1", "rho=0", "delta=0.1"], "rho must be > 0, got 0"),
        (["solve", "bsr", "alpha=0.3", "beta=1", "rho=nan", "delta=0.1"], "rho must be a finite number"),
        (["solve", "bsr", "alpha=0.3", "beta=1", "rho=0.2"], "missing parameter delta"),
        (["solve", "bsr", *POINT, "gamma=1"], "unknown parameter 'gamma'"),
        (["solve", "bsr", *POINT, "--digits", "0"], "--digits"),
        (["solve", "bsr", *POINT, "channel=cubic"], "cubic"),
        (["solve", "bsrr", *POINT], "unknown model 'bsrr'"),
        (["validate", "bsr", *POINT, "--d", "100000", "--seeds", "2"], "memory"),
    ],
)
def test_bad_input_is_one_line(words, message):
    assert message in replica(*words, status=2)


def test_a_sweep_leaves_a_default_out(tmp_path):
    path = tmp_path / "x.nc"
    replica("sweep", "glm", "channel=relu", "alpha=0.5,1", "--out", path)
    with xr.open_dataset(path, engine="scipy") as dataset:
        assert float(dataset.q.sel(alpha=1)) == pytest.approx(0.6927938964731635, abs=1e-10)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a process")
def test_an_interrupted_sweep_exits_130(tmp_path):
    words = [
        "sweep",
        "bsr",
        "alpha=0.001:0.999:100000",
        "beta=1",
        "rho=0.2",
        "delta=0.1",
        "--out",
        tmp_path / "x.nc",
    ]
    # a test run in the background of a shell ignores SIGINT, and its children would inherit that
    process = subprocess.Popen(
        [COMMAND, *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        process.wait(timeout=8)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.startswith("replica: interrupted; ")
    assert errors.count("\n") == 1
    # what was computed by then is written, and said
    assert (tmp_path / "x.nc").exists() == ("of 100000 points are kept in" in errors)
    assert (tmp_path / "x.nc").exists() == ("nothing was written" not in errors)


@pytest.mark.slow
def test_demo():
    assert "mmse" in replica("demo").lower()
