r"""Rotationally invariant priors of matrix signals: how they are drawn, and what is known of them through
Gaussian noise.

===================  =======================================================  ====================
prior                law                                                      control parameters
===================  =======================================================  ====================
``GaussianFactors``  S = U V^T/sqrt(r), U (d x r) and V (L x r) iid N(0, 1),  beta = L/d, rho = r/d
                     E S_ij^2 = 1
===================  =======================================================  ====================
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import sympy as sp

from replica import replica_rules, spectral_rules
from replica.action import DL, geometry
from replica.derivation import Derivation, Rule
from replica.expr.spectral import HilbertTransform, LogPotential, SpectralDensity, SpectralIntegral
from replica.expr.stable import xlogx
from replica.ingredients import spectra
from replica.parameters import Parameter
from replica.symbols import beta, q, q_hat, rho

BETA = Parameter("beta", "beta", "tokens over dimension, L/d", lower=Fraction(0), lower_open=True)
RHO = Parameter(
    "rho",
    "rho",
    "rank over dimension, r/d",
    lower=Fraction(0),
    lower_open=True,
    hint="the limit rho -> 0 has its own equations: replica.models.bsr_low_rank",
)

X = sp.Symbol("x", positive=True)


class GaussianLimit(NamedTuple):
    """Where the signal plus noise is nearly a Gaussian matrix.

    At each point the entropy is close to that of one with ``variance`` + 1/q_hat in each free coordinate;
    with the weights, which add up to 1, the leading differences cancel, up to the tolerance.
    """

    variance: sp.Expr
    points: tuple[tuple[str, tuple[tuple[sp.Expr, dict[sp.Symbol, sp.Expr]], ...]], ...]
    tolerance: float


class RotationallyInvariant:
    """What the rules make of a matrix prior that states its laws, its log-energy and its score."""

    coordinates: ClassVar[sp.Symbol]
    second_moment: ClassVar[sp.Expr]
    bound: ClassVar[sp.Symbol]

    def observed_law(self, q_hat: sp.Expr) -> spectra.Law:
        """The law of S + Z/sqrt(q_hat)."""
        raise NotImplementedError

    def squared_score(self, hilbert: sp.Expr) -> sp.Expr:
        """|d log p(Y)/dY|^2 per free coordinate, expanded, as a function of ``bound``."""
        raise NotImplementedError

    def signal_rules(self) -> tuple[Rule, ...]:
        """From (1/dL) E_Z[X log X] to the free entropy of the signal."""
        return (
            replica_rules.observed_entropy(self.second_moment),
            spectral_rules.rotational_entropy(self),
            spectral_rules.gaussian_energy(self),
        )

    def lost_information(self) -> sp.Expr | None:
        """As of a separable prior: none that cancels less is known."""
        return None

    def overlap(self, signal: sp.Expr) -> tuple[Derivation, sp.Expr]:
        """q = (2/share) d ``signal``/dq_hat in textbook form, and the error v = E x^2 - q; the share is that
        of the free coordinates.
        """
        start = 2 / geometry(self.coordinates).share * sp.Derivative(signal, q_hat)
        derivation = Derivation.start("Overlap", q, start)
        derivation = derivation.then(spectral_rules.de_bruijn(self)).then(spectral_rules.hilbert_identities())
        overlap = sp.Add.make_args(derivation.result)
        return derivation, sp.Add(self.second_moment, *(-term for term in overlap))

    def fisher_information(self, law: spectra.Law, label: str) -> sp.Expr:
        """J = E|d log p(Y)/dY|^2 per entry: the integral of rho(x) score^2, times the share of the free."""
        g = sp.Symbol(f"g_{label}")
        body = SpectralDensity(g) * self.squared_score(HilbertTransform(g))
        share = geometry(self.coordinates).share
        return SpectralIntegral(sp.expand_mul(share * body), self.bound, g, law)


@dataclass(frozen=True)
class GaussianFactors(RotationallyInvariant):
    """S = U V^T/sqrt(r), a bi-rotationally invariant d x L matrix of rank r, extensive in d and L.

    The laws are those of S S^T/L and Y Y^T/L for d <= L; the case d > L follows by transposition
    (``canonical``).
    """

    name: ClassVar[str] = "gaussian factors"
    parameters: ClassVar[tuple[Parameter, ...]] = (BETA, RHO)
    second_moment: ClassVar[sp.Expr] = sp.S.One
    mean: ClassVar[sp.Expr] = sp.S.Zero
    coordinates: ClassVar[sp.Symbol] = DL
    bound: ClassVar[sp.Symbol] = X
    noise_name: ClassVar[str] = "the Marchenko-Pastur law"
    noise_potential: ClassVar[str] = "x/2"

    @staticmethod
    def gaussian_limit() -> GaussianLimit:
        """S of growing rank becomes Gaussian.

        At rank rho d the law differs from that of the iid Gaussian matrix by 1/rho, the entropy, stationary
        there, by 1/rho^2; that term is extrapolated away.
        """
        weights = ((sp.Rational(4, 3), 1000), (sp.Rational(-1, 3), 500))
        points = []
        for b, c in (("1", "4/5"), ("13/10", "1/2"), ("3", "6/5")):
            at = {beta: sp.Rational(b), q_hat: sp.Rational(c)}
            ranks = tuple((w, at | {rho: sp.Integer(rank)}) for w, rank in weights)
            points.append((f"beta = {b}, q_hat = {c}", ranks))
        return GaussianLimit(sp.S.One, tuple(points), 1e-9)

    def dimension(self, values: dict[str, Fraction]) -> Fraction:
        """Degrees of freedom of a rank-r matrix per entry, r(d + L - r)/(dL) = rho (1 + beta - rho)/beta
        for r < min(d, L), else 1: the limit of q_hat MMSE(q_hat) at q_hat -> infinity (arXiv 2410.18858,
        section on
        the noiseless case).
        """
        b, r = values["beta"], values["rho"]
        return r * (1 + b - r) / b if r < min(1, b) else Fraction(1)

    def law(self) -> spectra.Law:
        """Law of the eigenvalues of S S^T/L."""
        return spectra.gaussian_factors(beta, rho)

    def observed_law(self, q_hat: sp.Expr) -> spectra.Law:
        """Law of the eigenvalues of Y Y^T/L, Y = S + Z/sqrt(q_hat)."""
        return self.law().plus_gaussian(1 / q_hat, 1 / beta)

    @staticmethod
    def noise_law() -> spectra.Law:
        """Law of the eigenvalues of Z Z^T/L: Marchenko-Pastur of aspect d/L."""
        return spectra.gaussian_matrix(1 / beta)

    @staticmethod
    def log_energy(law: spectra.Law, label: str) -> sp.Expr:
        r"""E[rho] = (1/(2 beta)) \int\int rho rho log|x - y| + ((beta - 1)/(2 beta)) \int rho log x.

        Minus the log-density of a bi-invariant d x L matrix with that law, per entry, up to a constant of the
        shape: the exponent of the Jacobian prod_{i<j} |x_i - x_j| prod_i x_i^{(L-d)/2} of the singular value
        decomposition (M. L. Mehta, Random Matrices, ch. 3 and 15; A. Guionnet and O. Zeitouni, J. Funct.
        Anal. 188 (2002) 461). ``label`` is the index that the density carries in print.
        """
        g = sp.Symbol(f"g_{label}")
        potential = law.log_potential.subs(
            dict(zip(law.bound_symbols, (X, g), strict=True)), simultaneous=True
        )
        body = LogPotential(potential, g) / (2 * beta) + (beta - 1) / (2 * beta) * sp.log(X)
        return SpectralIntegral(SpectralDensity(g) * body, X, g, law)

    @classmethod
    def noise_log_energy(cls) -> sp.Expr:
        """E of the Marchenko-Pastur law, in closed form.

        On the support the total potential (2 times the derivative of E) is that of a Gaussian matrix, x/2
        plus a constant: the real part of the double-valued root of its quadratic says so.  The constant is
        read at the upper edge, where g is real, and the integral of rho log x is U(0).  Then E = ((1/2) E x +
        constant)/2 + ((beta - 1)/(4 beta)) U(0), with E x = 1.
        """
        law = cls.noise_law()
        z, g = law.bound_symbols
        a, b, _ = sp.Poly(law.polynomial, g).all_coeffs()
        force = sp.cancel(-b / (2 * a) / beta + (beta - 1) / (2 * beta * z))
        if force != sp.Rational(1, 2):
            raise ArithmeticError(
                f"the potential of the Marchenko-Pastur law is not linear: its slope is {force}"
            )
        root_beta = sp.Symbol("s", positive=True)
        edge = (1 + 1 / root_beta) ** 2
        at_edge = {z: edge, g: sp.cancel((-b / (2 * a)).subs({z: edge, beta: root_beta**2}))}
        upper = law.log_potential.subs(beta, root_beta**2).subs(at_edge, simultaneous=True)
        constant = upper / root_beta**2 + (1 - root_beta**-2) * sp.log(edge) / 2 - edge / 2
        (g_zero,) = sp.solve(law.polynomial.subs(z, 0), g)
        at_zero = _log_of_modulus(law.log_potential.subs({z: 0, g: g_zero}, simultaneous=True))
        weight = ((beta - 1) / (4 * beta) * at_zero).subs(beta, root_beta**2)
        return _collect_logs((sp.Rational(1, 2) + constant) / 2 + weight, root_beta)

    @staticmethod
    def score(singular_value: sp.Expr, hilbert: sp.Expr) -> sp.Expr:
        """-d log p(Y)/dY in the singular basis, for the singular value s of Y/sqrt(L): (2/beta) s h(s^2) + (1
        - 1/beta)/s.

        The gradient of the log-energy; Tweedie's formula turns it into the denoiser s - score/q_hat
        (E. Troiani et al., arXiv 2203.07752; arXiv 2410.18858).
        """
        return 2 / beta * singular_value * hilbert + (1 - 1 / beta) / singular_value

    def squared_score(self, hilbert: sp.Expr) -> sp.Expr:
        """score(sqrt x)^2, expanded."""
        return sp.expand(self.score(sp.sqrt(X), hilbert) ** 2)

    @staticmethod
    def canonical(values: dict[str, Any]) -> dict[str, Any]:
        """The same model with d <= L: (beta, rho) -> (1/beta, rho/beta) when beta < 1, an exact symmetry."""
        if values["beta"] >= 1:
            return values
        return {**values, "beta": 1 / values["beta"], "rho": values["rho"] / values["beta"]}


def _log_of_modulus(expr: sp.Expr) -> sp.Expr:
    """Replace log(u) by log|u| = log(u^2)/2, the real part for real u."""
    return expr.replace(sp.log, lambda u: sp.log(sp.factor(u**2)) / 2)


def _collect_logs(expr: sp.Expr, root: sp.Symbol) -> sp.Expr:
    """A combination of logarithms with rational coefficients in root = sqrt(beta): collected, and written in
    beta.

    log(beta - 1) comes with a factor (beta - 1): it is written as x log x, which is 0 at 0.
    """
    logs = {a: sp.expand_log(sp.log(sp.factor(a.args[0])), force=True) for a in expr.atoms(sp.log)}
    rational = sp.cancel(expr.subs(dict.fromkeys(logs, 0)))
    expanded = sp.expand(expr.subs(logs))
    at_zero, at_minus, at_plus = (sp.log(u) for u in (root, root - 1, root + 1))
    of_zero, of_minus, of_plus = (sp.cancel(expanded.coeff(a)) for a in (at_zero, at_minus, at_plus))
    if sp.cancel(of_plus - of_minus) != 0 or expanded.atoms(sp.log) - {at_zero, at_minus, at_plus}:
        raise ArithmeticError("the logarithms are not those of beta and beta - 1")

    def in_beta(coefficient: sp.Expr) -> sp.Expr:
        return sp.cancel(coefficient.subs(root, sp.sqrt(beta)))

    entropy = sp.factor(in_beta(of_minus) / (beta - 1)) * xlogx(beta - 1)
    return in_beta(of_zero / 2) * sp.log(beta) + entropy + in_beta(rational)
