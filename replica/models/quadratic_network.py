"""Networks of extensive width with quadratic activations: A. Maillard, E. Troiani, S. Martin, F. Krzakala
and L. Zdeborova, arXiv 2408.03733.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
target             S = W W^T/(kappa d), W (d x kappa d) iid N(0, 1): E Tr(S)/d = 1, Q_0 = E Tr(S^2)/d =
                   1 + 1/kappa
inputs             n samples X_mu, symmetric d x d, independent N(0, 1 + delta_ij) entries
fields             h_mu = Tr(X_mu S)/sqrt(d), of variance 2 Q_0
outputs            y_mu ~ P_out(.|h_mu); in the paper y = h + sqrt(Delta) z
limit              d, n -> infinity at fixed alpha = n/d^2, kappa = width/d
overlap            q = E Tr(S S_hat)/d = Q_0 - mmse, mmse = E|S - S_hat|^2/d in [0, 1/kappa]
conjugate          q_hat: S is seen as S + Z/sqrt(q_hat), Z with the semicircle law on [-2, 2]
observables        of predictions and of information: ``replica.observables``
free entropy       Phi = lim (1/d^2) E log of the evidence (a density in y, or a probability for discrete y)
=================  ==========================================================================================

A network sum_k (w_k.x)^2/sqrt(d) over the kappa d rows of W, on Gaussian x, is the field of x x^T - 1 plus a
known trace; that the Gaussian X above gives the same free entropy is the universality conjectured in the
paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from replica.ingredients.channels import Channel, GaussianNoise
from replica.ingredients.symmetric_factors import SymmetricFactors
from replica.models.teacher_student import TeacherStudent
from solvers.errors import InputError


@dataclass(frozen=True, init=False)
class QuadraticNetwork(TeacherStudent):
    """Learn a network of kappa d hidden units with quadratic activations; Bayes-optimal.

    >>> from replica.symbols import q_hat
    >>> QuadraticNetwork().saddle_point().update(q_hat)
    4*alpha/(Delta - 2*q + 2 + 2/kappa)

    Raises
    ------
    InputError
        A channel with a parameter of its own called kappa, which is the width here.
    """

    name: ClassVar[str] = "quadratic"
    title: ClassVar[str] = "Quadratic network of extensive width"
    reference: ClassVar[str] = "arXiv 2408.03733"
    rate: ClassVar[str] = "samples per entry of the signal, n/d^2"
    default_start: ClassVar[str] = "global"

    def __init__(self, channel: Channel | None = None, prior: Any = None) -> None:
        """The channel comes first: the prior of the paper is the default."""
        super().__init__(prior or SymmetricFactors(), channel or GaussianNoise())
        own = {p.name for p in self.prior.parameters} & {p.name for p in self.channel.parameters}
        if own:
            shared = ", ".join(sorted(own))
            raise InputError(f"the channel {self.channel.name} has a parameter of the network: {shared}")
