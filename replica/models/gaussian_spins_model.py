r"""Gaussian spins: real spins of the a-priori law N(0, 1), with random and ferromagnetic quadratic energies.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
spins              N real spins s_i, independent N(0, 1) a priori; Z is an average over this law, Phi = 0 at
                   beta = 0
weight             exp(beta [-H(s) + N J0 m^2/2 + h sum_i s_i]), beta = 1/T, m = (1/N) sum_i s_i
noise              Gaussian energies, E[H(s) H(s')] = N xi(q), q = s.s'/N, xi(q) = a q + c q^2: couplings
                   J_ij ~ N(0, 2c/N) and a random field of variance a; q^2/2 by default
order parameters   m, the overlap q of two replicas, the squared norm r = |s|^2/N
free entropy       Phi = lim (1/N) E log Z; f = -T Phi; energy e = -dPhi/dbeta; entropy Phi + beta e <= 0,
                   relative to the a-priori law
=================  ==========================================================================================

Z is finite where 1 - beta (J + J0/N) is positive definite, that is for T above the largest eigenvalue of the
couplings: 2 sqrt(2c), or J0 + 2c/J0 where J0 > sqrt(2c) (J. M. Kosterlitz, D. J. Thouless, R. C. Jones, Phys.
Rev. Lett. 36 (1976) 1217).  There the replica-symmetric solution is exact.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import sympy as sp

from replica import field_rules, gaussian_spin_rules
from replica.ansatz import ReplicaSymmetric
from replica.derivation import Derivation
from replica.expr.recursion import linear
from replica.free_entropy import FreeEntropy
from replica.gaussian_spin_action import GaussianSpinPartition, precision
from replica.gaussian_spin_rules import r, r_hat
from replica.models.gaussian_field import GaussianField
from replica.parameters import Parameter
from replica.saddle_point import SaddlePoint
from replica.symbols import beta, h, m, m_hat, n, q, q_hat
from solvers.errors import InputError

PHI = sp.Symbol("Phi")
J0 = sp.Symbol("J_0", nonnegative=True)
RESPONSE = sp.Symbol("chi", positive=True)
"""r - q, the variance of a spin."""
TEMPERATURE = Parameter(
    "T", "T", "temperature, above the largest eigenvalue of the couplings", Fraction(0), lower_open=True
)
COUPLING = Parameter("J0", "J_0", "strength of the ferromagnetic energy", Fraction(0), default=Fraction(0))
FIELD = Parameter("h", "h", "external field", default=Fraction(0))
_DECIDED = 1000
"""Digits in which signs are decided; where one vanishes chi is rational, and all is exact."""


@dataclass(frozen=True)
class GaussianSpins:
    """Real spins with quadratic energies; made by ``gaussian_spins``."""

    covariance: sp.Expr
    ansatz: ReplicaSymmetric = field(default_factory=ReplicaSymmetric)

    name: ClassVar[str] = "gaussian_spins"
    reference: ClassVar[str] = (
        "J. M. Kosterlitz, D. J. Thouless, R. C. Jones, Phys. Rev. Lett. 36 (1976) 1217"
    )
    solver: ClassVar[str] = "condensed"
    simulation: ClassVar[str] = "quadratic spins"
    states: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (("paramagnetic", (0.0, 1.0, 0.0)),)
    overlaps: ClassVar[tuple[sp.Symbol, ...]] = (m, r)
    names: ClassVar[tuple[str, ...]] = ("m", "r")
    default_start: ClassVar[str] = "paramagnetic"
    starts: ClassVar[tuple[str, ...]] = ("paramagnetic", "global")

    @property
    def control_parameters(self) -> tuple[Parameter, ...]:
        """T, J0 and h; the last two are 0 where they are not given."""
        return tuple(parameter for parameter, _ in self.parameter_symbols())

    def parameter_symbols(self) -> tuple[tuple[Parameter, sp.Symbol], ...]:
        """Each control parameter with its symbol."""
        return ((TEMPERATURE, sp.Symbol("T", positive=True)), (COUPLING, J0), (FIELD, h))

    @property
    def order_parameters(self) -> tuple[sp.Symbol, ...]:
        """Magnetisation, squared norm, overlap of two replicas."""
        return (m, r, q)

    @property
    def conjugates(self) -> tuple[sp.Symbol, ...]:
        """The conjugate of each."""
        return (m_hat, r_hat, q_hat)

    def with_ansatz(self, ansatz: ReplicaSymmetric) -> GaussianSpins:
        """Replica symmetric only; InputError otherwise."""
        if not isinstance(ansatz, ReplicaSymmetric):
            raise InputError(f"{self.name} admits ReplicaSymmetric(), which is exact, not {ansatz!r}")
        return replace(self, ansatz=ansatz)

    def derive(self) -> Derivation:
        """From E[Z^n] to the free entropy as a function of m, r and q, step by step."""
        return _derivation(self)

    def free_entropy(self) -> FreeEntropy:
        """Phi(m, r, q); conjugates are eliminated."""
        return FreeEntropy(
            self.derive().result,
            self.order_parameters,
            (),
            (beta, J0, h),
            "stationary over m, r and q, at the point that begins at infinite temperature",
            self.derive().steps[-1].printed,
        )

    def saddle_point(self) -> SaddlePoint:
        """Order parameters as moments of a Gaussian spin, their conjugates as derivatives of the energies."""
        return _saddle_point(self)

    def at(self, exact: Mapping[str, Fraction]) -> GaussianSpins:
        """The same: no parameter changes the equations where it vanishes."""
        del exact
        return self

    def observables(self) -> dict[str, sp.Expr]:
        """Free energy f, energy, entropy relative to the a-priori law; the replicon, positive where Z is
        finite, and the inverse of the uniform response, positive there too.
        """
        phi = self.derive().result
        energy = linear(-phi.diff(beta))
        found = {"f": -phi / beta, "energy": energy, "entropy": phi + beta * energy}
        return found | dict(zip(("replicon", "stiffness"), self.positive(), strict=True))

    def positive(self) -> tuple[sp.Expr, ...]:
        """What is positive where Z is finite, as functions of the order parameters.

        The replicon 1 - beta^2 xi''(q)/lambda^2, lambda the eigenvalue of 1 - Q_hat in its directions: it
        vanishes where T meets the edge of the spectrum of the couplings.  Then 1 - dF/dm, F the equation of m
        at given variances: it vanishes where T meets the eigenvalue of the uniform direction beside it.
        """
        saddle = self.saddle_point()
        values = {conjugate: saddle.update(conjugate) for conjugate in self.conjugates}
        eigenvalue, _ = precision(self.ansatz.matrix(n, r_hat, q_hat)).eigenvalues()[-1]
        replicon = 1 - beta**2 * self.covariance.diff(q, 2) / eigenvalue**2
        stiffness = 1 - saddle.update(m).subs(m_hat, values[m_hat]).diff(m)
        return replicon.subs(values), stiffness.subs(values)

    def variance(self, exact: Mapping[str, Fraction]) -> sp.Expr | None:
        """chi = r - q, in exact arithmetic; None where Z diverges.

        The equation of r minus that of q is one for chi, of degree two.  Its smallest root is the solution
        that begins at infinite temperature, and Z is finite as long as it exists and is stable.
        """
        equation, *conditions = _of_variance(self)[2:]
        at = {beta: 1 / sp.Rational(exact["T"]), J0: sp.Rational(exact["J0"])}
        square, linear_part, constant = (equation.subs(at).coeff(RESPONSE, k) for k in (2, 1, 0))
        discriminant = linear_part**2 - 4 * square * constant
        if discriminant < 0:
            return None
        # both roots are positive; in this form the smallest is no difference of large numbers
        chi = 2 * constant / (sp.sign(constant) * sp.sqrt(discriminant) - linear_part)
        stable = all(sp.N(e.subs(at).subs(RESPONSE, chi), _DECIDED) > 0 for e in conditions)
        return chi if stable else None

    def is_finite(self, exact: Mapping[str, Fraction]) -> bool:
        """Whether Z is."""
        return self.variance(exact) is not None

    def near(self, exact: Mapping[str, Fraction]) -> tuple[float, float, float]:
        """m, r and q where Z is finite, else InputError: given chi the equations of m and q are linear.

        A start for the search, which near the end of the domain would take ever more passes.
        """
        chi = self.variance(exact)
        if chi is None:
            raise InputError("the partition function diverges at these parameters")
        at = {beta: 1 / sp.Rational(exact["T"]), J0: sp.Rational(exact["J0"]), h: sp.Rational(exact["h"])}
        found: dict[sp.Symbol, sp.Expr] = {RESPONSE: chi}
        for unknown, update in zip((m, q), _of_variance(self)[:2], strict=True):
            here = update.subs(at).subs(found)
            found[unknown] = here.subs(unknown, 0) / (1 - here.diff(unknown))
        return float(found[m]), float(found[q] + chi), float(found[q])


def gaussian_spins(covariance: Callable[[sp.Expr], Any] | sp.Expr | str = "q^2/2") -> GaussianSpins:
    """Real spins of the a-priori law N(0, 1) with Gaussian energies and a ferromagnetic coupling.

    Parameters
    ----------
    covariance:
        xi(q) of the energies, as ``GaussianField`` takes it, of degree two at most; q^2/2, couplings of
        variance 1/N, by default.

    Raises
    ------
    InputError
        As ``GaussianField``; a power above 2, for which Z diverges at every temperature.

    >>> from replica import solve
    >>> solution = solve(gaussian_spins(), T="2.5")
    >>> f"{solution['r']:.12f}"
    '1.250000000000'
    """
    found = sp.expand(GaussianField(covariance).covariance)
    if sp.degree(found, q) > 2:
        raise InputError(
            f"Gaussian spins need a covariance of degree 2 at most: with {found} the partition function "
            "diverges at every temperature"
        )
    return GaussianSpins(found)


@lru_cache(maxsize=64)
def _derivation(model: GaussianSpins) -> Derivation:
    derivation = Derivation.start(
        "Gaussian spins: free entropy", PHI, GaussianSpinPartition(model.covariance, beta, J0, h, n)
    )
    for rule in (
        gaussian_spin_rules.order_parameters,
        gaussian_spin_rules.gaussian_integral,
        gaussian_spin_rules.insert_ansatz(model.ansatz),
        gaussian_spin_rules.n_to_zero,
        field_rules.eliminate_conjugates(model.ansatz, ((m, m_hat), (r, r_hat))),
    ):
        derivation = derivation.then(rule)
    return derivation


@lru_cache(maxsize=64)
def _of_variance(model: GaussianSpins) -> tuple[sp.Expr, ...]:
    """With r = q + chi: the equations of m and q, linear in them; then, free of both, what vanishes at chi, a
    polynomial, and what is positive there.
    """
    saddle = model.saddle_point()
    values = {conjugate: saddle.update(conjugate) for conjugate in model.conjugates}
    updates = {s: saddle.update(s).subs(values) for s in model.order_parameters}
    known = (updates[m], updates[q], RESPONSE - (updates[r] - updates[q]), *model.positive())
    to_m, to_q, equation, *positive = (sp.cancel(e.subs(r, q + RESPONSE)) for e in known)
    return (to_m, to_q, sp.numer(equation), *positive)


@lru_cache(maxsize=64)
def _saddle_point(model: GaussianSpins) -> SaddlePoint:
    phi = model.derive()["n -> 0"].after
    pairs = tuple(zip(model.order_parameters, model.conjugates, strict=True))
    return SaddlePoint.of(
        *(gaussian_spin_rules.overlap_equation(phi, *pair) for pair in pairs),
        *(field_rules.conjugate_equation(phi, *pair) for pair in pairs),
    )
