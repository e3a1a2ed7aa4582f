r"""The replicated action: the nodes that stand for E[Z^n] on its way to the free entropy.

The planted, Bayes-optimal setting: n + 1 exchangeable replicas of the signal (replica 0 is the teacher),
outputs y ~ P_out(.|h_0) of the fields h_a, at a symbolic number of replicas.  Every node is an exponent *per
coordinate of the signal*.  The signal is a vector x of N coordinates with h = F x, F_ij ~ N(0, 1/N), or a
matrix S of dL entries with h = Tr(X^T S)/sqrt(dL), X_ij ~ N(0, 1), or a symmetric d x d matrix S with h =
Tr(X S)/sqrt(d), X symmetric, X_ij ~ N(0, 1 + delta_ij): the same calculation in another notation, told apart
by the number of coordinates, the symbol ``N``, ``DL`` or ``D2``.  ``geometry`` says what else differs.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder
from replica.overlaps import ReplicaSymmetricMatrix
from replica.symbols import N, V, alpha, h, n, omega, y

Q = sp.Symbol("Q")
Q_HAT = sp.Symbol(r"\hat{Q}")
Z_OUT = sp.Function("Z_out", positive=True)(y, omega, V)
"""The evidence of one output, E_{h ~ N(omega, V)} P_out(y|h), by name."""


DL = sp.Symbol("dL", positive=True)
"""Number of entries of a matrix signal of d rows and L columns."""
D2 = sp.Symbol("d^2", positive=True)
"""Number of entries of a symmetric matrix signal, of which half are free."""


@dataclass(frozen=True)
class Geometry:
    """How a kind of signal is counted.

    In the free coordinates x of the signal, ``share`` of them per entry, the scalar product of two signals is
    their number times the overlap; a field h has variance ``field_variance`` per unit of overlap.  For a
    symmetric d x d matrix with overlap Tr(S S')/d: d^2/2 free coordinates, x.x' = (d/2) Tr(S S'), and noise
    that is N(0, 1) in each of them is the matrix Z with entries of variance (1 + delta_ij)/d.
    """

    share: sp.Expr = sp.S.One
    field_variance: sp.Expr = sp.S.One


def geometry(coordinates: sp.Symbol) -> Geometry:
    """How the signal with this number of coordinates is counted."""
    return _NOTATIONS[coordinates].geometry


@dataclass(frozen=True)
class _Notation:
    """How a kind of signal is written, and counted."""

    signal: str
    inputs: str
    field: str
    product: str
    noise: str
    square: str = "|{0}|^2"
    noise_law: str = "a d x L matrix of iid N(0, 1) entries"
    geometry: Geometry = Geometry()


N_U, N_V = sp.Symbol("N_u", positive=True), sp.Symbol("N_v", positive=True)
"""Numbers of coordinates of the two vectors of a rectangular matrix."""

_NOTATIONS = {
    N: _Notation("x", "F", r"(Fx_a)_\mu", r"{0}\cdot {1}", "z"),
    N_U: _Notation("u", "", "", r"{0}\cdot {1}", "z"),
    N_V: _Notation("v", "", "", r"{0}\cdot {1}", "z"),
    DL: _Notation(
        "S",
        "X",
        r"\frac{\operatorname{Tr}X_\mu^{\top}S_a}{\sqrt{dL}}",
        r"\operatorname{{Tr}}{0}^{{\top}}{1}",
        "Z",
    ),
    D2: _Notation(
        "S",
        "X",
        r"\frac{\operatorname{Tr}X_\mu S_a}{\sqrt{d}}",
        r"\frac{{d}}{{2}}\operatorname{{Tr}}{0}{1}",
        "Z",
        r"\frac{{d}}{{2}}\operatorname{{Tr}}{0}^2",
        "a symmetric d x d matrix of independent N(0, (1 + delta_ij)/d) entries",
        Geometry(sp.Rational(1, 2), sp.Integer(2)),
    ),
}


def noise_law(coordinates: sp.Symbol) -> str:
    """The noise that is N(0, 1) in every free coordinate, in words."""
    return _NOTATIONS[coordinates].noise_law


class ReplicatedEvidence(Binder):
    """log E[Z^n] as it is defined: outputs and replicas integrated, inputs averaged. Args: P_out(y|h), y, h,
    outputs, n, alpha, number of coordinates.
    """

    binds = 2

    def _latex(self, printer: Any) -> str:
        replicas, _, coordinates = (printer._print(p) for p in self.parameters[1:])
        written = _NOTATIONS[self.parameters[3]]
        s = written.signal
        density = _density_latex(printer, self.body, r"y_\mu", r"h^a_\mu")
        return (
            rf"\frac{{1}}{{{coordinates}}}\log\mathbb{{E}}_{{{written.inputs}}}\int\!\mathrm{{d}}y\;"
            rf"\mathbb{{E}}_{{{s}_0,\dots,{s}_{{{replicas}}}\sim P}}"
            rf"\prod_{{\mu=1}}^{{\alpha {coordinates}}}\prod_{{a=0}}^{{{replicas}}}{density},\quad "
            rf"h_\mu^a={written.field}"
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
        replica = self.body.subs(self.bound_symbols[0], sp.Symbol("h_a", real=True))
        # an output has a law by name, a weight without an output is written out
        density = (
            _density_latex(printer, self.body, "y", "h_a") if self.body.has(y) else printer._print(replica)
        )
        return r"\mathbb{E}_{h\sim\mathcal{N}(0," + covariance + r")}\prod_{a=0}^{" + last + "}" + density


class OverlapMoment(sp.Expr):
    """(1/N) log E_{x_a ~ P} exp(sum_{a<b} Qhat_ab x_a.x_b). Args: Qhat, number of coordinates N."""

    def _latex(self, printer: Any) -> str:
        entries, coordinates = self.args
        written = _NOTATIONS[coordinates]
        product = written.product.format(f"{written.signal}_a", f"{written.signal}_b")
        inside = (
            rf"{printer._print(entries.off_diagonal)}\sum_{{a<b}}{product}"
            if isinstance(entries, ReplicaSymmetricMatrix)
            else rf"\sum_{{a<b}}{{{printer._print(entries)}}}_{{ab}}{product}"
        )
        return (
            rf"\frac{{1}}{{{printer._print(coordinates)}}}\log\mathbb{{E}}_{{{written.signal}_a\sim P}}"
            rf"\exp\Big({inside}\Big)"
        )


class MatrixFunction(sp.Expr):
    """A number computed from overlap matrices, known by their symbols until an ansatz gives them."""

    @property
    def matrices(self) -> tuple[Any, ...]:
        """The symbols of the matrices."""
        return self.args

    def total(self, *matrices: Any) -> sp.Expr:
        """Its value for structured matrices of symbolic size."""
        raise NotImplementedError

    def explicit(self, *matrices: sp.Matrix) -> sp.Expr:
        """Its value from the entries of matrices that are written out."""
        raise NotImplementedError


class PairSum(MatrixFunction):
    """sum_{a<b} P_ab Q_ab of two overlap matrices. Args: P, Q."""

    def total(self, *matrices: Any) -> sp.Expr:
        """From the product entry by entry."""
        left, right = matrices
        return left.hadamard(right).sum_over_pairs(lambda entry: entry)

    def explicit(self, *matrices: sp.Matrix) -> sp.Expr:
        """Pair by pair."""
        left, right = matrices
        return sp.Add(*(left[a, b] * right[a, b] for b in range(left.rows) for a in range(b)))

    def _latex(self, printer: Any) -> str:
        left, right = (f"{{{printer._print(m)}}}_{{ab}}" for m in self.args)
        product = rf"{left}^{{2}}" if left == right else left + right
        return rf"\sum_{{a<b}}{product}"


class LikelihoodMoment(sp.Expr):
    r"""(1/N) log E_z[X(z)^size], X(z) = E_x exp(sqrt(q_hat) z.x - (q_hat/2)|x|^2), E_z[X] = 1. Args: size,
    q_hat, number of coordinates N.
    """

    def _latex(self, printer: Any) -> str:
        size = printer._print(self.args[0])
        likelihood, prefix, noise = _likelihood_latex(printer, *self.args[1:])
        return rf"{prefix}\log\mathbb{{E}}_{{{noise}}}\Big[\Big({likelihood}\Big)^{{{size}}}\Big]"


class LikelihoodEntropy(sp.Expr):
    """(1/N) E_z[X log X] for the X of ``LikelihoodMoment``. Args: q_hat, number of coordinates N."""

    def _latex(self, printer: Any) -> str:
        likelihood, prefix, noise = _likelihood_latex(printer, *self.args)
        return (
            rf"{prefix}\mathbb{{E}}_{{{noise}}}\left[\mathcal{{X}}\log\mathcal{{X}}\right]"
            rf"_{{\mathcal{{X}}={likelihood}}}"
        )


def _likelihood_latex(printer: Any, strength: sp.Expr, coordinates: sp.Expr) -> tuple[str, str, str]:
    """The likelihood ratio of a signal to pure noise, the prefix 1/N, and the name of the noise."""
    written = _NOTATIONS[coordinates]
    c, s, z = printer._print(strength), written.signal, written.noise
    exponent = rf"\sqrt{{{c}}}{written.product.format(z, s)}-\frac{{{c}}}{{2}}{written.square.format(s)}"
    likelihood = rf"\mathbb{{E}}_{{{s}\sim P}}e^{{{exponent}}}"
    return likelihood, rf"\frac{{1}}{{{printer._print(coordinates)}}}", z


class DifferentialEntropy(sp.Expr):
    """h(Y)/(dL) of Y = S + Z/sqrt(q_hat), in nats, in the free coordinates. Args: q_hat, number of
    coordinates dL.
    """

    def _latex(self, printer: Any) -> str:
        strength, coordinates = (printer._print(a) for a in self.args)
        return rf"\frac{{1}}{{{coordinates}}}\mathsf{{h}}\left(S+Z/\sqrt{{{strength}}}\right)"


def _density_latex(printer: Any, density: sp.Expr, y_name: str, h_name: str) -> str:
    return rf"P_{{\mathrm{{out}}}}({y_name}|{h_name})"


def replicated_evidence(density: sp.Expr, outputs: sp.Set, coordinates: sp.Symbol) -> ReplicatedEvidence:
    """The starting point: (1/N) log E[Z^n] with the teacher as replica 0."""
    return ReplicatedEvidence(density, y, h, outputs, n, alpha, coordinates)


def nodes_of(expr: sp.Expr, kind: type) -> list[Any]:
    """The nodes of one kind in an expression, in a fixed order."""
    return sorted(expr.atoms(kind), key=sp.default_sort_key)


def covariance_of(fields: sp.Expr, matrices: Mapping[Any, Any]) -> Any:
    """The covariance of the fields, a number times the symbol of an overlap matrix, under the ansatz."""
    factor, symbol = fields.as_coeff_Mul()
    return matrices[symbol].entrywise(lambda entry: factor * entry)


def cancel_rational(expr: sp.Expr, variance: sp.Expr = sp.S.Zero) -> sp.Expr:
    """Put the rational terms of a sum over one factored denominator of positive leading sign; nothing else is
    touched.

    The reciprocals in ``variance``, that of a field, stay as they are: a common denominator would hide that
    the variance is a difference, which is small.
    """
    kept = {p: sp.Dummy() for p in variance.atoms(sp.Pow) if p.exp.is_negative}
    if kept:
        return cancel_rational(expr.xreplace(kept)).xreplace({u: p for p, u in kept.items()})
    rational, rest = [], []
    for term in sp.Add.make_args(sp.expand_mul(expr, deep=False)):
        (rational if term.is_rational_function() else rest).append(term)
    numerator, denominator = sp.fraction(sp.factor(sp.Add(*rational)))
    if denominator.could_extract_minus_sign():
        numerator, denominator = -numerator, -denominator
    return sp.Add(numerator / denominator, *rest)
