"""Convex functions of one variable by pieces, and their minimisation against a parabola.

A profile l(u) is known by its breaks and by one smooth expression a piece.  Everything that the zero
temperature needs follows from the condition of stationarity: the minimiser u of (u - s)^2/(2 V) + l(u) obeys
s = u + V l'(u) inside a piece, and stays at a kink u_i while (s - u_i)/V lies between the slopes on its two
sides (J. J. Moreau, Bull. Soc. Math. France 93 (1965) 273).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sympy as sp

from solvers.errors import InputError

U = sp.Symbol("u", real=True)
"""The variable in which the pieces of a profile are written."""

_PROBES = tuple(sp.Rational(k, 8) for k in (-300, -80, -35, -17, -9, -3, 1, 5, 11, 23, 50, 130, 400))


class Smooth(NamedTuple):
    """The minimiser moves through a piece, lower < u < upper."""

    lower: sp.Expr
    upper: sp.Expr
    value: sp.Expr
    slope: sp.Expr
    curvature: sp.Expr


class Kink(NamedTuple):
    """The minimiser stays at u while the slope (the subgradient) goes from lower to upper."""

    at: sp.Expr
    lower: sp.Expr
    upper: sp.Expr
    value: sp.Expr


class Branch(NamedTuple):
    """On lower < s < upper the minimiser is ``minimiser`` and the minimum ``value``, both functions of s."""

    lower: sp.Expr
    upper: sp.Expr
    minimiser: sp.Expr
    value: sp.Expr


@dataclass(frozen=True)
class ConvexProfile:
    """l(u): ``pieces[i]`` between ``breaks[i - 1]`` and ``breaks[i]``, as expressions in ``U``.

    >>> hinge = ConvexProfile((sp.S.One,), (1 - U, sp.S.Zero))
    >>> [kink.lower for kink in hinge.kinks()], hinge.quadratic
    ([-1], True)
    """

    breaks: tuple[sp.Expr, ...]
    pieces: tuple[sp.Expr, ...]

    def smooth(self) -> tuple[Smooth, ...]:
        """The pieces with their ends, slopes and curvatures."""
        ends = (-sp.oo, *self.breaks, sp.oo)
        return tuple(
            Smooth(lower, upper, piece, piece.diff(U), piece.diff(U, 2))
            for lower, upper, piece in zip(ends[:-1], ends[1:], self.pieces, strict=True)
        )

    def kinks(self) -> tuple[Kink, ...]:
        """The breaks at which the slope jumps."""
        found = []
        for at, left, right in zip(self.breaks, self.pieces[:-1], self.pieces[1:], strict=True):
            lower, upper = (sp.expand(p.diff(U).subs(U, at)) for p in (left, right))
            if lower != upper:
                found.append(Kink(at, lower, upper, left.subs(U, at)))
        return tuple(found)

    def segments(self) -> tuple[Smooth | Kink, ...]:
        """Pieces and kinks from left to right."""
        kinks = {kink.at: kink for kink in self.kinks()}
        found: list[Smooth | Kink] = []
        for piece in self.smooth():
            found.append(piece)
            if piece.upper in kinks:
                found.append(kinks[piece.upper])
        return tuple(found)

    @property
    def quadratic(self) -> bool:
        """Whether every piece is a polynomial of degree at most two: the minimiser is then explicit."""
        return all(
            p.is_polynomial(U) and sp.degree(p + U**3, U) == 3 and p.diff(U, 3) == 0 for p in self.pieces
        )

    @property
    def even(self) -> bool:
        """Whether l(-u) = l(u)."""
        mirrored = [sp.expand(piece.subs(U, -U)) for piece in reversed(self.pieces)]
        return (
            tuple(-b for b in reversed(self.breaks)) == self.breaks
            and [sp.expand(piece) for piece in self.pieces] == mirrored
        )

    def cases(self, expressions: Sequence[sp.Expr]) -> sp.Expr:
        """One expression a piece, as a function of ``U``."""
        if not self.breaks:
            return expressions[0]
        conditions = [b > U for b in self.breaks] + [True]
        return sp.Piecewise(*zip(expressions, conditions, strict=True))

    def at(self, u: sp.Expr) -> sp.Expr:
        """l(u) as an expression."""
        return self.cases(self.pieces).subs(U, u)

    def branches(self, s: sp.Expr, variance: sp.Expr) -> tuple[Branch, ...]:
        """The minimum over u of (u - s)^2/(2 variance) + l(u), for quadratic pieces: where each branch holds,
        its minimiser (the proximal operator) and its value (the Moreau envelope).

        Raises
        ------
        NotImplementedError
            A piece is not quadratic: s = u + V l'(u) has no closed solution.
        """
        if not self.quadratic:
            raise NotImplementedError("the proximal operator has no closed form")
        found = []
        for part in self.segments():
            if isinstance(part, Kink):
                ends = tuple(part.at + variance * g for g in (part.lower, part.upper))
                minimiser, value = part.at, part.value
            else:
                ends = tuple(
                    e if e.is_infinite else (e + variance * part.slope.subs(U, e))
                    for e in (part.lower, part.upper)
                )
                offset = part.slope.subs(U, 0)
                minimiser = (s - variance * offset) / (1 + variance * part.curvature)
                value = part.value.subs(U, minimiser)
            envelope = sp.factor(sp.together((minimiser - s) ** 2 / (2 * variance) + value))
            found.append(Branch(sp.expand(ends[0]), sp.expand(ends[1]), minimiser, envelope))
        return tuple(found)

    def check_convex(self, what: str) -> None:
        """Raise InputError unless slopes never fall: by known signs, else at probes."""
        at = {
            symbol: sp.Rational(2 + k, 5)
            for k, symbol in enumerate(
                sorted(sp.Tuple(*self.breaks, *self.pieces).free_symbols - {U}, key=sp.default_sort_key)
            )
        }
        for part in self.segments():
            if isinstance(part, Kink):
                falls = (part.upper - part.lower).subs(at).is_negative
            elif part.curvature.is_nonnegative:
                falls = False
            else:
                lower, upper = part.lower.subs(at), part.upper.subs(at)
                inside = [p for p in _PROBES if lower < p < upper]
                falls = any(sp.N(part.curvature.subs(at).subs(U, p)) < 0 for p in inside)
            if falls:
                raise InputError(
                    f"the {what} is not convex: the replica-symmetric theory of its minimum fails"
                )


def on_branches(branches: tuple[Branch, ...], s: sp.Expr, bodies: tuple[sp.Expr, ...]) -> sp.Expr:
    """The function of s that equals bodies[i] on the i-th branch, as a sum over half-lines.

    The middle body everywhere, plus what each boundary changes on its outer side: one half-line a term, so
    that Gaussian averages have closed forms, and tails come without cancellation.
    """
    middle = len(branches) // 2
    total = bodies[middle]
    for i in range(middle, len(branches) - 1):
        total += sp.expand(bodies[i + 1] - bodies[i]) * sp.Heaviside(s - branches[i].upper)
    for i in range(middle, 0, -1):
        total += sp.expand(bodies[i - 1] - bodies[i]) * sp.Heaviside(branches[i].lower - s)
    return total
