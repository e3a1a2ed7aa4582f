"""Replica-symmetric matrices against their explicit entries, and the continuation to n = 0."""

from __future__ import annotations

import pytest
import sympy as sp

from replica.overlaps import ReplicaSymmetricMatrix

n, a, b = sp.symbols("n a b")
SYMBOLIC = ReplicaSymmetricMatrix(n, a, b)
POINT = {a: sp.Rational(7, 3), b: sp.Rational(-2, 7)}
SIZES = (2, 4, 6)


def at(size):
    return SYMBOLIC.subs({n: size, **POINT})


def test_args_invariants():
    assert SYMBOLIC.func(*SYMBOLIC.args) == SYMBOLIC
    assert SYMBOLIC.subs(n, 3) == ReplicaSymmetricMatrix(3, a, b)
    assert SYMBOLIC.free_symbols == {n, a, b}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "f", [lambda e: e, lambda e: e**3 - 1, lambda e: 1 / e], ids=["entry", "cubic", "inverse"]
)
def test_sums_over_entries_and_pairs(size, f):
    explicit = at(size).explicit()
    entries = sum(f(e) for e in explicit)
    pairs = sum(f(explicit[i, j]) for i in range(size) for j in range(i + 1, size))
    at_size = {n: size, **POINT}
    assert SYMBOLIC.sum_over_entries(f).subs(at_size) == entries
    assert SYMBOLIC.sum_over_pairs(f).subs(at_size) == pairs


@pytest.mark.parametrize("size", SIZES)
def test_determinant_and_spectrum(size):
    explicit = at(size).explicit()
    assert sp.simplify(sp.exp(SYMBOLIC.log_det().subs({n: size, **POINT})) - explicit.det()) == 0
    expected = {}
    for symbol, count in SYMBOLIC.eigenvalues():
        value = symbol.subs({n: size, **POINT})
        expected[value] = expected.get(value, 0) + count.subs(n, size)
    assert explicit.eigenvals() == expected


@pytest.mark.parametrize("size", SIZES)
def test_inverse(size):
    inverse = SYMBOLIC.inverse().subs({n: size, **POINT}).explicit()
    assert at(size).explicit() * inverse == sp.eye(size)
    assert sp.simplify(SYMBOLIC.inverse().inverse().off_diagonal - b) == 0


@pytest.mark.parametrize("size", SIZES)
def test_levels_are_the_covariance_of_a_shared_and_a_private_gaussian(size):
    shared, own = (level.subs(POINT) for level in SYMBOLIC.levels())
    assert shared * sp.ones(size) + own * sp.eye(size) == at(size).explicit()


def test_limit_of_no_replicas():
    """At n -> 0 both eigenvalues meet; d(log det)/dn is the replica formula log(a - b) + b/(a - b)."""
    (uniform, _), (transverse, _) = SYMBOLIC.eigenvalues()
    assert sp.expand(uniform.subs(n, 0) - transverse) == 0
    assert SYMBOLIC.log_det().subs(n, 0).subs(POINT).equals(0)
    slope = SYMBOLIC.log_det().diff(n).subs(n, 0)
    assert sp.simplify(slope - sp.log(a - b) - b / (a - b)) == 0
    assert SYMBOLIC.sum_over_pairs(lambda e: e).diff(n).subs(n, 0) == -b / 2


def test_latex_names_entries_and_size():
    assert sp.latex(ReplicaSymmetricMatrix(n + 1, 1, b)) == r"\left(1,b\right)_{n + 1}"
