"""Convex losses: what empirical risk minimisation pays for predicting the field h where the output is y.

A loss is a convex profile l(u) of the residual u = y - h or of the margin u = y h.

====================  =============================================  ==================  ==================
loss                  l                                              argument            control parameters
====================  =============================================  ==================  ==================
``SquareLoss``        u^2/2                                          residual            none
``HuberLoss``         u^2/2 for |u| < e, e |u| - e^2/2 beyond        residual            threshold (e)
``AbsoluteLoss``      |u|                                            residual            none
``LogisticLoss``      log(1 + exp(-u))                               margin              none
``HingeLoss``         max(0, 1 - u)                                  margin              none
``SquaredHingeLoss``  max(0, 1 - u)^2/2                              margin              none
====================  =============================================  ==================  ==================

A loss of the residual also serves outputs +-1 (the least-squares classifier); a loss of the margin needs
them.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import sympy as sp

from replica.expr.logsum import logaddexp
from replica.ingredients.convex import ConvexProfile, U
from replica.parameters import Parameter
from replica.symbols import parameter_symbol

THRESHOLD = Parameter(
    "threshold", "epsilon", "residual beyond which the Huber loss is linear", Fraction(0), lower_open=True
)
epsilon = parameter_symbol(THRESHOLD)


@dataclass(frozen=True)
class Loss(ABC):
    """loss(y, h) = l(u), with u the residual y - h or the margin y h."""

    name: ClassVar[str]
    description: ClassVar[str]
    margin: ClassVar[bool] = False
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    @abstractmethod
    def profile(self) -> ConvexProfile:
        """l(u) by pieces."""

    def on_labels(self) -> Loss:
        """The same loss for y^2 = 1 and an even l: l(y - h) = l(1 - y h), and labels are mirror images."""
        return self if self.margin or not self.profile().even else _Mirrored(self)

    def argument(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """U: y h or y - h."""
        return y * field if self.margin else y - field

    def field(self, y: sp.Expr, argument: sp.Expr) -> sp.Expr:
        """The field of a given argument, for y^2 = 1 where the argument is the margin."""
        return y * argument if self.margin else y - argument

    def orientation(self, y: sp.Expr) -> sp.Expr:
        """d(argument)/dh, of square 1: y or -1."""
        return y if self.margin else sp.S.NegativeOne

    def value(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """loss(y, h)."""
        return self.profile().at(self.argument(y, field))


@dataclass(frozen=True)
class _Mirrored(Loss):
    """An even loss of the residual, on labels: l(u) with u = 1 - y h."""

    of: Loss

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.of.name

    def profile(self) -> ConvexProfile:
        return self.of.profile()

    def argument(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        return 1 - y * field

    def field(self, y: sp.Expr, argument: sp.Expr) -> sp.Expr:
        return y * (1 - argument)

    def orientation(self, y: sp.Expr) -> sp.Expr:
        return -y


@dataclass(frozen=True)
class SquareLoss(Loss):
    """(y - h)^2/2."""

    name = "square"
    description = "(y - h)^2/2"

    def profile(self) -> ConvexProfile:
        """u^2/2."""
        return ConvexProfile((), (U**2 / 2,))


@dataclass(frozen=True)
class HuberLoss(Loss):
    """Quadratic near 0, linear beyond the threshold (P. J. Huber, Ann. Math. Statist. 35 (1964) 73)."""

    name = "huber"
    description = "(y - h)^2/2 up to the threshold, linear beyond"
    parameters = (THRESHOLD,)

    def profile(self) -> ConvexProfile:
        """u^2/2 for |u| < epsilon, else epsilon |u| - epsilon^2/2."""
        outside = -(epsilon**2) / 2
        return ConvexProfile((-epsilon, epsilon), (outside - epsilon * U, U**2 / 2, outside + epsilon * U))


@dataclass(frozen=True)
class AbsoluteLoss(Loss):
    """|y - h|."""

    name = "absolute"
    description = "|y - h|"

    def profile(self) -> ConvexProfile:
        """|u|."""
        return ConvexProfile((sp.S.Zero,), (-U, U))

    def value(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """|y - h|."""
        return sp.Abs(y - field)


@dataclass(frozen=True)
class LogisticLoss(Loss):
    """log(1 + exp(-y h))."""

    name = "logistic"
    description = "log(1 + exp(-y h))"
    margin = True

    def profile(self) -> ConvexProfile:
        """log(1 + exp(-u))."""
        return ConvexProfile((), (logaddexp(0, -U),))


@dataclass(frozen=True)
class HingeLoss(Loss):
    """max(0, 1 - y h): the support vector machine."""

    name = "hinge"
    description = "max(0, 1 - y h)"
    margin = True

    def profile(self) -> ConvexProfile:
        """max(0, 1 - u)."""
        return ConvexProfile((sp.S.One,), (1 - U, sp.S.Zero))

    def value(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """max(0, 1 - y h)."""
        return sp.Max(0, 1 - y * field)


@dataclass(frozen=True)
class SquaredHingeLoss(Loss):
    """max(0, 1 - y h)^2/2."""

    name = "squared hinge"
    description = "max(0, 1 - y h)^2/2"
    margin = True

    def profile(self) -> ConvexProfile:
        """max(0, 1 - u)^2/2."""
        return ConvexProfile((sp.S.One,), ((1 - U) ** 2 / 2, sp.S.Zero))

    def value(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """max(0, 1 - y h)^2/2."""
        return sp.Max(0, 1 - y * field) ** 2 / 2


LOSSES: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (SquareLoss, HuberLoss, AbsoluteLoss, LogisticLoss, HingeLoss, SquaredHingeLoss)
}
