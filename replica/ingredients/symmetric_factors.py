r"""The rotationally invariant prior of symmetric matrix signals: a Wishart matrix of extensive width.

====================  ==================================================  ==================
prior                 law                                                 control parameters
====================  ==================================================  ==================
``SymmetricFactors``  S = W W^T/(kappa d), W (d x kappa d) iid N(0, 1),   kappa = width/d
                      E Tr(S)/d = 1, E Tr(S^2)/d = 1 + 1/kappa
====================  ==================================================  ==================

A. Maillard, E. Troiani, S. Martin, F. Krzakala and L. Zdeborova, arXiv 2408.03733; the entropy of such a
matrix in noise: A. Maillard, F. Krzakala, M. Mezard and L. Zdeborova, arXiv 2110.08775.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import sympy as sp

from replica.action import D2
from replica.expr.spectral import LogPotential, SpectralDensity, SpectralIntegral
from replica.ingredients import spectra
from replica.ingredients.factors import GaussianLimit, RotationallyInvariant
from replica.parameters import Parameter
from replica.symbols import kappa, q_hat

KAPPA = Parameter("kappa", "kappa", "width over dimension", lower=Fraction(0), lower_open=True)

X = sp.Symbol("x", real=True)


@dataclass(frozen=True)
class SymmetricFactors(RotationallyInvariant):
    """S = W W^T/(kappa d), a rotationally invariant symmetric d x d matrix; the laws are those of its
    eigenvalues.
    """

    name: ClassVar[str] = "symmetric gaussian factors"
    parameters: ClassVar[tuple[Parameter, ...]] = (KAPPA,)
    second_moment: ClassVar[sp.Expr] = 1 + 1 / kappa
    mean: ClassVar[sp.Expr] = sp.S.One
    coordinates: ClassVar[sp.Symbol] = D2
    bound: ClassVar[sp.Symbol] = X
    noise_name: ClassVar[str] = "the semicircle law"
    noise_potential: ClassVar[str] = "x^2/4"

    @staticmethod
    def gaussian_limit() -> GaussianLimit:
        """S of growing width is the identity plus a Gaussian matrix of variance 1/kappa.

        Noise of comparable variance leaves a third cumulant of order kappa^(-1/2) in units of the standard
        deviation, and the entropy, stationary at the Gaussian, differs by 1/kappa and higher powers: the
        first two are extrapolated away.
        """
        weights = ((sp.Rational(8, 3), 4000), (sp.Integer(-2), 2000), (sp.Rational(1, 3), 1000))
        points = []
        for ratio in (sp.Rational(1, 2), sp.S.One, sp.Integer(3)):
            at = tuple((w, {kappa: sp.Integer(width), q_hat: ratio * width}) for w, width in weights)
            points.append((f"q_hat = {ratio} kappa", at))
        return GaussianLimit(1 / kappa, tuple(points), 1e-8)

    def dimension(self, values: dict[str, Fraction]) -> Fraction:
        """Degrees of freedom of a symmetric matrix of rank r = kappa d per entry, (r d - r^2/2)/d^2 = kappa -
        kappa^2/2 for kappa < 1, else 1/2: the limit of (q_hat/2) MMSE(q_hat) at q_hat -> infinity (arXiv
        2408.03733, perfect recovery).
        """
        k = values["kappa"]
        return k - k**2 / 2 if k < 1 else Fraction(1, 2)

    def law(self) -> spectra.Law:
        """Law of the eigenvalues of S: Marchenko-Pastur of aspect d/width."""
        return spectra.gaussian_matrix(1 / kappa)

    def observed_law(self, q_hat: sp.Expr) -> spectra.Law:
        """Law of the eigenvalues of Y = S + Z/sqrt(q_hat)."""
        return self.law().plus_wigner(1 / q_hat)

    @staticmethod
    def noise_law() -> spectra.Law:
        """Law of the eigenvalues of Z: Wigner's semicircle on [-2, 2]."""
        return spectra.point_mass(0).plus_wigner(1)

    @staticmethod
    def log_energy(law: spectra.Law, label: str) -> sp.Expr:
        r"""E[rho] = (1/2) \int\int rho rho log|x - y|.

        Minus the log-density of a rotationally invariant symmetric matrix with that law, per d^2, up to a
        constant: the exponent of the Jacobian prod_{i<j} |x_i - x_j| of the eigenvalue decomposition
        (M. L. Mehta, Random Matrices, ch. 3; A. Guionnet and O. Zeitouni, J. Funct. Anal. 188 (2002) 461).
        ``label`` is the index that the density carries in print.
        """
        g = sp.Symbol(f"g_{label}")
        at_node = dict(zip(law.bound_symbols, (X, g), strict=True))
        potential = law.log_potential.subs(at_node, simultaneous=True)
        return SpectralIntegral(SpectralDensity(g) * LogPotential(potential, g) / 2, X, g, law)

    @classmethod
    def noise_log_energy(cls) -> sp.Expr:
        """E of the semicircle law, in closed form.

        On the support its potential is that of a Gaussian matrix, x^2/4 plus a constant: the real part of the
        double-valued root of its quadratic, x/2, says so.  The constant is read at the upper edge, where g is
        real.  Then E = (1/2) (E x^2/4 + constant), with E x^2 = 1.
        """
        law = cls.noise_law()
        z, g = law.bound_symbols
        a, b, _ = sp.Poly(law.polynomial, g).all_coeffs()
        force = sp.cancel(-b / (2 * a))
        if force != z / 2:
            raise ArithmeticError(
                f"the potential of the semicircle law is not quadratic: its slope is {force}"
            )
        edge = max(sp.roots(sp.discriminant(law.polynomial, g), z))
        upper = law.log_potential.subs({z: edge, g: force.subs(z, edge)}, simultaneous=True)
        constant = upper - edge**2 / 4
        return (sp.Rational(1, 4) + constant) / 2

    @staticmethod
    def score(eigenvalue: sp.Expr, hilbert: sp.Expr) -> sp.Expr:
        """-d log p(Y)/dY in the eigenbasis, for an eigenvalue x of Y and noise of semicircle variance
        1/q_hat: 2 h(x).

        The gradient of the log-energy; Tweedie's formula turns it into the denoiser x - score/q_hat (arXiv
        2110.08775; J. Bun et al., IEEE Trans. Inf. Theory 62 (2016) 7475).
        """
        del eigenvalue  # the Jacobian has no other factor
        return 2 * hilbert

    def squared_score(self, hilbert: sp.Expr) -> sp.Expr:
        """score(x)^2."""
        return self.score(X, hilbert) ** 2

    @staticmethod
    def canonical(values: dict[str, Any]) -> dict[str, Any]:
        """The same values: there is one orientation."""
        return values
