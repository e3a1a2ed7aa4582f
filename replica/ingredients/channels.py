"""Channels: how an output y is drawn given its field h.

A channel states P_out(y|h) and where y lives.  Everything else follows: the evidence Z_out(y, omega, V) is
the Gaussian average of P_out over h ~ N(omega, V), in closed form by rule; g_out = d log Z_out/d omega.

====================  ===============================================  ====================
channel               P_out(y|h)                                        control parameters
====================  ===============================================  ====================
``GaussianNoise``     y = h + sqrt(Delta) z, z ~ N(0, 1)                Delta
``Sign``              y = sign(h), in {-1, 1}                           none
``AbsoluteValue``     y = |h| + sqrt(Delta) z                           Delta
====================  ===============================================  ====================
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import sympy as sp

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.logsum import stable_log
from replica.expr.rules import output_integral_to_average
from replica.expr.stable import normal_density
from replica.parameters import Parameter
from replica.symbols import delta, h, y

DELTA = Parameter("delta", "Delta", "variance of the output noise", lower=Fraction(0))
POSITIVE_DELTA = Parameter(
    "delta", "Delta", "variance of the output noise", lower=Fraction(0), lower_open=True
)


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

    def evidence(self, y: sp.Expr, omega: sp.Expr, variance: sp.Expr) -> sp.Expr:
        """Z_out(y, omega, V) = E_{h ~ N(omega, V)} P_out(y|h), in closed form.

        Raises
        ------
        NotImplementedError
            No rule gives a closed form.
        """
        average = GaussianAverage(self.density(y, h), h, omega, variance).doit()
        if average.has(GaussianAverage):
            raise NotImplementedError(f"no closed form for the evidence of the channel {self.name}")
        return average

    def log_evidence(self, y: sp.Expr, omega: sp.Expr, variance: sp.Expr) -> sp.Expr:
        """log Z_out, written so that it does not overflow."""
        return stable_log(self.evidence(y, omega, variance))

    def output_function(self, y: sp.Expr, omega: sp.Symbol, variance: sp.Expr) -> sp.Expr:
        """g_out(y, omega, V) = d log Z_out/d omega."""
        return self.log_evidence(y, omega, variance).diff(omega)

    def expectation(self, f: Callable[[sp.Expr], sp.Expr], omega: sp.Expr, variance: sp.Expr) -> sp.Expr:
        r"""\int dy Z_out(y, omega, V) f(y): a sum over finite outputs, Gaussian averages over real ones."""
        if isinstance(self.outputs, sp.FiniteSet):
            return sp.Add(*(self.evidence(v, omega, variance) * f(v) for v in self.outputs))
        total = OutputSum(self.evidence(y, omega, variance) * f(y), y, self.outputs)
        return output_integral_to_average(total).doit()


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

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """The sign, 1 at 0."""
        return 1.0 - 2.0 * (field < 0)


@dataclass(frozen=True)
class AbsoluteValue(Channel):
    """y = |h| + sqrt(Delta) z: real phase retrieval with noise."""

    name = "abs"
    description = "y = |h| + sqrt(Delta) z"
    outputs = sp.Reals
    parameters = (POSITIVE_DELTA,)

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """N(y; |h|, Delta)."""
        return normal_density(y, sp.Abs(field), delta)

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """|h| plus noise of variance ``delta``."""
        return abs(field) + parameters["delta"] ** 0.5 * rng.standard_normal(field.shape)


CHANNELS: dict[str, type[Channel]] = {c.name: c for c in (GaussianNoise, Sign, AbsoluteValue)}
