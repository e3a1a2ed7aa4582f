"""An expression as a paper writes it: the same value, arranged for the reader before it is printed.

Only printing calls this.  What stands together for the sake of numbers (constants under an integral, terms
that must cancel, logarithms of exponentials) is taken apart here.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.logsum import logaddexp
from replica.expr.spectral import LogPotential, PairIntegral, SpectralIntegral
from replica.expr.stable import StableFunction, log2cosh, log_ndtr, ndtr, xlogx

_LINEAR = (GaussianAverage, OutputSum, SpectralIntegral)


def readable(expr: Any) -> Any:
    """Constants before sums and integrals, logarithms of sums of exponentials as such, x log x as a product.

    >>> from sympy import Symbol, pi
    >>> x, q = Symbol("x", real=True), Symbol("q", positive=True)
    >>> readable(GaussianAverage(-2 * q * x**4, x, 0, q))
    -2*q*GaussianAverage(x**4, x, 0, q)
    """
    if not isinstance(expr, sp.Basic) or not expr.args or not expr.has(*_REWRITTEN):
        return expr
    args = [readable(a) for a in expr.args]
    if isinstance(expr, _LINEAR):
        node = expr.func(*args)
        return _split(node) if isinstance(node, SpectralIntegral) else _constants_out(node)
    if isinstance(expr, logaddexp):
        return sp.log(sp.Add(*(_exponential(a) for a in args)), evaluate=False)
    if isinstance(expr, xlogx):
        return args[0] * sp.log(args[0])
    if isinstance(expr, sp.exp) and expr.has(sp.loggamma):
        return _with_factorials(args[0])
    if isinstance(expr, StableFunction):
        args = [sp.factor_terms(a) if a.is_Add else a for a in args]
    node = expr if tuple(args) == expr.args else expr.func(*args)
    if isinstance(node, sp.Add):
        return sp.Add(*(_distributed(term) for term in node.args))
    return _distributed(node)


_REWRITTEN = (*_LINEAR, StableFunction, logaddexp, sp.loggamma, sp.log)


def _constants_out(node: Any) -> Any:
    if isinstance(node, GaussianAverage) and node.body.is_Add:
        outside, body = node.body.as_independent(node.var, as_Add=True)
        if outside != 0:
            return outside + _constants_out(node.func(body, *node.args[1:]))
    constant, body = node.body.as_independent(*node.bound_symbols, as_Add=False)
    return node if constant == 1 or body == 1 else constant * node.func(body, *node.args[1:])


def _split(node: SpectralIntegral) -> Any:
    """Term by term where one is a double integral; constants outside."""
    terms = (node.body,)
    if node.body.has(LogPotential):
        terms = sp.Add.make_args(sp.expand_mul(node.body))
    coefficients: dict[Any, Any] = {}
    for term in terms:
        constant, body = term.as_independent(*node.bound_symbols, as_Add=False)
        coefficients[body] = coefficients.get(body, sp.S.Zero) + constant
    total = sp.S.Zero
    for body, coefficient in coefficients.items():
        kind = PairIntegral if body.has(LogPotential) else SpectralIntegral
        total += sp.factor(coefficient) * kind(body, *node.args[1:])
    return total


def _exponential(exponent: Any) -> Any:
    """e to the power of a sum of logarithms, as a product."""
    plain = exponent.replace(log2cosh, lambda u: sp.log(2 * sp.cosh(u))).replace(
        log_ndtr, lambda u: sp.log(ndtr(u))
    )
    return sp.exp(plain)


def _with_factorials(exponent: Any) -> Any:
    """e^(a - loggamma(n + 1)) = e^a/n!."""
    gammas = [t for t in sp.Add.make_args(exponent) if isinstance(-t, sp.loggamma)]
    factorials = (sp.factorial((-t).args[0] - 1) for t in gammas)
    return sp.exp(exponent - sp.Add(*gammas)) / sp.Mul(*factorials)


def _distributed(term: Any) -> Any:
    """c (-a - b) with logarithms as -c a - c b."""
    sums = [f for f in sp.Mul.make_args(term) if f.is_Add]
    if len(sums) == 1 and sums[0].has(sp.log) and all(t.could_extract_minus_sign() for t in sums[0].args):
        return sp.expand_mul(term, deep=False)
    return term
