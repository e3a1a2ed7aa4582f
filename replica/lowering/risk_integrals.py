"""Expressions with integrals over intervals of Gaussian densities -> numbers on any backend.

The bodies are Gaussian densities at monotone arguments times smooth functions (``envelope_rules``).  An
interval is cut where a density starts, peaks and ends, and around a function that switches within a small
part of a panel; each panel is integrated by the tanh-sinh rule.  Integrals over the same variable and domain
share their nodes; the level of one such family rises until its part of the error of the values is small.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import sympy as sp

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.stable import log_ndtr, ndtr, normal_density, npdf
from replica.lowering.printer import compile_kernel
from solvers.backends.float64 import Float64
from solvers.quadrature.clustered import as_numbers
from solvers.quadrature.rules import Estimate, double_exponential, estimated, gaussian_line, strided_sums

FIRST_LEVEL = 3
CANCELLED = 1e-3
"""A value below this part of its integrands vanishes by cancellation: its error is measured against them."""
SWITCH = 8.0
"""Beyond this many widths a function has switched."""
ROUGH = 1e-4
"""Relative error of averages inside integrals that are wanted roughly."""
EXPONENTIAL = 2.0
"""A doubling of the nodes doubles the digits at most."""
SETTLED = 1e-8
"""Change of a place, relative to the width of its switch, at which it is found."""
TINY = 1e-300
UNDERFLOW = 37.0
"""Standard deviations beyond which a Gaussian is no double."""

Kernel = Callable[..., tuple[Any, ...]]
Natural = Callable[[Sequence[float]], Sequence[float]]


class Family(NamedTuple):
    """Values, errors and sums of |integrand| of the integrals of one family."""

    values: Any
    errors: Any
    sizes: Any


class Evaluated(NamedTuple):
    """``error`` is the largest quadrature error of a counted value, relative to the value; ``levels`` and
    ``places`` (of the cuts) are a good start for a point nearby.
    """

    values: tuple[Any, ...]
    error: float
    levels: tuple[int, ...]
    places: tuple[Any, ...]


def doubles(values: Sequence[Any]) -> list[Any]:
    """Numbers of a backend as NumPy's doubles, whose divisions by zero do not raise."""
    return [np.float64(float(v)) for v in values]


@dataclass(frozen=True)
class _Inner:
    """Averages over one Gaussian inside an integral: the evidence of a channel without a closed form, and its
    derivatives.
    """

    law: Kernel
    bodies: Kernel
    count: int

    def run(self, backend: Any, at: Sequence[Any], x: Any, tolerance: float, last: int) -> tuple[Any, float]:
        """Values at the nodes x, one array an average, and the largest error relative to the largest value of
        an average: the level rises until that is at the tolerance.
        """
        mean, variance = (
            np.broadcast_to(backend.array(v), x.shape)[..., None] for v in self.law(backend, *at, x)
        )
        spread = backend.sqrt(variance)
        error = np.inf
        for level in range(FIRST_LEVEL, last + 1):
            before = error
            line = gaussian_line(backend, level)
            points = mean + spread * line.nodes
            terms = np.empty((self.count, *points.shape), dtype=points.dtype)
            for k, body in enumerate(self.bodies(backend, *at, x[..., None], points)):
                terms[k] = body
            terms *= line.weights
            found, sizes = _estimate(backend, terms)
            scales = np.maximum(np.abs(backend.to_float(found.value)), CANCELLED * sizes).max(axis=(1, 2))
            error = float(np.max(found.error.max(axis=(1, 2)) / np.maximum(scales, TINY)))
            if not error > tolerance or error > 0.5 * before:
                break
        return found.value, error


