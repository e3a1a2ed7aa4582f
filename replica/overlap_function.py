r"""Overlap matrices with infinitely many levels: a function x(q) in place of overlaps and sizes of blocks.

In a hierarchical matrix of n replicas let x(q) be the number of replicas whose overlap with a given one
exceeds q: n below the smallest overlap q_min, then the sizes of the blocks, then 1 above the largest.  Sums
over entries, by parts, and the spectrum are integrals over q:

    sum_b f(Q_ab) = n f(q_min) + int_{q_min}^1 x(q) f'(q) dq,
    (1/n) log det Q = (1/n) log(1 + n q_min/chi(q_min)) + log(1 - q_min)
                      + int_{q_min}^1 (1/chi - 1/(1 - q)) dq,

chi(q) = int_q^1 x: for any number of steps, so for their limits too.  G. Parisi, J. Phys. A 13 (1980) L115;
A. Crisanti, H.-J. Sommers, Z. Phys. B 87 (1992) 341, for the determinant.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from replica.expr.parisi import OverlapIntegral
from solvers.errors import InputError

ORDER = sp.Function("x", nonnegative=True)
"""x, a function of the overlap."""


class FunctionMatrix(sp.Basic):
    """Entries e(q) for replicas of overlap q. Args: size, diagonal, e(q), q, q_min, x(q).

    >>> n, q, q_min = sp.symbols("n q q_min")
    >>> x = sp.Function("x")(q)
    >>> FunctionMatrix(n, 1, q, q, q_min, x).row_sum(lambda entry: entry**2)
    n*q_min**2 + OverlapIntegral(2*q*x(q), q, q_min, 1)
    """

    @property
    def size(self) -> sp.Expr:
        """Number of replicas."""
        return self.args[0]

    @property
    def diagonal(self) -> sp.Expr:
        """Entry of a replica with itself."""
        return self.args[1]

    @property
    def entry(self) -> sp.Expr:
        """e(q)."""
        return self.args[2]

    @property
    def overlap(self) -> sp.Symbol:
        """q."""
        return self.args[3]

    @property
    def lowest(self) -> sp.Expr:
        """q_min."""
        return self.args[4]

    @property
    def order(self) -> sp.Expr:
        """x(q)."""
        return self.args[5]

    def row_sum(self, f: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
        """Sum over b of f(Q_ab)."""
        return f(self.diagonal) + self._off_diagonal(f)

    def sum_over_entries(self, f: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
        """Sum over all a, b of f(Q_ab)."""
        return self.size * self.row_sum(f)

    def sum_over_pairs(self, f: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
        """Sum over a < b of f(Q_ab)."""
        return self.size * self._off_diagonal(f) / 2

    def hadamard(self, other: FunctionMatrix) -> FunctionMatrix:
        """Q_ab Q'_ab."""
        if self.args[3:] != other.args[3:] or self.size != other.size:
            raise InputError("matrices of different levels")
        return self.func(self.size, self.diagonal * other.diagonal, self.entry * other.entry, *self.args[3:])

    def log_det(self) -> sp.Expr:
        """log det Q, of a matrix of overlaps with the diagonal 1."""
        if self.entry != self.overlap or self.diagonal != 1:
            raise InputError("the determinant is that of overlaps with 1 on the diagonal")
        chi = OverlapIntegral(self.order, self.overlap, self.lowest, 1)
        return sp.log(1 + self.size * self.lowest / chi) + self.size * (
            sp.log(1 - self.lowest)
            + OverlapIntegral(1 / self.chi() - 1 / (1 - self.overlap), self.overlap, self.lowest, 1)
        )

    def chi(self) -> sp.Expr:
        """int_q^1 x."""
        inner = sp.Symbol("r", nonnegative=True)
        return OverlapIntegral(self.order.subs(self.overlap, inner), inner, self.overlap, 1)

    def _off_diagonal(self, f: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
        value, q = f(self.entry), self.overlap
        ends = self.size * value.subs(q, self.lowest) - value.subs(q, 1)
        slope = value.diff(q)
        return ends + (OverlapIntegral(self.order * slope, q, self.lowest, 1) if slope != 0 else 0)

    def _latex(self, printer: Any) -> str:
        return rf"\left[{printer._print(self.entry)}\right]_{{{printer._print(self.order)}}}"
