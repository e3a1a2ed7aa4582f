"""Binders: arguments, scope, alpha-equivalence, derivatives (Price's theorem) against finite differences."""

from __future__ import annotations

import mpmath
import pytest
import sympy as sp
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from replica.expr import (
    Binder,
    GaussianAverage,
    OutputSum,
    canonical,
    log2cosh,
    log_ndtr,
    ndtr,
    normal_density,
)
from replica.expr.numeric import mp_function

x, y, z, w, t = sp.symbols("x y z w t", real=True)
a, b, v = sp.Symbol("a", real=True), sp.Symbol("b", real=True), sp.Symbol("v", positive=True)
rationals = st.integers(-8, 8).map(lambda k: sp.Rational(k, 5))
positives = st.integers(1, 8).map(lambda k: sp.Rational(k, 5))
few = settings(max_examples=3, phases=[Phase.explicit, Phase.generate])

BODIES = [
    lambda u, s: u**3 * s + u * s**2,
    lambda u, s: sp.exp(s * u - u**2 / 3),
    lambda u, s: u * ndtr(u + s),
    lambda u, s: sp.cos(u * s) * u,
    lambda u, s: normal_density(u, s, 2),
]


def value(expr, digits=30):
    """The value as an mpf; an expression that does not evaluate fails the test."""
    number = sp.N(expr, digits)
    assert number.is_Float or number.is_Rational, number
    return number._to_mpmath(int(digits * 3.4) + 10)


def agree(left, right, digits):
    with mpmath.workdps(digits + 15):
        left, right = mpmath.mpf(left), mpmath.mpf(right)
        return abs(left - right) <= mpmath.mpf(10) ** -digits * max(1, abs(right))


def finite_difference(function, point, step="1e-11"):
    """Seventh-point central difference: error of order step^6 times the seventh derivative."""
    h = mpmath.mpf(step)
    weights = {1: mpmath.mpf(3) / 4, 2: -mpmath.mpf(3) / 20, 3: mpmath.mpf(1) / 60}
    return sum(c * (function(point + k * h) - function(point - k * h)) for k, c in weights.items()) / h


NODES = [
    GaussianAverage(sp.tanh(x * t), x, a, v),
    GaussianAverage(GaussianAverage(sp.exp(x * z), x, z, v), z, x, t**2),
    OutputSum(sp.log(y * t + 2), y, sp.FiniteSet(-1, 1)),
    OutputSum(sp.exp(-(y**2)), y, sp.S.Reals),
    OutputSum(GaussianAverage(y * x, x, y, 1), y, sp.Interval(0, sp.oo)),
]


@pytest.mark.parametrize("node", NODES, ids=str)
def test_an_expression_is_rebuilt_from_its_arguments(node):
    for sub in sp.preorder_traversal(node):
        if sub.args:
            assert sub.func(*sub.args) == sub
    assert hash(node.func(*node.args)) == hash(node)
    assert node.is_commutative


def test_bound_names_are_not_free_and_parameters_are_outside_the_scope():
    assert GaussianAverage(x * t, x, a, v).free_symbols == {t, a, v}
    assert GaussianAverage(x * t, x, x, v).free_symbols == {x, t, v}
    assert OutputSum(y * t, y, sp.FiniteSet(-1, 1)).free_symbols == {t}


def test_what_cannot_be_bound_is_refused():
    with pytest.raises(TypeError, match="bind a symbol"):
        GaussianAverage(x, 2 * x, 0, 1)
    with pytest.raises(ValueError, match="negative"):
        GaussianAverage(x, x, 0, -1)
    with pytest.raises(TypeError, match="outputs"):
        OutputSum(y, y, sp.S.Integers)


class TwoNames(Binder):
    """A binder of two names, as the spectral average of the library."""

    binds = 2


