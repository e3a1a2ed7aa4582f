"""The n -> 0 limit of a replica calculation, as a rule."""

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.expr.average import DiscreteAverage, GaussianAverage, OutputSum
from replica.expr.binder import Binder
from replica.expr.polynomials import polynomial_coefficients


def replica_limit(expr: Any, n: sp.Symbol) -> sp.Expr:
    """The derivative in n at n = 0 of an expression whose dependence on n is explicit, by linearity.

    - A polynomial in n gives its coefficient of degree one.
    - log E[X^n] gives E[log X]; E is any nest of Gaussian averages and output sums, X free of n.
    - log E[X^(n+1)] gives E[X log X], *taking E[X] = 1*: X is a normalised law (a planted model).
    - Otherwise log E[Y_n] gives E[dY_n/dn]/E[Y_0], with products, powers X^(a n + b) and exponentials of
      polynomials of n in Y_n.

    Anything else that contains n: ValueError.

    Sources: S. F. Edwards, P. W. Anderson, J. Phys. F 5, 965 (1975); M. Mezard, G. Parisi,
    M. A. Virasoro, Spin Glass Theory and Beyond (1987), chapter I.

    >>> from sympy import Function, Symbol, log
    >>> n, z, q = Symbol("n"), Symbol("z", real=True), Symbol("q", positive=True)
    >>> X = Function("X", positive=True)(z)
    >>> replica_limit(n * (n - 1) / 2 * q + log(GaussianAverage(X**n, z, 0, q)), n)
    -q/2 + GaussianAverage(log(X(z)), z, 0, q)
    """
    return sp.Add(*(_slope(term, n) for term in sp.Add.make_args(sp.sympify(expr))))


def _unsupported(term: Any, n: sp.Symbol) -> ValueError:
    return ValueError(f"the replica limit has no rule for the dependence on {n} of {term}")


def _slope(expr: Any, n: sp.Symbol) -> Any:
    """The derivative at n = 0."""
    if not expr.has_free(n):
        return sp.S.Zero
    coefficients = polynomial_coefficients(expr, n)
    if coefficients is not None:
        return coefficients.get(1, sp.S.Zero)
    if expr.is_Add:
        return sp.Add(*(_slope(term, n) for term in expr.args))
    if expr.is_Mul:
        factors = expr.args
        return sp.Add(
            *(
                _slope(factor, n) * sp.Mul(*(_value(other, n) for other in factors[:i] + factors[i + 1 :]))
                for i, factor in enumerate(factors)
                if factor.has_free(n)
            )
        )
    if isinstance(expr, sp.exp):
        return _slope(expr.exp, n) * _value(expr, n)
    if isinstance(expr, sp.Pow) and not expr.base.has_free(n):
        return _slope(expr.exp, n) * _value(expr, n) * sp.log(expr.base)
    if isinstance(expr, sp.log):
        value = sp.S.One if _is_planted(expr.args[0], n) else _value(expr.args[0], n)
        if value == 0:
            raise _unsupported(expr, n)
        return _slope(expr.args[0], n) / value
    if isinstance(expr, GaussianAverage | DiscreteAverage | OutputSum) and not _parameters_have(expr, n):
        return _average(expr, _slope(expr.body, n))
    raise _unsupported(expr, n)


def _value(expr: Any, n: sp.Symbol) -> Any:
    """The value at n = 0."""
    if not expr.has_free(n):
        return expr
    coefficients = polynomial_coefficients(expr, n)
    if coefficients is not None:
        return coefficients.get(0, sp.S.Zero)
    if expr.is_Add or expr.is_Mul or isinstance(expr, sp.exp):
        return expr.func(*(_value(arg, n) for arg in expr.args))
    if isinstance(expr, sp.Pow) and not expr.base.has_free(n):
        return expr.base ** _value(expr.exp, n)
    if isinstance(expr, sp.log):
        return sp.S.Zero if _is_planted(expr.args[0], n) else sp.log(_value(expr.args[0], n))
    if isinstance(expr, GaussianAverage | DiscreteAverage | OutputSum) and not _parameters_have(expr, n):
        return _average(expr, _value(expr.body, n))
    raise _unsupported(expr, n)


def _parameters_have(expr: Binder, n: sp.Symbol) -> bool:
    return n in expr.bound_symbols or any(parameter.has_free(n) for parameter in expr.parameters)


def _average(expr: GaussianAverage | DiscreteAverage | OutputSum, body: Any) -> Any:
    """The binder with another body; a constant is its own average, and is counted by a sum."""
    if body == 0:
        return sp.S.Zero
    if isinstance(expr, GaussianAverage | DiscreteAverage):
        return expr.with_body(body)
    if body.has_free(expr.var):
        return expr.func(body, *expr.args[1:])
    if isinstance(expr.outputs, sp.FiniteSet):
        return len(expr.outputs.args) * body
    raise ValueError(
        f"the integral of {body} over {expr.outputs} diverges: normalise before the replica limit"
    )


def _is_planted(expr: Any, n: sp.Symbol) -> bool:
    """Whether this is a nest of averages of X^(n + 1), X free of n."""
    while isinstance(expr, GaussianAverage | DiscreteAverage | OutputSum) and not _parameters_have(expr, n):
        expr = expr.body
    return isinstance(expr, sp.Pow) and not expr.base.has_free(n) and expr.exp == n + 1
