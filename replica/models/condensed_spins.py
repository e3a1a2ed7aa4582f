r"""Ising spins with condensed order parameters: ferromagnets, random fields, associative memories.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
spins              N Ising spins s_i = +-1; the sum over configurations counts them (Phi = log 2 at beta = 0)
weight             exp(beta [N U(m_1, ..., m_K) - H_noise(s) + sum_i h_i s_i]), beta = 1/T
field              h_i iid, N(h, variance); none in a memory
overlaps           m_mu = (1/N) sum_i x^mu_i s_i, x iid over sites: scale xi (1 + sqrt(blur) z), xi from a
                   finite law, z ~ N(0, 1) independent for every site and pattern
noise              Gaussian energies, E[H(s) H(s')] = N xi(q), q = s.s'/N; or the patterns of a Hopfield
                   network that are not condensed, -H = (1/2N) sum_{nu <= alpha N} [(xi^nu . s)^2 - N]
free entropy       Phi = lim (1/N) E log Z; f = -T Phi; energy e = -dPhi/dbeta; entropy Phi + beta e
=================  ==========================================================================================

The models themselves: ``hopfield``, ``dense_hebbian``, ``multitasking_hebbian``, ``ferromagnet``.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

import sympy as sp

from replica import condensed_rules, field_rules, ground_rules
from replica.action import nodes_of
from replica.ansatz import ReplicaSymmetric
from replica.condensed_action import (
    CondensedPartition,
    GaussianEnergies,
    QuadraticPatterns,
    SiteLaw,
    vanishes,
)
from replica.derivation import Derivation
from replica.expr.average import GaussianAverage
from replica.expr.recursion import linear
from replica.expr.stable import log2cosh
from replica.field_action import ISING
from replica.free_entropy import FreeEntropy
from replica.parameters import Parameter
from replica.saddle_point import SaddlePoint
from replica.stability import spin_eigenvalues
from replica.symbols import V, V_hat, beta, h, n, q, q_hat
from solvers.errors import InputError

PHI = sp.Symbol("Phi")
TEMPERATURE = Parameter("T", "T", "temperature; 0 for the ground state", Fraction(0))
FIELD = Parameter("h", "h", "external field", default=Fraction(0))


@dataclass(frozen=True)
class CondensedSpins:
    r"""A statement: energy of the overlaps, laws of the patterns, noise.

    Attributes
    ----------
    name, reference:
        For people.
    energy:
        U, an expression in the overlaps: the weight is exp(beta N U).
    overlaps:
        The symbols of m_1, ..., m_K.
    laws:
        The law of each pattern on a site.
    noise:
        What is left of the disorder.
    parameters:
        Control parameters besides T and h, each with its symbol.
    states:
        Where the search for a solution starts, by name: (m_1, ..., m_K, q).  The first is the default.
    names:
        How each overlap is called in a solution.
    field_allowed, field_variance:
        Whether there is a field h on every spin; variance of a Gaussian random field on it.
    examples:
        Whether the overlaps are with examples of the patterns xi; those with xi are observables then.

    >>> from replica.models.hopfield_network import hopfield
    >>> hopfield().saddle_point().update(sp.Symbol("m", real=True))
    GaussianAverage(tanh(w_0), w_0, \hat{m}*beta, \hat{q})
    """

    name: str
    reference: str
    energy: sp.Expr
    overlaps: tuple[sp.Symbol, ...]
    laws: tuple[SiteLaw, ...]
    noise: GaussianEnergies | QuadraticPatterns
    parameters: tuple[tuple[Parameter, sp.Symbol], ...]
    states: tuple[tuple[str, tuple[float, ...]], ...]
    names: tuple[str, ...]
    simulation: str | None = None
    field_allowed: bool = False
    field_variance: sp.Expr = sp.S.Zero
    examples: bool = False
    ansatz: ReplicaSymmetric = field(default_factory=ReplicaSymmetric)

    solver: ClassVar[str] = "condensed"

    @property
    def default_start(self) -> str:
        """The first of the states."""
        return self.states[0][0]

    @property
    def starts(self) -> tuple[str, ...]:
        """The names of the states, and "global": the one of lowest free energy."""
        return (*(name for name, _ in self.states), "global")

    @property
    def control_parameters(self) -> tuple[Parameter, ...]:
        """T, those of the statement, and h where a field is allowed, 0 if it is not given."""
        return tuple(p for p, _ in self.parameter_symbols())

    def parameter_symbols(self) -> tuple[tuple[Parameter, sp.Symbol], ...]:
        """Each control parameter with its symbol."""
        external = ((FIELD, h),) if self.field_allowed else ()
        return ((TEMPERATURE, sp.Symbol("T", positive=True)), *self.parameters, *external)

    @property
    def order_parameters(self) -> tuple[sp.Symbol, ...]:
        """The overlaps with the patterns, then that of two replicas where noise couples them."""
        return (*self.overlaps, *([] if vanishes(self.noise) else [q]))

    @property
    def conjugates(self) -> tuple[sp.Symbol, ...]:
        """The conjugate of each order parameter."""
        fields = (condensed_rules.conjugate_of(m) for m in self.overlaps)
        return (*fields, *([] if vanishes(self.noise) else [q_hat]))

    def with_ansatz(self, ansatz: ReplicaSymmetric) -> CondensedSpins:
        """Replica symmetric only; InputError otherwise."""
        if not isinstance(ansatz, ReplicaSymmetric):
            raise InputError(f"{self.name} admits ReplicaSymmetric(), not {ansatz!r}")
        return replace(self, ansatz=ansatz)

    def derive(self) -> Derivation:
        """From E[Z^n] to the free entropy as a function of the overlaps, step by step."""
        return _derivation(self)

    def free_entropy(self) -> FreeEntropy:
        """Phi(overlaps); conjugates are eliminated."""
        return FreeEntropy(
            self.derive().result,
            self.order_parameters,
            (),
            (beta, h, *(s for _, s in self.parameters)),
            "extremum over the overlaps; the state of largest Phi, smallest in q, is stable",
            self.derive().steps[-1].printed,
        )

    def saddle_point(self) -> SaddlePoint:
        """Overlaps as averages over the fields, their conjugates as derivatives of the energies."""
        return _saddle_point(self)

    def at(self, exact: Mapping[str, Fraction]) -> CondensedSpins:
        """With the parameters that vanish put in: no blur, no noise."""
        zeros = {s: sp.S.Zero for p, s in self.parameters if exact[p.name] == 0}
        if not zeros:
            return self
        noise = self.noise.subs(zeros)
        laws = tuple(law.subs(zeros) for law in self.laws)
        energy, variance = self.energy.subs(zeros), sp.sympify(self.field_variance).subs(zeros)
        return replace(self, energy=energy, noise=noise, laws=laws, field_variance=variance)

    def is_finite(self, exact: Mapping[str, Fraction]) -> bool:
        """Whether Z is, which Ising spins cannot make diverge."""
        del exact
        return True

    def positive(self) -> tuple[sp.Expr, ...]:
        """What is positive at a solution besides the determinants in Phi: nothing."""
        return ()

    def near(self, exact: Mapping[str, Fraction]) -> tuple[float, ...] | None:
        """A start that is known in closed form: none."""
        del exact
        return None

    def ground_state(self) -> CondensedGround:
        """The limit T -> 0."""
        return CondensedGround(self)

    def observables(self) -> dict[str, sp.Expr]:
        """Free energy f, energy, entropy; the replicon, positive where replica symmetry is stable; the
        overlap with the pattern itself where examples are what is condensed; q where no noise couples the
        replicas; r = q_hat/(alpha beta^2) where many patterns are the noise.
        """
        phi = self.derive().result
        energy = linear(-phi.diff(beta))
        found = {"f": -phi / beta, "energy": energy, "entropy": phi + beta * energy}
        conjugates = self._conjugate_values()
        if vanishes(self.noise):
            found["q"] = self._over_laws(self._on_a_site(lambda w: sp.tanh(w) ** 2)).subs(conjugates)
        else:
            found["replicon"] = self.replicon()
        if isinstance(self.noise, QuadraticPatterns) and not vanishes(self.noise):
            found["r"] = sp.cancel(conjugates[q_hat] / (self.noise.args[0] * beta**2))
        return found | {
            name: moment.subs(conjugates) for name, moment in self.archetype_overlaps(sp.tanh).items()
        }

    def archetype_overlaps(self, magnetisation: Callable[[sp.Expr], sp.Expr]) -> dict[str, sp.Expr]:
        """E[xi <s>], by name, where the order parameters are overlaps with examples of xi."""
        if not self.examples:
            return {}
        names = ["m"] if len(self.laws) == 1 else [f"m{i + 1}" for i in range(len(self.laws))]
        site = self._on_a_site(magnetisation)
        return {
            name: self._over_laws(law.variable * site) for name, law in zip(names, self.laws, strict=True)
        }

    def replicon(self) -> sp.Expr:
        """1 - c E[(1 - tanh^2)^2], c the curvature of the noise: positive where the solution is stable.

        J. R. L. de Almeida, D. J. Thouless, J. Phys. A 11 (1978) 983, through ``replica.stability``.
        """

        def fields(moment: sp.Expr) -> sp.Expr:
            return self._over_laws(self._on_a_site(lambda w: moment.subs(_MAGNETISATION, sp.tanh(w))))

        response = spin_eigenvalues(_MAGNETISATION, fields).replicon[0]
        return 1 - self.noise.curvature(beta, q) * linear(response.subs(self._conjugate_values()))

    def _conjugate_values(self) -> dict[sp.Symbol, sp.Expr]:
        return {c: self.saddle_point().update(c) for c in self.conjugates}

    def _on_a_site(self, g: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
        """Of a function of the field on a spin, given xi: the law of the field is that in Phi."""
        phi = self.derive()["the recursion over levels"].after
        fields = nodes_of(phi, GaussianAverage)
        if fields:
            return fields[0].func(g(fields[0].var), *fields[0].args[1:])
        (spin,) = nodes_of(phi, log2cosh)
        return g(spin.args[0])

    def _over_laws(self, g: sp.Expr) -> sp.Expr:
        for law in reversed(self.laws):
            g = law.average(g)
        return linear(g)


@dataclass(frozen=True)
class CondensedGround:
    """The limit T -> 0: overlaps with patterns, and V = (1 - q)/T where noise couples the replicas.

    >>> from replica.models.hopfield_network import hopfield
    >>> hopfield().ground_state().saddle_point().update(V_hat)
    alpha/(V - 1)**2
    """

    model: CondensedSpins

    @property
    def order_parameters(self) -> tuple[sp.Symbol, ...]:
        """The overlaps, then V."""
        return (*self.model.overlaps, *([] if vanishes(self.model.noise) else [V]))

    @property
    def conjugates(self) -> tuple[sp.Symbol, ...]:
        """The conjugate of each: fields, and the variance of the noise in a field."""
        fields = (condensed_rules.conjugate_of(m) for m in self.model.overlaps)
        return (*fields, *([] if vanishes(self.model.noise) else [V_hat]))

    def derive(self) -> Derivation:
        """From the free entropy to minus the energy, a function of the order parameters and conjugates."""
        return _ground_derivation(self.model)

    def saddle_point(self) -> SaddlePoint:
        """As at T > 0."""
        return _ground_saddle_point(self.model)

    def observables(self) -> dict[str, sp.Expr]:
        """The energy, which is f; q, that is 1; r and overlaps with archetypes, as at T > 0."""
        model, conjugates = self.model, {c: self.saddle_point().update(c) for c in self.conjugates}
        energy = -self.derive().result.subs(conjugates)
        found = {"f": energy, "energy": energy, "q": sp.S.One}
        if isinstance(model.noise, QuadraticPatterns) and not vanishes(model.noise):
            found["r"] = conjugates[V_hat] / model.noise.args[0]
        for name, moment in model.archetype_overlaps(sp.tanh).items():
            cold = ground_rules.cooled_magnetisation(moment, model.ansatz)
            found[name] = cold.subs(conjugates)
        return found


_MAGNETISATION = sp.Dummy("M", real=True)
"""Of a spin in its field."""


@lru_cache(maxsize=64)
def _derivation(model: CondensedSpins) -> Derivation:
    field_on_all = h if model.field_allowed else sp.S.Zero
    overlaps, laws = sp.Tuple(*model.overlaps), sp.Tuple(*model.laws)
    external = (field_on_all, model.field_variance)
    start = CondensedPartition(model.energy, overlaps, laws, model.noise, beta, *external, n)
    others = tuple((m, condensed_rules.conjugate_of(m)) for m in model.overlaps)
    derivation = Derivation.start(f"{model.name}: free entropy", PHI, start)
    for rule in (
        condensed_rules.order_parameters,
        field_rules.insert_ansatz(model.ansatz, ISING),
        field_rules.site_fields(model.ansatz),
        field_rules.n_to_zero,
        field_rules.name_levels,
        condensed_rules.gauge,
        field_rules.eliminate_conjugates(model.ansatz, others),
    ):
        derivation = derivation.then(rule)
    return derivation


@lru_cache(maxsize=64)
def _saddle_point(model: CondensedSpins) -> SaddlePoint:
    phi = model.derive()["gauge transformation"].after
    return _equations(phi, model.order_parameters, model.conjugates)


@lru_cache(maxsize=64)
def _ground_derivation(model: CondensedSpins) -> Derivation:
    start = sp.Mul(1 / beta, model.derive()["gauge transformation"].after, evaluate=False)
    derivation = Derivation.start(f"{model.name}: minus the energy at T = 0", -sp.Symbol("e"), start)
    return derivation.then(ground_rules.zero_temperature(model.ansatz)).then(ground_rules.insert_spin)


@lru_cache(maxsize=64)
def _ground_saddle_point(model: CondensedSpins) -> SaddlePoint:
    ground = model.ground_state()
    return _equations(ground.derive().result, ground.order_parameters, ground.conjugates)


def _equations(
    phi: sp.Expr, overlaps: tuple[sp.Symbol, ...], conjugates: tuple[sp.Symbol, ...]
) -> SaddlePoint:
    pairs = tuple(zip(overlaps, conjugates, strict=True))
    return SaddlePoint.of(
        *(field_rules.overlap_equation(phi, *pair) for pair in pairs),
        *(field_rules.conjugate_equation(phi, *pair) for pair in pairs),
    )
