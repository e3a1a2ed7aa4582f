r"""Gaussian spins: the statement of E[Z^n], and its nodes on the way from there.

Real spins with the a-priori law N(0, 1) weigh exp(beta [-H(s) + N J0 m^2/2 + h sum_i s_i]), m = (1/N) sum_i
s_i, with Gaussian energies of covariance E[H(s) H(s')] = N xi(s.s'/N).  Every node is an exponent per spin; Z
is an average over the a-priori law (Phi = 0 at beta = 0).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.action import MatrixFunction
from replica.expr.average import GaussianAverage


class GaussianSpinPartition(sp.Expr):
    """(1/N) log E[Z^n] as it is defined. Args: xi(q), beta, J0, h, n."""

    def _latex(self, printer: Any) -> str:
        covariance, inverse, strength, field, size = (printer._print(a) for a in self.args)
        exponent = rf"-H(s)+\frac{{N {strength}}}{{2}}m^2+{field}\sum_i s_i"
        return (
            rf"\frac{{1}}{{N}}\log\mathbb{{E}}\Big[\mathbb{{E}}_{{s\sim\mathcal{{N}}(0,I_N)}}"
            rf"e^{{{inverse}\left[{exponent}\right]}}\Big]^{{{size}}},\quad "
            rf"m=\frac{{1}}{{N}}\sum_i s_i,\quad "
            rf"\mathbb{{E}}[H(s)H(s')]=N\xi\Big(\frac{{s\cdot s'}}{{N}}\Big),\quad \xi(q)={covariance}"
        )


class HalfTrace(MatrixFunction):
    """(1/2) sum_ab P_ab Q_ab over all entries, the diagonal among them. Args: P, Q."""

    def total(self, *matrices: Any) -> sp.Expr:
        """From the product entry by entry."""
        left, right = matrices
        return left.trace_of_product(right) / 2

    def explicit(self, *matrices: sp.Matrix) -> sp.Expr:
        """Entry by entry."""
        left, right = matrices
        return (left * right.T).trace() / 2

    def _latex(self, printer: Any) -> str:
        left, right = (f"{{{printer._print(m)}}}_{{ab}}" for m in self.args)
        return rf"\frac{{1}}{{2}}\sum_{{ab}}{left}{right}"


class SpinIntegral(sp.Expr):
    """log E_{s_a ~ N(0, 1)} exp((1/2) sum_ab Qhat_ab s_a s_b + w sum_a s_a), the replicas of one spin.

    Args: Qhat, w, n.
    """

    def explicit(self, matrix: sp.Matrix) -> sp.Expr:
        """For a matrix written out: one spin after the other, each a Gaussian integral in closed form."""
        spins = [sp.Dummy(f"s{a}", real=True) for a in range(matrix.rows)]
        vector = sp.Matrix(spins)
        exponent = (vector.T * matrix * vector)[0] / 2 + self.args[1] * sum(spins)
        result: sp.Expr = sp.exp(sp.expand(exponent))
        for spin in spins:
            result = GaussianAverage(result, spin, 0, 1).doit()
        return sp.log(result)

    def _latex(self, printer: Any) -> str:
        matrix, field, size = (printer._print(a) for a in self.args)
        law = rf"\mathbb{{E}}_{{s\sim\mathcal{{N}}(0,I_{{{size}}})}}"
        bare = rf"\frac{{1}}{{2}}\sum_{{ab}}{{{matrix}}}_{{ab}}s_as_b"
        return rf"\log{law}e^{{{bare}+{field}\sum_a s_a}}"


class SpinDeterminant(MatrixFunction):
    """-(1/2) log det(1 - Qhat) + (w^2/2) sum_ab [(1 - Qhat)^-1]_ab. Args: Qhat, w."""

    @property
    def matrices(self) -> tuple[Any, ...]:
        """The symbol of the matrix."""
        return self.args[:1]

    def total(self, *matrices: Any) -> sp.Expr:
        """From the spectrum of 1 - Qhat; the inverse acts on the uniform direction."""
        shifted = precision(matrices[0])
        (uniform, _), *_ = shifted.eigenvalues()
        return sp.expand_mul(-shifted.log_det() / 2) + sp.Mul(
            self.args[1] ** 2, shifted.size / 2, 1 / uniform
        )

    def explicit(self, *matrices: sp.Matrix) -> sp.Expr:
        """From the entries."""
        shifted = sp.eye(matrices[0].rows) - matrices[0]
        return -sp.log(shifted.det()) / 2 + self.args[1] ** 2 * sum(shifted.inv()) / 2

    def _latex(self, printer: Any) -> str:
        matrix, field = (printer._print(a) for a in self.args)
        field = field if self.args[1].is_Symbol else rf"\left({field}\right)"
        return (
            rf"\frac{{1}}{{2}}{field}^{{2}}\sum_{{ab}}\left[\left(1-{matrix}\right)^{{-1}}\right]_{{ab}}"
            rf"-\frac{{1}}{{2}}\log\det\left(1-{matrix}\right)"
        )


def precision(conjugates: Any) -> Any:
    """1 - Qhat, of the same structure: the inverse covariance of the replicas of a spin."""
    *outer, inner = conjugates.levels()
    return conjugates.from_levels((*(-level for level in outer), 1 - inner))
