"""The nodes that stand for E[Z^n] of spins with Gaussian energies on its way to the free entropy.

Every node is an exponent per spin.  The energies of two configurations have covariance E[H_a H_b] = N
xi(Q_ab), Q_ab = s_a.s_b/N; Ising spins are counted (Phi = log 2 at infinite temperature), spherical ones
carry the uniform probability on |s|^2 = N (Phi = 0 there).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.polys.matrices import DomainMatrix

from replica.action import MatrixFunction
from replica.expr.binder import Binder

ISING, SPHERICAL = sp.Symbol("Ising"), sp.Symbol("spherical")


class ReplicatedSpins(Binder):
    """(1/N) log E[Z^n] as it is defined. Args: xi(q), q, inverse temperature, field h, n, kind of spins."""

    binds = 1

    def _latex(self, printer: Any) -> str:
        inverse, field, replicas = (printer._print(p) for p in self.parameters[:3])
        ising = self.parameters[3] == ISING
        trace = r"\sum_{s\in\{-1,1\}^N}" if ising else r"\int_{|s|^2=N}\mathrm{d}s\;"
        linear = (
            "" if self.parameters[1] == 0 else rf"+{inverse} {field}\sum_i " + ("s_i" if ising else "g_i s_i")
        )
        variable, covariance = printer._print(self.bound_symbols[0]), printer._print(self.body)
        return (
            rf"\frac{{1}}{{N}}\log\mathbb{{E}}\Big[{trace} e^{{-{inverse} H(s){linear}}}\Big]^{{{replicas}}},"
            rf"\quad \mathbb{{E}}[H(s)H(s')]=N\xi\Big(\frac{{s\cdot s'}}{{N}}\Big),\quad "
            rf"\xi({variable})={covariance}"
        )


class EntrySum(Binder, MatrixFunction):
    """sum_ab f(Q_ab) over all entries. Args: f(q), q, Q."""

    binds = 1
    is_commutative = True

    @property
    def matrices(self) -> tuple[Any, ...]:
        """The symbol of the matrix."""
        return self.parameters

    def total(self, *matrices: Any) -> sp.Expr:
        """From how often each overlap occurs."""
        (matrix,) = matrices
        return matrix.sum_over_entries(self._entry)

    def explicit(self, *matrices: sp.Matrix) -> sp.Expr:
        """Entry by entry."""
        (matrix,) = matrices
        return sp.Add(*(self._entry(entry) for entry in matrix))

    def _entry(self, value: sp.Expr) -> sp.Expr:
        return self.body.subs(self.bound_symbols[0], value)

    def _latex(self, printer: Any) -> str:
        matrix = printer._print(self.parameters[0])
        return rf"\sum_{{ab}}\xi({matrix}_{{ab}})"


class SphereVolume(MatrixFunction):
    """(1/2) log det Q: the logarithm of the volume of spherical spins with overlaps Q. Args: Q."""

    def total(self, *matrices: Any) -> sp.Expr:
        """From the spectrum."""
        (matrix,) = matrices
        return sp.expand_mul(matrix.log_det() / 2)

    def explicit(self, *matrices: sp.Matrix) -> sp.Expr:
        """From the entries."""
        (matrix,) = matrices
        entries = DomainMatrix.from_Matrix(matrix)  # symbolic elimination would take minutes
        return sp.log(entries.domain.to_sympy(entries.det())) / 2

    def _latex(self, printer: Any) -> str:
        return rf"\frac{{1}}{{2}}\log\det {printer._print(self.args[0])}"


class SpinSum(sp.Expr):
    """sum over s_a = +-1 of exp(sum_{a<b} Qhat_ab s_a s_b + sum_a w s_a), averaged over w ~ N(field, spread),
    which all replicas feel. Args: Qhat, field, n, spread.
    """

    is_positive = True

    def explicit(self) -> sp.Expr:
        """At an integer n: the sum over all 2^n signs."""
        from itertools import product

        entries, field, size, spread = self.args[0].explicit(), self.args[1], int(self.args[2]), self.args[3]
        exponents = (
            field * sum(s)
            + spread * sum(s) ** 2 / 2
            + sum(entries[a, b] * s[a] * s[b] for b in range(size) for a in range(b))
            for s in product((1, -1), repeat=size)
        )
        return sp.Add(*(sp.exp(e) for e in exponents))

    def _latex(self, printer: Any) -> str:
        matrix, field, size, spread = (printer._print(a) for a in self.args)
        bare = rf"\sum_{{a<b}}{{{matrix}}}_{{ab}}s_as_b"
        signs = rf"\sum_{{s_1,\dots,s_{{{size}}}=\pm1}}"
        if self.args[3] != 0:
            return rf"\mathbb{{E}}_{{w\sim\mathcal{{N}}({field},{spread})}}{signs}e^{{{bare}+w\sum_a s_a}}"
        linear = "" if self.args[1] == 0 else rf"+\left({field}\right)\sum_a s_a"
        return rf"{signs}e^{{{bare}{linear}}}"


def spin_moment(matrix: Any, field: Any, size: Any, spread: Any = 0) -> sp.Expr:
    """The logarithm of ``SpinSum``."""
    return sp.log(SpinSum(*(sp.sympify(a) for a in (matrix, field, size, spread))))