@dataclass(frozen=True)
class _Arguments:
    """The arguments of the functions in the bodies, factors times few functions b_k(x), each monotone in x.

    ``of[j]`` is the k of argument j; those of densities come first.
    """

    functions: Kernel  # -> b_0, db_0/dx, b_1, db_1/dx, ...
    factors: Kernel  # -> one an argument
    of: tuple[int, ...]
    densities: int
    affine: bool

    def crossings(
        self, at: Sequence[float], reach: float, ends: tuple[float, float], guess: Any
    ) -> Sequence[Sequence[float]]:
        """Where each argument is -r, 0, r, increasing in x: r = ``reach`` for densities, ``SWITCH`` for the
        others.  Doubles suffice: nothing depends on the exact place.
        """
        backend = Float64()
        factors = self.factors(backend, *at)
        radii = [
            (reach if j < self.densities else SWITCH) / max(abs(factor), TINY)
            for j, factor in enumerate(factors)
        ]
        if self.affine:
            lines = self.functions(backend, *at, 0.0)
            found = []
            for radius, k in zip(radii, self.of, strict=True):
                offset, slope = lines[2 * k], lines[2 * k + 1] or TINY
                centre, half = -offset / slope, radius / abs(slope)
                outside = max(ends[0] - centre, centre - ends[1], 0.0)
                if outside * reach > UNDERFLOW * half and reach <= _reach(15):
                    outside = math.inf  # nothing inside that a double holds
                half = math.hypot(half, outside)  # the tail inside ends where it has fallen as far
                found.append((centre - half, centre, centre + half))
            return found
        wanted = np.array([(-radius, 0.0, radius) for radius in radii])

        def evaluate(x: Any) -> tuple[Any, Any]:
            """Functions and slopes at x[argument], as if every function increased."""
            rows = [f + 0 * x for f in self.functions(backend, *at, x)]
            value = np.array([rows[2 * k][j] for j, k in enumerate(self.of)])
            slope = np.array([rows[2 * k + 1][j] for j, k in enumerate(self.of)])
            sign = np.sign(slope[:, :1])
            return sign * value, sign * slope

        places = None if guess is None else _newton(evaluate, guess, wanted)
        return _bracketed(evaluate, wanted, ends) if places is None else places


def _newton(evaluate: Callable[[Any], Any], x: Any, wanted: Any) -> Any:
    """Newton from a guess, None where it does not settle."""
    for _ in range(6):
        z, slope = evaluate(x)
        step = (wanted - z) / slope
        x = x + step
        if not np.all(np.isfinite(x)):
            return None
        if _settled(step, x):
            return x
    return None


def _settled(step: Any, x: Any) -> bool:
    """Whether a step is small beside the distance of the places of one argument, or at rounding."""
    spread = np.abs(x[:, 2:] - x[:, :1])
    return bool(np.all(np.abs(step) <= SETTLED * spread + 1e-15 * np.abs(x)))


def _bracketed(evaluate: Callable[[Any], Any], wanted: Any, ends: tuple[float, float]) -> Any:
    """Newton inside a bracket, halved where a step leaves it; the ends of the domain stand in outside."""
    low, high = ends
    scale = np.broadcast_to(1 + 2 * np.max(np.abs(wanted), axis=1, keepdims=True), wanted.shape)
    left = np.full(wanted.shape, low) if np.isfinite(low) else -scale
    right = np.full(wanted.shape, high) if np.isfinite(high) else scale
    for _ in range(200):
        grow_left = (evaluate(left)[0] > wanted) & ~np.isfinite(low)
        grow_right = (evaluate(right)[0] < wanted) & ~np.isfinite(high)
        if not (grow_left.any() or grow_right.any()):
            break
        left, right = np.where(grow_left, left * 2 - 1, left), np.where(grow_right, right * 2 + 1, right)
    x = (left + right) / 2
    for _ in range(100):
        z, slope = evaluate(x)
        left, right = np.where(z > wanted, left, x), np.where(z > wanted, x, right)
        trial = x - (z - wanted) / slope
        step = np.where((trial >= left) & (trial <= right), trial, (left + right) / 2) - x
        x = x + step
        if _settled(step, x):
            break
    return x


