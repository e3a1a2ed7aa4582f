r"""LaTeX as in a paper: the library's settings, and sums split over the lines of a page."""

from __future__ import annotations

import re
from typing import Any, cast

import sympy as sp
from sympy.core.function import AppliedUndef, _coeff_isneg
from sympy.printing.latex import LatexPrinter, greek_letters_set

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder
from replica.expr.logsum import logaddexp
from replica.expr.readable import readable
from replica.expr.spectral import HilbertTransform, ImaginaryPart, RealPart, SpectralDensity, SpectralIntegral
from replica.expr.stable import StableFunction

_SETTINGS: dict[str, Any] = {"mat_delim": "("}
_INVISIBLE = frozenset(
    {r"\left", r"\right", r"\mathrm", r"\mathbb", r"\mathcal", r"\operatorname", r"\,", r"\!"}
)
_OPERATORS = frozenset({"log", "exp", "tanh", "cosh", "sinh", "sin", "cos", "sqrt", "sum", "int"})
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\S")


class ReplicaLatexPrinter(LatexPrinter):
    """SymPy's printer with the order of terms and factors of a paper.

    In a sum constants and positive terms come first and averages last (1 + x, rho - q); in a product numbers,
    parameters (Greek), order parameters, fields, conjugates, and functions last (alpha q q_hat/2).  A
    fraction stands before functions and integrals, not around them; square roots are merged into one; a sum
    of negative terms gives its sign to the product that it stands in.  Words in subscripts are upright; a
    derivative of a named function is a partial sign and the name.
    """

    def _needs_mul_brackets(self, expr: Any, first: bool = False, last: bool = False) -> bool:
        if isinstance(expr, OutputSum) and not last:
            return True
        return bool(super()._needs_mul_brackets(expr, first=first, last=last))

    def _print_Add(self, expr: Any, order: Any = None) -> str:
        text = ""
        for i, (negative, term) in enumerate(self.signed_terms(expr, order)):
            text += (" - " if negative else " + ") if i else ("- " if negative else "")
            text += term
        return text

    def signed_terms(self, expr: Any, order: Any = None) -> list[tuple[bool, str]]:
        """(is it subtracted, LaTeX of its absolute value) for each term of a sum, in the order of print."""
        terms = self._as_ordered_terms(expr, order) if expr.is_Add else [expr]
        signed = [(term, *self._signed(term)) for term in terms]
        if expr.is_Add and self.order != "none":
            plain = any(_kind(term) == 0 and not negative for term, negative, _ in signed)
            signed.sort(key=lambda t: _place(t[0], t[1], plain))
        return [(negative, text) for _, negative, text in signed]

    def _signed(self, term: Any) -> tuple[bool, str]:
        """Whether a term is negative, and the LaTeX of its absolute value, bracketed for a sum."""
        if term.is_Mul or (term.is_Rational and term.is_negative):
            return self._product(term)
        text = self._print(term)
        return False, (rf"\left({text}\right)" if self._needs_add_brackets(term) else text)

    def _print_Mul(self, expr: Any) -> str:
        negative, text = self._product(expr)
        return f"- {text}" if negative else text

    def _product(self, expr: Any) -> tuple[bool, str]:
        factors = list(sp.Mul.make_args(expr))
        if self.order == "none" or any(f.is_Rational for f in factors[1:]) or factors[0] is sp.S.One:
            return False, str(super()._print_Mul(expr))  # an unevaluated product is printed as it stands
        negative, above, below = _fraction(factors)
        behind = [f for f in above if f.has(*_FUNCTIONS)]
        if not below or any(f.has(*_FUNCTIONS) for f in below):
            behind = []
        above = [f for f in above if f not in behind]
        text = self._factors(above, alone=bool(below) or not (behind or negative))
        if below:
            text = rf"\frac{{{text or '1'}}}{{{self._factors(below, alone=True)}}}"
        tail = self._factors(behind, alone=False)
        return negative, f"{text} {tail}".strip() if text or tail else "1"

    def _factors(self, factors: list[Any], alone: bool) -> str:
        """A product of factors in the order of print; ``alone``: nothing else stands beside it."""
        roots = [f.base for f in factors if f.is_Pow and f.exp == _HALF]
        rest = [f for f in factors if not (f.is_Pow and f.exp == _HALF)]
        exponents = [f.args[0] for f in rest if isinstance(f, sp.exp)]
        if len(exponents) > 1:
            rest = [f for f in rest if not isinstance(f, sp.exp)] + [sp.exp(sp.Add(*cast(Any, exponents)))]
        parts: list[tuple[Any, Any, str | None]] = [(_rank(f), f, None) for f in rest]
        if roots:
            inside = _radicand(roots)
            if inside != 1:
                number = inside.is_number
                text = rf"\sqrt{{{self._print(inside)}}}"
                parts.append(((1 if number else 4, "", 0), inside, text))
        parts.sort(key=lambda part: part[0])
        alone = alone and len(parts) == 1
        texts = []
        for i, (_, factor, root) in enumerate(parts):
            text = self._print(factor) if root is None else root
            last = i == len(parts) - 1
            bracket = root is None and not alone and self._needs_mul_brackets(factor, first=i == 0, last=last)
            texts.append(rf"\left({text}\right)" if bracket else text)
        return " ".join(texts)

    def _print_log(self, expr: Any, exp: Any = None) -> str:
        argument = expr.args[0]
        if exp is None and (argument.is_Symbol or argument.is_Integer or isinstance(argument, AppliedUndef)):
            return rf"\log {self._print(argument)}"
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
        word, _, owner = word.partition("^")
        word = rf"\mathrm{{{word}}}" if len(word) > 1 else word
        index = (rf"_{{{word}}}" if word else "") + (f"^{{({owner})}}" if owner else "")
        arguments = f"({','.join(self._print(a) for a in expr.args)})"
        if exp is None:
            return letter + index + arguments
        return f"{letter}{index}{arguments}^{{{exp}}}" if owner else f"{letter}{index}^{{{exp}}}{arguments}"


