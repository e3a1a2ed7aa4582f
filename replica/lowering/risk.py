"""Empirical risk -> numbers: the six equations lowered, solved in doubles, refined to any number of digits.

The averages are one-dimensional integrals of a Gaussian density at a monotone argument (``envelope_rules``):
they are cut where the density is negligible and split where its argument vanishes, and each panel is
integrated by the tanh-sinh rule.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.logsum import logaddexp
from replica.expr.stable import log2cosh, normal_density
from replica.lowering.printer import compile_kernel
from replica.symbols import V, V_hat, m, m_hat, q, q_hat
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP
from solvers.fixed_point.vector import FixedPoint, refine_map, solve_map
from solvers.quadrature.rules import double_exponential, gaussian_line, nested_sum
from solvers.solution import Errors, Outcome, Solution, unsolved

ORDER = (m, q, V)
CONJUGATES = (m_hat, q_hat, V_hat)
NAMES = ("m", "q", "V", "m_hat", "q_hat", "V_hat")
FIRST_LEVEL, FLOAT_LEVEL, LAST_LEVEL = 4, 9, 12
GUARD = 12
QUADRATURE = 1e-12
"""Relative error wanted of the integrals in doubles."""
IMPRECISE = 1e-10
"""Estimated error beyond which a solution in doubles is refined in more digits, even when not asked."""

Kernel = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class _Inner:
    """A Gaussian average inside an integral: the evidence of a channel without a closed form."""

    law: Kernel
    body: Kernel

    def run(self, backend: Any, level: int, at: Sequence[Any], x: Any) -> tuple[Any, float]:
        """Values at the nodes x, and the largest error of one relative to the largest value."""
        line = gaussian_line(backend, level)
        mean, variance = (
            np.broadcast_to(backend.array(v), x.shape)[..., None] for v in self.law(backend, *at, x)
        )
        points = mean + backend.sqrt(variance) * line.nodes
        (terms,) = self.body(backend, *at, x[..., None], points)
        estimate = nested_sum(backend, np.broadcast_to(backend.array(terms), points.shape) * line.weights)
        scale = float(np.max(np.abs(backend.to_float(estimate.value))))
        return estimate.value, float(np.max(estimate.error)) / max(scale, 1e-300)


@dataclass(frozen=True)
class _Integrals:
    """Integrals over one variable and domain: their bodies, and the standardised arguments z of the Gaussian
    densities in them.
    """

    bodies: Kernel
    arguments: Kernel
    ends: Kernel
    bounded: tuple[bool, bool]
    inner: tuple[_Inner, ...] = ()

    def run(
        self, backend: Any, level: int, at: Sequence[Any], cuts: Sequence[float]
    ) -> tuple[list[Any], Any]:
        """Values, and the largest quadrature error relative to the size of each integrand."""
        ends = self.ends(backend, *at)
        points = [backend.number(c) for c in cuts]
        if self.bounded[0]:
            points = [ends[0], *(p for c, p in zip(cuts, points, strict=True) if c > float(ends[0]))]
        if self.bounded[1]:
            points = [*(p for p in points if float(p) < float(ends[1])), ends[1]]
        if len(points) < 2:
            return [], 0.0
        rule = double_exponential(backend, level)
        nodes, weights = [], []
        for left, right in pairwise(points):
            width = right - left
            nodes.append(
                np.where(rule.left < rule.right, left + width * rule.left, right - width * rule.right)
            )
            weights.append(width * rule.weights)
        x = np.stack(nodes)
        panels = np.stack(weights)
        totals = []
        averages = [average.run(backend, level, at, x) for average in self.inner]
        worst = max((error for _, error in averages), default=0.0)
        for body in self.bodies(backend, *at, x, *(value for value, _ in averages)):
            terms = np.broadcast_to(backend.array(body), x.shape) * panels
            estimate = nested_sum(backend, terms)
            value = estimate.value.sum()
            totals.append(value)
            # an integral that vanishes by cancellation is measured against its integrand
            size = float(np.abs(backend.to_float(terms)).sum())
            scale = max(abs(float(value)), 1e-3 * size, 1e-300)
            worst = max(worst, float(np.sum(estimate.error)) / scale)
        return totals, worst

    def cuts(self, digits: int, at: Sequence[float]) -> list[float]:
        """Where the densities start, peak and end, inside the domain (doubles suffice: nothing depends on the
        exact place).
        """
        backend = Float64()
        reach = float(np.sqrt(2 * (digits + 2) * np.log(10))) + 1
        with backend.context():
            low, high = (float(e) for e in self.ends(backend, *at))
            found: list[float] = []
            for k in range(len(self.arguments(backend, *at, 0.0))):
                found += _crossings(
                    lambda x, k=k: self.arguments(backend, *at, x)[k], low, high, (-reach, 0.0, reach)
                )
        return sorted({c for c in found if np.isfinite(c)})


def _crossings(z: Callable[[Any], Any], low: float, high: float, targets: Sequence[float]) -> list[float]:
    """Where a monotone function meets the targets, the ends of the domain standing in outside."""
    wanted = np.array(targets)
    left = np.full(wanted.shape, low if np.isfinite(low) else -1.0)
    right = np.full(wanted.shape, high if np.isfinite(high) else 1.0)
    sign = 1.0 if z(np.array(left[0] + 0.6 * (right[0] - left[0]))) >= z(np.array(left[0])) else -1.0
    for _ in range(200):
        grow_left = (sign * (z(left) - wanted) > 0) & ~np.isfinite(low)
        grow_right = (sign * (z(right) - wanted) < 0) & ~np.isfinite(high)
        if not (grow_left.any() or grow_right.any()):
            break
        left, right = np.where(grow_left, left * 2 - 1, left), np.where(grow_right, right * 2 + 1, right)
    for _ in range(80):
        middle = (left + right) / 2
        above = sign * (z(middle) - wanted) > 0
        left, right = np.where(above, left, middle), np.where(above, middle, right)
    return [float(x) for x in (left + right) / 2]


@dataclass(frozen=True)
class RiskProgram:
    """Expressions with integrals over intervals, lowered; ``run`` gives values and relative error."""

    groups: tuple[_Integrals, ...]
    counts: tuple[int, ...]
    kernel: Kernel

    def run(
        self, backend: Any, at: Sequence[Any], tolerance: float, last: int
    ) -> tuple[tuple[Any, ...], float]:
        """Values at arguments in the backend's numbers, the level raised until the error is at the
        tolerance.
        """
        floats = [float(a) for a in at]
        placeholders: list[Any] = []
        worst = 0.0
        for group, count in zip(self.groups, self.counts, strict=True):
            cuts = group.cuts(backend.digits, floats)
            error = np.inf
            for level in range(FIRST_LEVEL, last + 1):
                before = error
                values, error = group.run(backend, level, at, cuts)
                if not error > tolerance or (error > 0.5 * before and level > FIRST_LEVEL + 2):
                    break
            placeholders += values or [backend.number(0)] * count
            worst = max(worst, error)
        return self.kernel(backend, *at, *placeholders), worst


def lower_risk(expressions: Sequence[sp.Expr], arguments: Sequence[sp.Symbol]) -> RiskProgram:
    """Lower expressions whose integrals are ``OutputSum`` over intervals of Gaussian densities."""
    stable = [
        sp.sympify(e).replace(
            lambda n: isinstance(n, logaddexp) and n.args[0] == 0,
            lambda n: log2cosh(n.args[1] / 2) + n.args[1] / 2,
        )
        for e in expressions
    ]
    integrals = list(dict.fromkeys(i for e in stable for i in sorted(e.atoms(OutputSum), key=str)))
    families: dict[Any, list[OutputSum]] = {}
    for integral in integrals:
        families.setdefault((integral.var, integral.outputs), []).append(integral)
    placeholders: dict[Any, sp.Symbol] = {}
    groups, counts = [], []
    for (variable, domain), members in families.items():
        placeholders.update((i, sp.Dummy("integral", real=True)) for i in members)
        counts.append(len(members))
        groups.append(_lower_integrals(members, variable, domain, arguments))
    flat = [e.xreplace(placeholders) for e in stable]
    return RiskProgram(
        tuple(groups), tuple(counts), compile_kernel(flat, [*arguments, *placeholders.values()])
    )


def _lower_integrals(
    members: Sequence[OutputSum], variable: sp.Symbol, domain: Any, arguments: Sequence[sp.Symbol]
) -> _Integrals:
    bodies = [i.body for i in members]
    averages = sorted({a for body in bodies for a in body.atoms(GaussianAverage)}, key=sp.default_sort_key)
    names = {a: sp.Dummy("inner", real=True) for a in averages}
    bodies = [_named_averages(body, names) for body in bodies]
    densities = sorted(
        {d for body in bodies for d in body.atoms(normal_density) if d.has(variable)}, key=sp.default_sort_key
    )
    standardised = [(d.args[0] - d.args[1]) / sp.sqrt(d.args[2]) for d in densities]
    bounded = (domain.inf != -sp.oo, domain.sup != sp.oo)
    ends = [domain.inf if bounded[0] else sp.S.Zero, domain.sup if bounded[1] else sp.S.Zero]
    kernel = compile_kernel(ends, arguments)

    def infinite_ends(backend: Any, *at: Any) -> tuple[Any, Any]:
        low, high = kernel(backend, *at)
        return (low if bounded[0] else -np.inf, high if bounded[1] else np.inf)

    return _Integrals(
        compile_kernel(bodies, [*arguments, variable, *names.values()]),
        compile_kernel(standardised, [*arguments, variable]),
        infinite_ends,
        bounded,
        tuple(
            _Inner(
                compile_kernel([a.mean, a.variance], [*arguments, variable]),
                compile_kernel([a.body], [*arguments, variable, a.var]),
            )
            for a in averages
        ),
    )


def _named_averages(expr: Any, names: Mapping[Any, sp.Symbol]) -> Any:
    """Placeholders for Gaussian averages."""
    if expr in names:
        return names[expr]
    return expr.func(*(_named_averages(a, names) for a in expr.args)) if expr.has(GaussianAverage) else expr


@dataclass(frozen=True)
class RiskEquations:
    """The lowered model: overlaps -> conjugates (with derivatives), conjugates -> overlaps, observables."""

    outputs: RiskProgram
    output_slopes: RiskProgram
    weights: RiskProgram
    weight_slopes: RiskProgram
    observables: RiskProgram
    free_entropy: RiskProgram
    second_moment: RiskProgram
    names: tuple[str, ...]
    angles: tuple[bool, ...]
    parameters: tuple[str, ...]


@lru_cache(maxsize=32)
def risk_equations(model: Any) -> RiskEquations:
    """Lower a model of empirical risk, once."""
    saddle = model.saddle_point()
    symbols = [s for _, s in model.parameter_symbols()]
    outputs = [saddle.update(c) for c in CONJUGATES]
    weights = [saddle.update(u) for u in ORDER]
    observables = model.observables()
    angles = tuple(e.has(sp.acos) for e in observables.values())
    everything = [*ORDER, *CONJUGATES, *symbols]
    return RiskEquations(
        lower_risk(outputs, [*ORDER, *symbols]),
        lower_risk([o.diff(u) for o in outputs for u in ORDER], [*ORDER, *symbols]),
        lower_risk(weights, [*CONJUGATES, *symbols]),
        lower_risk([w.diff(c) for w in weights for c in CONJUGATES], [*CONJUGATES, *symbols]),
        lower_risk([_angle_free(e) for e in observables.values()], everything),
        lower_risk([model.free_entropy().expression], everything),
        lower_risk([model.second_moment], symbols),
        tuple(observables),
        angles,
        tuple(p.name for p, _ in model.parameter_symbols()),
    )


def _angle_free(expr: sp.Expr) -> sp.Expr:
    """The cosine of an angle over pi; the arc cosine is taken on numbers."""
    angles = expr.atoms(sp.acos)
    if not angles:
        return expr
    (angle,) = angles
    if expr != angle / sp.pi:
        raise NotImplementedError(f"an observable is an angle over pi, not {expr}")
    return angle.args[0]


class _Doubles:
    """The map of the overlaps in the coordinates atanh(m/sqrt(q rho)), log q, log V, in doubles."""

    def __init__(self, equations: RiskEquations, parameters: Sequence[float]) -> None:
        self.equations, self.parameters = equations, list(parameters)
        self.backend = Float64()
        self.error = 0.0
        with self.backend.context():
            self.rho = float(equations.second_moment.run(self.backend, self.parameters, 1, 0)[0][0])

    def order(self, x: np.ndarray) -> np.ndarray:
        """M, q, V."""
        q_, v_ = np.exp(x[1]), np.exp(x[2])
        return np.array([np.sqrt(q_ * self.rho) * np.tanh(x[0]), q_, v_])

    def coordinates(self, order: np.ndarray) -> np.ndarray:
        """The inverse of ``order``."""
        m_, q_, v_ = order
        return np.array([np.arctanh(m_ / np.sqrt(q_ * self.rho)), np.log(q_), np.log(v_)])

    def conjugates(self, order: np.ndarray) -> tuple[np.ndarray, float]:
        """m_hat, q_hat, V_hat and their relative quadrature error."""
        values, error = self.equations.outputs.run(
            self.backend, [*order, *self.parameters], QUADRATURE, FLOAT_LEVEL
        )
        return np.array([float(v) for v in values]), error

    def pass_jacobian(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One pass of the equations and its Jacobian, both in m, q, V."""
        at = [*order, *self.parameters]
        hats, self.error = self.conjugates(order)
        inner, _ = self.equations.output_slopes.run(self.backend, at, 1e-7, FLOAT_LEVEL)
        values, _ = self.equations.weights.run(self.backend, [*hats, *self.parameters], 1, 0)
        outer, _ = self.equations.weight_slopes.run(self.backend, [*hats, *self.parameters], 1, 0)
        outer_matrix, inner_matrix = (np.array([float(x) for x in s]).reshape(3, 3) for s in (outer, inner))
        return np.array([float(v) for v in values]), outer_matrix @ inner_matrix

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One pass of the equations and its Jacobian, in the coordinates."""
        with self.backend.context():
            order = self.order(x)
            value, jacobian = self.pass_jacobian(order)
            return self.coordinates(value), self._slope(value) @ jacobian @ np.linalg.inv(self._slope(order))

    def _slope(self, order: np.ndarray) -> np.ndarray:
        """d(coordinates)/d(m, q, V)."""
        m_, q_, v_ = order
        c = m_ / np.sqrt(q_ * self.rho)
        factor = 1 / (1 - c * c)
        return np.array(
            [
                [factor / np.sqrt(q_ * self.rho), -factor * c / (2 * q_), 0.0],
                [0.0, 1 / q_, 0.0],
                [0.0, 0.0, 1 / v_],
            ]
        )


START = (0.3, -1.0, -0.5)


def _solve_doubles(
    model: Any, equations: RiskEquations, exact: Mapping[str, Fraction]
) -> tuple[_Doubles, FixedPoint]:
    """From a fixed start; where that fails, along lam from a strong penalty down."""
    parameters = [float(exact[name]) for name in equations.parameters]
    problem = _Doubles(equations, parameters)
    found = solve_map(problem, START)
    if found.converged:
        return problem, found
    index = equations.parameters.index("lam")
    target, evaluations = parameters[index], found.evaluations
    lam, x = max(10.0, 10 * target), START
    ratio = 0.25
    for _ in range(200):
        last = ratio * lam <= target or lam < 1e-12
        trial = target if last else ratio * lam
        stage = _Doubles(equations, [*parameters[:index], trial, *parameters[index + 1 :]])
        step = solve_map(stage, x)
        evaluations += step.evaluations
        if step.converged:
            found, problem, lam, x, ratio = step, stage, trial, tuple(step.x), max(ratio**2, 0.01)
            if last:
                break
        elif ratio > 0.95:
            problem, found = stage, step
            break
        else:
            ratio = ratio**0.5
    return problem, found._replace(evaluations=evaluations, converged=found.converged and lam == target)


def solve_risk(
    model: Any,
    exact_params: Mapping[str, Fraction],
    digits: int = 15,
    start: str = "global",
    backend: str | None = None,
) -> Solution:
    """Solve the six equations at one point; the risk is convex, so the solution is unique and ``start`` plays
    no part.

    Values: m, q, V, m_hat, q_hat, V_hat, energy (the minimal risk per coordinate) and the model's
    observables.  A search that fails is an outcome.

    Raises
    ------
    InputError
        The minimiser is not unique or does not exist (lam = 0).
    """
    del start
    exact = dict(exact_params)
    model.check(exact)
    equations = risk_equations(model)
    problem, found = _solve_doubles(model, equations, exact)
    name = backend or ("float64" if digits <= 15 else "arb")
    order = problem.order(found.x)
    with problem.backend.context():
        value, jacobian = problem.pass_jacobian(order)
    radius = float(np.max(np.abs(np.linalg.eigvals(jacobian)))) if np.all(np.isfinite(jacobian)) else np.inf
    if not found.converged or not np.all(np.isfinite(value)):
        return unsolved(exact, residual=found.residual, digits=digits, evaluations=found.evaluations)
    stiffness = float(np.max(np.abs(np.linalg.inv(np.eye(3) - jacobian))))
    amplified = problem.error * stiffness
    rounding = 2.0**-52 * stiffness
    if name != "float64" or amplified + found.residual * stiffness + rounding > IMPRECISE:
        make = MP if name == "mpmath" else Arb
        return _refined(equations, exact, digits, make, order, jacobian, found, radius)
    numbers = [float(v) for v in order]
    hats, _ = problem.conjugates(order)
    values, phi, _ = _measure(
        equations, problem.backend, [*numbers, *(float(x) for x in hats)], problem.parameters
    )
    return Solution(
        values=values,
        params=exact,
        free_entropy=phi,
        residual=found.residual,
        errors=Errors(found.residual * stiffness, amplified, rounding),
        outcome=Outcome.CONVERGED,
        backend="float64",
        digits=digits,
        stability=radius,
        branches=(numbers[0],),
        evaluations=found.evaluations,
    )


def _refined(
    equations: RiskEquations,
    exact: Mapping[str, Fraction],
    digits: int,
    make: Callable[[int], Any],
    order: np.ndarray,
    jacobian: np.ndarray,
    found: FixedPoint,
    radius: float,
) -> Solution:
    wanted = max(digits, 18)
    stiffness = float(np.max(np.abs(np.linalg.inv(np.eye(3) - jacobian))))
    backend = make(wanted + GUARD + int(np.log10(stiffness + 1)))
    small = 10.0 ** -(wanted + 2)
    with backend.context():
        parameters = [backend.number(exact[name]) for name in equations.parameters]

        def one_pass(x: tuple[Any, ...]) -> tuple[tuple[Any, ...], float]:
            hats, error = equations.outputs.run(
                backend, [*x, *parameters], small / (10 * stiffness), LAST_LEVEL
            )
            hats = tuple(backend.midpoint(_scalar(c)) for c in hats)
            values, _ = equations.weights.run(backend, [*hats, *parameters], 1, 0)
            return tuple(_scalar(v) for v in values), error

        start = [backend.number(float(v)) for v in order]
        fine = refine_map(backend, one_pass, start, jacobian, small)
        hats, _ = equations.outputs.run(backend, [*fine.x, *parameters], small, LAST_LEVEL)
        numbers = [*fine.x, *(backend.midpoint(_scalar(c)) for c in hats)]
        values, phi, _ = _measure(equations, backend, numbers, parameters, digits)
    quadrature = fine.quadrature * stiffness
    good = fine.converged and quadrature <= 10 * 10.0**-digits
    outcome = Outcome.CONVERGED if good else Outcome.QUADRATURE if fine.converged else Outcome.RESIDUAL
    return Solution(
        values=values,
        params=dict(exact),
        free_entropy=phi,
        residual=fine.moved,
        errors=Errors(fine.moved * 1e-8, quadrature, 10.0 ** (1 - backend.digits) * stiffness),
        outcome=outcome,
        backend=backend.name,
        digits=digits,
        stability=radius,
        branches=(float(fine.x[0]),),
        evaluations=found.evaluations + fine.steps,
    )


def _scalar(value: Any) -> Any:
    """A backend's number out of an array of no dimensions."""
    return value[()] if isinstance(value, np.ndarray) else value


