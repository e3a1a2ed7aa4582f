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
observables        of predictions and of information: ``replica.observables``
free entropy       Phi = lim (1/(dL)) E log of the evidence (a density in y, or a probability for discrete y)
=================  ==========================================================================================

Exact symmetry: (d, L) -> (L, d), that is (beta, rho) -> (1/beta, rho/beta).  The equations are written for d
<= L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from replica.ingredients.channels import Channel, GaussianNoise
from replica.ingredients.factors import GaussianFactors
from replica.models.teacher_student import TeacherStudent


@dataclass(frozen=True, init=False)
class BilinearSequenceRegression(TeacherStudent):
    """Learn a low-rank d x L matrix from scalar products with Gaussian sequences; Bayes-optimal.

    >>> from replica.symbols import q_hat
    >>> bsr = BilinearSequenceRegression()
    >>> bsr.free_entropy().order_parameters
    (q,)
    >>> bsr.saddle_point().update(q_hat)
    alpha/(Delta - q + 1)
    """

    name: ClassVar[str] = "bsr"
    title: ClassVar[str] = "Bilinear sequence regression"
    reference: ClassVar[str] = "arXiv 2410.18858"
    rate: ClassVar[str] = "samples per entry of the signal, n/(dL)"
    default_start: ClassVar[str] = "global"

    def __init__(self, channel: Channel | None = None, prior: Any = None) -> None:
        """The channel comes first: the prior of the paper is the default."""
        super().__init__(prior or GaussianFactors(), channel or GaussianNoise())
