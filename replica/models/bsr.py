"""Bilinear sequence regression: V. Erba, E. Troiani, L. Biggio, A. Maillard and L. Zdeborova, arXiv
2410.18858.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
inputs             n samples X_mu of shape d x L (L tokens of dimension d), iid N(0, 1) entries
target             S = U V^T/sqrt(r), U (d x r) and V (L x r) iid N(0, 1): E S_ij^2 = 1
fields             h_mu = Tr(X_mu^T S)/sqrt(dL), of unit variance
outputs            y_mu ~ P_out(.|h_mu); in the paper y = h + sqrt(Delta) z
limit              d, L, r, n -> infinity at fixed alpha = n/(dL), beta = L/d, rho = r/d
overlap            q = E Tr(S^T S_hat)/(dL) = 1 - mmse, mmse = E|S - S_hat|^2/(dL) in [0, 1]
free entropy       Phi = lim (1/(dL)) E log of the evidence (a density in y, or a probability for discrete y)
=================  ==========================================================================================

Exact symmetry: (d, L) -> (L, d), that is (beta, rho) -> (1/beta, rho/beta).  The equations are written for d
<= L.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import sympy as sp

from replica import channel_rules, replica_rules, spectral_rules
from replica.action import replicated_evidence
from replica.derivation import Derivation
from replica.expr.average import GaussianAverage
from replica.free_entropy import FreeEntropy
from replica.ingredients.channels import Channel, GaussianNoise
from replica.ingredients.priors import GaussianFactors
from replica.parameters import Parameter
from replica.saddle_point import SaddlePoint
from replica.symbols import alpha, beta, delta, h, q, q_hat, rho, y

PHI = sp.Symbol("Phi")
_SYMBOLS = {"alpha": alpha, "beta": beta, "rho": rho, "delta": delta}


@dataclass(frozen=True)
class BilinearSequenceRegression:
    """Learn a low-rank d x L matrix from scalar products with Gaussian sequences; Bayes-optimal.

    >>> bsr = BilinearSequenceRegression()
    >>> bsr.free_entropy().order_parameters
    (q,)
    >>> bsr.saddle_point().update(q_hat)
    alpha/(Delta - q + 1)
    """

    channel: Channel = field(default_factory=GaussianNoise)
    prior: GaussianFactors = field(default_factory=GaussianFactors)

    name: ClassVar[str] = "bsr"
    reference: ClassVar[str] = "arXiv 2410.18858"

    @property
    def control_parameters(self) -> tuple[Parameter, ...]:
        """alpha; those of the prior (beta, rho); those of the channel (delta)."""
        rate = Parameter(
            "alpha", "alpha", "samples per entry of the signal, n/(dL)", Fraction(0), lower_open=True
        )
        return (rate, *self.prior.parameters, *self.channel.parameters)

    def parameter_symbols(self) -> tuple[tuple[Parameter, sp.Symbol], ...]:
        """Each control parameter with its symbol."""
        return tuple((p, _SYMBOLS[p.name]) for p in self.control_parameters)

    def canonical(self, values: dict[str, Any]) -> dict[str, Any]:
        """The same point with d <= L."""
        return self.prior.transposed(values)

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
            derivation.steps[-1].printed,
        )

    def saddle_point(self) -> SaddlePoint:
        """q = 1 - MMSE(q_hat) and q_hat = alpha E int dy Z_out g_out^2, in textbook form."""
        return _saddle_point(self)

    def recovery_threshold(self, values: dict[str, Fraction]) -> Fraction:
        """Alpha above which a noiseless signal is recovered exactly: the degrees of freedom of a rank-r
        matrix per entry.

        r(d + L - r)/(dL) = rho (1 + beta - rho)/beta for r < min(d, L), else 1 (arXiv 2410.18858, section on
        the noiseless case); it is the limit of q_hat MMSE(q_hat) at q_hat -> infinity.
        """
        b, r = values["beta"], values["rho"]
        return r * (1 + b - r) / b if r < min(1, b) else Fraction(1)

    def recovers(self, values: dict[str, Fraction]) -> bool:
        """Whether exact recovery is a solution: noiseless real outputs at or above the threshold."""
        return values.get("delta") == 0 and values["alpha"] >= self.recovery_threshold(values)


@lru_cache(maxsize=32)
def _derivation(model: BilinearSequenceRegression) -> Derivation:
    channel, prior = model.channel, model.prior
    start = replicated_evidence(channel.density(y, h), channel.outputs)
    derivation = Derivation.start("Bilinear sequence regression: free entropy", PHI, start)
    for rule in (
        replica_rules.average_inputs,
        replica_rules.bayes_optimal,
        replica_rules.hierarchical_fields,
        replica_rules.decouple_signal,
        replica_rules.n_to_zero,
        replica_rules.to_differential_entropy,
        spectral_rules.rotational_entropy(prior),
        spectral_rules.gaussian_energy(prior),
        channel_rules.insert_channel(channel),
    ):
        derivation = derivation.then(rule)
    return derivation


@lru_cache(maxsize=32)
def _saddle_point(model: BilinearSequenceRegression) -> SaddlePoint:
    channel, prior = model.channel, model.prior
    phi = model.free_entropy().expression
    signal_part = sp.Add(*(t for t in sp.Add.make_args(phi) if t.has(q_hat) and not t.has(q)))
    overlap = Derivation.start("Overlap", q, 2 * sp.Derivative(signal_part, q_hat))
    overlap = overlap.then(spectral_rules.de_bruijn(prior)).then(spectral_rules.hilbert_identities())
    general = channel_rules.overlap_equation(channel.outputs)
    conjugate = general.then(channel_rules.insert_evidence(channel))
    definitions = ((q_hat, general.result), *channel_rules.output_definitions(channel))
    return SaddlePoint(
        ((q, overlap.result), (q_hat, conjugate.result)),
        (overlap, conjugate),
        definitions if conjugate.result.has(GaussianAverage) else (),
    )
