"""Bayes-optimal learning from a teacher: any prior on the signal with any channel on the outputs.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
signal             x of N coordinates, iid from the prior (``replica.ingredients.priors``)
design             F of shape M x N, iid N(0, 1/N) entries
fields             h = F x, of variance E x^2
outputs            y_mu ~ P_out(.|h_mu) (``replica.ingredients.channels``)
limit              M, N -> infinity at fixed alpha = M/N
overlap            q = lim x.x_hat/N = E x^2 - mmse, x_hat the posterior mean
observables        of predictions and of information: ``replica.observables``
free entropy       Phi = lim (1/N) E log of the evidence (a density in y, or a probability for discrete y)
=================  ==========================================================================================

J. Barbier, F. Krzakala, N. Macris, L. Miolane and L. Zdeborova, PNAS 116 (2019) 5451 (proof of the
formula); L. Zdeborova and F. Krzakala, Adv. Phys. 65 (2016) 453.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import sympy as sp

from replica import channel_rules, prior_rules, replica_rules
from replica.action import Geometry, geometry, replicated_evidence
from replica.derivation import Derivation
from replica.free_entropy import FreeEntropy
from replica.ingredients.channels import Channel, GaussianNoise
from replica.ingredients.factors import RotationallyInvariant
from replica.ingredients.priors import Gaussian, Prior
from replica.observables import (
    PHI,
    Observable,
    discrete_entropy,
    log_likelihood,
    prediction_errors,
    training_error,
)
from replica.parameters import Parameter, check_kind
from replica.saddle_point import Cycle, SaddlePoint
from replica.symbols import alpha, h, parameter_symbol, q, q_hat, y


@dataclass(frozen=True)
class TeacherStudent:
    r"""A signal drawn from a prior, seen through random projections and a channel; Bayes-optimal.

    >>> from replica.ingredients import Rademacher, Sign
    >>> model = TeacherStudent(prior=Rademacher(), channel=Sign())
    >>> model.saddle_point().update(q)
    GaussianAverage(tanh(B)**2, B, \hat{q}, \hat{q})

    Raises
    ------
    InputError
        What is no prior, or no channel.
    """

    prior: Any = field(default_factory=Gaussian)
    channel: Channel = field(default_factory=GaussianNoise)

    name: ClassVar[str] = "glm"
    title: ClassVar[str] = "Teacher and student"
    reference: ClassVar[str] = "Barbier, Krzakala, Macris, Miolane and Zdeborova, PNAS 116 (2019) 5451"
    rate: ClassVar[str] = "samples per coordinate, M/N"
    default_start: ClassVar[str] = "uninformed"
    solver: ClassVar[str] = "pair"
    simulation: ClassVar[str] = "gamp"

    def __post_init__(self) -> None:
        """Refuse what is no prior or no channel."""
        check_kind(self.prior, (Prior, RotationallyInvariant), "prior", "Gaussian()")
        check_kind(self.channel, Channel, "channel", "GaussianNoise()")

    @property
    def control_parameters(self) -> tuple[Parameter, ...]:
        """alpha; those of the prior; those of the channel."""
        rate = Parameter("alpha", "alpha", self.rate, Fraction(0), lower_open=True)
        return (rate, *self.prior.parameters, *self.channel.parameters)

    def parameter_symbols(self) -> tuple[tuple[Parameter, sp.Symbol], ...]:
        """Each control parameter with its symbol."""
        return tuple((p, parameter_symbol(p)) for p in self.control_parameters)

    def at(self, values: Mapping[str, Fraction]) -> Any:
        """The model at these control parameters: another where a parameter changes the kind of outputs."""
        channel = self.channel.at(values)
        return self if channel is self.channel else replace(self, channel=channel)

    def canonical(self, values: dict[str, Any]) -> dict[str, Any]:
        """The same point in the orientation that the equations are written for."""
        return self.prior.canonical(values)

    @property
    def second_moment(self) -> sp.Expr:
        """E x^2, the self-overlap."""
        return sp.sympify(self.prior.second_moment)

    @property
    def geometry(self) -> Geometry:
        """How many coordinates of the signal are free, and the variance of a field per unit of overlap."""
        return geometry(self.prior.coordinates)

    @property
    def variance(self) -> sp.Expr:
        """V, the variance of a field given the field that all replicas share."""
        return self.geometry.field_variance * (self.second_moment - q)

    def derive(self) -> Derivation:
        """From E[Z^n] to the free entropy, step by step."""
        return _derivation(self)

    def free_entropy(self) -> FreeEntropy:
        """Phi(q, q_hat) with its constants."""
        derivation = self.derive()
        return FreeEntropy(
            derivation.result,
            (q,),
            (q_hat,),
            tuple(s for _, s in self.parameter_symbols()),
            "sup over q, inf over q_hat",
            derivation.printed,
        )

    def saddle_point(self) -> SaddlePoint:
        """q = E f_in^2 (or 1 - MMSE of a matrix) and q_hat = alpha E int dy Z_out g_out^2, in textbook
        form.
        """
        return _saddle_point(self)

    def cycle(self) -> Cycle:
        """The equations as one pair; the error without cancellation where it is small."""
        return Cycle(
            _overlap(self)[1],
            self.saddle_point().update(q_hat),
            prior_rules.in_digits(self.free_entropy().expression, self.prior, q, q_hat),
            self.second_moment,
            self.second_moment - sp.sympify(self.prior.mean) ** 2,
        )

    def observables(self, values: Mapping[str, Fraction]) -> dict[str, Observable]:
        """What a solution says of predictions and of information, by name: ``replica.observables``.

        The expressions are in q, q_hat, Phi and the control parameters, which ``values`` tell apart only
        where there is no noise: ``training_loss`` and ``log_loss`` are not among them for densities that are
        infinite, and ``mutual_information`` is infinite, or the entropy of a discrete signal.
        """
        noiseless, exact = self.channel.noiseless(values), self.channel.exact_share(values) > 0
        return _observables(self, noiseless, exact, self.prior.dimension(values) == 0)

    def observables_at_recovery(self, values: Mapping[str, Fraction]) -> dict[str, Observable]:
        """The same at perfect recovery, constants: every field is known, and without noise every output."""
        discrete = self.prior.dimension(values) == 0
        at: Any = {s: sp.Rational(str(values[p.name])) for p, s in self.parameter_symbols()}
        information: Any = discrete_entropy(self.prior).xreplace(at) if discrete else sp.oo
        predicted = ("generalisation_error", "gibbs_error") if self.channel.noiseless(values) else ()
        return {**dict.fromkeys((*predicted, "field_mmse"), sp.S.Zero), "mutual_information": information}

    def recovered_entropy(self, values: Mapping[str, Fraction]) -> sp.Expr:
        """Phi at perfect recovery in the control parameters: the log-probability of the signal and of the
        outputs given their fields, where these are not known exactly; infinite where that is a density.
        """
        if self.prior.dimension(values) != 0 or self.channel.exact_share(values) > 0:
            return sp.oo
        entropy: Any = discrete_entropy(self.prior)
        if self.channel.noiseless(values):
            return -entropy
        return (
            alpha * log_likelihood(self.channel, self.geometry.field_variance * self.second_moment) - entropy
        )

    def recovery_threshold(self, values: Mapping[str, Fraction]) -> Fraction:
        """Alpha above which noiseless real outputs can determine the signal: its information dimension."""
        return self.prior.dimension(values)

    def recovers(self, values: Mapping[str, Fraction]) -> bool:
        """Whether exact recovery is a solution.

        With a share c of outputs that fix their field, q_hat ~ alpha c/v and v ~ d/q_hat near it (both over
        the share of free coordinates), d the information dimension of the signal: alpha c >= d. Where d = 0,
        any channel will do that jumps, with noise or without, since v falls faster than any power of q_hat.
        """
        share = self.channel.at(values).exact_share(values)
        dimension = self.prior.dimension(values)
        if dimension == 0:
            return self.channel.at(values).jumps(values)
        return share > 0 and values["alpha"] * share >= dimension


def _signal_part(model: TeacherStudent) -> sp.Expr:
    return prior_rules.signal_part(model.free_entropy().expression, q, q_hat)


@lru_cache(maxsize=256)
def _overlap(model: TeacherStudent) -> tuple[Derivation, sp.Expr]:
    return model.prior.overlap(_signal_part(model))


@lru_cache(maxsize=256)
def _observables(
    model: TeacherStudent, noiseless: bool, exact: bool, discrete: bool
) -> dict[str, Observable]:
    channel, counted = model.channel, model.geometry
    c, variance = counted.field_variance, model.variance
    found = prediction_errors(channel, c * q, variance)
    # E g_out^2 from q_hat = (c alpha/share) E g_out^2, and E Var(h|y, omega) = V - V^2 E g_out^2
    found["field_mmse"] = variance - variance**2 * q_hat * counted.share / (c * alpha)
    trained = training_error(channel, c * q, variance)
    if trained is not None:
        found["training_error"] = trained
    if exact:
        found["mutual_information"] = discrete_entropy(model.prior) if discrete else sp.oo
        return found
    likelihood = sp.S.Zero if noiseless else log_likelihood(channel, c * model.second_moment)
    found["training_loss"] = -likelihood
    found["log_loss"] = -model.free_entropy().expression.diff(alpha)  # Phi is stationary in q and q_hat
    found["mutual_information"] = alpha * likelihood - PHI
    return found


@lru_cache(maxsize=256)
def _derivation(model: TeacherStudent) -> Derivation:
    channel, prior = model.channel, model.prior
    start = replicated_evidence(channel.density(y, h), channel.outputs, prior.coordinates)
    derivation = Derivation.start(f"{model.title}: free entropy", PHI, start)
    for rule in (
        replica_rules.average_inputs,
        replica_rules.bayes_optimal(model.second_moment),
        replica_rules.hierarchical_fields,
        replica_rules.decouple(prior.coordinates),
        replica_rules.n_to_zero,
        *prior.signal_rules(),
        channel_rules.insert_channel(channel),
    ):
        derivation = derivation.then(rule)
    return derivation


@lru_cache(maxsize=256)
def _saddle_point(model: TeacherStudent) -> SaddlePoint:
    channel, variance = model.channel, model.variance
    overlap = _overlap(model)[0]
    general = channel_rules.overlap_equation(channel.outputs, model.geometry)
    return SaddlePoint.of(overlap, general.then(channel_rules.insert_evidence(channel, variance)))
