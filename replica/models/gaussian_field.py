r"""Spins with Gaussian energies of any covariance: Sherrington-Kirkpatrick, p-spin and mixed models.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
spins              N Ising spins s_i = +-1, or spherical ones with |s|^2 = N
energies           H(s) Gaussian of mean 0 with E[H(s) H(s')] = N xi(q), q = s.s'/N; xi(q) = q^2/2 is SK with
                   couplings J_ij ~ N(0, 1/N) for i < j; xi(q) = q^p/2 the p-spin, Var J = p!/(2 N^(p-1))
field              + h sum_i s_i; for spherical spins h sum_i g_i s_i with g_i ~ N(0, 1)
temperature        weight exp(-H/T), beta = 1/T
free entropy       Phi = lim (1/N) E log Z: Z counts Ising configurations (Phi = log 2 at beta = 0), and is an
                   average over the sphere for spherical spins (Phi = 0 there)
free energy        f = -T Phi; energy e = -dPhi/dbeta; entropy s = Phi + beta e
=================  ==========================================================================================

D. Sherrington, S. Kirkpatrick, Phys. Rev. Lett. 35 (1975) 1792; D. J. Gross, M. Mezard, Nucl. Phys. B 240
(1984) 431; A. Crisanti, H.-J. Sommers, Z. Phys. B 87 (1992) 341; M. Talagrand, Ann. Math. 163 (2006) 221 (the
free entropy is the infimum over ansaetze of any number of steps).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import sympy as sp

from replica import (
    complexity_rules,
    field_rules,
    full_breaking,
    ground_entropy_rules,
    ground_rules,
    spherical_ground_rules,
)
from replica.ansatz import BLOCK_SIZE, FullRSB, KStepRSB, ReplicaSymmetric
from replica.derivation import Derivation
from replica.expr.polynomials import polynomial_coefficients
from replica.expr.recursion import by_name, linear
from replica.field_action import ISING, SPHERICAL, ReplicatedSpins
from replica.free_entropy import FreeEntropy
from replica.parameters import Parameter, parse_number
from replica.saddle_point import SaddlePoint
from replica.stability import replicons
from replica.symbols import V, beta, h, n, q, q_hat
from solvers.errors import InputError

PHI = sp.Symbol("Phi")
TEMPERATURE = Parameter("T", "T", "temperature; 0 for the ground state", Fraction(0))
FIELD = Parameter("h", "h", "external field", default=Fraction(0))
SPINS = {"ising": ISING, "spherical": SPHERICAL}


@dataclass(frozen=True, init=False)
class GaussianField:
    """Spins whose energies are a Gaussian field with covariance N xi(q).

    Parameters
    ----------
    covariance:
        xi, a polynomial or a function with a power series of coefficients >= 0, finite at q = 1, such as
        exp(q) - 1 or q/(2 - q): a function of q, an expression in ``replica.symbols.q``, or
        text such as "q^2/2 + 0.3*q^4", which is parsed and never evaluated.
    spins:
        "ising" or "spherical".
    ansatz:
        ``ReplicaSymmetric()``, ``KStepRSB(k)`` (``OneStepRSB()``) or ``FullRSB()``; see ``with_ansatz``.

    Raises
    ------
    InputError
        No finite value at q = 1, a negative coefficient (no covariance in every dimension), a constant;
        unknown spins; an ansatz that the model does not admit; full breaking, or T = 0 of spherical spins,
        where the covariance is no polynomial.

    >>> GaussianField(lambda q: q**2 / 2).free_entropy().expression
    beta**2*(q - 1)**2/4 + GaussianAverage(log2cosh(w_0), w_0, beta*h, beta**2*q)
    """

    covariance: sp.Expr
    spins: str
    ansatz: ReplicaSymmetric | KStepRSB | FullRSB

    name: ClassVar[str] = "field"
    reference: ClassVar[str] = "M. Talagrand, Ann. Math. 163 (2006) 221"
    default_start: ClassVar[str] = "global"
    solver: ClassVar[str] = "levels"
    simulation: ClassVar[str] = "spins"

    def __init__(
        self,
        covariance: Callable[[sp.Expr], Any] | sp.Expr | str,
        spins: str = "ising",
        ansatz: ReplicaSymmetric | KStepRSB | FullRSB | None = None,
    ) -> None:
        if spins not in SPINS:
            raise InputError(f"spins must be one of {', '.join(SPINS)}, not {spins!r}")
        chosen = ReplicaSymmetric() if ansatz is None else ansatz
        if not isinstance(chosen, ReplicaSymmetric | KStepRSB | FullRSB):
            raise InputError(
                f"the ansatz must be ReplicaSymmetric(), KStepRSB(steps) or FullRSB(), not {chosen!r}"
            )
        object.__setattr__(self, "covariance", _covariance(covariance))
        object.__setattr__(self, "spins", spins)
        object.__setattr__(self, "ansatz", chosen)
        if isinstance(chosen, FullRSB) and not _is_polynomial(self):
            raise InputError(f"full breaking is solved for polynomial covariances, not {self.covariance}")

    def with_ansatz(self, ansatz: ReplicaSymmetric | KStepRSB | FullRSB) -> GaussianField:
        """The same spins under another ansatz."""
        return replace(self, ansatz=ansatz)

    @property
    def control_parameters(self) -> tuple[Parameter, ...]:
        """T and h, which is 0 where it is not given; m where the ansatz is given it."""
        return tuple(parameter for parameter, _ in self.parameter_symbols())

    def parameter_symbols(self) -> tuple[tuple[Parameter, sp.Symbol], ...]:
        """Each control parameter with its symbol."""
        given = [s for s in self.ansatz.blocks if s not in self.ansatz.stationary_blocks]
        sizes = tuple((replace(BLOCK_SIZE, default=self.ansatz.m), s) for s in given)
        return ((TEMPERATURE, sp.Symbol("T", positive=True)), (FIELD, h), *sizes)

    def given(self, names: Collection[str]) -> GaussianField:
        """The same model with m among the control parameters where it is among the names, for one step."""
        ansatz = self.ansatz
        if "m" in names and isinstance(ansatz, KStepRSB) and ansatz.steps == 1 and ansatz.m is None:
            return self.with_ansatz(replace(ansatz, m=1))
        return self

    @property
    def order_parameters(self) -> tuple[sp.Symbol, ...]:
        """The overlaps from the outermost, then the sizes of the blocks, where they are not given."""
        return (*self.ansatz.overlaps(q), *self.ansatz.stationary_blocks)

    def derive(self) -> Derivation:
        """From E[Z^n] to the free entropy as a function of the overlaps, step by step."""
        return _derivation(self)

    def free_entropy(self) -> FreeEntropy:
        """Phi(overlaps, sizes of blocks), its infimum over all of them; conjugates are eliminated."""
        free = self.ansatz.blocks == self.ansatz.stationary_blocks
        return FreeEntropy(
            self.derive().result,
            self.order_parameters,
            (),
            (beta, *(s for p, s in self.parameter_symbols() if p is not TEMPERATURE)),
            "infimum over overlaps and sizes of blocks" if free else "stationary over the overlaps",
            self.derive().steps[-1].printed,
        )

    def saddle_point(self) -> SaddlePoint:
        """The overlaps as averages over the fields, conjugates xi'(q)/T^2; blocks: dPhi/dm = 0.

        For spherical spins dPhi/dq = 0, over the number of such pairs where m is given: at m = 1 there are
        none with the overlap q_1, and Phi does not depend on it.
        """
        return _saddle_point(self)

    def ground_state(self) -> GroundState:
        """The limit T -> 0; InputError where m is given."""
        if self.ansatz.blocks != self.ansatz.stationary_blocks:
            raise InputError("at T -> 0 blocks have m = a T replicas: a given m needs T > 0")
        if self.spins == "spherical" and not _is_polynomial(self):
            raise InputError(f"T = 0 of spherical spins takes a polynomial, not {self.covariance}")
        return GroundState(self)

    def complexity(self) -> Derivation:
        """(1/N) log of the number of states that dominate at m, at stationary overlaps; one step only."""
        return complexity_rules.complexity(self.ansatz, self.derive().result)

    def state_free_energy(self) -> Derivation:
        """The free energy of these states: d(m f)/dm."""
        return complexity_rules.state_free_energy(self.ansatz, self.derive().result)

    def further_derivations(self) -> tuple[Derivation, ...]:
        """The number of states and their free energy, where m is given."""
        if self.ansatz.blocks == self.ansatz.stationary_blocks:
            return ()
        return self.complexity(), self.state_free_energy()

    def observables(self) -> dict[str, sp.Expr]:
        """Free energy f, energy e = -dPhi/dbeta at fixed overlaps, entropy; the mean square of the overlap of
        two configurations, an average over pairs of replicas at n -> 0; the replicon of each overlap,
        positive where the solution is stable (``replica.stability``).

        Where m is given, f = -T Phi(m) is that of the weighted sum over states; ``complexity`` is that of the
        states which dominate it, ``f_state`` their free energy, and the energy is theirs.
        """
        if isinstance(self.ansatz, FullRSB):
            return full_breaking.observables(self)
        phi = self.derive().result
        energy = linear(-phi.diff(beta))
        found = {"f": -phi / beta, "energy": energy, "entropy": phi + beta * energy}
        entries = self.ansatz.matrix(n, 0, q)
        found["squared_overlap"] = (entries.row_sum(lambda entry: entry**2) / (n - 1)).subs(n, 0)
        if self.ansatz.blocks != self.ansatz.stationary_blocks:
            found |= {"complexity": self.complexity().result, "f_state": self.state_free_energy().result}
        values = replicons(self)
        names = ["replicon"] if len(values) == 1 else [f"replicon{i}" for i in range(len(values))]
        return found | dict(zip(names, values, strict=True))


@dataclass(frozen=True)
class GroundState:
    """The limit T -> 0: the energy e of the ground state, its supremum over the ansatz.

    Unknowns are the overlaps q_0, ..., q_{k-1} (the innermost is 1) and a_i = m_i/T; for spherical spins V =
    (1 - q)/T of the innermost too.

    >>> GroundState(sherrington_kirkpatrick()).derive().result
    -h*ndtr(-h) + h*ndtr(h) + 2*npdf(h)
    >>> GroundState(p_spin(3, "spherical")).derive().result
    V*(2*h**2 + 3)/4 + 1/(2*V)
    """

    model: GaussianField

    @property
    def order_parameters(self) -> tuple[sp.Symbol, ...]:
        """The overlaps below 1 from the outermost, then the slopes a_i, then V for spherical spins."""
        ansatz = self.model.ansatz
        responses = (V,) if self.model.spins == "spherical" else ()
        return (*ansatz.overlaps(q)[:-1], *ground_rules.slopes(ansatz), *responses)

    def derive(self) -> Derivation:
        """From the free entropy to minus the energy."""
        return _ground_derivation(self.model)

    def stationarity(self) -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
        """What vanishes at a solution, for each unknown."""
        result = self.derive().result
        if self.model.spins == "spherical":
            return tuple((s, result.diff(s)) for s in self.order_parameters)
        return tuple((s, field_rules.stationary(result, s)) for s in self.order_parameters)

    def entropy(self) -> Derivation:
        """s = -df/dT at T = 0; InputError for spherical spins, whose entropy tends to -infinity as log T."""
        if self.model.spins == "spherical":
            raise InputError("the entropy of spherical spins tends to -infinity at T -> 0, as log T")
        return _ground_entropy(self.model)

    def observables(self) -> dict[str, sp.Expr]:
        """The entropy of Ising spins, negative where more steps are needed; V = (1 - q)/T of the innermost
        overlap.
        """
        if self.model.spins == "spherical":
            return {}
        derivation = self.entropy()
        return {"entropy": derivation.result, "V": ground_entropy_rules.response(derivation)}


def sherrington_kirkpatrick(ansatz: Any = None) -> GaussianField:
    """The SK model, xi(q) = q^2/2."""
    return GaussianField(q**2 / 2, ansatz=ansatz)


def p_spin(p: int = 3, spins: str = "ising", ansatz: Any = None) -> GaussianField:
    """The p-spin model, xi(q) = q^p/2; InputError unless p is an integer of at least 2."""
    if isinstance(p, bool) or not isinstance(p, int) or p < 2:
        raise InputError(f"p must be an integer of at least 2, not {p!r}")
    return GaussianField(q**p / 2, spins, ansatz)


_TERM = re.compile(
    r"(?:(?P<number>[0-9.]+(?:/[0-9]+)?)\*?)?(?P<q>q(?:(?:\^|\*\*)(?P<power>[0-9]{1,3}))?)?(?:/(?P<below>[0-9.]+))?"
)


def parse_covariance(text: str) -> sp.Expr:
    """A polynomial in q from text such as ``q^2/2 + 0.3*q^4``, matched by a pattern, never evaluated.

    >>> parse_covariance("q^2/2 + 0.3*q^4")
    3*q**4/10 + q**2/2
    """
    total: sp.Expr = sp.S.Zero
    for term in text.replace(" ", "").split("+"):
        found = _TERM.fullmatch(term)
        if not term or found is None or not (found["number"] or found["q"]):
            raise InputError(f"a covariance is a sum of terms like q^2/2 or 0.3*q^4, not {text[:60]!r}")
        number = parse_number(found["number"] or "1", "covariance")
        below = parse_number(found["below"] or "1", "covariance")
        if below == 0:
            raise InputError(f"a covariance cannot be divided by 0: {text[:60]!r}")
        power = int(found["power"] or 1) if found["q"] else 0
        total += sp.Rational(number / below) * q**power
    return total


def _covariance(given: Any) -> sp.Expr:
    """The expression, checked: a polynomial or a convergent series, with coefficients >= 0."""
    stated = given(q) if callable(given) else given
    if isinstance(stated, str):
        return _covariance(parse_covariance(stated))
    try:
        expr = sp.nsimplify(sp.sympify(stated, strict=True), rational=True)
    except sp.SympifyError as error:
        raise InputError(f"the covariance must be an expression in q, not {type(stated).__name__}") from error
    extra = expr.free_symbols - {q}
    if extra:
        raise InputError(f"the covariance must be an expression in q alone, not in {sorted(map(str, extra))}")
    coefficients = polynomial_coefficients(sp.expand(expr), q)
    if coefficients is None:
        coefficients = _taylor(expr)
    if any(c.is_negative for c in coefficients.values()):
        raise InputError(f"a covariance needs coefficients >= 0 of every power of q, not {expr}")
    if not any(k > 0 and c != 0 for k, c in coefficients.items()):
        raise InputError(f"the covariance must depend on q, not {expr}")
    return expr


TERMS = 12
"""How many coefficients of a power series are looked at."""


def _taylor(expr: sp.Expr) -> dict[int, sp.Expr]:
    """The first coefficients of a function of q that is finite up to q = 1."""
    ends = [sp.N(expr.subs(q, end)) for end in (0, sp.Rational(1, 2), 1)]
    if not all(value.is_real and value.is_finite for value in ends):
        raise InputError(f"the covariance must be finite from q = 0 to 1, not {expr}")
    coefficients = {k: sp.N(expr.diff(q, k).subs(q, 0) / sp.factorial(k), 30) for k in range(TERMS)}
    if not all(c.is_real and c.is_finite for c in coefficients.values()):
        raise InputError(f"the covariance must have a power series in q, not {expr}")
    return {k: sp.S.Zero if abs(c) < 1e-20 else c for k, c in coefficients.items()}


def _is_polynomial(model: GaussianField) -> bool:
    return model.covariance.is_polynomial(q)


@lru_cache(maxsize=64)
def _derivation(model: GaussianField) -> Derivation:
    kind, ansatz = SPINS[model.spins], model.ansatz
    start = ReplicatedSpins(model.covariance, q, beta, h, n, kind)
    derivation = Derivation.start(f"{model.spins.capitalize()} spins: free entropy", PHI, start)
    if isinstance(ansatz, FullRSB):
        return full_breaking.free_entropy(derivation, kind)
    rules = [field_rules.average_energies, field_rules.insert_ansatz(ansatz, kind)]
    if kind == ISING:
        rules.append(field_rules.site_fields(ansatz))
    rules.append(field_rules.n_to_zero)
    if kind == ISING:
        rules += [field_rules.name_levels, field_rules.eliminate_conjugates(ansatz)]
    for rule in rules:
        derivation = derivation.then(rule)
    return derivation


@lru_cache(maxsize=64)
def _ground_derivation(model: GaussianField) -> Derivation:
    start = sp.Mul(1 / beta, model.derive().result, evaluate=False)
    title = f"{model.spins.capitalize()} spins: minus the energy of the ground state"
    derivation = Derivation.start(title, -sp.Symbol("e"), start)
    if isinstance(model.ansatz, FullRSB):
        return full_breaking.ground_energy(derivation, SPINS[model.spins])
    if model.spins == "spherical":
        return derivation.then(spherical_ground_rules.zero_temperature(model.ansatz))
    return derivation.then(ground_rules.zero_temperature(model.ansatz)).then(ground_rules.insert_spin)


@lru_cache(maxsize=64)
def _ground_entropy(model: GaussianField) -> Derivation:
    if isinstance(model.ansatz, FullRSB):
        raise InputError("the entropy of ground states is derived for a number of steps")
    return ground_entropy_rules.ground_entropy(model.ansatz, model.derive().result)


@lru_cache(maxsize=64)
def _saddle_point(model: GaussianField) -> SaddlePoint:
    if isinstance(model.ansatz, FullRSB):
        return full_breaking.saddle_point(model)
    derivation, overlaps = model.derive(), model.ansatz.overlaps(q)
    unsolved = model.order_parameters
    equations: tuple[Derivation, ...] = ()
    if SPINS[model.spins] == ISING:
        phi = derivation["the recursion over levels"].after
        pairs = tuple(zip(overlaps, model.ansatz.overlaps(q_hat), strict=True))
        equations = (
            *(field_rules.overlap_equation(phi, *pair) for pair in pairs),
            *(field_rules.conjugate_equation(phi, *pair) for pair in pairs),
        )
        unsolved = model.ansatz.stationary_blocks
    conditions = tuple((s, field_rules.stationary(derivation.result, s)) for s in unsolved)
    per_pair: tuple[Derivation, ...] = ()
    if not equations and model.ansatz.blocks != model.ansatz.stationary_blocks:
        per_pair = tuple(complexity_rules.pair_equation(model.ansatz, *c) for c in conditions)
        conditions = tuple(zip(unsolved, (d.result for d in per_pair), strict=True))
    short = [(s, by_name(e)) for s, e in (*((d.left, d.result) for d in equations), *conditions)]
    definitions = {s: e for s, (e, _) in short}
    for _, (_, named) in short:
        # the names of the equations for the overlaps are kept: their variances are the conjugates
        definitions = dict(named) | definitions
    updates = tuple((d.left, d.result) for d in equations)
    return SaddlePoint(updates, (*equations, *per_pair), tuple(definitions.items()), conditions)
