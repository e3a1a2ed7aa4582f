"""SymPy expression -> Python source in terms of a backend ``m``: straight-line code, no binders.

Every number goes through the backend's own type: an inexact literal raises, since it would cap the precision
at 15 digits (or give a false enclosure) without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.printing.printer import Printer

from replica.expr.stable import STABLE, log_ndtr_interval, ndtr_interval

# node name -> backend method, where they differ
_METHODS = {
    "exp": "exp",
    "log": "log",
    "tanh": "tanh",
    "cosh": "cosh",
    "sinh": "sinh",
    "sign": "sign",
    "Abs": "abs",
    "re": "re",
    "im": "im",
    "RealPart": "re",
    "ImaginaryPart": "im",
    "Heaviside": "heaviside",
    "expit": "expit",
    "logaddexp": "logaddexp",
    "asinh": "asinh",
    "sin": "sin",
    "cos": "cos",
    "atan": "atan",
    "loggamma": "loggamma",
    "xlogy": "xlogy",
    "quotient": "quotient",
    "_Exp": "exp",
    **{name: name for name in STABLE if name != "ndtr_interval"},
}


class LoweringError(TypeError):
    """An expression that has no faithful lowering."""


class _Source(Printer):
    """Source text of one expression; symbols are named by the mapping given."""

    def __init__(self, names: Mapping[sp.Symbol, str]) -> None:
        super().__init__()
        self.names = names

    def emptyPrinter(self, expr: Any) -> str:
        raise LoweringError(f"no lowering for {type(expr).__name__}: {expr}")

    def _print_Symbol(self, expr: sp.Symbol) -> str:
        try:
            return self.names[expr]
        except KeyError:
            raise LoweringError(f"free symbol {expr} is not an argument") from None

    _print_Dummy = _print_Symbol

    def _print_Integer(self, expr: sp.Integer) -> str:
        return f"({int(expr)})"

    def _print_Rational(self, expr: sp.Rational) -> str:
        return f"m.rational({expr.p}, {expr.q})"

    def _print_Float(self, expr: sp.Float) -> str:
        raise LoweringError(f"inexact literal {expr} in a symbolic expression: use a Rational or a parameter")

    def _print_Pi(self, expr: sp.Expr) -> str:
        return "m.pi"

    def _print_Exp1(self, expr: sp.Expr) -> str:
        return "m.exp(m.rational(1, 1))"

    def _print_Add(self, expr: sp.Add) -> str:
        """Differences as such: a factor of -1 would be one more operation on all nodes."""
        terms = list(expr.args)
        if _is_minus(terms[0]) and not _is_minus(terms[1]):
            terms[:2] = terms[1], terms[0]  # b - a for -a + b
        text = "".join(
            f" - {self._print(-term)}" if _is_minus(term) else f" + {self._print(term)}" for term in terms
        )
        return f"({text.removeprefix(' + ').lstrip()})"

    def _print_Mul(self, expr: sp.Mul) -> str:
        if expr.args[0] is sp.S.NegativeOne:
            return f"(-{self._print(sp.Mul(*expr.args[1:]))})"
        above, below = [], []
        for factor in expr.args:
            base, power = factor.as_base_exp()
            if power.is_Rational and power.is_negative and not base.is_Rational:
                below.append(self._print(sp.Pow(base, -power)))
            else:
                above.append(self._print(factor))
        top = " * ".join(above) or "(1)"
        return f"({top})" if not below else f"({top} / ({' * '.join(below)}))"

    def _print_Pow(self, expr: sp.Pow) -> str:
        base: Any
        power: Any
        base, power = expr.as_base_exp()
        text = self._print(base)
        if power.is_Rational and power.is_negative:
            return f"(1 / {self._print(sp.Pow(base, -power))})"
        if power.is_Integer:
            return f"m.power({text}, {int(power)})"
        if power == sp.Rational(1, 2):
            return f"m.sqrt({text})"
        if power.is_Rational and power.q == 2 and base.is_Symbol:
            return f"({self._print(base ** (power.p // 2))} * m.sqrt({text}))"
        return f"m.exp({self._print(power)} * m.log({text}))"

    def _print_FoldedNormal(self, expr: Any) -> str:
        return self._print(expr.closed())

    def _print_Function(self, expr: sp.Function) -> str:
        name = type(expr).__name__
        if name not in _METHODS:
            raise LoweringError(f"no lowering for the function {name}: {expr}")
        arguments = (
            expr.args[:1] if name == "Heaviside" else expr.args
        )  # Heaviside also carries its value at 0
        return f"m.{_METHODS[name]}({', '.join(self._print(a) for a in arguments)})"

    _print_exp = _print_log = _print_Abs = _print_re = _print_im = _print_Heaviside = _print_Function


def _is_minus(expr: Any) -> bool:
    """Whether it is a product with a negative number."""
    return isinstance(expr, sp.Mul) and bool(expr.args[0].is_Rational and expr.args[0].is_negative)


class loggamma(sp.Function):
    """SymPy turns exp(-loggamma(x)) into 1/gamma(x), which overflows; this one stays."""

    nargs = 1


class xlogy(sp.Function):
    """x log y, 0 at x = 0 whatever y."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> Any:
        """log y, or x/y."""
        x, y = self.args
        return sp.log(y) if argindex == 1 else quotient(x, y)


