"""Channels: how an output y is drawn given its field h.

A channel states P_out(y|h) and where y lives.  Everything else follows: the evidence Z_out(y, omega, V) is
the Gaussian average of P_out over h ~ N(omega, V), in closed form by rule; g_out = d log Z_out/d omega.

====================  ===============================================  ====================
channel               P_out(y|h)                                        control parameters
====================  ===============================================  ====================
``GaussianNoise``     y = h + sqrt(Delta) z, z ~ N(0, 1)                Delta
``Sign``              y = sign(h), in {-1, 1}                           none
``Probit``            y = sign(h + sqrt(Delta) z)                       Delta > 0
``Logistic``          y = +-1, P(y|h) = 1/(1 + exp(-y h))               none
``MarginStep``        y = sign(h - kappa)                               kappa
``SymmetricInterval`` y = sign(kappa - |h|)                             kappa > 0
``Quantiser``         y = number of thresholds below h                  none
``LaplaceNoise``      y = h + Laplace noise of variance Delta           Delta > 0
``PoissonNoise``      y ~ Poisson(exp(h))                               none
``AbsoluteValue``     y = |h| + sqrt(Delta) z                           Delta (0 by default)
``ReLU``              y = max(h, 0) + sqrt(Delta) z                     Delta (0 by default)
``LeakyReLU``         y = max(h, s h) + sqrt(Delta) z, s = 1/10         Delta (0 by default)
====================  ===============================================  ====================
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import sympy as sp

from replica.expr.average import GaussianAverage, MixedOutputs, OutputSum
from replica.expr.logsum import expit, in_positive_terms, stable_log
from replica.expr.rules import output_integral_to_average, reflected
from replica.expr.stable import ndtr, normal_density, npdf
from replica.parameters import Parameter, parse_number
from replica.symbols import delta, h, kappa, y
from solvers.errors import InputError

DELTA = Parameter("delta", "Delta", "variance of the output noise", lower=Fraction(0))
POSITIVE_DELTA = Parameter(
    "delta", "Delta", "variance of the output noise", lower=Fraction(0), lower_open=True
)
OPTIONAL_DELTA = Parameter(
    "delta", "Delta", "variance of the output noise, 0 by default", lower=Fraction(0), default=Fraction(0)
)
KAPPA = Parameter("kappa", "kappa", "threshold on the field")
WIDTH = Parameter("kappa", "kappa", "half-width of the interval", lower=Fraction(0), lower_open=True)


@dataclass(frozen=True)
class Channel(ABC):
    """P_out(y|h), normalised: it sums or integrates to 1 over ``outputs``."""

    name: ClassVar[str]
    description: ClassVar[str]
    outputs: ClassVar[sp.Set]
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    @abstractmethod
    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """P_out(y|h): a density in y, or a probability when ``outputs`` is finite."""

    @abstractmethod
    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """Outputs drawn for an array of fields, with a ``numpy.random.Generator``."""

    @property
    def symmetric(self) -> bool:
        """Whether y cannot tell h from -h: the signal is then known up to a global sign."""
        return self.density(y, h) == self.density(y, -h)

    def pieces(self, y: sp.Expr, field: sp.Expr) -> tuple[tuple[sp.Set, sp.Expr], ...]:
        """The outputs in parts of one formula each: atoms first, with probabilities, then densities."""
        return ((self.outputs, self.density(y, field)),)

    def at(self, values: Mapping[str, Any]) -> Channel:
        """The channel at these control parameters: another one where a parameter changes the kind of
        outputs.
        """
        return self

    def exact_share(self, values: Mapping[str, Any]) -> Fraction:
        """Share of the outputs that determine their field, up to finitely many values: 1 for real outputs
        without noise.
        """
        return Fraction(0)

    def noiseless(self, values: Mapping[str, Any]) -> bool:
        """Whether the output is a function of the field."""
        return self.exact_share(values) > 0

    def jumps(self, values: Mapping[str, Any]) -> bool:
        """Whether P_out(y|h) jumps as h moves: q_hat then grows without bound as v -> 0."""
        return self.noiseless(values)

    def evidence(self, y: sp.Expr, omega: sp.Expr, variance: sp.Expr) -> sp.Expr:
        """Z_out(y, omega, V) = E_{h ~ N(omega, V)} P_out(y|h), in closed form where a rule gives one.

        A symbol y stands for an output that is no atom; its assumptions (positive, negative) choose a piece.
        """
        y = sp.sympify(y)
        pieces = self.pieces(y, h)
        holds = [density for part, density in pieces if part.contains(y) == sp.true]
        return self._average(holds[0] if holds else pieces[-1][1], omega, variance)

    def log_evidence(self, y: sp.Expr, omega: sp.Expr, variance: sp.Expr) -> sp.Expr:
        """log Z_out, written so that it does not overflow."""
        return stable_log(self.evidence(y, omega, variance))

    def output_function(self, y: sp.Expr, omega: sp.Symbol, variance: sp.Expr) -> sp.Expr:
        """g_out(y, omega, V) = d log Z_out/d omega."""
        return self.log_evidence(y, omega, variance).diff(omega)

    def expectation(
        self, f: Callable[[sp.Expr, sp.Expr], sp.Expr], omega: sp.Expr, variance: sp.Expr
    ) -> sp.Expr:
        r"""\int dy Z_out(y, omega, V) f(y, Z_out): a sum over atoms, Gaussian averages over real outputs."""
        terms = []
        for part, density in self.pieces(y, h):
            evidence = self._average(density, omega, variance)
            if isinstance(part, sp.FiniteSet):
                terms.extend((evidence * f(y, evidence)).subs(y, v) for v in part)
            else:
                terms.append(_integrated(evidence, f(y, evidence), part, omega))
        return sp.Add(*terms)

    @staticmethod
    def _average(density: sp.Expr, omega: sp.Expr, variance: sp.Expr) -> sp.Expr:
        return in_positive_terms(GaussianAverage(density, h, omega, variance).doit())


def _together(pieces: tuple[tuple[sp.Set, sp.Expr], ...]) -> Any:
    parts = [part for part, _ in pieces]
    return parts[0] if len(parts) == 1 else MixedOutputs(*parts)


def _integrated(evidence: sp.Expr, function: sp.Expr, outputs: Any, omega: sp.Expr) -> sp.Expr:
    """The integral of evidence times function over one part of the outputs: as Gaussian averages where the
    evidence is made of Gaussian densities, else as it stands.  An even integrand is folded onto the whole
    line; one of y - omega alone does not depend on omega.
    """
    integrand = evidence * function
    half_lines = (sp.Interval.open(0, sp.oo), sp.Interval.open(-sp.oo, 0))
    scale, total = sp.S.One, integrand
    if outputs in half_lines:
        if integrand.subs(y, -y) == integrand:
            scale = sp.Rational(1, 2)
        else:
            total = sp.Heaviside((1 if outputs == half_lines[0] else -1) * y) * integrand
    elif outputs != sp.S.Reals:
        return OutputSum(integrand, y, outputs)
    try:
        averages = output_integral_to_average(OutputSum(total, y, sp.S.Reals))
    except ValueError:
        density = sp.Add(*(_by_logarithm(term) for term in sp.Add.make_args(evidence)))
        return OutputSum(_centred(density * function, omega), y, outputs)
    return sp.Add(*(_expanded(term) for term in sp.Add.make_args(reflected(scale * averages).doit())))


def _expanded(term: sp.Expr) -> sp.Expr:
    """Moments of truncated Gaussians, polynomials in omega with ndtr and npdf, multiplied out: the squares of
    omega cancel, which are large beside a small V.
    """
    if not term.has(ndtr, npdf):
        return term
    names = {f: sp.Dummy() for f in term.atoms(ndtr, npdf)}
    roots = {p: sp.Dummy() for p in term.atoms(sp.Pow) if not p.exp.is_integer}
    plain = term.xreplace(names)
    if not plain.xreplace(roots).is_rational_function():
        return term
    back = {name: f for f, name in names.items()}
    return sp.collect(sp.expand(plain), list(back)).xreplace(back)


def _by_logarithm(term: sp.Expr) -> sp.Expr:
    """A positive term whose factors may overflow where their product does not."""
    return term if term.has(GaussianAverage) else sp.exp(stable_log(term))


def _centred(integrand: sp.Expr, omega: sp.Expr) -> sp.Expr:
    """The integrand in y - omega, where it depends on nothing else."""

    def tidy(e: sp.Expr) -> sp.Expr:
        return e.func(*(sp.expand(a, log=False) for a in e.args))

    shifted = integrand.subs(y, y + omega).replace(lambda e: isinstance(e, sp.Function), tidy)
    return integrand if shifted.has_free(omega) else shifted


@dataclass(frozen=True)
class GaussianNoise(Channel):
    """y = h + sqrt(Delta) z."""

    name = "gaussian"
    description = "y = h + sqrt(Delta) z"
    outputs = sp.Reals
    parameters = (DELTA,)

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """N(y; h, Delta)."""
        return normal_density(y, field, delta)

    def exact_share(self, values: Mapping[str, Any]) -> Fraction:
        """1 without noise."""
        return Fraction(values["delta"] == 0)

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """h plus noise of variance ``delta``."""
        return field + parameters["delta"] ** 0.5 * rng.standard_normal(field.shape)


@dataclass(frozen=True)
class Sign(Channel):
    """y = sign(h)."""

    name = "sign"
    description = "y = sign(h)"
    outputs = sp.FiniteSet(-1, 1)

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """theta(y h)."""
        return sp.Heaviside(y * field)

    def noiseless(self, values: Mapping[str, Any]) -> bool:
        """Always."""
        return True

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """The sign, 1 at 0."""
        return 1.0 - 2.0 * (field < 0)


@dataclass(frozen=True)
class Probit(Channel):
    """y = sign(h + sqrt(Delta) z)."""

    name = "probit"
    description = "y = sign(h + sqrt(Delta) z)"
    outputs = sp.FiniteSet(-1, 1)
    parameters = (POSITIVE_DELTA,)

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """Phi(y h/sqrt(Delta))."""
        return ndtr(y * field / sp.sqrt(delta))

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """The sign of the noisy field."""
        return 1.0 - 2.0 * (field + parameters["delta"] ** 0.5 * rng.standard_normal(field.shape) < 0)


@dataclass(frozen=True)
class Logistic(Channel):
    """y = 1 with probability 1/(1 + exp(-h)), else -1."""

    name = "logistic"
    description = "P(y|h) = 1/(1 + exp(-y h))"
    outputs = sp.FiniteSet(-1, 1)

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """sigma(y h)."""
        return expit(y * field)

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """Drawn sign by sign."""
        import numpy as np

        return 1.0 - 2.0 * (rng.random(field.shape) * (1 + np.exp(-field)) > 1)


@dataclass(frozen=True)
class MarginStep(Channel):
    """y = sign(h - kappa)."""

    name = "margin"
    description = "y = sign(h - kappa)"
    outputs = sp.FiniteSet(-1, 1)
    parameters = (KAPPA,)

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """theta(y (h - kappa))."""
        return sp.Heaviside(y * (field - kappa))

    def noiseless(self, values: Mapping[str, Any]) -> bool:
        """Always."""
        return True

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """The sign of h - kappa, 1 at 0."""
        return 1.0 - 2.0 * (field < parameters["kappa"])


@dataclass(frozen=True)
class SymmetricInterval(Channel):
    """y = sign(kappa - |h|): whether the field lies inside an interval around 0."""

    name = "interval"
    description = "y = sign(kappa - |h|)"
    outputs = sp.FiniteSet(-1, 1)
    parameters = (WIDTH,)

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """1 inside for y = 1, outside for y = -1."""
        inside = sp.Heaviside(field + kappa) * sp.Heaviside(kappa - field)
        outside = sp.Heaviside(field - kappa) + sp.Heaviside(-kappa - field)
        return sp.Piecewise((inside, sp.Eq(y, 1)), (outside, True))

    def pieces(self, y: sp.Expr, field: sp.Expr) -> tuple[tuple[sp.Set, sp.Expr], ...]:
        """The two outputs, each with its formula."""
        return tuple((sp.FiniteSet(v), self.density(v, field)) for v in (-1, 1))

    def noiseless(self, values: Mapping[str, Any]) -> bool:
        """Always."""
        return True

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """1 inside, -1 outside."""
        return 1.0 - 2.0 * (abs(field) > parameters["kappa"])


@dataclass(frozen=True)
class Quantiser(Channel):
    """y = number of thresholds below h: len(thresholds) + 1 levels 0, 1, 2, ...

    Raises
    ------
    InputError
        No threshold, or thresholds that do not increase.
    """

    thresholds: tuple[Any, ...] = (-1, 0, 1)

    name = "quantiser"
    description = "y = number of the thresholds -1, 0, 1 below h"

    def __post_init__(self) -> None:
        """Refuse thresholds that do not increase."""
        edges = self.edges()
        if not edges or any(b <= a for a, b in itertools.pairwise(edges)):
            raise InputError(f"thresholds must be numbers that increase, at least one, got {self.thresholds}")

    def edges(self) -> tuple[sp.Rational, ...]:
        """The thresholds as exact numbers."""
        numbers = (parse_number(t, "a threshold") for t in self.thresholds)
        return tuple(sp.Rational(t.numerator, t.denominator) for t in numbers)

    @property
    def outputs(self) -> sp.Set:
        """The levels."""
        return sp.FiniteSet(*range(len(self.thresholds) + 1))

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """1 where h lies between the thresholds of the level y."""
        edges = self.edges()
        levels = [sp.Heaviside(edges[0] - field)]
        levels += [sp.Heaviside(field - a) * sp.Heaviside(b - field) for a, b in itertools.pairwise(edges)]
        levels += [sp.Heaviside(field - edges[-1])]
        if sp.sympify(y).is_number:
            return levels[int(y)]
        return sp.Piecewise(*((level, sp.Eq(y, k)) for k, level in enumerate(levels)))

    def pieces(self, y: sp.Expr, field: sp.Expr) -> tuple[tuple[sp.Set, sp.Expr], ...]:
        """The levels, each with its formula."""
        return tuple((sp.FiniteSet(k), self.density(k, field)) for k in range(len(self.thresholds) + 1))

    def noiseless(self, values: Mapping[str, Any]) -> bool:
        """Always."""
        return True

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """The level of each field."""
        import numpy as np

        return np.digitize(field, [float(t) for t in self.edges()]).astype(float)


@dataclass(frozen=True)
class LaplaceNoise(Channel):
    """y = h + noise of density exp(-|u|/b)/(2 b), of variance Delta = 2 b^2."""

    name = "laplace"
    description = "y = h + Laplace noise of variance Delta"
    outputs = sp.Reals
    parameters = (POSITIVE_DELTA,)

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """exp(-|y - h|/b)/(2 b), b = sqrt(Delta/2)."""
        return sp.exp(-sp.sqrt(2 / delta) * sp.Abs(y - field)) / sp.sqrt(2 * delta)

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """h plus Laplace noise of variance ``delta``."""
        return field + rng.laplace(scale=(parameters["delta"] / 2) ** 0.5, size=field.shape)


@dataclass(frozen=True)
class PoissonNoise(Channel):
    """y ~ Poisson(exp(h)): counts with a log link."""

    name = "poisson"
    description = "y ~ Poisson(exp(h))"
    outputs = sp.S.Naturals0

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """exp(y h - exp(h))/y!."""
        return sp.exp(y * field - sp.exp(field) - sp.loggamma(y + 1))

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """Counts of mean exp(h)."""
        import numpy as np

        return rng.poisson(np.exp(field)).astype(float)


@dataclass(frozen=True)
class PiecewiseLinear(Channel):
    """y = g(h) + sqrt(Delta) z, with g of slope ``slopes[0]`` at h > 0 and ``slopes[1]`` at h < 0.

    Without noise (``noisy=False``, or delta = 0) the outputs may have an atom at 0, where a slope is 0,
    beside a density: P_out is a probability there.
    """

    noisy: bool = True

    @property
    @abstractmethod
    def slopes(self) -> tuple[sp.Expr, sp.Expr]:
        """Slopes of g at h > 0 and at h < 0."""

    @abstractmethod
    def link(self, field: sp.Expr) -> sp.Expr:
        """g(h)."""

    @property
    def outputs(self) -> sp.Set:
        """The reals with noise; else the image of g."""
        return sp.S.Reals if self.noisy else _together(self.pieces(y, h))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Delta, 0 where it is not given."""
        return (OPTIONAL_DELTA,) if self.noisy else ()

    def at(self, values: Mapping[str, Any]) -> Channel:
        """The noiseless channel at delta = 0: densities in h become distributions."""
        return replace(self, noisy=False) if self.noisy and values.get("delta") == 0 else self

    def exact_share(self, values: Mapping[str, Any]) -> Fraction:
        """Half for each side whose slope is not 0, without noise: h is symmetric."""
        if self.noisy:
            return Fraction(0)
        return sum((Fraction(1, 2) for slope in self.slopes if slope != 0), Fraction(0))

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """N(y; g(h), Delta), or delta(y - g(h))."""
        if self.noisy:
            return normal_density(y, self.link(field), delta)
        pieces = self.pieces(y, field)
        return (
            pieces[0][1] if len(pieces) == 1 else sp.Piecewise(*((d, part.contains(y)) for part, d in pieces))
        )

    def pieces(self, y: sp.Expr, field: sp.Expr) -> tuple[tuple[sp.Set, sp.Expr], ...]:
        """The image of each half-line: an atom at 0 where the slope is 0, else a half-line of outputs."""
        if self.noisy:
            return ((self.outputs, self.density(y, field)),)
        parts: dict[sp.Set, sp.Expr] = {}
        for side, slope in zip((1, -1), self.slopes, strict=True):
            if slope == 0:
                part, density = sp.FiniteSet(0), sp.Heaviside(side * field)
            else:
                part = sp.Interval.open(0, sp.oo) if side * slope > 0 else sp.Interval.open(-sp.oo, 0)
                density = sp.DiracDelta(y - slope * field)
            parts[part] = parts.get(part, sp.S.Zero) + density
        return tuple(sorted(parts.items(), key=lambda item: not isinstance(item[0], sp.FiniteSet)))

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """g(h) plus noise of variance ``delta``."""
        import numpy as np

        right, left = (float(slope) for slope in self.slopes)
        value = np.where(field > 0, right * field, left * field)
        if parameters.get("delta"):
            value = value + parameters["delta"] ** 0.5 * rng.standard_normal(field.shape)
        return value