def test_a_binder_may_bind_two_names():
    node = TwoNames(x * z + t, x, z, a)
    assert node.free_symbols == {t, a}
    moved = node.subs(t, x)
    assert moved.free_symbols == {x, a}
    assert moved.body.coeff(x) == 0 or x not in moved.bound_symbols
    assert canonical(node) == canonical(TwoNames(y * w + t, y, w, a))
    assert canonical(node) != canonical(TwoNames(x * z + t, z, x, b))
    with pytest.raises(ValueError, match="distinct"):
        TwoNames(x, x, x, a)
    with pytest.raises(TypeError, match="binds 2"):
        TwoNames(x, x)


def test_reality_and_sign_follow_the_body():
    assert GaussianAverage(sp.exp(x), x, 0, v).is_positive
    assert GaussianAverage(x**2, x, 0, v).is_nonnegative
    assert GaussianAverage(x, x, 0, v).is_real
    assert GaussianAverage(x, x, 0, v).is_positive is None
    assert GaussianAverage(sp.exp(sp.I * x), x, 0, v).is_real is None
    assert OutputSum(sp.exp(y), y, sp.FiniteSet(-1, 1)).is_positive


# -- scope --


def test_substitution_never_replaces_a_bound_name():
    node = GaussianAverage(x * t, x, x, v)
    assert node.subs(x, 3) == GaussianAverage(x * t, x, 3, v)
    assert GaussianAverage(sp.sin(x * t), x, 0, 1).subs(x * t, 5) == GaussianAverage(sp.sin(x * t), x, 0, 1)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_substitution_renames_rather_than_captures(simultaneous):
    """E_x[x t] at t = x is x E[x]: with mean 2 it is 2 x, with capture it would be E[x^2] = 5."""
    node = GaussianAverage(x * t, x, 2, 1).subs({t: x}, simultaneous=simultaneous)
    assert node.free_symbols == {x}
    assert node.doit() == 2 * x


def test_xreplace_does_not_capture_either():
    assert GaussianAverage(x * t, x, 2, 1).xreplace({t: x}).doit() == 2 * x


def test_swapping_symbols_simultaneously():
    node = GaussianAverage(x * a + b, x, a, 1)
    assert node.subs({a: b, b: a}, simultaneous=True).doit() == b**2 + a


def nested_averages(depth):
    """Random nests over the few names x, z, w, so that shadowing and free use of bound names are common."""
    names = st.sampled_from([x, z, w])
    leaf = st.tuples(rationals, names, names).map(lambda p: p[0] * p[1] * p[2] + p[1] * t + t**2)
    nest = leaf
    for _ in range(depth):
        nest = st.tuples(nest, names, names, rationals, positives).map(
            lambda p: GaussianAverage(p[0], p[1], p[2] * p[3] + t, p[4]) + p[3] * p[1]
        )
    return nest


@given(nested_averages(2), st.sampled_from([x, z, w]), rationals, rationals, rationals)
@settings(max_examples=25)
def test_substitution_commutes_with_evaluation(expr, name, at_x, at_z, at_w):
    """Substituting t -> name + 1, then numbers, is substituting the number that name + 1 has."""
    point = {x: at_x, z: at_z, w: at_w}
    late = expr.subs(t, name + 1).subs(point).doit()
    early = expr.subs(t, point[name] + 1).subs(point).doit()
    assert late.is_Rational
    assert late == early


@given(nested_averages(2), st.permutations([x, z, w]))
@settings(max_examples=25)
def test_canonical_names_do_not_depend_on_the_names_bound(expr, order):
    fresh = dict(zip([x, z, w], sp.symbols("p q r", real=True), strict=True))

    def rename(node):
        if isinstance(node, GaussianAverage):
            parameters = [rename(p) for p in node.parameters]
            inner = node.func(rename(node.body), node.var, *parameters)
            target = fresh[node.var] if order[0] == node.var else sp.Dummy(real=True)
            return inner.renamed(target) if target not in inner.body.free_symbols else inner.renamed()
        return node.func(*map(rename, node.args)) if node.args else node

    assert canonical(rename(expr)) == canonical(expr)
    assert canonical(canonical(expr)) == canonical(expr)
    point = {x: sp.Rational(1, 3), z: sp.Rational(-2, 3), w: 2, t: sp.Rational(3, 7)}
    assert canonical(expr).subs(point).doit() == expr.subs(point).doit()