_HALF, _MOST = sp.Rational(1, 2), sp.Rational(99, 100)
_PARTS = (SpectralDensity, HilbertTransform, RealPart, ImaginaryPart)
_FUNCTIONS = (Binder, StableFunction, sp.log, logaddexp, *_PARTS)
"""What a fraction stands before, not around."""


def _fraction(factors: list[Any]) -> tuple[bool, list[Any], list[Any]]:
    """Sign, numerator and denominator of a product; sums in it are written with a positive sign."""
    negative = False
    above: list[Any] = []
    below: list[Any] = []
    for factor in factors:
        if factor.is_Rational:
            negative ^= bool(factor.is_negative)
            above += [sp.Integer(abs(factor.p))] if abs(factor.p) != 1 else []
            below += [sp.Integer(factor.q)] if factor.q != 1 else []
            continue
        base, exponent = (factor.base, factor.exp) if factor.is_Pow else (factor, sp.S.One)
        if base.is_Add and exponent.is_Integer and _share_negative(base) > (_HALF if exponent < 0 else _MOST):
            base = sp.Add(*(-term for term in base.args))
            negative ^= bool(exponent.is_odd)
        if exponent.could_extract_minus_sign() and exponent.is_number:
            below.append(sp.Pow(base, -exponent))
        else:
            above.append(sp.Pow(base, exponent))
    for root in [f for f in above if f.is_Pow and f.exp == _HALF and f.base.is_Integer]:
        whole = next((f for f in below if f.is_Integer and f % root.base == 0), None)
        if whole is not None:  # sqrt(2)/2 is 1/sqrt(2)
            above.remove(root)
            below.remove(whole)
            below += [root] + ([whole / root.base] if whole != root.base else [])
    over, under = ([f for f in part if f.is_Pow and f.exp == _HALF] for part in (above, below))
    if over and under and all(f.base.is_Atom for f in (*over, *under)):  # sqrt(2)/sqrt(pi) is sqrt(2/pi)
        ratio = sp.Mul(*(f.base for f in over)) / sp.Mul(*(f.base for f in under))
        above = [f for f in above if f not in over] + [sp.Pow(ratio, _HALF, evaluate=False)]
        below = [f for f in below if f not in under]
    return negative, above, below


