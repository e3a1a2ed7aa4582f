"""Saddle-point equations in textbook form: unknown = update, and who depends on whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import networkx as nx
import sympy as sp

from replica.derivation import Derivation
from replica.expr.printing import aligned, document


class Cycle(NamedTuple):
    """A saddle point reduced to one pair of unknowns: the error v = E x^2 - q and its conjugate.

    ``error`` is v as a function of q_hat, ``conjugate`` is q_hat as a function of q, ``entropy`` is
    Phi(q, q_hat); ``second_moment`` is E x^2 and ``prior_error`` v at q_hat = 0.
    """

    error: sp.Expr
    conjugate: sp.Expr
    entropy: sp.Expr
    second_moment: sp.Expr
    prior_error: sp.Expr


@dataclass(frozen=True)
class SaddlePoint:
    """One update per unknown, each the result of a derivation from the free entropy.

    ``definitions`` are printed with them: another form of an update in named functions (printed in its
    place), and these functions (Z_out, g_out).  ``conditions`` pair an unknown with an expression that
    vanishes at a solution, for equations that are not solved for it.
    """

    updates: tuple[tuple[sp.Symbol, sp.Expr], ...]
    derivations: tuple[Derivation, ...]
    definitions: tuple[tuple[sp.Expr, sp.Expr], ...] = ()
    conditions: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()

    @classmethod
    def of(cls, *derivations: Derivation) -> SaddlePoint:
        """The results of derivations, printed as their steps say."""
        updates = tuple((cast(sp.Symbol, d.left), d.result) for d in derivations)
        printed = tuple(d.printed for d in derivations)
        short = ((d.left, p.expression) for d, p in zip(derivations, printed, strict=True))
        definitions = (*short, *(named for p in printed for named in p.definitions))
        return cls(updates, derivations, tuple(dict.fromkeys(definitions)))

    @property
    def unknowns(self) -> tuple[sp.Symbol, ...]:
        """The unknowns, in the order of their updates."""
        return tuple(unknown for unknown, _ in self.updates)

    def update(self, unknown: sp.Symbol) -> sp.Expr:
        """The right-hand side for one unknown."""
        return dict(self.updates)[unknown]

    def residuals(self) -> tuple[sp.Expr, ...]:
        """update - unknown, zero at a solution."""
        return tuple(update - unknown for unknown, update in self.updates)

    def jacobian(self) -> sp.Matrix:
        """d residual_i/d unknown_j, by differentiation."""
        return sp.Matrix([[r.diff(u) for u in self.unknowns] for r in self.residuals()])

    def graph(self) -> nx.DiGraph:
        """An edge a -> b where the update of b uses a; nodes carry their LaTeX and their update."""
        graph = nx.DiGraph()
        for unknown, update in self.updates:
            graph.add_node(unknown, latex=sp.latex(unknown), update=update)
        for unknown, update in self.updates:
            graph.add_edges_from((other, unknown) for other in self.unknowns if other in update.free_symbols)
        return graph

    def iterated(self) -> tuple[sp.Symbol, ...]:
        """The fewest unknowns whose values determine all the others by one pass of updates (a feedback vertex
        set).
        """
        from itertools import combinations

        graph = self.graph()
        for size in range(len(self.unknowns) + 1):
            for chosen in combinations(reversed(self.unknowns), size):
                rest = graph.copy()
                rest.remove_nodes_from(chosen)
                if nx.is_directed_acyclic_graph(rest):
                    return tuple(chosen)
        raise AssertionError("a graph without nodes is acyclic")

    def draw(self, path: str | None = None) -> Any:
        """Draw the dependency graph with matplotlib; saved to ``path`` if given. Returns the figure."""
        from matplotlib.figure import Figure

        graph = self.graph()
        figure = Figure(figsize=(4, 3), layout="constrained")
        axes = figure.subplots()
        position = nx.circular_layout(graph)
        labels = {node: f"${data['latex']}$" for node, data in graph.nodes(data=True)}
        nx.draw_networkx(
            graph,
            position,
            ax=axes,
            labels=labels,
            node_size=1600,
            node_color="#dce6f2",
            connectionstyle="arc3,rad=0.2",
        )
        axes.set_axis_off()
        axes.margins(0.3)
        if path is not None:
            figure.savefig(path)
        return figure

    def body_latex(self) -> str:
        """The equations and the definitions they use, as display formulas."""
        return "\n".join(f"\\[\n{row}\n\\]" for row in self._rows())

    def _rows(self) -> list[str]:
        named = dict(self.definitions)
        updates = [(u, named.get(u, e)) for u, e in self.updates]
        printed = {*self.unknowns, *(u for u, _ in self.conditions)}
        others = (d for d in self.definitions if d[0] not in printed)
        return [
            *(aligned(u, e) for u, e in (*updates, *others)),
            *(aligned("0", named.get(u, e)) for u, e in self.conditions),
        ]

    def to_markdown(self) -> str:
        """Markdown with $$ formulas."""
        return "## Saddle point\n\n" + "\n\n".join(f"$${row}$$" for row in self._rows()) + "\n"

    def to_latex(self) -> str:
        """A LaTeX document that compiles."""
        return document(self.body_latex())

    def _repr_latex_(self) -> str:
        return "\n\n".join(f"$\\displaystyle {row}$" for row in self._rows())