@dataclass(frozen=True)
class _Integrals:
    """Integrals over one variable and domain."""

    bodies: Kernel
    arguments: _Arguments
    ends: Kernel
    bounded: tuple[bool, bool]
    inner: tuple[_Inner, ...]
    count: int

    def domain(self, backend: Any, at: Sequence[Any]) -> tuple[Any, Any]:
        """The two ends, infinite ones as floats."""
        low, high = self.ends(backend, *at)
        return (low if self.bounded[0] else -np.inf, high if self.bounded[1] else np.inf)

    def cuts(self, digits: int, at: Sequence[float], guess: Any) -> tuple[list[float], Any]:
        """The ends of the panels inside the domain, increasing; and all places found.  A function that
        switches within less than half a panel cuts it.
        """
        low, high = (float(e) for e in self.domain(Float64(), at))
        places = self.arguments.crossings(at, _reach(digits), (low, high), guess)
        count = self.arguments.densities
        near = [row for row in places[:count] if all(abs(x) < np.inf for x in row)]
        points = sorted({min(max(x, low), high) for row in near for x in row})
        if len(points) < 2:
            return [], places
        for left, centre, right in places[count:]:
            panel = min(max(bisect_left(points, centre), 1), len(points) - 1)
            width = points[panel] - points[panel - 1]
            if right - left < width / 2:
                new = {x for x in (left, centre, right) if points[0] < x < points[-1]}
                points = sorted({*points, *new})
        least = 1e-13 * max(points[-1] - points[0], abs(points[0]), abs(points[-1]))
        kept = points[:1]
        kept += [x for before, x in pairwise(points) if x - before > least]
        return kept, places

    def terms(
        self,
        backend: Any,
        level: int,
        at: Sequence[Any],
        cuts: Sequence[float],
        tolerance: float,
        last: int,
    ) -> tuple[Any, float]:
        """Weighted integrands, shape (integrals, panels, nodes), at one level of the rule; the relative error
        of the averages inside, whose tolerance and last level are given.
        """
        low, high = self.domain(backend, at)
        ends = as_numbers(backend, np.array(cuts))[:, None]
        if self.bounded[0] and cuts[0] <= float(low):
            ends[0, 0] = low
        if self.bounded[1] and cuts[-1] >= float(high):
            ends[-1, 0] = high
        rule = double_exponential(backend, level)
        width = ends[1:] - ends[:-1]
        x = np.where(rule.left < rule.right, ends[:-1] + width * rule.left, ends[1:] - width * rule.right)
        averages = [average.run(backend, at, x, tolerance, last) for average in self.inner]
        bodies = self.bodies(backend, *at, x, *(value for values, _ in averages for value in values))
        terms = np.empty((self.count, *x.shape), dtype=x.dtype)
        for k, body in enumerate(bodies):
            terms[k] = body
        terms *= width * rule.weights
        return terms, max((error for _, error in averages), default=0.0)

    def run(
        self,
        backend: Any,
        level: int,
        at: Sequence[Any],
        cuts: Sequence[float],
        tolerance: float,
        last: int,
    ) -> Family:
        """Values and errors at one level of the rule."""
        if len(cuts) < 2:
            return Family([backend.number(0)] * self.count, np.zeros(self.count), np.zeros(self.count))
        terms, inside = self.terms(backend, level, at, cuts, tolerance, last)
        estimate, sizes = _estimate(backend, terms)
        sizes = sizes.sum(axis=1)
        return Family(list(estimate.value.sum(axis=1)), estimate.error.sum(axis=1) + inside * sizes, sizes)

    def rough(self, backend: Any, level: int, at: Sequence[Any], cuts: Sequence[float]) -> list[Any]:
        """Values at one level of the rule, without an estimate of their error."""
        if len(cuts) < 2:
            return [backend.number(0)] * self.count
        terms, _ = self.terms(backend, level, at, cuts, ROUGH, level + 2)
        return list(terms.sum(axis=(1, 2)))


def _estimate(backend: Any, terms: Any) -> tuple[Estimate, Any]:
    """``nested_sum``, and the sums of sizes."""
    fine, half, quarter, sizes = strided_sums(backend, terms)
    found = estimated(backend, fine, half, quarter, sizes, EXPONENTIAL)
    return found._replace(error=np.where(sizes > 0, found.error, 0.0)), sizes


@lru_cache(maxsize=64)
def _reach(digits: int) -> float:
    """Beyond how many standard deviations a Gaussian is below so many digits, two to spare."""
    return math.sqrt(2 * (digits + 2) * math.log(10)) + 1


