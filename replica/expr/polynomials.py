"""Coefficients of polynomials in one symbol, without expanding the coefficients.

`sympy.Poly` moves the coefficients into a domain and rearranges them; here they stay as they were written.
"""

from __future__ import annotations

from typing import cast

import sympy as sp

Coefficients = dict[int, sp.Expr]


def _product(left: Coefficients, right: Coefficients) -> Coefficients:
    result: Coefficients = {}
    for i, a in left.items():
        for j, b in right.items():
            result[i + j] = cast(sp.Expr, result.get(i + j, sp.S.Zero) + a * b)
    return result


def polynomial_coefficients(expr: sp.Expr, x: sp.Symbol) -> Coefficients | None:
    """The non-zero coefficients {degree: coefficient} of a polynomial in x, or None where it is not one.

    >>> from sympy.abc import a, b, x
    >>> polynomial_coefficients((a + b * x) ** 2, x)
    {0: a**2, 1: 2*a*b, 2: b**2}
    """
    raw = _collect(expr, x)
    if raw is None:
        return None
    return {k: c for k, c in sorted(raw.items()) if c != 0 and (k == 0 or not c.is_Add or c.expand() != 0)}


def _collect(expr: sp.Expr, x: sp.Symbol) -> Coefficients | None:
    if not expr.has_free(x):
        return {0: expr}
    if expr == x:
        return {1: sp.S.One}
    if expr.is_Add or expr.is_Mul:
        result: Coefficients = {0: sp.S.Zero if expr.is_Add else sp.S.One}
        for arg in expr.args:
            part = _collect(cast(sp.Expr, arg), x)
            if part is None:
                return None
            if expr.is_Mul:
                result = _product(result, part)
                continue
            for k, c in part.items():
                result[k] = cast(sp.Expr, result.get(k, sp.S.Zero) + c)
        return result
    if isinstance(expr, sp.Pow) and expr.exp.is_Integer and expr.exp.is_positive:
        base = _collect(expr.base, x)
        if base is None:
            return None
        result = {0: sp.S.One}
        for _ in range(int(expr.exp)):
            result = _product(result, base)
        return result
    return None


def affine_coefficients(expr: sp.Expr, x: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """(a, b) with expr = a + b x, or None."""
    coefficients = polynomial_coefficients(expr, x)
    if coefficients is None or max(coefficients, default=0) > 1:
        return None
    return coefficients.get(0, sp.S.Zero), coefficients.get(1, sp.S.Zero)
