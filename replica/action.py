r"""The replicated action: the nodes that stand for E[Z^n] on its way to the free entropy.

The planted, Bayes-optimal setting: n + 1 exchangeable replicas S_0 ... S_n of a matrix signal (S_0 is the
teacher), fields h_a = Tr(X^T S_a)/sqrt(dL), outputs y ~ P_out(.|h_0).  Every node is an exponent *per entry
of the signal* (divided by dL), at a symbolic number of replicas.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder
from replica.overlaps import ReplicaSymmetricMatrix
from replica.symbols import V, alpha, h, n, omega, y

Q = sp.Symbol("Q")
Q_HAT = sp.Symbol(r"\hat{Q}")
Z_OUT = sp.Function("Z_out", positive=True)(y, omega, V)
"""The evidence of one output, E_{h ~ N(omega, V)} P_out(y|h), by name."""


class ReplicatedEvidence(Binder):
    """log E[Z^n] as it is defined: outputs and replicas integrated, inputs averaged. Args: P_out(y|h), y, h,
    outputs, n, alpha.
    """

    binds = 2

    def _latex(self, printer: Any) -> str:
        size = printer._print(self.parameters[1])
        density = _density_latex(printer, self.body, r"y_\mu", r"h^a_\mu")
        return (
            r"\frac{1}{dL}\log\mathbb{E}_{X}\int\!\mathrm{d}y\;\mathbb{E}_{S_0,\dots,S_{" + size + r"}\sim P}"
            r"\prod_{\mu=1}^{\alpha dL}\prod_{a=0}^{" + size + "}" + density + r",\quad "
            r"h_\mu^a=\frac{\operatorname{Tr}X_\mu^{\top}S_a}{\sqrt{dL}}"
        )


class FieldAverage(Binder):
    """E over jointly Gaussian fields of one factor per replica, E_{h ~ N(0, Q)} prod_a w(h_a). Args: w(h), h,
    Q, size.
    """

    binds = 1

    @property
    def covariance(self) -> Any:
        """The overlap matrix, or the symbol Q before an ansatz."""
        return self.parameters[0]

    @property
    def size(self) -> sp.Expr:
        """Number of replicas."""
        return self.parameters[1]

    def explicit(self) -> sp.Expr:
        """At an integer size, by conditioning one field on those before it, from the entries of the explicit
        matrix.
        """
        matrix = self.covariance.explicit()
        fields = [sp.Dummy(f"h{a}", real=True) for a in range(matrix.shape[0])]
        result: sp.Expr = sp.S.One
        for a in reversed(range(len(fields))):
            mean, variance = sp.S.Zero, matrix[a, a]
            if a:
                weights = matrix[:a, :a].LUsolve(matrix[:a, a])
                mean = sp.Add(*(w * f for w, f in zip(weights, fields[:a], strict=True)))
                variance = matrix[a, a] - (matrix[a, :a] * weights)[0]
            result = GaussianAverage(
                self.body.subs(self.bound_symbols[0], fields[a]) * result, fields[a], mean, variance
            ).doit()
        return result

    def _latex(self, printer: Any) -> str:
        last = printer._print(self.size - 1)
        covariance = printer._print(self.covariance)
        density = _density_latex(printer, self.body, "y", "h_a")
        return r"\mathbb{E}_{h\sim\mathcal{N}(0," + covariance + r")}\prod_{a=0}^{" + last + "}" + density


class OverlapMoment(sp.Expr):
    """(1/dL) log E_{S_a ~ P} exp(sum_{a<b} Qhat_ab Tr S_a^T S_b). Args: Qhat."""

    def _latex(self, printer: Any) -> str:
        entries = self.args[0]
        inside = (
            rf"{printer._print(entries.off_diagonal)}\sum_{{a<b}}\operatorname{{Tr}}S_a^{{\top}}S_b"
            if isinstance(entries, ReplicaSymmetricMatrix)
            else r"\sum_{a<b}\hat{Q}_{ab}\operatorname{Tr}S_a^{\top}S_b"
        )
        return rf"\frac{{1}}{{dL}}\log\mathbb{{E}}_{{S_a\sim P}}\exp\Big({inside}\Big)"


class PairSum(sp.Expr):
    """sum_{a<b} Q_ab Qhat_ab. Args: Q, Qhat."""

    def _latex(self, printer: Any) -> str:
        return r"\sum_{a<b}Q_{ab}\hat{Q}_{ab}"


class LikelihoodMoment(sp.Expr):
    r"""(1/dL) log E_Z[X(Z)^size], X(Z) = E_S exp(sqrt(q_hat) Tr Z^T S - (q_hat/2)|S|^2), E_Z[X] = 1. Args:
    size, q_hat.
    """

    def _latex(self, printer: Any) -> str:
        size, c = (printer._print(a) for a in self.args)
        return (
            r"\frac{1}{dL}\log\mathbb{E}_{Z}\Big[\Big(\mathbb{E}_{S\sim P}e^{\sqrt{"
            + c
            + r"}\operatorname{Tr}Z^{\top}S-\frac{"
            + c
            + r"}{2}|S|^2}\Big)^{"
            + size
            + r"}\Big]"
        )


class LikelihoodEntropy(sp.Expr):
    """(1/dL) E_Z[X log X] for the X of ``LikelihoodMoment``. Args: q_hat."""

    def _latex(self, printer: Any) -> str:
        c = printer._print(self.args[0])
        return (
            r"\frac{1}{dL}\mathbb{E}_{Z}\left[\mathcal{X}\log\mathcal{X}\right]_{\mathcal{X}=\mathbb{E}_{S}"
            r"e^{\sqrt{" + c + r"}\operatorname{Tr}Z^{\top}S-\frac{" + c + r"}{2}|S|^2}}"
        )


class DifferentialEntropy(sp.Expr):
    """h(Y)/(dL) of Y = S + Z/sqrt(q_hat), in nats. Args: q_hat."""

    def _latex(self, printer: Any) -> str:
        return rf"\frac{{1}}{{dL}}\mathsf{{h}}\left(S+Z/\sqrt{{{printer._print(self.args[0])}}}\right)"


def _density_latex(printer: Any, density: sp.Expr, y_name: str, h_name: str) -> str:
    return rf"P_{{\mathrm{{out}}}}({y_name}|{h_name})"


def replicated_evidence(density: sp.Expr, outputs: sp.Set) -> ReplicatedEvidence:
    """The starting point: (1/dL) log E[Z^n] with the teacher as replica 0."""
    return ReplicatedEvidence(density, y, h, outputs, n, alpha)


def nodes_of(expr: sp.Expr, kind: type) -> list[Any]:
    """The nodes of one kind in an expression, in a fixed order."""
    return sorted(expr.atoms(kind), key=sp.default_sort_key)


def cancel_rational(expr: sp.Expr) -> sp.Expr:
    """Put the rational terms of a sum over one factored denominator of positive leading sign; nothing else is
    touched.
    """
    rational, rest = [], []
    for term in sp.Add.make_args(sp.expand_mul(expr, deep=False)):
        (rational if term.is_rational_function() else rest).append(term)
    numerator, denominator = sp.fraction(sp.factor(sp.Add(*rational)))
    if denominator.could_extract_minus_sign():
        numerator, denominator = -numerator, -denominator
    return sp.Add(numerator / denominator, *rest)
