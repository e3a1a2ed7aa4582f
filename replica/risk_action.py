"""The nodes that stand for E[Z^n] of empirical risk minimisation on its way to zero temperature.

Every node is an exponent per coordinate (divided by d).  Replica 0 is the teacher, 1 to n are weights drawn
with probability proportional to exp(-b risk).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.core.function import ArgumentIndexError

from replica.action import MatrixFunction
from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder

R = sp.Symbol("R", positive=True)
R_hat = sp.Symbol(r"\hat{R}", positive=True)
b = sp.Symbol("b", positive=True)
h_0 = sp.Symbol("h_0", real=True)
w = sp.Symbol("w", real=True)


class ReplicatedRisk(Binder):
    """(1/d) log E[Z^n] as it is defined. Args: (P_out(y|h_0), loss, penalty), y, h_0, h, w, outputs, n,
    alpha.
    """

    binds = 4
    is_commutative = True

    def _latex(self, printer: Any) -> str:
        loss, penalty = (printer._print(e) for e in self.args[0].args[1:])
        size = printer._print(self.parameters[1])
        return (
            r"\frac{1}{d}\log\mathbb{E}_{X,w_*,y}\Big[\int\!\mathrm{d}w\;e^{-b\mathcal{R}(w)}\Big]^{"
            + size
            + r"},\quad \mathcal{R}(w)=\sum_{\mu=1}^{\alpha d}\ell(y_\mu,x_\mu\cdot w)+\sum_{i=1}^{d}r(w_i),"
            + rf"\quad \ell(y,h)={loss},\quad r(w)={penalty}"
        )


class PlantedFields(Binder):
    """E_{h ~ N(0, Q)} P_out(y|h_0) prod_a weight(y, h_a). Args: (P_out, weight), h_0, h, Q, n."""

    binds = 2
    is_commutative = True

    @property
    def covariance(self) -> Any:
        """The overlap matrix, or its name before an ansatz."""
        return self.parameters[0]

    @property
    def size(self) -> sp.Expr:
        """Number of replicas besides the teacher."""
        return self.parameters[1]

    def explicit(self) -> sp.Expr:
        """At an integer n, by conditioning each field on those before it, from the entries of the matrix."""
        matrix = self.covariance.explicit()
        density, weight = self.args[0]
        fields = [sp.Dummy(f"h{a}", real=True) for a in range(matrix.shape[0])]
        order = [*range(1, len(fields)), 0]  # the teacher innermost: its average has a closed form
        result: sp.Expr = sp.S.One
        for k in reversed(range(len(order))):
            a, before = order[k], order[:k]
            mean, variance = sp.S.Zero, matrix[a, a]
            if before:
                weights = matrix.extract(before, before).LUsolve(matrix.extract(before, [a]))
                mean = sp.Add(*(c * fields[j] for c, j in zip(weights, before, strict=True)))
                variance = matrix[a, a] - (matrix.extract([a], before) * weights)[0]
            factor = (
                density.subs(self.bound_symbols[0], fields[a])
                if a == 0
                else weight.subs(self.bound_symbols[1], fields[a])
            )
            result = GaussianAverage(factor * result, fields[a], mean, variance).doit()
        return result

    def _latex(self, printer: Any) -> str:
        size, covariance = printer._print(self.size), printer._print(self.covariance)
        return (
            r"\mathbb{E}_{h\sim\mathcal{N}(0,"
            + covariance
            + r")}P_{\mathrm{out}}(y|h_0)\prod_{a=1}^{"
            + size
            + r"}e^{-b\ell(y,h_a)}"
        )


class SignalMoment(Binder):
    """log E_{w_0} int prod_a dw_a weight(w_a) exp((1/2) sum_ab Qhat_ab w_a w_b). Args: weight(w), w, Qhat,
    n.
    """

    binds = 1

    def _latex(self, printer: Any) -> str:
        size = printer._print(self.parameters[1])
        return (
            r"\log\mathbb{E}_{w_0}\int\prod_{a=1}^{" + size + r"}\mathrm{d}w_a\,e^{-br(w_a)}"
            r"\exp\Big(\frac{1}{2}\sum_{a,b=0}^{" + size + r"}\hat{Q}_{ab}w_aw_b\Big)"
        )


class ConjugateSum(MatrixFunction):
    """(1/2) sum_ab Q_ab Qhat_ab over teacher and replicas. Args: Q, Qhat."""

    def total(self, *matrices: Any) -> sp.Expr:
        """From the trace of the product."""
        overlap, conjugate = matrices
        return sp.Add(*(t / 2 for t in sp.Add.make_args(overlap.trace_of_product(conjugate))))

    def explicit(self, *matrices: sp.Matrix) -> sp.Expr:
        """Trace of the product of the explicit matrices."""
        overlap, conjugate = matrices
        return (overlap * conjugate).trace() / 2

    def _latex(self, printer: Any) -> str:
        return r"\frac{1}{2}\sum_{a,b}Q_{ab}\hat{Q}_{ab}"


class Extremum(Binder):
    """Maximum (sign 1) or minimum (sign -1) over a real variable. Args: body, variable, sign."""

    binds = 1

    @property
    def var(self) -> sp.Symbol:
        """The variable."""
        return self.bound_symbols[0]

    def _eval_is_real(self) -> bool | None:
        return True if self.body.is_real else None

    def _latex(self, printer: Any) -> str:
        word = r"\max" if self.parameters[0] == 1 else r"\min"
        return rf"{word}_{{{printer._print(self.var)}}}\left[{printer._print(self.body)}\right]"


class _Named(sp.Function):
    """A function of (y, omega, V) by name; the fourth argument counts its derivatives in omega."""

    nargs = (4,)
    letter = ""
    is_real = True

    def _latex(self, printer: Any, exp: Any = None) -> str:
        y, field, variance = (printer._print(a) for a in self.args[:3])
        order = int(self.args[3])
        sign = "" if order == 0 else r"\partial_\omega" + (f"^{{{order}}}" if order > 1 else "") + " "
        text = rf"{sign}{self.letter}\left({y},{field},{variance}\right)"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


class Evidence(_Named):
    """Z_0(y, omega, V) = E_{h ~ N(omega, V)} P_out(y|h); dZ_0/dV = (1/2) d^2 Z_0/domega^2."""

    letter = "Z_0"

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """In omega, or in V by the heat equation."""
        y, field, variance, order = self.args
        if argindex == 2:
            return Evidence(y, field, variance, order + 1)
        if argindex == 3:
            return Evidence(y, field, variance, order + 2) / 2
        raise ArgumentIndexError(self, argindex)


class Moreau(_Named):
    """M(y, omega, V) = min_h [(h - omega)^2/(2V) + loss(y, h)]; Hamilton-Jacobi: dM/dV = -(dM/domega)^2/2."""

    letter = r"\mathcal{M}"

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """In omega; in V for M itself."""
        y, field, variance, order = self.args
        if argindex == 2:
            return Moreau(y, field, variance, order + 1)
        if argindex == 3 and order == 0:
            return -(Moreau(y, field, variance, 1) ** 2) / 2
        raise ArgumentIndexError(self, argindex)


class Legendre(sp.Function):
    """phi(B, V_hat) = max_w [B w - V_hat w^2/2 - r(w)]; the third argument counts its derivatives in B.

    dphi/dB is the maximiser w(B), and dphi/dV_hat = -w(B)^2/2.
    """

    nargs = (3,)
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """In B; in V_hat for phi itself."""
        field, curvature, order = self.args
        if argindex == 1:
            return Legendre(field, curvature, order + 1)
        if argindex == 2 and order == 0:
            return -(Legendre(field, curvature, 1) ** 2) / 2
        raise ArgumentIndexError(self, argindex)

    def _latex(self, printer: Any, exp: Any = None) -> str:
        field, curvature = (printer._print(a) for a in self.args[:2])
        order = int(self.args[2])
        sign = "" if order == 0 else r"\partial_B" + (f"^{{{order}}}" if order > 1 else "") + " "
        text = rf"{sign}\phi\left({field},{curvature}\right)"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"
