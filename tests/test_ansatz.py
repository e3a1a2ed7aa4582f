"""Ansaetze: the matrices they write, and nested averages against explicit matrices at integer n."""

from __future__ import annotations

import pytest
import sympy as sp

from replica.action import FieldAverage, PairSum
from replica.ansatz import BayesOptimal, KStepRSB, OneStepRSB, ReplicaSymmetric, insert
from replica.overlaps import ParisiMatrix, ReplicaSymmetricMatrix
from replica.symbols import n, q, q_hat
from solvers.errors import InputError

h = sp.Symbol("h", real=True)
FIELDS = sp.symbols("w_0 w_1 w_2", real=True)
Q, Q_HAT = sp.Symbol("Q"), sp.Symbol(r"\hat{Q}")
R = sp.Rational


def test_the_matrices_of_an_ansatz():
    assert ReplicaSymmetric().matrix(n, 1, q) == ReplicaSymmetricMatrix(n, 1, q)
    assert BayesOptimal().matrix(1, q) == ReplicaSymmetricMatrix(n + 1, 1, q)
    assert OneStepRSB() == KStepRSB(1)
    matrix = KStepRSB(2).matrix(n, 1, q)
    assert [s.name for s in matrix.overlaps] == ["q_0", "q_1", "q_2"]
    assert all(s.is_nonnegative for s in matrix.overlaps)  # as q is
    assert [s.name for s in matrix.blocks] == ["m_1", "m_2"]


@pytest.mark.parametrize("steps", [0, -1, 1.5, "2"])
def test_steps_are_positive_integers(steps):
    with pytest.raises(InputError, match="positive integer"):
        KStepRSB(steps)


@pytest.mark.parametrize(
    "matrix",
    [
        ReplicaSymmetricMatrix(3, R(6, 5), R(1, 3)),
        ParisiMatrix(4, R(6, 5), (R(1, 5), R(3, 4)), (2,)),
        ParisiMatrix(8, R(1), (R(1, 5), R(1, 2), R(4, 5)), (4, 2)),
    ],
    ids=["symmetric", "one step", "two steps"],
)
def test_nested_average_is_the_moment_of_the_explicit_matrix(matrix):
    """E prod_a exp(u h_a) = exp(sum_ab Q_ab u^2/2 + u sum_a mean), and with signs: E prod_a cosh(u h_a) by
    summing over them.
    """
    u, mean, size = R(1, 3), R(1, 4), int(matrix.size)
    shared = FIELDS[: len(matrix.overlaps)]
    explicit = matrix.explicit()

    def moment(signs):
        s = sp.Matrix(signs)
        return sp.exp(u**2 * (s.T * explicit * s)[0] / 2 + u * mean * sum(signs))

    levels = matrix.nested_average(sp.exp(u * h), h, shared, mean)
    assert abs(sp.N(levels.doit() - moment([1] * size), 20)) < 1e-15
    if size <= 4:
        products = [[1 - 2 * (k >> i & 1) for i in range(size)] for k in range(2**size)]
        direct = sum(sp.N(moment(signs), 20) for signs in products) / 2**size
        levels = matrix.nested_average(sp.cosh(u * h).rewrite(sp.exp), h, shared, mean)
        assert abs(sp.N(sp.expand(levels.doit().expand()).doit(), 15) - direct) < 1e-10


@pytest.mark.parametrize("ansatz", [ReplicaSymmetric(), KStepRSB(1), KStepRSB(3)], ids=lambda a: a.name)
def test_insert_sums_and_checks(ansatz):
    matrices = {Q: ansatz.matrix(n, 1, q), Q_HAT: ansatz.matrix(n, 0, q_hat)}
    rule = insert(ansatz, matrices, "test", ())
    before = 3 * PairSum(Q, Q_HAT) + FieldAverage(sp.cosh(h), h, 2 * Q, n)
    after = rule.apply(before)
    assert not after.has(PairSum)
    (fields,) = after.atoms(FieldAverage)
    assert fields.covariance == matrices[Q].entrywise(lambda entry: 2 * entry)
    assert all(c.holds for c in rule.check(before, after))
    assert not any(c.holds for c in rule.check(before, after + n * q_hat))
