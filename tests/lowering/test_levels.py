"""Nested averages in doubles: against mpmath, tables against full nests, degenerate levels."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.recursion import LogMoment
from replica.expr.stable import log2cosh
from replica.lowering import levels
from replica.lowering.levels import NestedProgram
from solvers.quadrature.tables import Lattice

w0, w1, w2 = sp.symbols("w_0 w_1 w_2", real=True)
a, b, m, k = sp.symbols("a b m k", positive=True)
ONE = LogMoment(log2cosh(w1), w1, w0, b, m)
TWO = LogMoment(LogMoment(log2cosh(w2), w2, w1, b, k), w1, w0, a, m)


def test_one_level_against_mpmath():
    """phi_1, its slope and its curvature at one outer field."""
    values = (0.4, 0.7, 0.3)
    program = NestedProgram((ONE, ONE.diff(w0), ONE.diff(w0, 2)), (w0, b, m))
    at = dict(zip((w0, b, m), map(sp.Rational, ("2/5", "7/10", "3/10")), strict=True))
    expected = [float(e.subs(at).evalf(20)) for e in program.expressions]
    assert program.run(values, 4) == pytest.approx(expected, abs=1e-14)


def test_large_fields_do_not_overflow():
    """At low temperature 2cosh of a field of thousands: phi_1 ~ |w| + m v/2."""
    program = NestedProgram((ONE,), (w0, b, m))
    assert program.run((5000.0, 4.0, 0.5), 4)[0] == pytest.approx(5001.0, rel=1e-14)


@pytest.mark.parametrize("variances", [(3.0, 2.0), (1e-4, 2.0), (2.0, 1e-4), (1e-7, 1e-7)])
def test_lattices_and_tables_against_the_full_nest(monkeypatch, variances):
    """Windows that slide along a lattice, tables where a level is narrow, and nodes around every node."""
    outer = GaussianAverage(TWO.diff(w0) ** 2, w0, 0, b)
    program = NestedProgram((outer, GaussianAverage(TWO, w0, 0, b)), (a, b, m, k))
    values = (*variances, 0.3, 0.6)
    fast = program.run(values, 3)
    monkeypatch.setattr(levels, "_tabulated", lambda *_: False)
    full = program.run(values, 3)
    monkeypatch.setattr(levels._Walk, "_lattice", lambda *_: None)
    assert fast == pytest.approx(full, abs=3e-13)
    assert program.run(values, 3) == pytest.approx(fast, abs=3e-13)


def test_a_small_power_keeps_its_digits():
    """At m = 10^-9 the slope of phi in m is half the variance of log 2cosh, and phi its average."""
    program = NestedProgram((ONE, ONE.diff(m)), (w0, b, m))
    small, zero = program.run((0.4, 0.7, 1e-9), 4), program.run((0.4, 0.7, 1e-4), 4)
    assert small[0] == pytest.approx(zero[0], abs=1e-4)
    assert small[1] == pytest.approx(zero[1], abs=1e-5)


def test_a_weight_far_from_the_mean():
    """2cosh^m of a field with variance v is largest m v away: beyond the least number of the Gaussian weight."""
    program = NestedProgram((ONE,), (w0, b, m))
    assert program.run((0.0, 12_000.0, 0.5), 4)[0] == pytest.approx(3000 + np.log(2) / 0.5, rel=1e-12)


def test_a_level_without_variance_is_the_level_inside():
    program = NestedProgram((TWO, ONE), (w0, a, b, m, k))
    two, one = program.run((0.4, 0.0, 0.7, 0.3, 0.3), 4)
    assert two == pytest.approx(one, abs=1e-14)


def test_more_nodes_change_nothing():
    program = NestedProgram((GaussianAverage(TWO, w0, 0, b),), (a, b, m, k))
    coarse, fine = (program.run((1.0, 2.0, 0.4, 0.7), nodes)[0] for nodes in (4, 9))
    assert coarse == pytest.approx(fine, abs=1e-13)


def test_interpolation_is_exact_to_rounding():
    table = Lattice.around(-7.3, 9.1, 1 / levels.TABLE)
    points = np.concatenate([np.linspace(-7.3, 9.1, 5001), table.nodes[8:-8:7]])
    assert table.interpolate(np.tanh(table.nodes), points) == pytest.approx(np.tanh(points), abs=1e-13)
