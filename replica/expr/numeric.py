"""Direct numerical evaluation of binders by mpmath: an independent witness for the tests, slow on purpose.

It shares nothing with the lowering: tanh-sinh quadrature (`mpmath.quad`) split at the mean and at the kinks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import sympy as sp
from sympy.core.basic import Basic

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder
from replica.expr.kinks import nested_switches
from replica.expr.recursion import LogMoment, Tilted
from replica.expr.stable import STABLE

MpFunction = Callable[..., Any]


def _heaviside(x: Any, at_zero: Any = 0.5) -> Any:
    return mpmath.mpf(1) if x > 0 else mpmath.mpf(0) if x < 0 else mpmath.mpf(at_zero)


def _logaddexp(a: Any, b: Any) -> Any:
    return max(a, b) + mpmath.log1p(mpmath.exp(-abs(a - b)))


_FUNCTIONS: dict[str, MpFunction] = {
    "Heaviside": _heaviside,
    "expit": lambda x: 1 / (1 + mpmath.exp(-x)),
    "logaddexp": _logaddexp,
    **{name: cls.mpmath_value for name, cls in STABLE.items()},
}


def evaluate(expr: Binder, prec: int) -> sp.Expr | None:
    """The value of a binder without free symbols at `prec` bits, or None where it cannot be trusted."""
    if expr.free_symbols:
        return None
    with mpmath.workprec(prec + 15):
        value = mp_function(expr, ())()
    if value is None or not mpmath.isfinite(value):
        return None
    return sp.Expr._from_mpmath(value, prec)


def mp_function(expr: Basic, symbols: Sequence[Basic]) -> MpFunction:
    """A function of mpf values of the symbols, evaluated at mpmath's current precision."""
    if isinstance(expr, GaussianAverage):
        return _average_function(expr, symbols)
    if isinstance(expr, OutputSum):
        return _output_function(expr, symbols)
    if isinstance(expr, LogMoment | Tilted):
        return mp_function(expr.unfold(), symbols)
    if isinstance(expr, Binder):
        raise NotImplementedError(f"no direct evaluation of {type(expr).__name__}")
    namespace = dict(_FUNCTIONS)
    flat = _name_binders(expr, namespace)
    return sp.lambdify(tuple(symbols), flat, modules=[namespace, "mpmath"])


def _name_binders(expr: Basic, namespace: dict[str, MpFunction]) -> Basic:
    """Replace each binder by an undefined function of its free symbols, added to the namespace."""
    if isinstance(expr, Binder):
        name = f"binder_{len(namespace)}"
        symbols = sorted(expr.free_symbols, key=sp.default_sort_key)
        namespace[name] = mp_function(expr, symbols)
        return sp.Function(name)(*symbols)
    if not expr.args or not expr.has(Binder):
        return expr
    return expr.func(*(_name_binders(arg, namespace) for arg in expr.args))


def _quad(integrand: MpFunction, points: list[Any]) -> Any:
    tolerance = mpmath.mpf(2) ** (20 - mpmath.mp.prec)
    for degree in (6, 9):
        value, error = mpmath.quad(integrand, points, error=True, maxdegree=degree)
        if error <= tolerance * max(1, abs(value)):
            return value
    if error > mpmath.sqrt(tolerance) * max(1, abs(value)):
        raise ArithmeticError(
            f"quadrature error {mpmath.nstr(error, 3)} on the value {mpmath.nstr(value, 10)}"
        )
    return value


def _average_function(expr: GaussianAverage, symbols: Sequence[Basic]) -> MpFunction:
    expr = expr.renamed()
    body = mp_function(expr.body, (*symbols, expr.var))
    mean, variance = mp_function(expr.mean, symbols), mp_function(expr.variance, symbols)
    kinks = [mp_function(-a / b, symbols) for a, b in nested_switches(expr.body, expr.var)]

    def average(*values: Any) -> Any:
        centre, spread = mpmath.mpf(mean(*values)), mpmath.mpf(variance(*values))
        if spread == 0:
            return body(*values, centre)
        width = mpmath.sqrt(spread)
        inner = {mpmath.mpf(0), *((mpmath.mpf(kink(*values)) - centre) / width for kink in kinks)}

        def integrand(z: Any) -> Any:
            return body(*values, centre + width * z) * mpmath.exp(-z * z / 2)

        return _quad(integrand, [-mpmath.inf, *sorted(inner), mpmath.inf]) / mpmath.sqrt(2 * mpmath.pi)

    return average


def _output_function(expr: OutputSum, symbols: Sequence[Basic]) -> MpFunction:
    expr = expr.renamed()
    body = mp_function(expr.body, (*symbols, expr.var))
    if isinstance(expr.outputs, sp.FiniteSet):
        outputs = [mp_function(output, ()) for output in expr.outputs.args]
        return lambda *values: mpmath.fsum(body(*values, output()) for output in outputs)
    if expr.outputs in (sp.S.Naturals, sp.S.Naturals0):
        first = int(expr.outputs.inf)
        return lambda *values: mpmath.nsum(lambda y: body(*values, y), [first, mpmath.inf], method="d")
    ends = [mp_function(end, ()) for end in (expr.outputs.inf, expr.outputs.sup)]
    kinks = [mp_function(-a / b, symbols) for a, b in nested_switches(expr.body, expr.var)]

    def integral(*values: Any) -> Any:
        lower, upper = (mpmath.mpf(end()) for end in ends)
        candidates = {mpmath.mpf(0), *(mpmath.mpf(kink(*values)) for kink in kinks)}
        inner = sorted(point for point in candidates if lower < point < upper)
        return _quad(lambda y: body(*values, y), [lower, *inner, upper])

    return integral