def _measure(
    equations: RiskEquations,
    backend: Any,
    numbers: Sequence[Any],
    parameters: Sequence[Any],
    digits: int = 15,
) -> tuple[dict[str, Any], Any, float]:
    """The values to report: unknowns, energy, observables; the free entropy; the quadrature's error."""
    target = MP(max(digits, 15) + 2)
    last = FLOAT_LEVEL if backend.name == "float64" else LAST_LEVEL
    tolerance = QUADRATURE if backend.name == "float64" else 10.0 ** -(digits + 2)

    def number(value: Any) -> Any:
        exact = backend.to_fraction(_scalar(value))
        return float(exact) if digits <= 15 else MP(digits).number(exact)

    with backend.context():
        at = [*numbers, *parameters]
        (phi,), first = equations.free_entropy.run(backend, at, tolerance, last)
        observed, second = equations.observables.run(backend, at, tolerance, last)
        values = {name: number(v) for name, v in zip(NAMES, numbers, strict=True)}
        values["energy"] = number(-phi)
        for name, value, angle in zip(equations.names, observed, equations.angles, strict=True):
            if angle:
                cosine = target.number(backend.to_fraction(_scalar(value)))
                fraction = target.mp.acos(cosine) / target.mp.pi
                values[name] = float(fraction) if digits <= 15 else MP(digits).mp.mpf(fraction)
            else:
                values[name] = number(value)
        return values, number(phi), max(first, second)
