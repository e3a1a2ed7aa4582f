"""What closed forms take: symbols, exact numbers, or decimals that mean what they print as."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, cast

import sympy as sp

from replica.parameters import Parameter, parse_number
from solvers.errors import InputError

ZERO = Fraction(0)


def exact(parameter: Parameter, value: object) -> sp.Expr:
    """Return the value of a parameter as a SymPy expression with nothing inexact in it.

    Expressions with free symbols and irrational exact numbers pass as they are; every other number becomes
    the rational number it prints as, checked against the parameter's domain.

    >>> delta = Parameter("delta", "Delta", "noise variance", lower=ZERO)
    >>> exact(delta, 0.1), exact(delta, sp.Symbol("Delta") + 1), exact(delta, sp.sqrt(2))
    (1/10, Delta + 1, sqrt(2))

    Raises:
        InputError: no number, nan, an infinity, a number outside the domain, an expression known to be
            outside.
    """
    if isinstance(value, sp.Expr) and not value.is_Number:
        if value.is_real is False or value.has(sp.Float, sp.nan, sp.zoo, sp.oo):
            raise InputError(f"{parameter.name} must be real and exact, got {value}")
        if _outside(parameter, value):
            raise InputError(f"{parameter.domain} must hold, got {value}")
        return value
    number = parameter.check(parse_number(value, parameter.name))
    return sp.Rational(number.numerator, number.denominator)


def numeric(**values: sp.Expr) -> None:
    """Raise InputError for the first value that is not a rational number."""
    for name, value in values.items():
        if not value.is_Rational:
            raise InputError(f"{name} must be a rational number here, got {value}")


def substitute(expr: sp.Expr, values: Mapping[Any, Any]) -> sp.Expr:
    """Put values in place of symbols, all at once."""
    return cast(sp.Expr, expr.subs(list(values.items()), simultaneous=True))


def real_roots(polynomial: sp.Expr, unknown: sp.Symbol) -> tuple[sp.Expr, ...]:
    """The distinct real roots of a polynomial with rational coefficients, exact, in increasing order."""
    roots = cast(list[sp.Expr], sp.real_roots(sp.Poly(polynomial, unknown)))
    return tuple(dict.fromkeys(roots))


def _outside(parameter: Parameter, value: sp.Expr) -> bool:
    """Whether SymPy knows the value to lie outside the domain."""
    outside = []
    if parameter.lower is not None:
        above = value - _rational(parameter.lower)
        outside.append(above.is_nonpositive if parameter.lower_open else above.is_negative)
    if parameter.upper is not None:
        below = _rational(parameter.upper) - value
        outside.append(below.is_nonpositive if parameter.upper_open else below.is_negative)
    return any(verdict is True for verdict in outside)


def _rational(number: Fraction) -> sp.Expr:
    return cast(sp.Expr, sp.Rational(number.numerator, number.denominator))
