"""A free entropy: what a derivation ends with, and what everything else is differentiated from."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from replica.derivation import Printed
from replica.expr.printing import aligned, document


@dataclass(frozen=True)
class FreeEntropy:
    """Phi(order parameters, conjugates; control parameters), per degree of freedom, with its constants.

    Attributes
    ----------
    expression:
        Phi, with every constant: at its extremum it is the limit of (1/N) E log of the evidence.
    order_parameters, conjugates:
        Paired: conjugates[i] multiplies order_parameters[i] in the Legendre term.
    extremum:
        The prescription in words ("sup over q, inf over q_hat").
    printed:
        How to print Phi, where it has a shorter form with named functions.
    """

    expression: sp.Expr
    order_parameters: tuple[sp.Symbol, ...]
    conjugates: tuple[sp.Symbol, ...]
    control_parameters: tuple[sp.Symbol, ...]
    extremum: str
    printed: Printed | None = None

    @property
    def unknowns(self) -> tuple[sp.Symbol, ...]:
        """Order parameters, then conjugates."""
        return self.order_parameters + self.conjugates

    def stationarity(self, unknown: sp.Symbol) -> sp.Expr:
        """d Phi/d unknown, by plain differentiation (Price's theorem; under the spectral integrals)."""
        return self.expression.diff(unknown)

    def body_latex(self) -> str:
        """Phi and the functions it is written with, as display formulas."""
        return "\n".join(f"\\[\n{row}\n\\]" for row in self._rows())

    def _rows(self) -> list[str]:
        printed = self.printed or Printed(self.expression)
        return [
            aligned(left, right)
            for left, right in ((sp.Symbol("Phi"), printed.expression), *printed.definitions)
        ]

    def to_latex(self) -> str:
        """A LaTeX document that compiles."""
        return document(self.body_latex())

    def _repr_latex_(self) -> str:
        return "\n\n".join(f"$\\displaystyle {row}$" for row in self._rows())
