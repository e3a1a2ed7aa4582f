"""Convex penalties of one weight: r(w), summed over the coordinates.

====================  =======================================================  ====================
penalty               r(w)                                                     control parameters
====================  =======================================================  ====================
``L2``                (lambda/2) w^2                                           lam
``L1``                lambda |w|                                               lam
``ElasticNet``        lambda [l |w| + ((1 - l)/2) w^2], l = l1_ratio           lam, l1_ratio
====================  =======================================================  ====================

``l1_ratio`` is scikit-learn's name and convention: 1 is ``L1``, 0 is ``L2``.
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

from replica.ingredients.convex import ConvexProfile, U
from replica.parameters import Parameter
from replica.symbols import ell, lam

LAM = Parameter("lam", "lambda", "strength of the penalty", Fraction(0))
L1_RATIO = Parameter("l1_ratio", r"\ell", "share of the l1 norm", Fraction(0), upper=Fraction(1))


@dataclass(frozen=True)
class Penalty(ABC):
    """A convex function r(w) of one weight."""

    name: ClassVar[str]
    description: ClassVar[str]
    sparse: ClassVar[bool] = False
    parameters: ClassVar[tuple[Parameter, ...]] = (LAM,)

    @abstractmethod
    def profile(self) -> ConvexProfile:
        """r by pieces."""

    @abstractmethod
    def value(self, w: sp.Expr) -> sp.Expr:
        """r(w)."""


@dataclass(frozen=True)
class L2(Penalty):
    """(lambda/2) w^2."""

    name = "l2"
    description = "(lambda/2) |w|^2"

    def profile(self) -> ConvexProfile:
        """One parabola."""
        return ConvexProfile((), (lam * U**2 / 2,))

    def value(self, w: sp.Expr) -> sp.Expr:
        """(lambda/2) w^2."""
        return lam * w**2 / 2


@dataclass(frozen=True)
class L1(Penalty):
    """lambda |w|."""

    name = "l1"
    description = "lambda |w|_1"
    sparse = True

    def profile(self) -> ConvexProfile:
        """Two half-lines."""
        return ConvexProfile((sp.S.Zero,), (-lam * U, lam * U))

    def value(self, w: sp.Expr) -> sp.Expr:
        """lambda |w|."""
        return lam * sp.Abs(w)


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """lambda [l |w| + ((1 - l)/2) w^2] (H. Zou and T. Hastie, J. R. Statist. Soc. B 67 (2005) 301)."""

    name = "elastic net"
    description = "lambda (l1_ratio |w|_1 + (1 - l1_ratio) |w|^2/2)"
    sparse = True
    parameters = (LAM, L1_RATIO)

    def profile(self) -> ConvexProfile:
        """Two half-parabolas."""
        smooth = lam * (1 - ell) * U**2 / 2
        return ConvexProfile((sp.S.Zero,), (smooth - lam * ell * U, smooth + lam * ell * U))

    def value(self, w: sp.Expr) -> sp.Expr:
        """Lambda [l |w| + ((1 - l)/2) w^2]."""
        return lam * (ell * sp.Abs(w) + (1 - ell) * w**2 / 2)


PENALTIES: dict[str, type[Penalty]] = {penalty.name: penalty for penalty in (L2, L1, ElasticNet)}
