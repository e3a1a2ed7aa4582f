"""Empirical risk -> numbers: the six equations lowered, solved in doubles, refined to any number of digits.

Newton's method is first content with a few digits of the averages; the last steps take all of them.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from replica.lowering.risk_integrals import Evaluated, RiskProgram, doubles, lower_risk
from replica.symbols import V, V_hat, m, m_hat, q, q_hat
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP
from solvers.fixed_point.vector import FixedPoint, refine_map, solve_map
from solvers.solution import Errors, Outcome, Solution, unsolved

ORDER = (m, q, V)
CONJUGATES = (m_hat, q_hat, V_hat)
NAMES = ("m", "q", "V", "m_hat", "q_hat", "V_hat")
FLOAT_LEVEL, LAST_LEVEL = 9, 12
GUARD = 12
QUADRATURE = 1e-12
"""Relative error wanted of the averages in doubles."""
ROUGH_LEVEL, COARSE = 4, 1e-4
"""Level of the averages far from the solution, and the residual down to which it is kept."""
NEAR = 1e-2
"""Distance from the solution, as Newton sees it, from which a search that stalls in doubles goes on in more
digits.
"""
FLOOR = 1e-100
"""Below this q and V are zero to doubles: an l1 norm that leaves exponentially few weights."""
IMPRECISE = 1e-10
"""Estimated error beyond which a solution in doubles is refined in more digits, even when not asked."""


@dataclass(frozen=True)
class RiskEquations:
    """The lowered model: overlaps -> conjugates (and with their derivatives), conjugates -> overlaps (with
    their derivatives), all six -> free entropy and observables.
    """

    outputs: RiskProgram
    steered: RiskProgram
    weights: RiskProgram
    measured: RiskProgram
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
    phi = model.free_entropy().expression
    return RiskEquations(
        lower_risk(outputs, [*ORDER, *symbols], natural=_natural),
        lower_risk(outputs, [*ORDER, *symbols], _slopes(*outputs), _natural),
        lower_risk([*weights, *(w.diff(c) for w in weights for c in CONJUGATES)], [*CONJUGATES, *symbols]),
        lower_risk([phi, *(_angle_free(e) for e in observables.values())], everything),
        lower_risk([model.second_moment], symbols),
        tuple(observables),
        angles,
        tuple(p.name for p, _ in model.parameter_symbols()),
    )


def _natural(sizes: Sequence[float]) -> Sequence[float]:
    """|m_hat| beside sqrt(q_hat), the noise of the field m_hat w* + sqrt(q_hat) z on a weight."""
    return (max(sizes[0], math.sqrt(sizes[1])), *sizes[1:])


def _slopes(m_hat: sp.Expr, q_hat: sp.Expr, V_hat: sp.Expr) -> list[sp.Expr]:
    """Six derivatives that give all nine: (m_hat, V_hat, q_hat) = (d/dm, -2 d/dq, 2 d/dV) of one function."""
    return [m_hat.diff(m), m_hat.diff(q), q_hat.diff(m), q_hat.diff(q), q_hat.diff(V), V_hat.diff(q)]


def _matrix(slopes: Sequence[float]) -> np.ndarray:
    """d(m_hat, q_hat, V_hat)/d(m, q, V) from ``_slopes``."""
    mm, mq, qm, qq, qv, vq = slopes
    return np.array([[mm, mq, qm / 2], [qm, qq, qv], [-2 * mq, vq, -qq]])


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
        self.equations, self.parameters = equations, doubles(parameters)
        self.backend = Float64()
        self.rough, self.error = False, 0.0
        self.hats, self.passed = [0.0] * 3, [0.0] * 3  # of the last pass
        self.near: Evaluated | None = None
        with self.backend.context():
            self.rho = float(equations.second_moment.run(self.backend, self.parameters, 1, 0).values[0])

    def order(self, x: np.ndarray) -> np.ndarray:
        """M, q, V."""
        q_, v_ = np.exp(x[1]), np.exp(x[2])
        return np.array([np.sqrt(q_ * self.rho) * np.tanh(x[0]), q_, v_])

    def coordinates(self, order: np.ndarray) -> np.ndarray:
        """The inverse of ``order``, q and V at the floor if below."""
        m_, q_, v_ = order
        q_, v_ = max(q_, FLOOR), max(v_, FLOOR)
        return np.array([np.arctanh(m_ / np.sqrt(q_ * self.rho)), np.log(q_), np.log(v_)])

    def pass_jacobian(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One pass of the equations and its Jacobian, both in m, q, V."""
        at, program = [*order, *self.parameters], self.equations.steered
        if self.rough:
            found = program.rough(self.backend, at, ROUGH_LEVEL, self.near)
        else:
            found = program.run(self.backend, at, QUADRATURE, FLOAT_LEVEL, self.near)
        numbers = doubles(found.values)
        self.hats, self.error = numbers[:3], found.error
        if np.all(np.isfinite(numbers)):
            self.near = found
        at = [*self.hats, *self.parameters]
        weights = doubles(self.equations.weights.run(self.backend, at, 1, 0).values)
        self.passed = weights[:3]
        return np.array(weights[:3]), np.reshape(weights[3:], (3, 3)) @ _matrix(numbers[3:])

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One pass of the equations and its Jacobian, in the coordinates."""
        with self.backend.context():
            order = self.order(x)
            value, jacobian = self.pass_jacobian(order)
            return self.coordinates(value), self._slope(value) @ jacobian @ np.linalg.inv(self._slope(order))

    def lost(self, order: np.ndarray) -> float:
        """By how much the error of a teacher nearly found is below its terms: E (w - w*)^2 of real outputs,
        the squared sine of the angle of labels.
        """
        m_, q_, _ = order
        if "mse" in self.equations.names:
            return float((self.rho + q_) / max(self.rho - 2 * m_ + q_, 1e-300))
        return float(1 / max(1 - m_**2 / (q_ * self.rho), 1e-300))

    def rounding(self, order: np.ndarray) -> float:
        """Relative rounding error of the conjugates last computed: of closed forms, against 30 digits."""
        program = self.equations.outputs
        if program.groups:
            return 0.0  # what is lost in a sum over nodes is in its estimate
        backend = Arb(30)
        with backend.context():
            at = [backend.number(float(v)) for v in (*order, *self.parameters)]
            exact = [_scalar(backend, v) for v in program.run(backend, at, 1, 0).values]
            gaps = [abs(float(e - backend.number(float(h)))) for e, h in zip(exact, self.hats, strict=True)]
        sizes = _natural([abs(float(e)) for e in exact])
        return max(gap / max(size, 1e-300) for gap, size in zip(gaps, sizes, strict=True))

    def _slope(self, order: np.ndarray) -> np.ndarray:
        """d(coordinates)/d(m, q, V)."""
        m_, q_, v_ = order[0], max(order[1], FLOOR), max(order[2], FLOOR)
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
STAGE = 30
"""Newton steps from a start that is good."""


def _search(problem: _Doubles, start: Sequence[float], steps: int = 200) -> FixedPoint:
    """Newton with few digits of the averages, then with all."""
    problem.rough = True
    rough = solve_map(problem, start, COARSE, steps)
    problem.rough = False
    found = solve_map(problem, rough.x if np.isfinite(rough.residual) else start, steps=steps)
    return found._replace(evaluations=rough.evaluations + found.evaluations)


def _solve_doubles(
    model: Any, equations: RiskEquations, exact: Mapping[str, Fraction]
) -> tuple[_Doubles, FixedPoint]:
    """From a fixed start; where that fails, along lam from a strong penalty down, each stage from the line in
    log lam through the two before.
    """
    parameters = [float(exact[name]) for name in equations.parameters]
    problem = _Doubles(equations, parameters)
    found = _search(problem, START, STAGE)
    if found.ahead < NEAR:
        return problem, found
    index = equations.parameters.index("lam")
    target, evaluations = parameters[index], found.evaluations
    lam, passed = max(10.0, 10 * target), [(0.0, np.array(START))]
    ratio = 0.25
    for _ in range(200):
        last = ratio * lam <= target or lam < 1e-12
        trial = target if last else ratio * lam
        stage = _Doubles(equations, [*parameters[:index], trial, *parameters[index + 1 :]])
        step = _search(stage, _ahead_of(passed, math.log(trial)), STAGE)
        evaluations += step.evaluations
        if step.converged:
            found, problem, lam, ratio = step, stage, trial, max(ratio**2, 0.01)
            passed.append((math.log(lam), step.x))
            if last:
                break
        elif ratio > 0.95:
            problem, found = stage, step
            break
        else:
            ratio = ratio**0.5
    if lam != target:
        found = found._replace(residual=np.inf, ahead=np.inf, converged=False)
    return problem, found._replace(evaluations=evaluations)


def _ahead_of(passed: Sequence[tuple[float, np.ndarray]], at: float) -> Sequence[float]:
    """The line through the last two solutions, at a logarithm of lam; the first entry is a mere start."""
    if len(passed) < 3:
        return passed[-1][1]
    (s0, x0), (s1, x1) = passed[-2:]
    return x1 + (x1 - x0) * ((at - s1) / (s1 - s0))


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
    jacobian = found.jacobian
    near = found.ahead < NEAR  # a double holds no narrow density beside 1: more digits may
    if not near or not np.all(np.isfinite(jacobian)):
        return unsolved(exact, residual=found.residual, digits=digits, evaluations=found.evaluations)
    radius = float(np.max(np.abs(np.linalg.eigvals(jacobian))))
    order = problem.order(found.x)
    stiffness = float(np.max(np.abs(np.linalg.inv(np.eye(3) - jacobian))))
    amplified = problem.error * stiffness
    rounding = 2.0**-53 * (2 * stiffness + problem.lost(order)) + stiffness * problem.rounding(order)
    if (
        name != "float64"
        or not found.converged
        or amplified + found.residual * stiffness + rounding > IMPRECISE
    ):
        make = MP if name == "mpmath" else Arb
        return _refined(equations, exact, digits, make, found, problem.lost(order), radius)
    numbers = doubles(order)
    values, phi, _ = _measure(equations, problem.backend, [*numbers, *problem.hats], problem.parameters)
    values.update(zip(NAMES, map(float, problem.passed), strict=False))  # the floor is no value
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
        branches=(float(numbers[0]),),
        evaluations=found.evaluations,
    )


def _refined(
    equations: RiskEquations,
    exact: Mapping[str, Fraction],
    digits: int,
    make: Callable[[int], Any],
    found: FixedPoint,
    lost: float,
    radius: float,
) -> Solution:
    """The same in more digits, in the coordinates of the doubles: a step in m and q alone leaves m^2 < rho q
    where an angle is small.
    """
    wanted = max(digits, 18)
    stiffness = float(np.max(np.abs(np.linalg.inv(np.eye(3) - found.jacobian))))
    backend = make(wanted + GUARD + int(np.log10(stiffness + 1) + np.log10(lost)))
    small = 10.0 ** -(wanted + 2)
    with backend.context():
        parameters = [backend.number(exact[name]) for name in equations.parameters]
        rho = _scalar(backend, equations.second_moment.run(backend, parameters, 1, 0).values[0])

        def order(x: tuple[Any, ...]) -> list[Any]:
            q_, v_ = backend.exp(x[1]), backend.exp(x[2])
            return [backend.sqrt(q_ * rho) * backend.tanh(x[0]), q_, v_]

        def one_pass(x: tuple[Any, ...]) -> tuple[tuple[Any, ...], float]:
            at = [backend.midpoint(v) for v in order(x)]
            found = equations.outputs.run(backend, [*at, *parameters], small / (10 * stiffness), LAST_LEVEL)
            hats = tuple(backend.midpoint(_scalar(backend, c)) for c in found.values)
            values = equations.weights.run(backend, [*hats, *parameters], 1, 0).values[:3]
            m_, q_, v_ = (_scalar(backend, v) for v in values)
            cosine = m_ / backend.sqrt(q_ * rho)
            angle = backend.log((1 + cosine) / (1 - cosine)) / 2
            return (angle, backend.log(q_), backend.log(v_)), found.error

        start = [backend.number(float(v)) for v in found.x]
        if min(found.x[1:]) <= np.log(2 * FLOOR):
            start, _ = one_pass(tuple(start))  # no step by differences from a floor far above
        try:
            fine = refine_map(backend, one_pass, start, found.jacobian, small, absolute=True)
        except (ValueError, ArithmeticError):  # no number comes out in more digits
            return unsolved(exact, digits=digits, evaluations=found.evaluations)
        quadrature = fine.quadrature * stiffness
        errors = Errors(fine.moved * 1e-8, quadrature, 10.0 ** (1 - backend.digits) * stiffness)
        evaluations = found.evaluations + fine.steps
        if not (fine.converged and quadrature <= 10 * 10.0**-digits):
            outcome = Outcome.QUADRATURE if fine.converged else Outcome.RESIDUAL
            return unsolved(
                exact, outcome, residual=fine.moved, errors=errors, digits=digits, evaluations=evaluations
            )
        overlaps = [backend.midpoint(v) for v in order(fine.x)]
        hats = equations.outputs.run(backend, [*overlaps, *parameters], small, LAST_LEVEL)
        numbers = [*overlaps, *(backend.midpoint(_scalar(backend, c)) for c in hats.values)]
        values, phi, _ = _measure(equations, backend, numbers, parameters, digits)
    return Solution(
        values=values,
        params=dict(exact),
        free_entropy=phi,
        residual=fine.moved,
        errors=errors,
        outcome=Outcome.CONVERGED,
        backend=backend.name,
        digits=digits,
        stability=radius,
        branches=(float(overlaps[0]),),
        evaluations=evaluations,
    )


def _scalar(backend: Any, value: Any) -> Any:
    """A backend's number out of an array of no dimensions, or of an exact zero."""
    number = value[()] if isinstance(value, np.ndarray) else value
    return number + backend.number(0)


