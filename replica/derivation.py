"""A derivation: steps, each computed from the one before by a named rule, honest about its rigour.

``Derivation.start(expression).then(rule).then(rule)...``: the expression after a step *is*
``rule.apply(before)``.  A rule that is an identity can be verified numerically (``step.verify()``), usually
by explicit evaluation at an integer number of replicas.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import sympy as sp
from sympy.core.function import AppliedUndef

from replica.expr.printing import aligned, document, latex


class Kind(enum.Enum):
    """How much a step claims."""

    DEFINITION = "definition"
    IDENTITY = "identity"
    ANSATZ = "ansatz"
    LIMIT = "limit"
    CONJECTURE = "conjecture"


@dataclass(frozen=True)
class Comparison:
    """Two numbers that an identity says are equal, computed in two ways."""

    what: str
    left: sp.Expr
    right: sp.Expr
    tolerance: float = 1e-8

    @property
    def difference(self) -> float:
        """Absolute difference, relative to 1 or to the numbers where they are larger."""
        try:
            left, right = float(self.left), float(self.right)
        except TypeError:  # what should have cancelled has not
            return float("inf")
        return abs(left - right) / max(1.0, abs(left), abs(right))

    @property
    def holds(self) -> bool:
        """Whether they agree within the tolerance."""
        return self.difference <= self.tolerance


class Printed(NamedTuple):
    """An expression as in a paper: with functions by name, and their definitions."""

    expression: sp.Expr
    definitions: tuple[tuple[sp.Expr, sp.Expr], ...] = ()


def used_definitions(
    expressions: tuple[sp.Expr, ...], definitions: tuple[tuple[sp.Expr, sp.Expr], ...]
) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """The definitions of what the expressions use, directly or by way of other definitions; in their order,
    the last one of several for a name.

    A function is used where any function of its name occurs, whatever its arguments; an equation that
    defines one implicitly, where that is used.
    """

    def name(e: sp.Basic) -> sp.Basic | type:
        return e.func if e.args else e

    def names(e: sp.Expr) -> set[sp.Basic | type]:
        return {name(part) for part in sp.preorder_traversal(e)}

    wanted = set().union(*(names(e) for e in expressions))
    kept: list[tuple[sp.Expr, sp.Expr]] = []

    def used(left: sp.Expr, right: sp.Expr) -> bool:
        unknown = (f for f in right.atoms(AppliedUndef) if left.is_number or left in f.args)
        return name(left) in wanted or any(f.func in wanted for f in unknown)

    while new := [d for d in definitions if d not in kept and used(*d)]:
        kept += new
        wanted |= set().union(*(names(right) for _, right in new))
    return tuple(dict(d for d in definitions if d in kept).items())


@dataclass(frozen=True)
class Rule:
    """A named transformation of expressions.

    ``check(before, after)`` evaluates both sides numerically by independent routes; a rule that is an ansatz,
    a limit or a conjecture may have none.  ``introduces`` names the symbols that first appear.
    ``shown(before, after)`` says how a result that would fill a page is printed instead.
    """

    name: str
    kind: Kind
    apply: Callable[[sp.Expr], sp.Expr]
    reference: str = ""
    check: Callable[[sp.Expr, sp.Expr], tuple[Comparison, ...]] | None = None
    introduces: tuple[tuple[sp.Basic, str], ...] = ()
    shown: Callable[[sp.Expr, sp.Expr], Printed | None] | None = None


@dataclass(frozen=True)
class Step:
    """One application of a rule."""

    before: sp.Expr
    after: sp.Expr
    rule: Rule

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.rule.name

    @property
    def kind(self) -> Kind:
        """Identity, ansatz, limit or conjecture."""
        return self.rule.kind

    @property
    def reference(self) -> str:
        """Where the rule comes from."""
        return self.rule.reference

    @property
    def printed(self) -> Printed:
        """What to print: the result, or its short form with definitions."""
        printed = self.rule.shown(self.before, self.after) if self.rule.shown else None
        return printed or Printed(self.after)

    @property
    def verifiable(self) -> bool:
        """Whether the step can be checked numerically."""
        return self.rule.check is not None

    def verify(self) -> tuple[Comparison, ...]:
        """Evaluate both sides numerically.

        Raises
        ------
        ArithmeticError
            The two sides differ: the message names the step and the numbers.
        """
        if self.rule.check is None:
            return ()
        comparisons = self.rule.check(self.before, self.after)
        for c in comparisons:
            if not c.holds:
                raise ArithmeticError(f"step '{self.name}' fails: {c.what}: {c.left} against {c.right}")
        return comparisons


@dataclass(frozen=True)
class Derivation:
    """A chain of steps from a start to a result; ``left`` is the name of the quantity derived."""

    title: str
    left: sp.Expr
    initial: sp.Expr
    steps: tuple[Step, ...] = field(default=())

    @classmethod
    def start(cls, title: str, left: sp.Expr, expression: sp.Expr) -> Derivation:
        """A derivation with no step yet."""
        return cls(title, left, expression)

    def then(self, rule: Rule) -> Derivation:
        """One more step: the rule applied to what is derived so far."""
        before = self.result
        return Derivation(
            self.title, self.left, self.initial, (*self.steps, Step(before, rule.apply(before), rule))
        )

    @property
    def result(self) -> sp.Expr:
        """The expression after the last step."""
        return self.steps[-1].after if self.steps else self.initial

    @property
    def printed(self) -> Printed:
        """The result with every function by name that a step prints by name, and the definitions it uses."""
        expression, definitions = self.result, ()
        for step in self.steps:
            short = step.printed
            if short.expression != step.after:
                inserted = sp.Add.make_args(step.after)  # term by term: not every node commutes
                expression = sp.Add(expression, short.expression, *(-term for term in inserted))
            definitions += short.definitions
        return Printed(expression, used_definitions((expression,), definitions))

    def __getitem__(self, name: str) -> Step:
        """The step of that name."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"no step '{name}'; the steps are: {', '.join(s.name for s in self.steps)}")

    def verify(self) -> tuple[Comparison, ...]:
        """Verify every step that can be; returns all comparisons."""
        return tuple(c for step in self.steps for c in step.verify())

    def body_latex(self) -> str:
        """The steps as LaTeX, without preamble."""
        parts = [rf"\section*{{{self.title}}}", _display(aligned(self.left, self.initial))]
        for number, step in enumerate(self.steps, 1):
            about = f"({step.kind.value}" + (f"; {_text(step.reference)})" if step.reference else ")")
            parts.append(rf"\paragraph{{Step {number}: {_text(step.name)}}} {about}.")
            if step.rule.introduces:
                named = ", ".join(f"${latex(s)}$: {_text(meaning)}" for s, meaning in step.rule.introduces)
                parts.append(f"With {named}.")
            parts.append(_display(aligned(self.left, step.printed.expression)))
            parts.extend(_display(aligned(name, value)) for name, value in step.printed.definitions)
        return "\n".join(parts)

    def to_latex(self) -> str:
        """A LaTeX document that compiles."""
        return document(self.body_latex())

    def to_markdown(self) -> str:
        """Markdown with $$ formulas, as Jupyter renders it."""
        parts = [f"## {self.title}", f"$${aligned(self.left, self.initial)}$$"]
        for number, step in enumerate(self.steps, 1):
            about = step.kind.value + (f"; {step.reference}" if step.reference else "")
            parts.append(f"**Step {number}: {step.name}** ({about})")
            if step.rule.introduces:
                parts.append("With " + ", ".join(f"${latex(s)}$: {m}" for s, m in step.rule.introduces) + ".")
            parts.append(f"$${aligned(self.left, step.printed.expression)}$$")
            parts.extend(f"$${aligned(name, value)}$$" for name, value in step.printed.definitions)
        return "\n\n".join(parts) + "\n"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


def _display(math: str) -> str:
    return f"\\[\n{math}\n\\]"


def _text(words: str) -> str:
    for character, escaped in _ESCAPED:
        words = words.replace(character, escaped)
    return words


_ESCAPED = (
    *((c, rf"\{c}") for c in "&%#_"),
    ("^", r"\^{}"),
    ("->", r"$\to$"),
    ("~", r"$\sim$"),
    *((c, f"${c}$") for c in "<>|"),
)
