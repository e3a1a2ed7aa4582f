r"""The perceptron: how many random patterns can weights classify, with a margin (Gardner's volume).

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
weights            J of N entries: Ising, J_i = +-1, counted; or spherical, |J|^2 = N, of uniform probability
patterns           M = alpha N rows of F, F_ij iid N(0, 1/N); labels +-1 times these have the same law
fields             h = F J, each N(0, 1)
constraint         a channel with 1 among its outputs: a field satisfies it with probability P_out(1|h).
                   ``MarginStep``: h >= kappa; ``SymmetricInterval``: |h| <= kappa
volume             Z = number (or share) of the weights whose fields satisfy all constraints
free entropy       Phi = lim (1/N) E log Z, an entropy: <= log 2 for Ising weights, <= 0 for spherical ones
overlap            q = J.J'/N of two weights drawn from the solutions; ``mmse`` is 1 - q
replicon           positive where the replica-symmetric solution is stable (de Almeida and Thouless)
capacity           alpha_c above which no weights satisfy all constraints: ``replica.capacity``
=================  ==========================================================================================

E. Gardner, J. Phys. A 21 (1988) 257; W. Krauth, M. Mezard, J. Phys. France 50 (1989) 3057; B. Aubin, W.
Perkins, L. Zdeborova, J. Phys. A 52 (2019) 294003.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import sympy as sp

from replica import field_rules, perceptron_levels, perceptron_limits, perceptron_rules, perceptron_stability
from replica.ansatz import KStepRSB, ReplicaSymmetric
from replica.derivation import Derivation
from replica.expr.average import GaussianAverage
from replica.expr.recursion import by_name
from replica.field_action import ISING, SPHERICAL
from replica.free_entropy import FreeEntropy
from replica.ingredients.channels import CHANNELS, Channel, MarginStep
from replica.observables import PHI, Observable
from replica.parameters import Parameter, unknown
from replica.perceptron_action import LogChance, ReplicatedVolume
from replica.saddle_point import Cycle, SaddlePoint
from replica.symbols import V, alpha, h, n, omega, parameter_symbol, q, q_hat
from solvers.errors import InputError

WEIGHTS = {"ising": ISING, "spherical": SPHERICAL}
RATE = Parameter("alpha", "alpha", "patterns per weight, M/N", Fraction(0), lower_open=True)


@dataclass(frozen=True, init=False)
class Perceptron:
    r"""The volume of weights that satisfy random constraints.

    Parameters
    ----------
    weights:
        "ising" or "spherical".
    constraint:
        A channel with the output 1, or its name: "margin", "interval", "probit".
    ansatz:
        ``ReplicaSymmetric()``; for spherical weights also ``KStepRSB(k)``.

    Raises
    ------
    InputError
        Unknown weights; a constraint that is no channel with the output 1; another ansatz.

    >>> Perceptron("spherical").saddle_point().update(q)
    1 - 2/(sqrt(4*\hat{q} + 1) + 1)
    """

    weights: str
    constraint: Channel
    ansatz: ReplicaSymmetric | KStepRSB

    name: ClassVar[str] = "perceptron"
    title: ClassVar[str] = "Perceptron"
    reference: ClassVar[str] = "E. Gardner, J. Phys. A 21 (1988) 257"
    default_start: ClassVar[str] = "uninformed"
    simulation: ClassVar[str] = "volume"
    second_moment: ClassVar[sp.Expr] = sp.S.One

    def __init__(
        self,
        weights: str = "ising",
        constraint: Channel | str | None = None,
        ansatz: ReplicaSymmetric | KStepRSB | None = None,
    ) -> None:
        if weights not in WEIGHTS:
            raise InputError(unknown("weights", weights, list(WEIGHTS)))
        if isinstance(constraint, str):
            if constraint not in CHANNELS:
                raise InputError(unknown("constraint", constraint, list(CHANNELS)))
            constraint = CHANNELS[constraint]()
        chosen = MarginStep() if constraint is None else constraint
        if not isinstance(chosen, Channel) or not _admits_one(chosen):
            raise InputError(f"a constraint is a channel with 1 among finitely many outputs, not {chosen!r}")
        ansatz = ReplicaSymmetric() if ansatz is None else ansatz
        if not isinstance(ansatz, ReplicaSymmetric | KStepRSB):
            raise InputError(f"the ansatz must be ReplicaSymmetric() or KStepRSB(steps), not {ansatz!r}")
        if ansatz.steps and weights == "ising":
            raise InputError("steps of replica symmetry breaking are derived for spherical weights")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "constraint", chosen)
        object.__setattr__(self, "ansatz", ansatz)

    def with_ansatz(self, ansatz: ReplicaSymmetric | KStepRSB) -> Perceptron:
        """The same weights and constraint under another ansatz."""
        return Perceptron(self.weights, self.constraint, ansatz)

    @property
    def solver(self) -> str:
        """One overlap and its conjugate; with steps the minimum over overlaps and blocks."""
        return "volume" if self.ansatz.steps else "pair"

    @property
    def order_parameters(self) -> tuple[sp.Symbol, ...]:
        """The overlaps from the outermost, then the sizes of the blocks."""
        return (*self.ansatz.overlaps(q), *self.ansatz.blocks)

    @property
    def control_parameters(self) -> tuple[Parameter, ...]:
        """alpha; those of the constraint."""
        return (RATE, *self.constraint.parameters)

    def parameter_symbols(self) -> tuple[tuple[Parameter, sp.Symbol], ...]:
        """Each control parameter with its symbol."""
        return tuple((p, parameter_symbol(p)) for p in self.control_parameters)

    def at(self, values: Mapping[str, Fraction]) -> Perceptron:
        """The model itself."""
        return self

    def canonical(self, values: dict[str, Any]) -> dict[str, Any]:
        """The point itself."""
        return values

    def recovers(self, values: Mapping[str, Fraction]) -> bool:
        """Never: q = 1 is reached at the capacity only."""
        return False

    def derive(self) -> Derivation:
        """From E[Z^n] to the free entropy, step by step."""
        return _derivation(self)

    def free_entropy(self) -> FreeEntropy:
        """Phi(q, q_hat) with its constants; of q alone for spherical weights."""
        derivation = self.derive()
        return FreeEntropy(
            derivation.result,
            self.order_parameters,
            (q_hat,) if self.weights == "ising" else (),
            tuple(s for _, s in self.parameter_symbols()),
            "extremum over q and q_hat: an infimum over q at n -> 0",
            derivation.printed,
        )

    def saddle_point(self) -> SaddlePoint:
        """q = E tanh^2 of a field, or q_hat = q/(1 - q)^2 on the sphere, and q_hat = alpha E g_out^2."""
        return _saddle_point(self)

    def cycle(self) -> Cycle:
        """The equations as one pair; 1 - q without cancellation."""
        return _cycle(self)

    def observables(self, values: Mapping[str, Fraction]) -> dict[str, Observable]:
        """The entropy of the solutions, which is Phi, and the replicon."""
        return _observables(self)

    def capacity_formula(self) -> Derivation | None:
        """alpha_c in closed form where there is one: spherical weights (q -> 1), Ising weights with an even
        constraint (Phi = 0 at q = 0); else None.  With one step, a function of q_0 and c whose infimum it is.
        """
        if self.ansatz.steps > 1:
            raise InputError("the capacity is derived for ReplicaSymmetric() and OneStepRSB()")
        if self.ansatz.steps:
            named = self.derive()["the recursion over levels"].after
            return perceptron_limits.states_shrink(named, *self.order_parameters, self.constraint)
        if self.weights == "spherical":
            return perceptron_limits.one_solution_left(self.derive().result)
        return self.annealed_capacity() if self._even else None

    def annealed_capacity(self) -> Derivation:
        """alpha above which the average number of solutions vanishes, for Ising weights: a bound (Jensen)."""
        if self.weights != "ising":
            raise InputError("the share of the sphere that solves is positive on average at any alpha")
        return perceptron_limits.no_solution_on_average(self.derive().result)

    def capacity_replicon(self) -> sp.Expr | None:
        """The replicon at a capacity with a closed form."""
        formula = self.capacity_formula()
        if formula is None:
            return None
        if self.ansatz.steps:
            return perceptron_limits.innermost_replicon_at_capacity(formula)
        if self.weights == "spherical":
            return perceptron_limits.replicon_at_capacity(self.derive().result)
        at_zero = {q: 0, q_hat: 0, alpha: formula.result}
        return (
            _observables(self)["replicon"]
            .subs(at_zero)
            .replace(lambda e: isinstance(e, GaussianAverage), lambda e: e.doit())
        )

    @property
    def _even(self) -> bool:
        """Whether the constraint cannot tell h from -h."""
        weight = self.constraint.density(sp.S.One, h)
        return weight.subs(h, -h) == weight


def _admits_one(channel: Channel) -> bool:
    """Whether the output 1 has a probability."""
    return any(isinstance(part, sp.FiniteSet) and 1 in part for part, _ in channel.pieces(sp.S.One, h))


@lru_cache(maxsize=64)
def _derivation(model: Perceptron) -> Derivation:
    kind, ansatz = WEIGHTS[model.weights], model.ansatz
    start = ReplicatedVolume(model.constraint.density(sp.S.One, h), h, n, alpha, kind)
    derivation = Derivation.start(f"{model.weights.capitalize()} perceptron: free entropy", PHI, start)
    rules = [
        perceptron_rules.average_patterns,
        field_rules.insert_ansatz(ansatz, kind),
        perceptron_rules.share_fields(ansatz),
    ]
    if kind == ISING:
        rules.append(field_rules.site_fields(ansatz))
    rules.append(perceptron_rules.n_to_zero)
    if ansatz.steps:
        rules += [perceptron_levels.name_levels, perceptron_levels.insert_constraint(model.constraint)]
    else:
        rules.append(perceptron_rules.insert_constraint(model.constraint))
    if kind == ISING:
        rules.append(perceptron_rules.name_spin)
    for rule in rules:
        derivation = derivation.then(rule)
    return derivation


def _weights_part(model: Perceptron) -> sp.Expr:
    """The terms of Phi without patterns."""
    return sp.Add(*(t for t in sp.Add.make_args(model.derive().result) if not t.has(alpha)))


@lru_cache(maxsize=64)
def _saddle_point(model: Perceptron) -> SaddlePoint:
    if model.ansatz.steps:
        phi = model.derive()["the recursion over levels"].after
        conditions = tuple((s, perceptron_levels.stationary(phi, s)) for s in model.order_parameters)
        short = [(s, *by_name(e)) for s, e in conditions]
        definitions = {s: e for s, e, _ in short} | {a: b for _, _, named in short for a, b in named}
        definitions[LogChance(omega, V, 0)] = model.constraint.log_evidence(sp.S.One, omega, V)
        return SaddlePoint((), (), tuple(definitions.items()), conditions)
    weights = _weights_part(model)
    if model.weights == "ising":
        overlap = field_rules.overlap_equation(weights, q, q_hat)
    else:
        overlap = perceptron_rules.sphere_overlap(weights)
    return SaddlePoint.of(overlap, perceptron_rules.conjugate_equation(model.constraint))


@lru_cache(maxsize=64)
def _cycle(model: Perceptron) -> Cycle:
    saddle, phi = model.saddle_point(), model.derive().result
    overlap = saddle.update(q)
    if model.weights == "ising":
        error = overlap.with_body(1 - overlap.body)
    else:
        error, weights = 1 - overlap, _weights_part(model)
        # Legendre: the entropy of the sphere is the extremum over q_hat of this
        phi += weights.subs(q, overlap) + q_hat * (1 - overlap) / 2 - q_hat * (1 - q) / 2 - weights
    return Cycle(error, saddle.update(q_hat), phi, sp.S.One, sp.S.One)


@lru_cache(maxsize=64)
def _observables(model: Perceptron) -> dict[str, Any]:
    if model.ansatz.steps:
        phi = model.derive()["the recursion over levels"].after
        found = perceptron_levels.replicons(model, phi)
        return {f"replicon{i}": value for i, value in enumerate(found)}
    matrix = model.ansatz.matrix(n, 1, q)
    spherical = model.weights == "spherical"
    (field,) = field_rules.shared_fields(1)
    return {
        "entropy": PHI,
        "replicon": perceptron_stability.replicon(model.constraint, spherical, matrix, field),
    }