def _share_negative(total: Any) -> Any:
    return sp.Rational(sum(bool(_coeff_isneg(term)) for term in total.args), len(total.args))


def _radicand(bases: list[Any]) -> Any:
    """The product under one root; fractions inside a factor are multiplied out, the others stay factors."""
    product = sp.Mul(*bases)
    nested = any(not sp.fraction(sp.together(b))[1].is_number for b in bases if b.is_Add)
    return sp.factor(product) if nested else product


def _kind(term: Any) -> int:
    """Binders come last; functions and fractions over a sum before them."""
    if term.has(GaussianAverage, OutputSum, SpectralIntegral):
        return 2
    factors = cast(Any, sp.Mul.make_args(term))
    fraction = any(f.is_Pow and f.base.is_Add and f.exp.is_negative for f in factors)
    return 1 if fraction or term.has(*_FUNCTIONS, sp.exp) else 0


def _place(term: Any, negative: bool, plain: bool) -> tuple[int, bool, bool]:
    """Where a term stands in its sum; without a positive plain term the functions are put among them."""
    kind = _kind(term)
    return kind if plain or kind == 2 else 0, negative, term.is_number == negative


def _rank(factor: Any) -> tuple[Any, ...]:
    """Where a factor stands in its product."""
    base = factor.base if factor.is_Pow else factor
    if factor.is_number:
        return (0 if factor.is_Rational else 1, "", 0)
    if base.is_Symbol:
        name = str(base)
        bare = name.partition("_")[0]
        if name.startswith(r"\hat"):
            return (2, 3, name)
        return (2, 2 if bare == "omega" else 0 if bare.lower() in greek_letters_set else 1, name)
    if base.is_Add:
        return (5, "", 0)
    if isinstance(base, Binder):
        return (9, "", 0)
    if isinstance(base, sp.log):
        return (8, "", 0)
    return (6, "", 0) if isinstance(base, sp.exp) else (7, "", base.sort_key())


def latex(expr: Any, **settings: Any) -> str:
    r"""LaTeX of an expression with the library's settings; keywords as for `sympy.latex`.

    >>> from sympy import Symbol, log
    >>> from replica.expr import GaussianAverage
    >>> z, q = Symbol("z", real=True), Symbol("q", positive=True)
    >>> print(latex(GaussianAverage(log(z**2), z, 0, q)))
    \mathbb{E}_{z\sim\mathcal{N}(0,q)}\left[\log{\left(z^{2} \right)}\right]
    """
    return str(ReplicaLatexPrinter({**_SETTINGS, **settings}).doprint(readable(sp.sympify(expr))))


def aligned(lhs: Any, expr: Any, width: float = 60, **settings: Any) -> str:
    r"""An `aligned` block of `lhs = expr`, its top-level sum split over lines of about `width` characters.

    `lhs` is an expression, or LaTeX as a string. A product much wider than a line is expanded once; a single
    term stays on one line.

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
    printer = ReplicaLatexPrinter({**_SETTINGS, **settings})
    whole = readable(sp.sympify(expr))
    terms = printer.signed_terms(whole)
    if len(terms) == 1 and rendered_width(terms[0][1]) > 1.4 * room:
        terms = printer.signed_terms(sp.expand_mul(whole, deep=False))
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


def fits(expr: Any) -> bool:
    """Whether an expression in closed form is short enough to be printed as it is, not by name."""
    return rendered_width(latex(expr)) <= _SHORT


_SHORT = 45


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
