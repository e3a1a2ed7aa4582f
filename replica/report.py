"""A model's whole calculation as one document: free entropy, saddle-point derivations, equations."""

from __future__ import annotations

from typing import Any

from replica.expr.printing import document


def latex_report(model: Any) -> str:
    """A LaTeX document that compiles: every derivation step by step, and the equations they end with."""
    saddle = model.saddle_point()
    parts = [derivation.body_latex() for derivation in (model.derive(), *saddle.derivations)]
    return document("\n".join([*parts, r"\section*{Saddle point}", saddle.body_latex()]))


def markdown_report(model: Any) -> str:
    """The same in Markdown, with $$ formulas."""
    saddle = model.saddle_point()
    parts = [derivation.to_markdown() for derivation in (model.derive(), *saddle.derivations)]
    return "\n\n".join([*parts, saddle.to_markdown()])