class quotient(sp.Function):
    """x/y, 0 at x = 0 whatever y."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> Any:
        """1/y, or -x/y^2."""
        x, y = self.args
        return 1 / y if argindex == 1 else -quotient(quotient(x, y), y)  # pyright: ignore[reportOperatorIssue]


class _Exp(sp.Function):
    """exp of a sum, kept whole: SymPy would pull powers out of it."""

    nargs = 1


def _interval(a: Any, b: Any) -> Any:
    """The probability of an interval from its logarithm, which is often needed beside it."""
    return _Exp(log_ndtr_interval(a, b))


def _without_factorials(expr: Any) -> Any:
    """b^y e^-b/gamma(y + 1) as one exponential, where gamma stands in a denominator; log gamma as it is."""
    if not expr.has(sp.gamma):
        return expr
    if isinstance(expr, sp.log) and isinstance(expr.args[0], sp.gamma):
        return loggamma(expr.args[0].args[0])
    if isinstance(expr, sp.Mul | sp.Pow):
        exponent, rest = [], []
        for factor in sp.Mul.make_args(expr):
            base, power = factor.as_base_exp()
            if isinstance(base, sp.gamma) and power.is_negative:
                exponent.append(power * loggamma(base.args[0]))
            elif isinstance(factor, sp.exp):
                exponent.append(factor.args[0])
            elif base.is_positive and not power.is_number:
                exponent.append(power * sp.log(base))
            else:
                rest.append(factor)
        if any(e.has(loggamma) for e in exponent):
            return sp.Mul(_Exp(sp.Add(*exponent)), *(_without_factorials(r) for r in rest))  # pyright: ignore[reportArgumentType]
    return expr.func(*(_without_factorials(a) for a in expr.args)) if expr.args else expr


def compile_kernel(
    expressions: Sequence[sp.Expr], arguments: Sequence[sp.Symbol]
) -> Callable[..., tuple[Any, ...]]:
    """A function (m, *arguments) -> tuple of values, with common subexpressions shared.

    The source is printed from our own expression tree; nothing a user typed is evaluated.
    """
    names = {symbol: f"a{i}" for i, symbol in enumerate(arguments)}
    temporaries = sp.numbered_symbols("t", cls=sp.Dummy)
    expressions = [_without_factorials(sp.sympify(e)).replace(ndtr_interval, _interval) for e in expressions]
    shared, reduced = sp.cse(expressions, symbols=temporaries, order="none")
    lines = []
    for i, (symbol, value) in enumerate(shared):
        lines.append(f"    t{i} = {_Source(names).doprint(value)}")
        names[symbol] = f"t{i}"
    results = "".join(f"{_Source(names).doprint(e)}, " for e in reduced)
    header = ", ".join(["m", *(f"a{i}" for i in range(len(arguments)))])
    source = "\n".join([f"def kernel({header}):", *lines, f"    return ({results})"])
    namespace: dict[str, Any] = {}
    exec(compile(source, "<lowered>", "exec"), namespace)
    return namespace["kernel"]
