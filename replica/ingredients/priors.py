r"""Separable priors: coordinates of the signal drawn independently from one law.

A prior states its law as a mixture of Gaussians (a point mass is one of variance 0) or as a density.
Everything else follows: Z_in(A, B) = E_x exp(B x - A x^2/2) in closed form by rule, the denoiser f_in =
d log Z_in/dB, moments, samples.

=======================  =========================================================  ==================
prior                    law of a coordinate                                         control parameters
=======================  =========================================================  ==================
``Gaussian``             N(0, 1)                                                     none
``Rademacher``           +-1 with probability 1/2                                    none
``GaussBernoulli``       N(0, 1) with probability rho, else 0: E x^2 = rho           rho
``Bernoulli``            1 with probability rho, else 0                              rho
``SparseRademacher``     +-1/sqrt(rho) with probability rho, else 0: E x^2 = 1       rho
``Laplace``              density exp(-sqrt(2) |x|)/sqrt(2): E x^2 = 1                none
``Discrete``             given atoms with given probabilities                        none
``GaussianMixture``      given weights, means and variances                          none
=======================  =========================================================  ==================
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any, ClassVar, NamedTuple

import sympy as sp

from replica import prior_rules
from replica.derivation import Derivation, Rule
from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.logsum import expit, logaddexp, stable_log
from replica.expr.rules import reflected
from replica.expr.stable import (
    inverse_mills,
    log_ndtr,
    shifted_log_ndtr,
    truncated_mean,
    truncated_variance,
)
from replica.parameters import Parameter, parse_number
from replica.symbols import A, B, N, rho, x
from solvers.errors import InputError

SPARSITY = Parameter(
    "rho",
    "rho",
    "share of non-zero coordinates",
    Fraction(0),
    lower_open=True,
    upper=Fraction(1),
    upper_open=True,
)


UNIT = sp.Symbol("u", real=True)
NEARLY = 1e-9
"""Sums of weights nearer to 1 than that are slips of decimals."""


class Component(NamedTuple):
    """One Gaussian of a mixture; a variance of 0 is a point mass at the mean."""

    weight: sp.Expr
    mean: sp.Expr
    variance: sp.Expr


@dataclass(frozen=True)
class Prior(ABC):
    """The law of one coordinate."""

    name: ClassVar[str]
    description: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    coordinates: ClassVar[sp.Symbol] = N

    def signal_rules(self) -> tuple[Rule, ...]:
        """From (1/N) E_z[X log X] to the free entropy of the signal."""
        return (prior_rules.insert_prior(self),)

    def overlap(self, signal: sp.Expr) -> tuple[Derivation, sp.Expr]:
        """q = 2 d ``signal``/dq_hat in textbook form, and the error v = E x^2 - q in positive terms."""
        derivation = prior_rules.overlap_equation().then(prior_rules.insert_denoiser(self))
        return derivation, derivation.then(prior_rules.mean_square_error(self)).result

    def canonical(self, values: dict[str, Any]) -> dict[str, Any]:
        """The point itself: a separable prior has no other orientation."""
        return values

    @property
    @abstractmethod
    def second_moment(self) -> sp.Expr:
        """E x^2."""

    @property
    @abstractmethod
    def mean(self) -> sp.Expr:
        """E x."""

    @abstractmethod
    def tilted_moment(self, order: int) -> sp.Expr:
        """E_x x^order exp(B x - A x^2/2), in closed form."""

    @abstractmethod
    def observed(self, body: sp.Expr) -> sp.Expr:
        """E of body(A, B) over the law of B = A x + sqrt(A) z, x from the prior and z ~ N(0, 1)."""

    def lost_information(self) -> sp.Expr | None:
        """E_B Z_in log Z_in - A E x^2/2 = -I(x; B) without what cancels in it; None where it is not known."""
        return None

    def partition(self) -> sp.Expr:
        """Z_in(A, B) = E_x exp(B x - A x^2/2), in closed form."""
        return self.tilted_moment(0)

    @abstractmethod
    def sample(self, size: int, rng: Any, **parameters: float) -> Any:
        """Coordinates drawn with a ``numpy.random.Generator``."""

    @abstractmethod
    def dimension(self, values: Mapping[str, Fraction]) -> Fraction:
        """Information dimension: share of coordinates that are continuous, the limit of q_hat mmse(q_hat)
        at q_hat
        -> infinity (Y. Wu and S. Verdu, IEEE Trans. Inf. Theory 57 (2011) 7721).
        """

    def log_partition(self) -> sp.Expr:
        """log Z_in(A, B), written so that it does not overflow."""
        return stable_log(self.partition())

    def denoiser(self) -> sp.Expr:
        """f_in(A, B) = d log Z_in/dB, the posterior mean."""
        return self.log_partition().diff(B)

    def posterior_variance(self) -> sp.Expr:
        """df_in/dB."""
        return self.denoiser().diff(B)

    @property
    def symmetric(self) -> bool:
        """Whether x and -x have the same law."""
        partition = self.partition()
        return sp.expand(partition - partition.subs(B, -B)) == 0


class MixturePrior(Prior):
    """A finite mixture of Gaussians and point masses."""

    @abstractmethod
    def components(self) -> tuple[Component, ...]:
        """Weights (summing to 1), means and variances."""

    @property
    def second_moment(self) -> sp.Expr:
        """Sum of weight (mean^2 + variance)."""
        return sp.Add(*(sp.cancel(c.weight * (c.mean**2 + c.variance)) for c in self.components()))

    def tilted_moment(self, order: int) -> sp.Expr:
        """The Gaussian average of each component, exactly."""
        tilt = x**order * sp.exp(B * x - A * x**2 / 2)
        return sp.Add(
            *(c.weight * GaussianAverage(tilt, x, c.mean, c.variance).doit() for c in self.components())
        )

    def observed(self, body: sp.Expr) -> sp.Expr:
        """A Gaussian average for each component, mirror images added up."""
        return sp.Add(
            *(
                c.weight * reflected(GaussianAverage(body, B, A * c.mean, A + A**2 * c.variance))
                for c in self.components()
            )
        )

    def lost_information(self) -> sp.Expr:
        """E_B Z_in log Z_in - A E x^2/2 = -I(x; B), without the terms of order A that cancel in it.

        -I = sum_k w_k E_k log p(B)/p_k(B) - (1/2) sum_k w_k log(1 + A v_k), with E_k and p_k of the component
        k and p of all: where A is large each p(B)/p_k(B) is the constant w_k but for what is exponentially
        small.
        """
        total = []
        for one in self.components():
            odds = sp.Add(*(self._odds(other, one) for other in self.components()))
            law = (B, A * one.mean, A + A**2 * one.variance)
            average = reflected(GaussianAverage(stable_log(odds), *law))
            total.append(one.weight * (average - sp.log(1 + A * one.variance) / 2))
        return sp.Add(*total).doit()

    @staticmethod
    def _odds(other: Component, one: Component) -> sp.Expr:
        """The weight of one component times its density of B over the density of another."""

        def exponent(c: Component) -> sp.Expr:
            return (B - A * c.mean) ** 2 / (2 * A * (1 + A * c.variance))

        scale = sp.sqrt((1 + A * one.variance) / (1 + A * other.variance))
        powers = sp.collect(sp.expand(exponent(one) - exponent(other)), B, sp.cancel)
        return other.weight * scale * sp.exp(powers)

    @property
    def mean(self) -> sp.Expr:
        """E x."""
        return sp.Add(*(c.weight * c.mean for c in self.components()))

    def dimension(self, values: Mapping[str, Fraction]) -> Fraction:
        """The weight of the components that are no point masses."""
        total = _continuous_weight(self)
        if not total.is_Rational:
            total = total.subs(rho, sp.Rational(values["rho"].numerator, values["rho"].denominator))
        return Fraction(int(total.p), int(total.q))

    def sample(self, size: int, rng: Any, **parameters: float) -> Any:
        """A component for each coordinate, then a Gaussian."""
        import numpy as np

        at = {rho: parameters["rho"]} if "rho" in parameters else {}
        weights, means, variances = (
            np.array([float(v.subs(at)) for v in column]) for column in zip(*self.components(), strict=True)
        )
        chosen = rng.choice(len(weights), size=size, p=weights / weights.sum())
        return means[chosen] + np.sqrt(variances[chosen]) * rng.standard_normal(size)


@lru_cache(maxsize=256)
def _continuous_weight(prior: MixturePrior) -> Any:
    return sp.Add(*(c.weight for c in prior.components() if c.variance != 0))


ZERO, HALF, ONE = sp.S.Zero, sp.Rational(1, 2), sp.S.One


@dataclass(frozen=True)
class Gaussian(MixturePrior):
    """x ~ N(0, 1)."""

    name = "gaussian"
    description = "x ~ N(0, 1)"

    def components(self) -> tuple[Component, ...]:
        """One Gaussian."""
        return (Component(ONE, ZERO, ONE),)


@dataclass(frozen=True)
class Rademacher(MixturePrior):
    """x = +-1 with equal probability."""

    name = "rademacher"
    description = "x = +-1"

    def components(self) -> tuple[Component, ...]:
        """Two atoms."""
        return Component(HALF, ONE, ZERO), Component(HALF, -ONE, ZERO)


@dataclass(frozen=True)
class GaussBernoulli(MixturePrior):
    """x ~ N(0, 1) with probability rho, else 0."""

    name = "gauss-bernoulli"
    description = "x ~ N(0, 1) with probability rho, else 0"
    parameters = (SPARSITY,)

    def components(self) -> tuple[Component, ...]:
        """A Gaussian and an atom at 0."""
        return Component(rho, ZERO, ONE), Component(1 - rho, ZERO, ZERO)


@dataclass(frozen=True)
class Bernoulli(MixturePrior):
    """x = 1 with probability rho, else 0."""

    name = "bernoulli"
    description = "x = 1 with probability rho, else 0"
    parameters = (SPARSITY,)

    def components(self) -> tuple[Component, ...]:
        """Atoms at 1 and 0."""
        return Component(rho, ONE, ZERO), Component(1 - rho, ZERO, ZERO)


@dataclass(frozen=True)
class SparseRademacher(MixturePrior):
    """x = +-1/sqrt(rho) with probability rho/2 each, else 0: unit variance."""

    name = "sparse-rademacher"
    description = "x = +-1/sqrt(rho) with probability rho, else 0"
    parameters = (SPARSITY,)

    def components(self) -> tuple[Component, ...]:
        """Three atoms."""
        size = 1 / sp.sqrt(rho)
        return Component(rho / 2, size, ZERO), Component(rho / 2, -size, ZERO), Component(1 - rho, ZERO, ZERO)


@dataclass(frozen=True)
class Discrete(MixturePrior):
    """Atoms with probabilities, given as numbers: ``Discrete((-1, 0, 2), ("1/4", "1/2", "1/4"))``.

    Raises
    ------
    InputError
        Different lengths, an atom twice, a negative probability, probabilities that do not sum to 1 exactly
        (floats mean the decimals they print as), a single value.
    """

    atoms: tuple[Any, ...]
    probabilities: tuple[Any, ...]

    name = "discrete"
    description = "given atoms with given probabilities"

    def __post_init__(self) -> None:
        """Refuse what is no law."""
        for name in ("atoms", "probabilities"):
            object.__setattr__(self, name, _several(f"the {name}", getattr(self, name)))
        _check_weights("the probabilities", self.probabilities, len(self.atoms))
        if len({_exact(a, "an atom") for a in self.atoms}) < len(self.atoms):
            raise InputError(f"the atoms must differ, got {self.atoms}")
        _check_spread(self)

    def components(self) -> tuple[Component, ...]:
        """One point mass an atom."""
        return _exact_components(self.probabilities, self.atoms, (0,) * len(self.atoms))


@dataclass(frozen=True)
class GaussianMixture(MixturePrior):
    """Gaussians of given weights, means and variances.

    Raises
    ------
    InputError
        Different lengths, a negative weight or variance, weights that do not sum to 1 exactly, a single
        value.
    """

    weights: tuple[Any, ...]
    means: tuple[Any, ...]
    variances: tuple[Any, ...]

    name = "gaussian-mixture"
    description = "Gaussians of given weights, means and variances"

    def __post_init__(self) -> None:
        """Refuse what is no law."""
        for name in ("weights", "means", "variances"):
            object.__setattr__(self, name, _several(f"the {name}", getattr(self, name)))
        _check_weights("the weights", self.weights, len(self.means))
        if len(self.variances) != len(self.means):
            raise InputError(f"{len(self.means)} means need as many variances, got {len(self.variances)}")
        if any(_exact(v, "a variance") < 0 for v in self.variances):
            raise InputError(f"variances must be >= 0, got {self.variances}")
        _check_spread(self)

    def components(self) -> tuple[Component, ...]:
        """As given."""
        return _exact_components(self.weights, self.means, self.variances)


@dataclass(frozen=True)
class Laplace(Prior):
    """Density exp(-sqrt(2) |x|)/sqrt(2), of unit variance."""

    name = "laplace"
    description = "density exp(-sqrt(2) |x|)/sqrt(2)"

    @property
    def second_moment(self) -> sp.Expr:
        """1."""
        return ONE

    @property
    def mean(self) -> sp.Expr:
        """0."""
        return ZERO

    def density(self, at: sp.Expr) -> sp.Expr:
        """The density at a point."""
        return sp.exp(-sp.sqrt(2) * sp.Abs(at)) / sp.sqrt(2)

    def tilted_moment(self, order: int) -> sp.Expr:
        """Complete the square: a Gaussian average of x^order times the density over N(B/A, 1/A)."""
        average = GaussianAverage(x**order * self.density(x), x, B / A, 1 / A).doit()
        scale = sp.sqrt(2 * sp.pi / A) * sp.exp(B**2 / (2 * A))
        return sp.Add(*(scale * term for term in sp.Add.make_args(sp.expand_mul(average))))

    def observed(self, body: sp.Expr) -> sp.Expr:
        """An integral over the density of B."""
        return self._over_outputs(self._law(self._sides()) * body)

    def log_partition(self) -> sp.Expr:
        """Side by side: where A is small log Phi and what is beside it are of order 1/A, their sum is not."""
        sides = [_shifted(stable_log(term)) for term in sp.Add.make_args(self.partition())]
        return reduce(logaddexp, sides)

    def lost_information(self) -> sp.Expr:
        """E log(Z_in exp(-B^2/(2 A))) + 1/2 = E log Z_in - A E x^2/2, since E B^2 = A + A^2 E x^2."""
        sides = self._sides()
        return self._over_outputs(self._law(sides) * reduce(logaddexp, sides)) + HALF

    def _sides(self) -> list[sp.Expr]:
        """Logarithms of the parts of Z_in exp(-B^2/(2 A)) that x > 0 and x < 0 have, as one function each."""
        terms = sp.Add.make_args(self.partition())
        return [_shifted(stable_log(term) - B**2 / (2 * A)) for term in terms]

    @staticmethod
    def _law(sides: Sequence[sp.Expr]) -> sp.Expr:
        """The density of B."""
        return sp.Add(*(sp.exp(side - sp.log(2 * sp.pi * A) / 2) for side in sides))

    def _over_outputs(self, integrand: sp.Expr) -> sp.Expr:
        """The integral over B, in units of its standard deviation."""
        deviation = sp.sqrt(A + A**2 * self.second_moment)
        return OutputSum((deviation * integrand).subs(B, deviation * UNIT), UNIT, sp.S.Reals)

    def denoiser(self) -> sp.Expr:
        """The posterior mean, side by side of 0: truncated Gaussians, whose moments do not cancel."""
        return _by_truncated_moments(super().denoiser())

    def posterior_variance(self) -> sp.Expr:
        """Of the same form."""
        return _by_truncated_moments(super().posterior_variance())

    def dimension(self, values: Mapping[str, Fraction]) -> Fraction:
        """1: the law has a density."""
        return Fraction(1)

    def sample(self, size: int, rng: Any, **parameters: float) -> Any:
        """Laplace variables of scale 1/sqrt(2)."""
        return rng.laplace(scale=0.5**0.5, size=size)


def _shifted(logarithm: sp.Expr) -> sp.Expr:
    """A sum with log Phi(u) as one function, which tells what cancels with u^2/2."""
    (tail,) = logarithm.atoms(log_ndtr)
    above = sp.expand(logarithm - tail, log=False)
    return shifted_log_ndtr(tail.args[0], above, sp.expand(above - tail.args[0] ** 2 / 2, log=False))


def _by_truncated_moments(expr: sp.Expr) -> sp.Expr:
    """inverse_mills(u) = truncated_mean(u) - u, which cancels what stands beside it."""
    named = expr.replace(inverse_mills, lambda u: truncated_mean(u) - u)
    return named.replace(
        lambda e: e.is_Add and e.has(truncated_mean, truncated_variance) and not e.has(expit), sp.expand_mul
    )


def _exact(value: Any, what: str) -> sp.Expr:
    """A number given exactly, such as sqrt(2) of SymPy, or one that is read as the decimal it prints."""
    if isinstance(value, sp.Expr) and not value.has(sp.Float):
        if not (value.is_number and value.is_real and value.is_finite):
            raise InputError(f"{what} must be a finite real number, got {value}")
        return value
    number = parse_number(value, what)
    return sp.Rational(number.numerator, number.denominator)


def _exact_components(weights: Any, means: Any, variances: Any) -> tuple[Component, ...]:
    """Those that occur: one of weight 0 is none."""
    rows = (
        Component(_exact(w, "a weight"), _exact(m, "a mean"), _exact(v, "a variance"))
        for w, m, v in zip(weights, means, variances, strict=True)
    )
    return tuple(row for row in rows if row.weight != 0)


def _several(what: str, values: Any) -> tuple[Any, ...]:
    """A list, tuple or array of numbers as a tuple: a prior is hashed."""
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise InputError(f"{what} must be several numbers such as (0, 1), got {values!r}")
    return tuple(values)


def _check_weights(what: str, weights: tuple[Any, ...], count: int) -> None:
    if len(weights) != count or not count:
        raise InputError(f"{what} must be as many as the components and not none: {len(weights)} for {count}")
    exact = [_exact(w, what) for w in weights]
    if any(w.is_negative for w in exact):
        raise InputError(f"{what} must be >= 0, got {weights}")
    total = sp.Add(*exact)
    if sp.nsimplify(total - 1) != 0:
        hint = "; write a third as '1/3'" if abs(float(total) - 1) < NEARLY else ""
        raise InputError(f"{what} must sum to 1, got {total}{hint}")


def _check_spread(prior: MixturePrior) -> None:
    """A signal of one value is known without any data: there is nothing to infer."""
    laws = {component[1:] for component in prior.components()}
    if len(laws) == 1 and next(iter(laws))[1] == 0:
        raise InputError(f"a prior must have more than one value, got {next(iter(laws))[0]} with certainty")


PRIORS: dict[str, type[Prior]] = {
    p.name: p for p in (Gaussian, Rademacher, GaussBernoulli, Bernoulli, SparseRademacher, Laplace)
}
