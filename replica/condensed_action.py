r"""Spins with condensed order parameters: the statement of E[Z^n], and its nodes on the way from there.

Ising spins weigh exp(beta [N U(m_1, ..., m_K) - H_noise(s) + h sum_i s_i]), where m_mu = (1/N) sum_i x^mu_i
s_i is the overlap with a pattern, U a polynomial energy per spin, and the noise what is left of the disorder:
Gaussian energies of any covariance, or the interactions of extensively many other patterns.  Sites are iid:
x = scale xi (1 + sqrt(blur) z), xi from a finite law and z ~ N(0, 1) for each site and pattern.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.action import MatrixFunction, Q
from replica.expr.average import DiscreteAverage
from replica.field_action import EntrySum
from replica.symbols import q
from solvers.errors import InputError


class SiteLaw(sp.Basic):
    """The law of one pattern on a site, x = scale xi (1 + sqrt(blur) z). Args: xi, its values, their
    probabilities, scale, blur.
    """

    @property
    def variable(self) -> sp.Symbol:
        """The discrete variable xi."""
        return self.args[0]

    @property
    def scale(self) -> sp.Expr:
        """What multiplies xi."""
        return self.args[3]

    @property
    def blur(self) -> sp.Expr:
        """Variance of x given xi, over (scale xi)^2."""
        return self.args[4]

    def average(self, body: sp.Expr) -> sp.Expr:
        """Over xi."""
        if len(self.args[1]) == 1:
            return body.subs(self.variable, self.args[1][0])
        return DiscreteAverage(body, *self.args[:3])

    def statement(self) -> str:
        """How a site is drawn."""
        variable, values, probabilities, scale, blur = self.args
        name = sp.latex(variable)
        blurred = "" if blur == 0 else rf"\left(1+\sqrt{{{sp.latex(blur)}}}z\right)"
        law = ",".join(
            rf"P({name}={sp.latex(v)})={sp.latex(p)}" for v, p in zip(values, probabilities, strict=True)
        )
        return rf"x={sp.latex(scale * variable)}{blurred},\;{law}"


def site_law(
    index: int, values: tuple[Any, ...], probabilities: tuple[Any, ...], scale: Any = 1, blur: Any = 0
) -> SiteLaw:
    """The law of pattern ``index`` = 1, 2, ...

    Raises
    ------
    InputError
        Probabilities that do not sum to 1, or not as many as values; text in place of numbers.
    """
    try:
        values, probabilities = (
            tuple(sp.nsimplify(sp.sympify(x, strict=True), rational=True) for x in some)
            for some in (values, probabilities)
        )
        scale, blur = sp.sympify(scale, strict=True), sp.sympify(blur, strict=True)
    except sp.SympifyError as error:
        raise InputError("the law of a pattern takes numbers and expressions, not text") from error
    if len(values) != len(probabilities) or sp.expand(sp.Add(*probabilities) - 1) != 0:
        raise InputError(f"probabilities of {values} must be as many and sum to 1, got {probabilities}")
    variable = sp.Symbol(f"xi_{index}", real=True)
    return SiteLaw(variable, sp.Tuple(*values), sp.Tuple(*probabilities), scale, blur)


class GaussianEnergies(sp.Basic):
    """Noise of covariance E[H(s) H(s')] = N xi(q), q = s.s'/N. Args: xi(q)."""

    def replicated(self, inverse: sp.Expr, size: sp.Expr) -> sp.Expr:
        """(1/N) log E exp(-inverse sum_a H(s_a)), exact, as a function of the overlaps."""
        del size
        return inverse**2 / 2 * EntrySum(self.args[0], q, Q)

    def curvature(self, inverse: sp.Expr, overlap: sp.Expr) -> sp.Expr:
        """Of this exponent in the directions of the replicon at that overlap."""
        return inverse**2 * self.args[0].diff(q, 2).subs(q, overlap)

    def statement(self) -> tuple[str, str]:
        """How it is written in the exponent, and what that means."""
        covariance = sp.latex(self.args[0])
        law = r"\mathbb{E}[H(s)H(s')]=N\xi\big(\tfrac{s\cdot s'}{N}\big)"
        return "-H(s)", rf"{law},\;\xi(q)={covariance}"


def vanishes(noise: sp.Basic) -> bool:
    """Whether there is no noise: then nothing couples the replicas."""
    return noise.args[0] == 0


class QuadraticPatterns(sp.Basic):
    """Noise of alpha N Rademacher patterns, -H = (1/2N) sum_mu [(xi^mu . s)^2 - N]. Args: alpha."""

    def replicated(self, inverse: sp.Expr, size: sp.Expr) -> sp.Expr:
        """(1/N) log E exp(-inverse sum_a H(s_a)) at N -> infinity, where xi.s/sqrt(N) is Gaussian."""
        load = self.args[0]
        return load * QuadraticMoment(inverse, Q) - size * load * inverse / 2

    def curvature(self, inverse: sp.Expr, overlap: sp.Expr) -> sp.Expr:
        """Of this exponent in the directions of the replicon at that overlap."""
        return self.args[0] * inverse**2 / (1 - inverse * (1 - overlap)) ** 2

    def statement(self) -> tuple[str, str]:
        """How it is written in the exponent, and what that means."""
        load = sp.latex(self.args[0])
        return (
            rf"+\frac{{1}}{{2N}}\sum_{{\nu\leq {load} N}}\left[(\xi^\nu\cdot s)^2-N\right]",
            r"\xi^\nu_i=\pm1",
        )


class QuadraticMoment(MatrixFunction):
    """log E_{h ~ N(0, Q)} exp(b sum_a h_a^2/2) = -(1/2) log det(1 - b Q). Args: b, Q."""

    @property
    def matrices(self) -> tuple[Any, ...]:
        """The symbol of the matrix."""
        return self.args[1:]

    def total(self, *matrices: Any) -> sp.Expr:
        """From the spectrum of 1 - b Q."""
        (matrix,) = matrices
        shifted = matrix.from_levels(
            (
                *(-self.args[0] * level for level in matrix.levels()[:-1]),
                1 - self.args[0] * matrix.levels()[-1],
            )
        )
        return sp.expand_mul(-shifted.log_det() / 2)

    def explicit(self, *matrices: sp.Matrix) -> sp.Expr:
        """From the entries."""
        (matrix,) = matrices
        return -sp.log((sp.eye(matrix.rows) - self.args[0] * matrix).det()) / 2

    def _latex(self, printer: Any) -> str:
        strength, matrix = (printer._print(a) for a in self.args)
        law = rf"\mathbb{{E}}_{{h\sim\mathcal{{N}}(0,{matrix})}}"
        return rf"\log{law}\exp\Big(\frac{{{strength}}}{{2}}\sum_a h_a^2\Big)"


class ReplicaSum(MatrixFunction):
    """sum_a f(m_a), one number of each replica. Args: f, the number of replicas."""

    @property
    def matrices(self) -> tuple[Any, ...]:
        """None."""
        return ()

    def total(self, *matrices: Any) -> sp.Expr:
        """All replicas alike."""
        return self.args[1] * self.args[0]

    explicit = total

    def _latex(self, printer: Any) -> str:
        return rf"\sum_a\left[{printer._print(self.args[0])}\right]_a"


class CondensedPartition(sp.Expr):
    """(1/N) log E[Z^n] as it is defined. Args: U, (m_1, ..., m_K), laws of patterns, noise, beta, h, variance
    of the field, n.
    """

    def _latex(self, printer: Any) -> str:
        energy, overlaps, laws, noise, inverse, field, variance, size = self.args
        exponent, meaning = noise.statement() if not vanishes(noise) else ("", "")
        linear = "" if field == 0 and variance == 0 else r"+\sum_i h_is_i"
        law = rf"h_i\sim\mathcal{{N}}({printer._print(field)},{printer._print(variance)})"
        external = law if linear else ""
        site = laws[0].statement()
        stated = ",\\quad ".join(text for text in (site, meaning, external) if text)
        names = ",".join(printer._print(m) for m in overlaps)
        return (
            rf"\frac{{1}}{{N}}\log\mathbb{{E}}\Big[\sum_{{s\in\{{-1,1\}}^N}}e^{{{printer._print(inverse)}\left["
            rf"NU({names}){exponent}{linear}\right]}}\Big]^{{{printer._print(size)}}},\quad "
            rf"U={printer._print(energy)},\quad m_\mu=\frac{{1}}{{N}}\sum_i x^\mu_i s_i,\quad {stated}"
        )
