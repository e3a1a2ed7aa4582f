"""A model's whole calculation as one document: free entropy, saddle-point derivations, equations."""

from __future__ import annotations

from typing import Any

from replica.expr.printing import document


def latex_report(model: Any) -> str:
    """A LaTeX document that compiles: every derivation step by step, and the equations they end with."""
    saddle = model.saddle_point()
    parts = [d.body_latex() for d in (model.derive(), *saddle.derivations, *_further(model))]
    return document("\n".join([*parts, r"\section*{Saddle point}", saddle.body_latex()]))


def markdown_report(model: Any) -> str:
    """The same in Markdown, with $$ formulas."""
    saddle = model.saddle_point()
    parts = [d.to_markdown() for d in (model.derive(), *saddle.derivations, *_further(model))]
    return "\n\n".join([*parts, saddle.to_markdown()])


def _further(model: Any) -> tuple[Any, ...]:
    """Derivations of what is computed at a solution, where a model has some: the number of states."""
    state = getattr(model, "further_derivations", None)
    return () if state is None else state()