def test_canonical_names_of_nests_and_shadows():
    inner = GaussianAverage(x * z, x, z, 1)
    assert (
        GaussianAverage(inner, z, 0, v).as_dummy()
        == GaussianAverage(GaussianAverage(y * w, y, w, 1), w, 0, v).as_dummy()
    )
    shadowed = GaussianAverage(GaussianAverage(x, x, x, 1), x, t, v)
    assert shadowed.as_dummy() == GaussianAverage(GaussianAverage(z, z, w, 1), w, t, v).as_dummy()
    assert (inner + 1).as_dummy() == (GaussianAverage(y * z, y, z, 1) + 1).as_dummy()


def test_canonical_names_tell_different_nests_apart():
    left = GaussianAverage(GaussianAverage(x - 2 * z, x, 0, 1), z, 0, v)
    right = GaussianAverage(GaussianAverage(z - 2 * x, x, 0, 1), z, 0, v)
    assert left.as_dummy() != right.as_dummy()
    assert GaussianAverage(x * z, x, 0, 1).as_dummy() != GaussianAverage(x * w, x, 0, 1).as_dummy()


def test_canonical_names_avoid_free_symbols_of_that_name():
    taken = sp.Symbol("_0", real=True)
    node = GaussianAverage(x * taken, x, 2, 1).as_dummy()
    assert node.free_symbols == {taken}
    outer = GaussianAverage(GaussianAverage(x * taken, x, 0, 1), taken, 0, v)
    assert outer.as_dummy() == GaussianAverage(GaussianAverage(x * z, x, 0, 1), z, 0, v).as_dummy()


# -- derivatives --


@given(st.sampled_from(BODIES), rationals, positives, rationals)
@few
def test_price_theorem_against_finite_differences(body, slope, spread, point):
    """A parameter in the body, the mean and the variance at once, to 25 digits."""
    node = GaussianAverage(body(x, t), x, slope * t + t**2 / 5, spread + t**2 / 4)
    with mpmath.workdps(42):
        function = mp_function(node, (t,))
        exact = mp_function(node.diff(t), (t,))(mpmath.mpf(point.p) / point.q)
        numeric = finite_difference(function, mpmath.mpf(point.p) / point.q, "1e-5")
    assert agree(exact, numeric, 25)


@pytest.mark.parametrize("place", ["body", "mean", "variance"])
def test_each_place_of_a_parameter_contributes(place):
    values = {"body": (t * x**4, 2, 3), "mean": (x**4, 2 * t, 3), "variance": (x**4, 2, 3 * t)}
    body, mean, variance = values[place]
    node = GaussianAverage(body, x, mean, variance)
    assert sp.expand(node.diff(t).doit() - node.doit().diff(t)) == 0
    assert node.diff(t) != 0


@given(rationals, positives, st.sampled_from([sp.Rational(1, 5), sp.Rational(3, 7)]))
@few
def test_derivative_of_a_nest_is_the_derivative_of_its_value(slope, width, point):
    """The overlap in the inner variance and in the outer one, as in a replica-symmetric energy."""
    q = sp.Symbol("q", positive=True)
    inner = GaussianAverage(sp.exp(-((x - z) ** 2) / width) * x + slope * x, x, q * z + q, 1 - q)
    node = GaussianAverage(inner**2 + z * inner, z, q, q)
    closed = node.doit()
    assert not closed.has(GaussianAverage)
    exact = value(node.diff(q).subs(q, point).doit(), 40)
    with mpmath.workdps(50):
        numeric = finite_difference(sp.lambdify(q, closed, "mpmath"), mpmath.mpf(point.p) / point.q, "1e-7")
    assert agree(exact, numeric, 30)


