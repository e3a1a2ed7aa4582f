"""Sweeps of bilinear sequence regression: labelled tables, progress, executors, interruptions."""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from bsr_points import BSR, FIRST

from replica import solve, sweep
from solvers.solution import Outcome

GRID = {"alpha": [0.1, 0.3, 0.5], "beta": 1, "rho": np.array([0.2, 0.4]), "delta": "1/10"}


@pytest.fixture(scope="module")
def table():
    return sweep(BSR, **GRID)


def test_a_sweep_is_a_labelled_table(table):
    assert table["mmse"].dims == ("alpha", "rho")
    assert dict(table.sizes) == {"alpha": 3, "rho": 2}
    assert set(table.data_vars) == {"mmse", "q", "q_hat", "free_entropy", "residual", "error", "outcome"}
    assert table["alpha"].values.tolist() == [0.1, 0.3, 0.5]
    assert (float(table["beta"]), float(table["delta"])) == (1, 0.1)
    assert table.attrs["interrupted"] == 0
    assert table.attrs["computed"] == 6
    for alpha in table["alpha"].values:
        for rho in table["rho"].values:
            point, alone = (
                table.sel(alpha=alpha, rho=rho),
                solve(BSR, alpha=alpha, beta=1, rho=rho, delta=0.1),
            )
            for name in ("mmse", "q", "q_hat"):
                assert float(point[name]) == pytest.approx(alone[name], rel=1e-11)
            assert float(point["free_entropy"]) == pytest.approx(alone.free_entropy, rel=1e-11)
            assert str(point["outcome"].values) == alone.outcome.value


def test_the_order_of_the_dimensions_is_the_order_given():
    swapped = sweep(BSR, rho=[0.2, 0.4], delta=0.1, alpha=(0.1, 0.3, 0.5), beta=1)
    assert swapped["mmse"].dims == ("rho", "alpha")


def test_a_sweep_of_no_sequence_is_one_point():
    point = sweep(BSR, **FIRST)
    assert point["mmse"].dims == ()
    assert float(point["mmse"]) == pytest.approx(solve(BSR, **FIRST)["mmse"], rel=1e-12)


def test_a_sweep_across_the_threshold():
    """Several recovered points in one batch, at the threshold and above."""
    table = sweep(BSR, alpha=["0.2", "0.36", "0.4", "0.5"], beta=1, rho=0.2, delta=0)
    assert table["mmse"].values[1:].tolist() == [0, 0, 0]
    assert table["q_hat"].values[1:].tolist() == [math.inf] * 3
    assert float(table["mmse"][0]) == pytest.approx(
        solve(BSR, alpha=0.2, beta=1, rho=0.2, delta=0)["mmse"], rel=1e-11
    )
    assert list(table["outcome"].values[1:]) == [Outcome.PERFECT_RECOVERY.value] * 3
    both = sweep(BSR, alpha=0.5, beta=[0.5, 1, 2], rho=0.2, delta=[0, 0.1])
    assert not np.isnan(both["mmse"].values).any()


def test_progress_counts_points():
    seen = []
    sweep(BSR, progress=lambda done, total: seen.append((done, total)), **GRID)
    assert seen[-1] == (6, 6)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize("kind", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_an_executor_changes_nothing(kind, table):
    make = (
        (lambda: ThreadPoolExecutor(2))
        if kind == "threads"
        else (lambda: ProcessPoolExecutor(2, mp_context=get_context("spawn")))
    )
    with make() as executor:
        other = sweep(BSR, executor=executor, **GRID)
    assert other.identical(table)


def test_an_interruption_keeps_what_is_computed(table):
    def stop(done, total):
        raise KeyboardInterrupt

    kept = sweep(BSR, progress=stop, **GRID)
    assert kept.attrs["interrupted"] == 1
    assert kept.attrs["computed"] == 3
    assert np.isnan(kept["mmse"].sel(rho=0.4)).all()
    assert kept["mmse"].sel(rho=0.2).values.tolist() == table["mmse"].sel(rho=0.2).values.tolist()
    assert set(kept["outcome"].sel(rho=0.4).values) == {"not computed: interrupted"}