@dataclass(frozen=True)
class RiskProgram:
    """Lowered expressions with integrals over intervals; ``natural`` gives sizes of the values, relative to
    which errors count where a value vanishes.
    """

    groups: tuple[_Integrals, ...]
    kernel: Kernel
    sensitivity: Kernel  # -> d(value)/d(integral), value by value
    natural: Natural

    def run(
        self,
        backend: Any,
        at: Sequence[Any],
        tolerance: float,
        last: int,
        near: Evaluated | None = None,
    ) -> Evaluated:
        """Values at arguments in the backend's numbers, the levels raised up to ``last`` until the relative
        error is at the tolerance; ``near`` is the result at a point nearby.
        """
        if not self.groups:
            return Evaluated(self.kernel(backend, *at), 0.0, (), ())
        floats = doubles(at)
        count = len(self.groups)
        levels = list(near.levels if near else [FIRST_LEVEL] * count)
        guesses = near.places if near else (None,) * count
        placed = [g.cuts(backend.digits, floats, p) for g, p in zip(self.groups, guesses, strict=True)]
        results: list[Any] = [None] * count
        shares, pending = np.full(count, np.inf), list(range(count))
        while True:
            for k in pending:
                results[k] = self.groups[k].run(backend, levels[k], at, placed[k][0], tolerance / 10, last)
            before = shares.copy()
            values, shares = self._combined(backend, at, results)
            stuck = [levels[k] > FIRST_LEVEL + 3 and shares[k] > 0.5 * before[k] for k in range(count)]
            pending = [
                k
                for k in range(count)
                if shares[k] * count > tolerance and levels[k] < last and not (k in pending and stuck[k])
            ]
            if not pending or not shares.sum() > tolerance:
                break
            for k in pending:
                levels[k] += 1
        return Evaluated(values, float(shares.sum()), tuple(levels), tuple(places for _, places in placed))

    def rough(self, backend: Any, at: Sequence[Any], level: int, near: Evaluated | None = None) -> Evaluated:
        """Values at one level: some digits, for the way to a solution."""
        floats = doubles(at)
        guesses = near.places if near else (None,) * len(self.groups)
        integrals, places = [], []
        for group, guess in zip(self.groups, guesses, strict=True):
            cuts, found = group.cuts(backend.digits, floats, guess)
            integrals += group.rough(backend, level, at, cuts)
            places.append(found)
        values = self.kernel(backend, *at, *integrals)
        return Evaluated(values, math.inf, (level,) * len(self.groups), tuple(places))

    def _combined(self, backend: Any, at: Sequence[Any], results: Sequence[Family]) -> tuple[Any, Any]:
        """The values, and the part of each family in the largest relative error."""
        integrals = [v for r in results for v in r.values]
        values = self.kernel(backend, *at, *integrals)
        slopes = np.array([float(d) for d in self.sensitivity(backend, *at, *integrals)])
        slopes = np.abs(slopes.reshape(-1, len(integrals)))
        sizes = slopes @ np.concatenate([r.sizes for r in results])
        own = [abs(float(v)) for v in values[: len(slopes)]]
        scale = np.maximum(np.maximum(self.natural(own), CANCELLED * sizes), TINY)
        errors, shares, start = slopes / scale[:, None], [], 0
        for r in results:
            stop = start + len(r.values)
            shares.append(np.max(errors[:, start:stop] @ r.errors))
            start = stop
        return values, np.array(shares)


def lower_risk(
    expressions: Sequence[sp.Expr],
    arguments: Sequence[sp.Symbol],
    auxiliary: Sequence[sp.Expr] = (),
    natural: Natural = tuple,
) -> RiskProgram:
    """Lower expressions whose integrals are ``OutputSum`` over intervals of Gaussian densities; the
    ``auxiliary`` ones follow them in the values and share the nodes, their error does not count.
    """
    every = [sp.sympify(e) for e in (*expressions, *auxiliary)]
    integrals = list(dict.fromkeys(i for e in every for i in sorted(e.atoms(OutputSum), key=str)))
    families: dict[Any, list[OutputSum]] = {}
    for integral in integrals:
        families.setdefault((integral.var, integral.outputs), []).append(integral)
    placeholders: dict[Any, sp.Symbol] = {}
    groups = []
    for (variable, domain), members in families.items():
        placeholders.update((i, sp.Dummy("integral", real=True)) for i in members)
        groups.append(_lower_integrals(members, variable, domain, arguments))
    flat = [e.xreplace(placeholders) for e in every]
    names = [*arguments, *placeholders.values()]
    slopes = [e.diff(p) for e in flat[: len(expressions)] for p in placeholders.values()]
    return RiskProgram(tuple(groups), compile_kernel(flat, names), compile_kernel(slopes, names), natural)


