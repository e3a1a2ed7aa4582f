"""Plain data out of solve on bilinear sequence regression, and what is refused or fails without a number."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from bsr_points import ABS, BSR, FIRST, SIGN

from replica import cli, simulate, solve, sweep, validate
from solvers.errors import InputError, NotConvergedError
from solvers.solution import Outcome

# -- plain data --


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"digits": 30},
        {"alpha": "0.5", "delta": 0},
        {"alpha": "0.5", "delta": 0, "digits": 30},
        {"digits": 3},
    ],
)
def test_a_solution_is_plain_data(options):
    solution = solve(BSR, **{**FIRST, **options})
    fields = json.loads(json.dumps(solution.to_dict(), allow_nan=False), parse_constant=pytest.fail)
    assert float(fields["mmse"]) == float(solution["mmse"])
    assert fields["outcome"] == solution.outcome.value
    assert set(fields["params"]) == {"alpha", "beta", "rho", "delta"}
    if options == {"digits": 30}:
        assert fields["mmse"] == str(solution["mmse"])
        assert len(fields["mmse"]) == 32
    with pytest.raises(KeyError, match="there are: q, q_hat, mmse"):
        solution["m"]


# -- refusals --

BAD = [
    ({"delta": -0.1}, "delta must be >= 0, got -0.1"),
    ({"alpha": -1}, "alpha must be > 0, got -1"),
    ({"alpha": 0}, "alpha must be > 0, got 0"),
    ({"beta": 0}, "beta must be > 0"),
    ({"rho": 0}, "the limit rho -> 0 has its own equations"),
    ({"gamma": 1}, "unknown parameter 'gamma'"),
    ({"detla": 1}, "did you mean delta"),
    ({"alpha": math.nan}, "alpha must be a finite number"),
    ({"alpha": math.inf}, "alpha must be a finite number"),
    ({"alpha": np.float64("nan")}, "alpha must be a finite number"),
    ({"alpha": True}, "alpha must be a finite number"),
    ({"alpha": "abc"}, "alpha must be a finite number"),
    ({"alpha": "1/0"}, "alpha must be a finite number"),
    ({"alpha": None}, "alpha must be a finite number"),
    ({"alpha": 1j}, "alpha must be a finite number"),
    ({"alpha": "a\nb"}, "alpha must be a finite number"),
    ({"alpha": 1e400}, "alpha must be a finite number"),
    ({"alpha": 10**400}, "alpha must be 0 or between"),
]

OPTIONS = [
    ({"digits": 0}, "digits must be an integer from 1"),
    ({"digits": -3}, "digits must be an integer from 1"),
    ({"digits": "x"}, "digits must be an integer from 1"),
    ({"digits": 2.5}, "digits must be an integer from 1"),
    ({"digits": True}, "digits must be an integer from 1"),
    ({"digits": 10**6}, "digits must be an integer from 1"),
    ({"start": "x"}, "start must be one of"),
    ({"start": 3}, "start must be one of"),
    ({"backend": "x"}, "backend must be one of"),
    ({"backend": "float64", "digits": 30}, "float64 holds 15 digits"),
]


def refused(call, message, **options):
    with pytest.raises(InputError) as caught:
        call(**options)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert len(text) < 300


@pytest.mark.parametrize(
    ("change", "message"), [*BAD, *OPTIONS, ({"alpha": [0.1, 0.2]}, "alpha must be a finite number")]
)
def test_solve_refuses(change, message):
    refused(lambda **k: solve(BSR, **k), message, **{**FIRST, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *BAD,
        ({"alpha": []}, "non-empty one-dimensional sequence"),
        ({"alpha": [[0.1, 0.2]]}, "non-empty one-dimensional sequence"),
        ({"alpha": [0.1, -0.2]}, "alpha must be > 0, got -0.2"),
        ({"alpha": ["0.1", "x"]}, "alpha must be a finite number"),
        ({"start": "x"}, "start must be one of"),
    ],
)
def test_sweep_refuses(change, message):
    refused(lambda **k: sweep(BSR, **k), message, **{**FIRST, **change})


@pytest.mark.parametrize("call", [solve, sweep, simulate, validate])
def test_a_missing_parameter_is_named(call):
    refused(lambda **k: call(BSR, **k), "missing parameter delta", alpha=0.3, beta=1, rho=0.2)
    refused(lambda **k: call(BSR, **k), "missing parameters beta, rho, delta", alpha=0.3)


@pytest.mark.parametrize("call", [simulate, validate])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        *BAD,
        ({"d": 1}, "d must be an integer of at least 2"),
        ({"d": 10.5}, "d must be an integer of at least 2"),
        ({"d": "x"}, "d must be an integer of at least 2"),
        ({"d": True}, "d must be an integer of at least 2"),
        ({"seeds": 1}, "seeds must be an integer of at least 2"),
        ({"seeds": 0}, "seeds must be an integer of at least 2"),
        ({"d": 100000}, "GiB of memory"),
        ({"d": 10**9}, "GiB of memory"),
        ({"rho": 10**9}, "GiB of memory"),
        ({"d": 2000}, "the budget is 4 GiB"),
        ({"memory_budget": 0}, "the budget is"),
        ({"max_iterations": 0}, "max_iterations is at least 1"),
        ({"tolerance": 0}, "tolerance is positive"),
        ({"damping": 1}, "damping lies in [0, 1)"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_simulations_refuse(call, change, message):
    refused(lambda **k: call(BSR, **k), message, **{**FIRST, "d": 20, "seeds": 2, **change})


def test_the_noise_of_an_even_channel_is_optional():
    point = {name: value for name, value in FIRST.items() if name != "delta"}
    assert solve(ABS, **point)["q"] == solve(ABS, delta=0, **point)["q"]
    refused(lambda **k: solve(ABS, **k), "delta must be >= 0, got -1", **{**FIRST, "delta": -1})
    refused(lambda **k: solve(SIGN, **k), "unknown parameter 'delta'", **FIRST)


def test_the_command_line_refuses_in_one_line(capsys):
    words = ["solve", "bsr", "beta=1", "rho=0.2"]
    for change in (
        ["alpha=0.3", "delta=-1"],
        ["alpha=nan", "delta=1"],
        ["alpha=0.3"],
        ["alpha=0.3", "delta=1", "digits=0"],
    ):
        assert cli.main([*words, *change]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("replica: error: ")
        assert captured.err.count("\n") == 1
        assert "Traceback" not in captured.err
        assert captured.out == ""
    assert cli.main([*words, "channel=abs", "alpha=0.3", "delta=-1"]) == 2


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, None])
def test_a_polish_that_fails_leaves_no_number(monkeypatch, error):
    """More digits are asked of a double; what comes out of it raises, or does not converge."""
    from replica import api

    refined = api.refine

    def failing(*arguments):
        if error is not None:
            raise error("no number")
        return refined(*arguments)._replace(converged=False)

    monkeypatch.setattr(api, "refine", failing)
    failed = solve(BSR, digits=20, throw=False, **FIRST)
    assert failed.outcome is (Outcome.QUADRATURE if error is None else Outcome.RESIDUAL)
    assert failed.values == {}
    with pytest.raises(NotConvergedError):
        solve(BSR, digits=20, **FIRST)


def test_without_a_solution_nothing_is_returned_unless_asked(monkeypatch):
    from replica import api, sweeping
    from solvers.fixed_point.pair import PointResult, _choose

    nothing = PointResult(_choose([], "global"), (), 0)
    monkeypatch.setattr(api, "_solve_group", lambda *_: [nothing])
    monkeypatch.setattr(sweeping, "solve_group", lambda *_: [nothing])
    with pytest.raises(NotConvergedError, match="no solution was bracketed"):
        solve(BSR, **FIRST)
    failed = solve(BSR, throw=False, **FIRST)
    assert failed.outcome is Outcome.NO_SOLUTION
    assert failed.values == {}
    numbers = [failed.free_entropy, failed.residual, failed.errors.total, failed.stability, *failed.branches]
    assert not np.isnan(numbers).any()
    assert np.isnan(sweep(BSR, **FIRST)["mmse"])
