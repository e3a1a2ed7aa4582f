"""Overlap matrices of symbolic size.

Q_ab is the overlap of replicas a and b, of any number ``size`` of them (n + 1 when planted: replica 0 is the
teacher).  A matrix knows its structure, so sums over its entries, its determinant and its spectrum are exact
at symbolic size; ``explicit`` writes the entries out at an integer size, which is what the tests compare
with.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp


class ReplicaSymmetricMatrix(sp.Basic):
    """Q_ab = ``diagonal`` for a = b and ``off_diagonal`` otherwise.

    >>> n, q = sp.symbols("n q")
    >>> Q = ReplicaSymmetricMatrix(n + 1, 1, q)
    >>> Q.sum_over_pairs(lambda entry: entry)
    n*q*(n + 1)/2
    >>> Q.subs(n, 1).explicit()
    Matrix([
    [1, q],
    [q, 1]])
    """

    def __new__(
        cls, size: sp.Expr | int, diagonal: sp.Expr | int, off_diagonal: sp.Expr | int
    ) -> ReplicaSymmetricMatrix:
        """Sympify the arguments."""
        return sp.Basic.__new__(cls, sp.sympify(size), sp.sympify(diagonal), sp.sympify(off_diagonal))

    @property
    def size(self) -> sp.Expr:
        """Number of replicas, symbolic or not."""
        return self.args[0]

    @property
    def diagonal(self) -> sp.Expr:
        """Self-overlap."""
        return self.args[1]

    @property
    def off_diagonal(self) -> sp.Expr:
        """Overlap of two different replicas."""
        return self.args[2]

    def sum_over_entries(self, f: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
        """Sum over all a, b of f(Q_ab)."""
        s = self.size
        return s * f(self.diagonal) + s * (s - 1) * f(self.off_diagonal)

    def sum_over_pairs(self, f: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
        """Sum over a < b of f(Q_ab)."""
        return sp.Mul(sp.Rational(1, 2), self.size, self.size - 1, f(self.off_diagonal))

    def eigenvalues(self) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
        """(eigenvalue, multiplicity): the uniform direction, then the rest."""
        transverse = self.diagonal - self.off_diagonal
        return ((transverse + self.size * self.off_diagonal, sp.S.One), (transverse, self.size - 1))

    def log_det(self) -> sp.Expr:
        """log det Q."""
        return sp.Add(*(multiplicity * sp.log(value) for value, multiplicity in self.eigenvalues()))

    def inverse(self) -> ReplicaSymmetricMatrix:
        """Q^-1, of the same structure."""
        (uniform, _), (transverse, _) = self.eigenvalues()
        off = -self.off_diagonal / (transverse * uniform)
        return ReplicaSymmetricMatrix(self.size, 1 / transverse + off, off)

    def levels(self) -> tuple[sp.Expr, sp.Expr]:
        """Variances of the independent Gaussians whose sums have covariance Q: one shared by all replicas,
        one of each.
        """
        return self.off_diagonal, self.diagonal - self.off_diagonal

    def explicit(self) -> sp.Matrix:
        """The matrix at an integer size."""
        size = int(self.size)
        return sp.Matrix(size, size, lambda a, b: self.diagonal if a == b else self.off_diagonal)

    def _latex(self, printer: Any) -> str:
        size, diagonal, off_diagonal = (printer._print(a) for a in self.args)
        return rf"\left({diagonal},{off_diagonal}\right)_{{{size}}}"