def _measure(
    equations: RiskEquations,
    backend: Any,
    numbers: Sequence[Any],
    parameters: Sequence[Any],
    digits: int = 15,
) -> tuple[dict[str, Any], Any, float]:
    """The values to report: unknowns, energy, observables; the free entropy; the quadrature's error."""
    last = FLOAT_LEVEL if backend.name == "float64" else LAST_LEVEL
    tolerance = QUADRATURE if backend.name == "float64" else 10.0 ** -(digits + 2)
    double = digits <= 15 and backend.name == "float64"

    def number(value: Any) -> Any:
        if double:
            return float(value)
        exact = backend.to_fraction(_scalar(backend, value))
        return float(exact) if digits <= 15 else MP(digits).number(exact)

    with backend.context():
        found = equations.measured.run(backend, [*numbers, *parameters], tolerance, last)
        phi, *observed = found.values
        values = {name: number(v) for name, v in zip(NAMES, numbers, strict=True)}
        values["energy"] = number(-phi)
        for name, value, angle in zip(equations.names, observed, equations.angles, strict=True):
            values[name] = number(value) if not angle else _angle(backend, value, digits, double)
        return values, number(phi), found.error


def _angle(backend: Any, cosine: Any, digits: int, double: bool) -> Any:
    """The angle over pi."""
    if double:
        return math.acos(min(float(cosine), 1.0)) / math.pi
    target = MP(max(digits, 15) + 2)
    with target.context():
        fraction = target.mp.acos(target.number(backend.to_fraction(_scalar(backend, cosine)))) / target.mp.pi
    return float(fraction) if digits <= 15 else MP(digits).mp.mpf(fraction)
