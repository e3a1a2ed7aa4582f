r"""LaTeX as in a paper: the library's settings, and sums split over the lines of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import sympy as sp
from sympy.core.function import AppliedUndef, _coeff_isneg
from sympy.printing.latex import LatexPrinter

from replica.expr.average import OutputSum
from replica.expr.binder import Binder

_SETTINGS: dict[str, Any] = {"mat_delim": "("}
_INVISIBLE = frozenset(
    {r"\left", r"\right", r"\mathrm", r"\mathbb", r"\mathcal", r"\operatorname", r"\,", r"\!"}
)
_OPERATORS = frozenset({"log", "exp", "tanh", "cosh", "sinh", "sin", "cos", "sqrt", "sum", "int"})
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\S")


class ReplicaLatexPrinter(LatexPrinter):
    """SymPy's printer, with brackets around an integral that is followed by another factor.

    A fraction stands before an integral or an average, not around it; words in subscripts are upright; a
    derivative of a named function is a partial sign and the name.
    """

    def _needs_mul_brackets(self, expr: Any, first: bool = False, last: bool = False) -> bool:
        if isinstance(expr, OutputSum) and not last:
            return True
        return bool(super()._needs_mul_brackets(expr, first=first, last=last))

    def _print_Mul(self, expr: Any) -> str:
        binders = [factor for factor in expr.args if isinstance(factor, Binder)]
        if len(binders) == 1 and not sp.fraction(expr)[1].has(Binder) and sp.fraction(expr)[1] != 1:
            coefficient = sp.Mul(*(factor for factor in expr.args if factor is not binders[0]))
            return f"{super()._print_Mul(coefficient)} {self._print(binders[0])}"
        return str(super()._print_Mul(expr))

    def _print_log(self, expr: Any, exp: Any = None) -> str:
        if isinstance(expr.args[0], AppliedUndef) and exp is None:
            return rf"\log {self._print(expr.args[0])}"
        return str(super()._print_log(expr, exp))

    def _print_Derivative(self, expr: Any) -> str:
        if not isinstance(expr.expr, AppliedUndef):
            return str(super()._print_Derivative(expr))
        signs = (
            rf"\partial_{{{self._print(v)}}}" + (f"^{{{self._print(order)}}}" if order != 1 else "")
            for v, order in expr.variable_count
        )
        return "".join(signs) + self._print_Function(expr.expr).partition("(")[0]

    def _print_Function(self, expr: Any, exp: Any = None) -> str:
        if not isinstance(expr, AppliedUndef):
            return str(super()._print_Function(expr, exp))
        letter, _, word = type(expr).__name__.partition("_")
        index = rf"_{{\mathrm{{{word}}}}}" if word else ""
        power = "" if exp is None else f"^{{{exp}}}"
        return f"{letter}{index}{power}({','.join(self._print(a) for a in expr.args)})"


def latex(expr: Any, **settings: Any) -> str:
    r"""LaTeX of an expression with the library's settings; keywords as for `sympy.latex`.

    >>> from sympy import Symbol, log
    >>> from replica.expr import GaussianAverage
    >>> z, q = Symbol("z", real=True), Symbol("q", positive=True)
    >>> print(latex(GaussianAverage(log(z**2), z, 0, q)))
    \mathbb{E}_{z\sim\mathcal{N}(0,q)}\left[\log{\left(z^{2} \right)}\right]
    """
    return str(ReplicaLatexPrinter({**_SETTINGS, **settings}).doprint(sp.sympify(expr)))


def aligned(lhs: Any, expr: Any, width: float = 60, **settings: Any) -> str:
    r"""An `aligned` block of `lhs = expr`, its top-level sum split over lines of about `width` characters.

    `lhs` is an expression, or LaTeX as a string. A product wider than a line is expanded once; a single term
    stays on one line.

    >>> from sympy.abc import a, b, x
    >>> print(aligned("f", a + b * x, width=4))
    \begin{aligned}
    f &= a \\
    &\quad + b x
    \end{aligned}
    """
    left = lhs if isinstance(lhs, str) else latex(lhs, **settings)
    lines: list[str] = []
    current = f"{left} &="
    room = width - rendered_width(left) - 2
    terms = list(_terms(sp.sympify(expr), settings))
    if len(terms) == 1 and rendered_width(terms[0][1]) > room:
        terms = list(_terms(sp.expand_mul(expr, deep=False), settings))
    for i, (negative, text) in enumerate(terms):
        size = rendered_width(text) + 3
        if i > 0 and size > room:
            lines.append(current)
            current, room = r"&\quad", width - 2
        sign = (" - " if negative else " + ") if i > 0 else (" -" if negative else " ")
        current += sign + text
        room -= size
    lines.append(current)
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def _terms(expr: Any, settings: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """(is it subtracted, LaTeX of its absolute value) for each top-level term in printing order."""
    printer = ReplicaLatexPrinter({**_SETTINGS, **settings})
    for term in printer._as_ordered_terms(expr) if expr.is_Add else [expr]:
        negative = bool(_coeff_isneg(term))
        positive = -cast(Any, term) if negative else term
        text = printer._print(positive)
        if printer._needs_add_brackets(positive) or (negative and positive.is_Add):
            text = rf"\left({text}\right)"
        yield negative, text


def rendered_width(tex: str) -> float:
    r"""A rough width of LaTeX on the page, in characters: a fraction counts its wider part, scripts 0.7.

    >>> rendered_width(r"\frac{a}{b + c}"), rendered_width(r"\alpha x^{2}")
    (5.0, 2.7)
    """
    tokens = _TOKEN.findall(tex)
    total, position = 0.0, 0
    while position < len(tokens):
        size, position = _item_width(tokens, position)
        total += size
    return round(total, 6)


def _item_width(tokens: list[str], position: int) -> tuple[float, int]:
    """Width of the item that starts at a token, and the position after it."""
    if position >= len(tokens):
        return 0.0, position
    token = tokens[position]
    position += 1
    if token == "{":
        total = 0.0
        while position < len(tokens) and tokens[position] != "}":
            size, position = _item_width(tokens, position)
            total += size
        return total, position + 1
    if token in (r"\frac", r"\tfrac", r"\dfrac"):
        numerator, position = _item_width(tokens, position)
        denominator, position = _item_width(tokens, position)
        return max(numerator, denominator), position
    if token in ("^", "_"):
        size, position = _item_width(tokens, position)
        return 0.7 * size, position
    if token in _INVISIBLE or token == "}":
        return 0.0, position
    if token in ("+", "-", "="):
        return 3.0, position
    return float(len(token) - 1 if token[1:] in _OPERATORS else 1), position


def document(body: str) -> str:
    """A minimal LaTeX article around a body, to compile in a test or to paste a derivation into."""
    return (
        "\\documentclass{article}\n\\usepackage{amsmath,amssymb}\n\\usepackage[margin=2cm]{geometry}\n\\begin{document}\n"
        + body.strip()
        + "\n\\end{document}\n"
    )
