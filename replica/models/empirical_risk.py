"""Convex empirical risk minimisation with a teacher, in the limit of many samples and dimensions.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
inputs             n samples x_mu ~ N(0, I/d)
teacher            w* with d iid coordinates, E (w*_i)^2 = rho (1 for the default Gaussian prior)
outputs            y_mu ~ P_out(.|h*), h* = x.w*; labels -1 and 1, or the field with Gaussian noise
risk               sum_mu loss(y_mu, x_mu.w) + sum_i penalty(w_i), minimised over w; no factor 1/n
limit              d, n -> infinity at fixed alpha = n/d
overlaps           m = w.w*/d, q = |w|^2/d at the minimum; V the trace of the response of w to a field, per d
free entropy       Phi = -min risk/d, with all constants; energy = -Phi
=================  ==========================================================================================

Sources: M. Bayati and A. Montanari, IEEE Trans. Inf. Theory 58 (2012) 1997 (lasso); C. Thrampoulidis, E.
Abbasi and B. Hassibi, IEEE Trans. Inf. Theory 64 (2018) 5592; B. Aubin, F. Krzakala, Y. Lu and L. Zdeborova,
NeurIPS 33 (2020) 12199, arXiv 2006.06560 (classification by convex losses); B. Loureiro et al., arXiv
2102.08127 (proof).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import sympy as sp

from replica import envelope_rules, risk_ground_rules, risk_rules, risk_saddle_rules
from replica.derivation import Derivation
from replica.expr.average import GaussianAverage
from replica.free_entropy import FreeEntropy
from replica.ingredients.channels import Channel, Sign
from replica.ingredients.losses import LogisticLoss, Loss
from replica.ingredients.penalties import L2, Penalty
from replica.ingredients.priors import Gaussian
from replica.parameters import Parameter
from replica.risk_action import ReplicatedRisk, h_0, w
from replica.risk_rules import FIELD
from replica.saddle_point import SaddlePoint
from replica.symbols import V, V_hat, alpha, h, m, m_hat, n, parameter_symbol, q, q_hat, y
from solvers.errors import InputError


@dataclass(frozen=True)
class EmpiricalRisk:
    """Minimise a convex risk on data of a teacher.

    ``teacher`` is the channel of the outputs, ``teacher_prior`` the law of the teacher's coordinates: a
    mixture of Gaussians (``components()`` gives weights, means and variances).

    >>> from replica.ingredients.channels import GaussianNoise
    >>> from replica.ingredients.losses import SquareLoss
    >>> ridge = EmpiricalRisk(GaussianNoise(), SquareLoss())
    >>> ridge.saddle_point().update(V_hat)
    alpha/(V + 1)
    """

    teacher: Channel = field(default_factory=Sign)
    loss: Loss = field(default_factory=LogisticLoss)
    penalty: Penalty = field(default_factory=L2)
    teacher_prior: Any = field(default_factory=Gaussian)

    name: ClassVar[str] = "risk"
    reference: ClassVar[str] = "arXiv 2102.08127"
    solver: ClassVar[str] = "risk"
    simulation: ClassVar[str] = "risk"

    def __post_init__(self) -> None:
        for name, part, kind in (
            ("teacher", self.teacher, Channel),
            ("loss", self.loss, Loss),
            ("penalty", self.penalty, Penalty),
        ):
            if not isinstance(part, kind):
                raise InputError(f"the {name} must be a {kind.__name__}, not {part!r}")
        if not hasattr(self.teacher_prior, "components"):
            raise InputError("the teacher's prior must be a mixture of Gaussians")
        envelope_rules.check_supported(self.teacher, self.loss)
        self.loss.profile().check_convex("loss")
        self.penalty.profile().check_convex("penalty")
        symbols = [symbol for _, symbol in self.parameter_symbols()]
        for parameter, symbol in self.parameter_symbols():
            if symbols.count(symbol) > 1:
                raise InputError(f"two parameters are called {parameter.name}")

    @property
    def control_parameters(self) -> tuple[Parameter, ...]:
        """alpha; those of penalty, loss, channel and prior."""
        rate = Parameter("alpha", "alpha", "samples per dimension, n/d", Fraction(0), lower_open=True)
        parts = (self.penalty, self.loss, self.teacher, self.teacher_prior)
        return (rate, *(p for part in parts for p in part.parameters))

    def parameter_symbols(self) -> tuple[tuple[Parameter, sp.Symbol], ...]:
        """Each control parameter with its symbol."""
        return tuple((p, parameter_symbol(p)) for p in self.control_parameters)

    def check(self, values: dict[str, Fraction]) -> None:
        """Raise InputError where the minimiser is not unique, or does not exist: only at lam = 0.

        Without a penalty a loss of the margin has no minimiser on separable labels; other losses leave
        directions free for alpha <= 1.
        """
        if values["lam"] != 0:
            return
        if self.loss.margin:
            raise InputError(
                f"lam must be > 0 with the {self.loss.name} loss: separable labels have no unique minimiser"
            )
        if values["alpha"] <= 1:
            raise InputError("lam must be > 0 for alpha <= 1: the minimiser is not unique")

    @property
    def second_moment(self) -> sp.Expr:
        """Rho = E (w*_i)^2."""
        return sp.Add(*(p * (mean**2 + v) for p, mean, v in self.teacher_prior.components()))

    def derive(self) -> Derivation:
        """From E[Z^n] to minus the minimal risk per coordinate, step by step."""
        return _derivation(self)

    def free_entropy(self) -> FreeEntropy:
        """Phi(m, q, V, m_hat, q_hat, V_hat), minus the minimal risk per coordinate at its extremum."""
        derivation = self.derive()
        return FreeEntropy(
            derivation.result,
            (m, q, V),
            (m_hat, V_hat, q_hat),
            tuple(s for _, s in self.parameter_symbols()),
            "extremum over all six",
            derivation.printed,
        )

    def saddle_point(self) -> SaddlePoint:
        """m, q, V from the penalty's part and their conjugates from the loss's, in textbook form."""
        return _saddle_point(self)

    def observables(self) -> dict[str, sp.Expr]:
        """What the overlaps say about the minimiser, by name.

        ``training_loss`` per sample, without the penalty; ``mse`` = E (w - w*)^2 per coordinate for real
        outputs; ``generalisation_error`` for labels, the probability that the sign of x.w is not that of the
        teacher's field; ``active_fraction`` of weights that are not zero for a penalty with an l1 norm.
        """
        found = {
            "training_loss": envelope_rules.average(
                envelope_rules.TRAINING, 0, self.teacher, self.loss, self.second_moment
            )
        }
        if self.teacher.outputs == envelope_rules.LABELS:
            found["generalisation_error"] = sp.acos(m / sp.sqrt(q * self.second_moment)) / sp.pi
        else:
            found["mse"] = self.second_moment + q - 2 * m
        if self.penalty.sparse:
            found["active_fraction"] = self._active_fraction()
        return found

    def _active_fraction(self) -> sp.Expr:
        """P(B beyond the slopes of the penalty at its kink), B the field on a weight."""
        (kink,) = self.penalty.profile().kinks()
        body = sp.Heaviside(FIELD - kink.upper) + sp.Heaviside(kink.lower - FIELD)
        return sp.Add(
            *(
                p * GaussianAverage(body, FIELD, m_hat * mean, q_hat + m_hat**2 * v).doit()
                for p, mean, v in self.teacher_prior.components()
            )
        )


@lru_cache(maxsize=32)
def _derivation(model: EmpiricalRisk) -> Derivation:
    channel, loss, penalty = model.teacher, model.loss, model.penalty
    rho = model.second_moment
    start = ReplicatedRisk(
        sp.Tuple(channel.density(y, h_0), loss.value(y, h), penalty.value(w)),
        y,
        h_0,
        h,
        w,
        channel.outputs,
        n,
        alpha,
    )
    derivation = Derivation.start(
        "Empirical risk: minus the minimal risk per coordinate", sp.Symbol("Phi"), start
    )
    for rule in (
        risk_rules.average_design,
        risk_rules.replica_symmetric(rho),
        risk_rules.teacher_fields(channel),
        risk_rules.decouple_replicas(tuple(model.teacher_prior.components())),
        risk_rules.n_to_zero(channel),
        risk_ground_rules.zero_temperature,
        risk_ground_rules.weights_by_name(),
        risk_ground_rules.insert_penalty(penalty.profile()),
        risk_ground_rules.envelope_by_name(loss),
        envelope_rules.insert_loss(channel, loss, rho),
    ):
        derivation = derivation.then(rule)
    return derivation


@lru_cache(maxsize=32)
def _saddle_point(model: EmpiricalRisk) -> SaddlePoint:
    components = tuple(model.teacher_prior.components())
    # stationarity in the conjugates of the Legendre term -m m_hat + (q V_hat - V q_hat)/2
    overlaps = tuple(
        risk_saddle_rules.overlap_equation(unknown, conjugate, factor, components, model.penalty.profile())
        for unknown, conjugate, factor in ((m, m_hat, 1), (q, V_hat, -2), (V, q_hat, 2))
    )
    rule = envelope_rules.insert_loss(model.teacher, model.loss, model.second_moment)
    law = (model.teacher.outputs, model.second_moment)
    general = tuple(
        risk_saddle_rules.conjugate_equation(conjugate, unknown, factor, *law)
        for conjugate, unknown, factor in ((m_hat, m, 1), (q_hat, V, 2), (V_hat, q, -2))
    )
    return SaddlePoint.of(*overlaps, *(d.then(rule) for d in general))