def _lower_integrals(
    members: Sequence[OutputSum], variable: sp.Symbol, domain: Any, arguments: Sequence[sp.Symbol]
) -> _Integrals:
    bodies = [i.body for i in members]
    averages = {a: _unmirrored(a) for body in bodies for a in body.atoms(GaussianAverage)}
    laws: dict[Any, list[GaussianAverage]] = {}
    for average in sorted(set(averages.values()), key=sp.default_sort_key):
        laws.setdefault((average.mean, average.variance), []).append(average)
    places = {a: sp.Dummy("inner", real=True) for some in laws.values() for a in some}
    names = {a: places[plain] for a, plain in averages.items()}
    bodies = [_named_averages(body, names) for body in bodies]
    bounded = (domain.inf != -sp.oo, domain.sup != sp.oo)
    ends = [domain.inf if bounded[0] else sp.S.Zero, domain.sup if bounded[1] else sp.S.Zero]
    return _Integrals(
        compile_kernel(bodies, [*arguments, variable, *places.values()]),
        _arguments(bodies, variable, arguments),
        compile_kernel(ends, arguments),
        bounded,
        tuple(_lower_averages(law, some, [*arguments, variable]) for law, some in laws.items()),
        len(members),
    )


def _unmirrored(average: GaussianAverage) -> GaussianAverage:
    """E f(h), h ~ N(-mu, v), as E f(-h), h ~ N(mu, v): mirror images merge."""
    if not average.mean.could_extract_minus_sign():
        return average
    body = average.body.subs(average.var, -average.var)
    return GaussianAverage(body, average.var, -average.mean, average.variance)


def _lower_averages(
    law: tuple[sp.Expr, sp.Expr], averages: Sequence[GaussianAverage], arguments: Sequence[sp.Symbol]
) -> _Inner:
    field = sp.Dummy("h", real=True)
    bodies = [a.body.subs(a.var, field) for a in averages]
    return _Inner(compile_kernel(law, arguments), compile_kernel(bodies, [*arguments, field]), len(averages))


def _arguments(bodies: Sequence[sp.Expr], x: sp.Symbol, arguments: Sequence[sp.Symbol]) -> _Arguments:
    """Arguments that differ by their sign have the same crossings."""
    densities: dict[tuple[sp.Expr, sp.Expr], None] = {}
    switches: dict[tuple[sp.Expr, sp.Expr], None] = {}
    for body in bodies:
        for node in sorted(body.atoms(normal_density, ndtr, npdf, log_ndtr), key=sp.default_sort_key):
            if isinstance(node, normal_density) and node.has(x):
                densities[_factored((node.args[0] - node.args[1]) / sp.sqrt(node.args[2]), x)] = None
            elif node.has(x):
                switches[_factored(node.args[0], x)] = None
    found = [*densities, *(s for s in switches if s not in densities)]
    functions = list(dict.fromkeys(f for _, f in found))
    slopes = [sp.expand(f.diff(x)) for f in functions]
    return _Arguments(
        compile_kernel([e for pair in zip(functions, slopes, strict=True) for e in pair], [*arguments, x]),
        compile_kernel([factor for factor, _ in found], arguments),
        tuple(functions.index(f) for _, f in found),
        len(densities),
        not any(slope.has(x) for slope in slopes),
    )


def _factored(form: sp.Expr, x: sp.Symbol) -> tuple[sp.Expr, sp.Expr]:
    """(factor without x, function of x), signs aside: the function with a positive sign in front."""
    factor, function = sp.factor_terms(form).as_independent(x, as_Add=False)
    function = sp.expand(function)
    return (-factor, -function) if function.could_extract_minus_sign() else (factor, function)


def _named_averages(expr: Any, names: Mapping[Any, sp.Symbol]) -> Any:
    """Placeholders for Gaussian averages."""
    if expr in names:
        return names[expr]
    return expr.func(*(_named_averages(a, names) for a in expr.args)) if expr.has(GaussianAverage) else expr
