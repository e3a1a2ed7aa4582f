"""A sweep that was interrupted or killed goes on from its checkpoint, to the same table."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from replica import api, cli, sweep, sweeping
from replica.models import BilinearSequenceRegression, build
from solvers.errors import InputError
from solvers.solution import Outcome

BSR = BilinearSequenceRegression()
# six groups (beta, rho) of three points; perfect recovery, an infinite q_hat, is among them
GRID = {"alpha": [0.1, "1/3", 0.9], "beta": [1, 2], "rho": [0.2, 0.3, 0.4], "delta": 0}


@pytest.fixture(scope="module")
def table():
    return sweep(BSR, **GRID)


@pytest.fixture
def solved(monkeypatch):
    """The number of points of every group that is solved."""
    sizes = []

    def count(model, points, start, solve=sweeping.solve_group):
        sizes.append(len(points))
        return solve(model, points, start)

    monkeypatch.setattr(sweeping, "solve_group", count)
    return sizes


def stop_at(points):
    def progress(done, total):
        if done >= points:
            raise KeyboardInterrupt

    return progress


def test_a_name_for_each_reader():
    assert api.sweep is sweep is sweeping.sweep


def test_an_interrupted_sweep_goes_on(tmp_path, table, solved):
    path = tmp_path / "points.jsonl"
    first = sweep(BSR, checkpoint=path, progress=stop_at(6), **GRID)
    assert (first.attrs["interrupted"], first.attrs["computed"]) == (1, 6)
    assert solved == [3, 3]
    seen = []
    again = sweep(BSR, checkpoint=path, progress=lambda done, total: seen.append((done, total)), **GRID)
    assert solved == [3] * 6
    assert seen == [(k, 18) for k in (6, 9, 12, 15, 18)]
    assert again.identical(table)
    assert math.isinf(float(again["q_hat"].max()))
    assert Outcome.PERFECT_RECOVERY.value in again["outcome"].values
    content = path.read_bytes()
    assert sweep(BSR, checkpoint=str(path), **GRID).identical(table)
    assert solved == [3] * 6
    assert path.read_bytes() == content


def test_an_interruption_before_anything_new_keeps_what_the_file_holds(tmp_path, solved):
    path = tmp_path / "points.jsonl"
    sweep(BSR, checkpoint=path, progress=stop_at(3), **GRID)
    kept = sweep(BSR, checkpoint=path, progress=stop_at(0), **GRID)
    assert (kept.attrs["interrupted"], kept.attrs["computed"], solved) == (1, 3, [3])


def test_a_larger_grid_computes_what_is_new(tmp_path, solved):
    path = tmp_path / "points.jsonl"
    sweep(BSR, checkpoint=path, alpha=[0.1, 0.3], beta=1, rho=0.2, delta=0.1)
    larger = sweep(BSR, checkpoint=path, delta="1/10", rho="2e-1", beta=1, alpha=[0.1, 0.2, 0.3])
    assert solved == [2, 1]
    fresh = sweep(BSR, delta=0.1, rho=0.2, beta=1, alpha=[0.1, 0.2, 0.3])
    for name in ("mmse", "q_hat", "free_entropy"):
        assert larger[name].values == pytest.approx(fresh[name].values, rel=1e-11)


def test_an_executor_fills_the_same_file(tmp_path, table, solved):
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    with ThreadPoolExecutor(2) as executor:
        assert sweep(BSR, checkpoint=one, executor=executor, **GRID).identical(table)
    sweep(BSR, checkpoint=two, **GRID)
    assert one.read_bytes() == two.read_bytes()


def test_whatever_the_kill_cut_the_table_is_the_same(tmp_path, solved):
    grid = {**GRID, "rho": 0.2}
    path, cut = tmp_path / "points.jsonl", tmp_path / "cut.jsonl"
    whole = sweep(BSR, checkpoint=path, **grid)
    content = path.read_bytes()
    ends = [k + 1 for k, byte in enumerate(content) if byte == ord("\n")]
    for size in (0, 1, ends[0] - 1, ends[0], ends[0] + 1, ends[1] - 1, ends[1], ends[2] - 2, ends[2] - 1):
        cut.write_bytes(content[:size])
        solved.clear()
        assert sweep(BSR, checkpoint=cut, **grid).identical(whole)
        assert solved == [3] * (2 if size < ends[1] else 1)
        assert cut.read_bytes() == content


def test_a_tail_of_rubbish_is_cut_off(tmp_path, solved):
    path = tmp_path / "points.jsonl"
    sweep(BSR, checkpoint=path, **{**GRID, "rho": 0.2})
    content = path.read_bytes()
    solved.clear()
    for tail in (b"\0" * 40, b'{"points": [{"params": {"alpha": "__import__"}}]}\n', b"[1]\n", b"\xff\xfe\n"):
        path.write_bytes(content + tail)
        sweep(BSR, checkpoint=path, **{**GRID, "rho": 0.2})
        assert path.read_bytes() == content
    assert solved == []


@pytest.mark.parametrize(
    "content", [b"alpha,mmse\n0.1,0.9\n", b"precious", b"\n", b"[]\n", b'{"file": 3}\n', b"[" * 99999]
)
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "points.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not the checkpoint of a sweep"):
        sweep(BSR, checkpoint=path, **GRID)
    assert path.read_bytes() == content


def refuse(path, message, model=BSR, **options):
    before = path.read_bytes()
    with pytest.raises(InputError, match=message) as caught:
        sweep(model, checkpoint=path, alpha=0.3, beta=1, rho=0.2, **options)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_file_of_another_model_is_refused(tmp_path):
    path = tmp_path / "points.jsonl"
    sweep(BSR, checkpoint=path, alpha=0.3, beta=1, rho=0.2, delta=0.1)
    refuse(
        path,
        r"is of statement Bilinear.*GaussianNoise\(\)\), not .*Sign",
        model=build("bsr", {"channel": "sign"}),
    )
    refuse(path, "is of start global, not informed", delta=0.1, start="informed")
    header, points = path.read_bytes().splitlines(keepends=True)
    for name in ("model", "statement", "version"):
        path.write_bytes(json.dumps({**json.loads(header), name: "other\nline"}).encode() + b"\n" + points)
        refuse(path, f"is of {name} ", delta=0.1)
    path.write_bytes(header + b"{}\n" + points)
    refuse(path, "line 2 of the checkpoint .* is damaged", delta=0.1)


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere" / "points.jsonl"):
        with pytest.raises(InputError, match="cannot use the checkpoint") as caught:
            sweep(BSR, checkpoint=path, **GRID)
        assert "\n" not in str(caught.value)


def test_the_command_line_goes_on(tmp_path, capsys, monkeypatch, solved):
    words = ["sweep", "bsr", "alpha=0.1,0.3", "beta=1,2", "rho=0.2", "delta=0.1"]
    out, path = tmp_path / "x.nc", tmp_path / "points.jsonl"

    def stop(model, points, start, solve=sweeping.solve_group):
        if solved:
            raise KeyboardInterrupt
        return solve(model, points, start)

    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "solve_group", stop)
        assert cli.main([*words, "--out", str(out), "--checkpoint", str(path)]) == 130
    assert "2 of 4 points are kept" in capsys.readouterr().err
    assert cli.main([*words, "--out", str(out), "--checkpoint", str(path), "--force"]) == 0
    assert solved == [2, 2]
    assert "4  converged" in capsys.readouterr().out
    assert (
        cli.main([*words[:-1], "channel=sign", "--out", str(out), "--force", "--checkpoint", str(path)]) == 2
    )
    assert "is of statement" in capsys.readouterr().err
    assert cli.main([*words, "--out", str(out), "--force", "--checkpoint", str(tmp_path / "x.txt")]) == 2
    assert "must end in .jsonl" in capsys.readouterr().err


KILLED = """
import sys
from replica import sweep
from replica.models import BilinearSequenceRegression
sweep(BilinearSequenceRegression(), checkpoint=sys.argv[1], alpha=[0.1, 0.3], beta=1, delta=0.1,
      rho=[k / 1000 for k in range(100, 800)])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_sweep_goes_on(tmp_path, solved):
    path = tmp_path / "points.jsonl"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
    try:
        limit = time.monotonic() + 100
        while not (path.exists() and path.read_bytes().count(b"\n") > 3):
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    held = path.read_bytes().count(b"\n") - 1
    assert held >= 3
    grid = {"alpha": [0.1, 0.3], "beta": 1, "delta": 0.1, "rho": [k / 1000 for k in range(100, 102 + held)]}
    resumed = sweep(BSR, checkpoint=path, **grid)
    assert solved == [2, 2]
    assert resumed.isel(rho=slice(0, 2)).identical(
        sweep(BSR, **{**grid, "rho": [0.1, 0.101]}).assign_attrs(resumed.attrs)
    )
