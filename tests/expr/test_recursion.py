"""Levels of a recursion: derivatives against differences, the recursion that they form, LaTeX."""

from __future__ import annotations

import pytest
import sympy as sp
from latex_engine import compile_latex

from replica.expr.average import GaussianAverage
from replica.expr.printing import aligned, document
from replica.expr.recursion import LogMoment, Tilted, linear
from replica.expr.stable import log2cosh

w0, w1, w2 = sp.symbols("w_0 w_1 w_2", real=True)
a, b, m, k = sp.symbols("a b m k", positive=True)
LEVEL = LogMoment(log2cosh(w1), w1, w0, b - a, m)
AT = {a: sp.Rational(1, 5), b: sp.Rational(1, 2), m: sp.Rational(1, 3), w0: sp.Rational(2, 5)}


def slope(expr, s):
    step = sp.Rational(1, 10**5)
    up, down = (expr.subs({**AT, s: AT[s] + sign * step}).evalf(20) for sign in (1, -1))
    return (up - down) / (2 * step)


TILTED = LEVEL.diff(w0)
CASES = [(LEVEL, a), (LEVEL, m), (LEVEL, w0), (TILTED, b)]
SLOW = [(LEVEL, b), (TILTED, a), (TILTED, m), (TILTED, w0)]


@pytest.mark.parametrize(
    ("expr", "s"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_derivatives_against_differences(expr, s):
    assert abs(slope(expr, s) - expr.diff(s).subs(AT).evalf(18)) < 1e-9


def test_the_derivative_of_a_level_is_the_tilted_average_of_the_derivative_inside():
    assert LEVEL.diff(w0) == Tilted(sp.Tuple(sp.tanh(w1), log2cosh(w1)), w1, w0, b - a, m)


def test_power_one_is_the_annealed_average():
    """(1/1) log E 2cosh(u), u ~ N(w, v), is log 2cosh w + v/2."""
    level = LogMoment(log2cosh(w1), w1, w0, b, 1).subs({w0: AT[w0], b: AT[b]})
    assert abs(level.evalf(20) - sp.N(log2cosh(AT[w0]) + AT[b] / 2, 20)) < 1e-15


def test_second_derivatives_cancel_between_levels():
    """d/da E phi_1 with variance a outside and b - a inside: -(m/2) E<tanh>^2 (Parisi's equation)."""
    total = GaussianAverage(LEVEL, w0, 0, a)
    magnetisation = LEVEL.diff(w0)
    assert sp.expand(linear(total.diff(a))) == -m * GaussianAverage(magnetisation**2, w0, 0, a) / 2


def test_a_bound_field_is_not_captured():
    assert LEVEL.subs(w0, w1).free_symbols == {w1, a, b, m}
    assert LEVEL.diff(w1) == 0
    assert LEVEL.func(*LEVEL.args) == LEVEL


def test_two_levels_print_and_compile():
    nest = LogMoment(LogMoment(log2cosh(w2), w2, w1, b, k), w1, w0, a, m)
    for expr in (nest, nest.diff(w0) ** 2):
        compile_latex(document(f"\\[{aligned('x', expr)}\\]"))
