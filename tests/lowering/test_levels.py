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
from solvers.quadrature.panels import Panels

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


def test_tables_against_the_full_nest(monkeypatch):
    outer = GaussianAverage(TWO.diff(w0) ** 2, w0, 0, b)
    program = NestedProgram((outer, GaussianAverage(TWO, w0, 0, b)), (a, b, m, k))
    values = (3.0, 2.0, 0.3, 0.6)
    tabulated = program.run(values, 3)
    monkeypatch.setattr(levels, "_tabulated", lambda *_: None)
    assert program.run(values, 3) == pytest.approx(tabulated, abs=1e-12)


def test_a_level_without_variance_is_the_level_inside():
    program = NestedProgram((TWO, ONE), (w0, a, b, m, k))
    two, one = program.run((0.4, 0.0, 0.7, 0.3, 0.3), 4)
    assert two == pytest.approx(one, abs=1e-14)


def test_more_nodes_change_nothing():
    program = NestedProgram((GaussianAverage(TWO, w0, 0, b),), (a, b, m, k))
    coarse, fine = (program.run((1.0, 2.0, 0.4, 0.7), nodes)[0] for nodes in (4, 9))
    assert coarse == pytest.approx(fine, abs=1e-13)


def test_interpolation_is_exact_to_rounding():
    panels = Panels.over(-7.3, 9.1, 1.0)
    points = np.concatenate([np.linspace(-7.3, 9.1, 5001), panels.nodes[::7]])
    assert panels.interpolate(np.tanh(panels.nodes), points) == pytest.approx(np.tanh(points), abs=2e-13)
