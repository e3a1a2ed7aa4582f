r"""A low-rank matrix in Gaussian noise: the spiked Wigner and Wishart models; Bayes-optimal.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
one prior          Y = sqrt(lambda/N) x x^T + W, symmetric, W_ij ~ N(0, 1) for i < j; x of N coordinates
two priors         Y = sqrt(lambda/N) u v^T + W, W_ij ~ N(0, 1); u of N, v of alpha N coordinates
overlap            m = lim x.x_hat/N; m_u = lim u.u_hat/N, m_v = lim v.v_hat/(alpha N)
matrix mmse        (E x^2)^2 - m^2 per entry; E u^2 E v^2 - m_u m_v
mutual inform.     I(x; Y)/N, or I(u, v; Y)/N, in nats
free entropy       Phi = lim (1/N) E log of the likelihood ratio to noise alone (lambda = 0: Phi = 0)
=================  ==========================================================================================

T. Lesieur, F. Krzakala and L. Zdeborova, J. Stat. Mech. (2017) 073403; M. Lelarge and L. Miolane, Probab.
Theory Relat. Fields 173 (2019) 859 (proof).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import sympy as sp

from replica import low_rank_rules, prior_rules, replica_rules
from replica.action import Q_HAT, Q
from replica.derivation import Derivation, Kind, Rule
from replica.free_entropy import FreeEntropy
from replica.ingredients.priors import Prior, Rademacher
from replica.low_rank_rules import Q_U, Q_U_HAT, Q_V, Q_V_HAT, RectangularEvidence, SpikedEvidence
from replica.observables import PHI
from replica.parameters import Parameter, check_kind
from replica.replica_rules import Overlap
from replica.saddle_point import Cycle, SaddlePoint
from replica.symbols import PARAMETERS, alpha, lam, n, q, q_hat

Q_OF_U, Q_OF_V = sp.Symbol("q_u", nonnegative=True), sp.Symbol("q_v", nonnegative=True)
CONJUGATE_OF_U = sp.Symbol(r"\hat{q}_u", positive=True)
CONJUGATE_OF_V = sp.Symbol(r"\hat{q}_v", positive=True)
STRENGTH = Parameter("lam", "lambda", "signal-to-noise ratio", Fraction(0))
ASPECT = Parameter("alpha", "alpha", "coordinates of v over coordinates of u", Fraction(0), lower_open=True)


class _Side(NamedTuple):
    """One vector of the spike: its prior, its overlap, its conjugate and its share of coordinates."""

    prior: Any
    overlap: Overlap
    weight: sp.Expr
    name: str = ""


@dataclass(frozen=True)
class SpikedMatrix:
    """A rank-one spike with iid coordinates in Gaussian noise; with a second prior, rectangular.

    >>> SpikedMatrix().saddle_point().update(q_hat)
    lambda*q

    Raises
    ------
    InputError
        What is no prior.
    """

    prior: Any = field(default_factory=Rademacher)
    second_prior: Any = None

    name: ClassVar[str] = "spiked"
    reference: ClassVar[str] = "Lesieur, Krzakala and Zdeborova, J. Stat. Mech. (2017) 073403"
    default_start: ClassVar[str] = "uninformed"
    solver: ClassVar[str] = "pair"
    simulation: ClassVar[str] = "low-rank amp"

    def __post_init__(self) -> None:
        """Refuse what is no prior."""
        check_kind(self.prior, Prior, "prior", "Rademacher()")
        if self.second_prior is not None:
            check_kind(self.second_prior, Prior, "second prior", "Gaussian()")

    @property
    def rectangular(self) -> bool:
        """Whether the spike is u v^T."""
        return self.second_prior is not None

    @property
    def control_parameters(self) -> tuple[Parameter, ...]:
        """lam; alpha where the matrix is rectangular; those of the priors (one value for a shared name)."""
        own = (ASPECT, STRENGTH) if self.rectangular else (STRENGTH,)
        priors = (self.prior, self.second_prior) if self.rectangular else (self.prior,)
        return tuple(dict.fromkeys((*own, *(p for prior in priors for p in prior.parameters))))

    def parameter_symbols(self) -> tuple[tuple[Parameter, sp.Symbol], ...]:
        """Each control parameter with its symbol."""
        return tuple((p, PARAMETERS[p.name]) for p in self.control_parameters)

    def at(self, values: Mapping[str, Fraction]) -> SpikedMatrix:
        """The model itself."""
        return self

    def canonical(self, values: dict[str, Any]) -> dict[str, Any]:
        """The point itself."""
        return values

    def sides(self) -> tuple[_Side, ...]:
        """The vectors of the spike."""
        moments = [p.second_moment for p in (self.prior, self.second_prior) if p is not None]
        if not self.rectangular:
            return (_Side(self.prior, Overlap(Q, Q_HAT, moments[0], q, q_hat), sp.S.One),)
        u = Overlap(Q_U, Q_U_HAT, moments[0], Q_OF_U, CONJUGATE_OF_U)
        v = Overlap(Q_V, Q_V_HAT, moments[1], Q_OF_V, CONJUGATE_OF_V)
        return _Side(self.prior, u, sp.S.One, "u"), _Side(self.second_prior, v, alpha, "v")

    def derive(self) -> Derivation:
        """From E[Z^n] to the free entropy, step by step."""
        return _derivation(self)

    def free_entropy(self) -> FreeEntropy:
        """Phi of the overlaps and their conjugates, with its constants."""
        derivation = self.derive()
        return FreeEntropy(
            derivation.result,
            tuple(side.overlap.q for side in self.sides()),
            tuple(side.overlap.q_hat for side in self.sides()),
            tuple(s for _, s in self.parameter_symbols()),
            "extremum: sup over q, inf over q_hat",
            derivation.printed,
        )

    def saddle_point(self) -> SaddlePoint:
        """q = E f_in^2 for each vector and q_hat linear in the overlap of the other."""
        return _saddle_point(self)

    def cycle(self) -> Cycle:
        """The equations as one pair, that of the first vector; those of the second are inserted."""
        return _cycle(self)

    def observables(self, values: Mapping[str, Fraction]) -> dict[str, sp.Expr]:
        """Overlaps, the error of the matrix per entry and the mutual information of signal and matrix per N,
        as expressions in q, q_hat, Phi and the control parameters.
        """
        return _observables(self)

    def recovers(self, values: Mapping[str, Fraction]) -> bool:
        """Never exactly, at a finite signal-to-noise ratio."""
        return False


@lru_cache(maxsize=64)
def _derivation(model: SpikedMatrix) -> Derivation:
    start = RectangularEvidence(lam, n) if model.rectangular else SpikedEvidence(lam, n)
    derivation = Derivation.start("Spiked matrix: free entropy", PHI, start)
    rules = [
        low_rank_rules.average_noise,
        replica_rules.planted_overlaps(*(side.overlap for side in model.sides())),
        replica_rules.decouple_signal,
        replica_rules.n_to_zero,
        *(prior_rules.insert_prior(side.prior, side.overlap.q_hat, side.name) for side in model.sides()),
    ]
    for rule in rules:
        derivation = derivation.then(rule)
    return derivation


@lru_cache(maxsize=64)
def _saddle_point(model: SpikedMatrix) -> SaddlePoint:
    phi = model.free_entropy().expression
    derivations = []
    for side in model.sides():
        o = side.overlap
        denoiser = prior_rules.insert_denoiser(side.prior, o.q_hat, side.name)
        overlap = prior_rules.overlap_equation(o.q).then(denoiser)
        start = (phi + side.weight * o.q * o.q_hat / 2) * 2 / side.weight
        coupling = sp.Add(*(t for t in sp.Add.make_args(sp.expand(start)) if t.has_free(o.q)))
        conjugate = Derivation.start("Conjugate of the overlap", o.q_hat, sp.Derivative(coupling, o.q))
        derivations += [overlap, conjugate.then(_DIFFERENTIATE)]
    return SaddlePoint.of(*derivations)


@lru_cache(maxsize=64)
def _cycle(model: SpikedMatrix) -> Cycle:
    saddle, phi = model.saddle_point(), sp.expand(model.free_entropy().expression)
    for side in model.sides():
        phi = prior_rules.in_digits(phi, side.prior, side.overlap.q, side.overlap.q_hat, side.weight)
    first = model.sides()[0]
    conjugate = saddle.update(first.overlap.q_hat)
    if model.rectangular:
        inserted = _second_side(model)
        conjugate, phi = conjugate.subs(inserted), phi.subs(inserted)
    moment = sp.sympify(first.prior.second_moment)
    overlap = prior_rules.overlap_equation().then(prior_rules.insert_denoiser(first.prior))
    error = overlap.then(prior_rules.mean_square_error(first.prior)).result
    spread = moment - sp.sympify(first.prior.mean) ** 2
    one_name = _one_name(model)
    return Cycle(error, conjugate.subs(one_name), phi.subs(one_name), moment, spread)


def _one_name(model: SpikedMatrix) -> dict[sp.Symbol, sp.Symbol]:
    """The overlap of the first vector and its conjugate are q and q_hat."""
    first = model.sides()[0].overlap
    return {first.q: q, first.q_hat: q_hat}


def _second_side(model: SpikedMatrix) -> list[tuple[sp.Expr, sp.Expr]]:
    """The conjugate and the overlap of the second vector by those of the first."""
    saddle, second = model.saddle_point(), model.sides()[1].overlap
    strength = saddle.update(second.q_hat)
    return [(second.q_hat, strength), (second.q, saddle.update(second.q).subs(second.q_hat, strength))]


@lru_cache(maxsize=64)
def _observables(model: SpikedMatrix) -> dict[str, sp.Expr]:
    one_name, sides = _one_name(model), model.sides()
    moments = [sp.sympify(side.prior.second_moment) for side in sides]
    if model.rectangular:
        (_, strength), (_, other) = ((s, e.subs(one_name)) for s, e in _second_side(model))
        found = {"m_u": q, "m_v": other, "q_hat_v": strength}
        found["matrix_mmse"] = moments[0] * moments[1] - q * other
    else:
        found = {"m": q, "matrix_mmse": moments[0] ** 2 - q**2}
    # E log(P(Y|x)/P(Y|0)) per N: the coupling of the overlaps in Phi, at the overlap of the truth with itself
    phi = sp.expand(model.free_entropy().expression)
    conjugates = [side.overlap.q_hat for side in sides]
    coupling = sp.Add(*(t for t in sp.Add.make_args(phi) if t.has(lam) and not t.has_free(*conjugates)))
    full = coupling.subs({side.overlap.q: moment for side, moment in zip(sides, moments, strict=True)})
    found["mutual_information"] = full - PHI
    return found


_DIFFERENTIATE = Rule(
    "stationarity in the overlap",
    Kind.IDENTITY,
    lambda expr: expr.doit(),
    "dPhi/dq = 0, solved for q_hat, which enters linearly",
)