def test_derivative_in_a_bound_name_sees_only_the_parameters():
    assert GaussianAverage(x**2, x, x, v).diff(x).doit() == 2 * x
    assert GaussianAverage(x**2, x, 0, v).diff(x) == 0
    assert OutputSum(sp.exp(y), y, sp.FiniteSet(1)).diff(y) == 0


def test_derivatives_introduce_no_square_roots():
    q = sp.Symbol("q", positive=True)
    derivative = GaussianAverage(log2cosh(x), x, 0, q).diff(q, 2)
    assert not [p for p in derivative.atoms(sp.Pow) if p.exp == sp.Rational(1, 2)]


def test_derivative_of_an_output_sum():
    node = OutputSum(sp.exp(y * t), y, sp.FiniteSet(-1, 2))
    assert node.diff(t).doit() == -sp.exp(-t) + 2 * sp.exp(2 * t)


# -- evaluation --


def test_evalf_honours_the_precision():
    """E log Phi(x), x ~ N(0, 1), is -1 exactly: log Phi is log of a uniform number."""
    node = GaussianAverage(log_ndtr(x), x, 0, 1)
    assert agree(value(node, 40), -1, 38)
    assert agree(sp.N(node, 15), -1, 13)


def test_evalf_splits_at_kinks():
    """E max(x, 1/3) for a standard normal x, known in closed form."""
    exact = sp.exp(-sp.Rational(1, 18)) / sp.sqrt(2 * sp.pi) + (1 + sp.erf(1 / sp.sqrt(18))) / 6
    assert agree(value(GaussianAverage(sp.Max(x, sp.Rational(1, 3)), x, 0, 1)), value(exact), 28)


@pytest.mark.slow
def test_evalf_of_a_nest():
    node = GaussianAverage(GaussianAverage(x**2, x, z, 2) ** 2, z, 1, 3)
    assert agree(value(node, 8), 2**2 + 2 * 2 * 4 + (1 + 6 * 3 + 3 * 9), 7)


def test_evalf_of_an_average_in_a_parameter_and_of_a_sum_in_the_body():
    inner = OutputSum(x**2 * y + x, y, sp.FiniteSet(1, 2))
    node = GaussianAverage(inner, x, GaussianAverage(z**2, z, 1, 1), 3)
    assert agree(value(node, 25), 3 * (2**2 + 3) + 2 * 2, 24)


def test_evalf_leaves_the_global_precision_and_free_symbols_alone():
    before = mpmath.mp.prec
    assert GaussianAverage(x * t, x, 0, 1).evalf() == GaussianAverage(x * t, x, 0, 1)
    value(GaussianAverage(sp.tanh(x), x, 1, 1), 40)
    assert mpmath.mp.prec == before


def test_evalf_of_an_integral_over_outputs():
    node = OutputSum(sp.exp(-y) * y**2, y, sp.Interval(0, sp.oo))
    assert agree(value(node), 2, 28)
    assert agree(value(OutputSum(normal_density(y, 1, 2), y, sp.S.Reals)), 1, 28)


def test_doit_evaluates_inside_first_and_leaves_the_rest():
    assert GaussianAverage(sp.tanh(x), x, t, 0).doit() == sp.tanh(t)
    node = GaussianAverage(sp.tanh(z) * GaussianAverage(x, x, z, 1), z, 0, v)
    assert node.doit() == GaussianAverage(z * sp.tanh(z), z, 0, v)
    kept = GaussianAverage(normal_density(y, x, 1) * sp.tanh(x), x, 0, v)
    assert kept.doit() == kept


def test_output_sum_expands_over_a_finite_set_only():
    assert OutputSum(y**2 * t + y, y, sp.FiniteSet(-1, 1)).doit() == 2 * t
    kept = OutputSum(sp.exp(-(y**4) * v), y, sp.S.Reals)
    assert kept.doit() == kept
    assert OutputSum(normal_density(y, t, v) * y**2, y, sp.S.Reals).doit() == t**2 + v