@dataclass(frozen=True)
class AbsoluteValue(PiecewiseLinear):
    """y = |h| + sqrt(Delta) z: real phase retrieval."""

    name = "abs"
    description = "y = |h| + sqrt(Delta) z"
    slopes = (sp.S.One, sp.S.NegativeOne)

    def link(self, field: sp.Expr) -> sp.Expr:
        """|h|."""
        return sp.Abs(field)


@dataclass(frozen=True)
class ReLU(PiecewiseLinear):
    """y = max(h, 0) + sqrt(Delta) z."""

    name = "relu"
    description = "y = max(h, 0) + sqrt(Delta) z"
    slopes = (sp.S.One, sp.S.Zero)

    def link(self, field: sp.Expr) -> sp.Expr:
        """max(h, 0)."""
        return sp.Max(field, 0)


@dataclass(frozen=True)
class LeakyReLU(PiecewiseLinear):
    """y = max(h, s h) + sqrt(Delta) z, 0 < s < 1."""

    slope: Any = Fraction(1, 10)

    name = "leaky"
    description = "y = max(h, h/10) + sqrt(Delta) z"

    def __post_init__(self) -> None:
        """Refuse a slope outside (0, 1)."""
        if not 0 < parse_number(self.slope, "the slope") < 1:
            raise InputError(f"the slope must lie between 0 and 1, got {self.slope}")

    @property
    def slopes(self) -> tuple[sp.Expr, sp.Expr]:
        """1 and s, exact."""
        slope = parse_number(self.slope, "the slope")
        return sp.S.One, sp.Rational(slope.numerator, slope.denominator)

    def link(self, field: sp.Expr) -> sp.Expr:
        """max(h, s h)."""
        return sp.Max(field, 0) + self.slopes[1] * sp.Min(field, 0)


CHANNELS: dict[str, type[Channel]] = {
    c.name: c
    for c in (
        GaussianNoise,
        Sign,
        AbsoluteValue,
        Probit,
        Logistic,
        MarginStep,
        SymmetricInterval,
        Quantiser,
        ReLU,
        LeakyReLU,
        LaplaceNoise,
        PoissonNoise,
    )
}
