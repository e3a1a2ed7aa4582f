"""The battery: what must hold for every model, run on yours.

>>> from replica.ingredients import Gaussian, GaussianNoise
>>> from replica.models.teacher_student import TeacherStudent
>>> model = TeacherStudent(Gaussian(), GaussianNoise())
>>> findings = battery(model, points=[{"alpha": "1/2", "delta": "1/10"}])
>>> all(finding.holds for finding in findings)
True

A ``Finding`` is two numbers that should agree.  The checks are independent of one another and of the rules
that wrote the formulas: expressions are rebuilt from their arguments, identities evaluated on both sides,
derivatives taken by differences of the lowered free entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from math import isfinite
from typing import Any

import numpy as np
import sympy as sp

from replica.api import solve
from replica.lowering.pathwise import has_nested_averages
from replica.lowering.problem import pair_problem
from replica.lowering.risk import NAMES as RISK_UNKNOWNS
from replica.lowering.risk import risk_equations
from replica.parameters import validate
from replica.risk_action import w
from replica.symbols import lam
from replica.thresholds import FAMILIES
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.problem import at_level
from solvers.solution import Solution

DIGITS = 25
"""Digits of the second precision."""
SCARCE = Fraction(1, 10**8)
"""The alpha that stands for no data."""


@dataclass(frozen=True)
class Finding:
    """Two numbers that should agree: within the tolerance, relative where they are larger than 1."""

    check: str
    what: str
    left: float
    right: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether they agree; nan never does."""
        return abs(self.left - self.right) <= self.tolerance * max(1.0, abs(self.left), abs(self.right))

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "FAILS"
        return f"{self.check}: {self.what}: {self.left:.15g} against {self.right:.15g}: {verdict}"


def battery(
    model: Any, points: Sequence[Mapping[str, Any]] = (), start: str | None = None
) -> tuple[Finding, ...]:
    """Every check on a model; those of numbers at each of the points.

    A model of several unknowns (spins, memories) has its expressions rebuilt, its identities evaluated, and
    at each point, T > 0, its free entropy differentiated by differences: see ``stationary_at_a_solution``.  A
    risk to minimise: see ``risk_equations_are_derivatives`` and ``minimum_of_a_risk``.

    Parameters
    ----------
    model:
        A model as ``solve`` takes it.
    points:
        Control parameters, as ``solve`` takes them.
    start:
        As in ``solve``.

    Raises
    ------
    InputError
        A point is not one of the model's.
    """
    if model.solver in FAMILIES and model.solver != "pair":
        placed = [validate(model.control_parameters, point) for point in points]
        found = [*rebuilt_from_arguments(model), *identities(model)]
        return (*found, *(f for values in placed for f in stationary_at_a_solution(model, values, start)))
    if model.solver == "risk":
        placed = [validate(model.control_parameters, point) for point in points]
        found = [*rebuilt_from_arguments(model), *identities(model)]
        for values in placed:
            found += [*risk_equations_are_derivatives(model, values), *minimum_of_a_risk(model, values)]
        return tuple(found)
    placed = [_placed(model, point) for point in points]  # what is refused, is at once
    findings: list[Finding] = []
    for stated in dict.fromkeys([model] if not placed else [at_point for at_point, _ in placed]):
        findings += [*rebuilt_from_arguments(stated), *identities(stated)]
    for at_point, values in placed:
        findings += [
            *updates_are_derivatives(at_point, values),
            *solution_checks(at_point, values, start),
            *no_data(at_point, values),
        ]
    return tuple(findings)


def _placed(model: Any, point: Mapping[str, Any]) -> tuple[Any, dict[str, Fraction]]:
    """The model at these parameters (another without noise, for instance) and the values it takes."""
    exact = validate(model.control_parameters, point)
    placed = model.at(exact)
    return placed, {p.name: exact[p.name] for p in placed.control_parameters}


def _derivations(model: Any) -> tuple[Any, ...]:
    return (model.derive(), *model.saddle_point().derivations)


def rebuilt_from_arguments(model: Any) -> Iterator[Finding]:
    """``func(*args) == expr`` at every node of every expression: how many differ, against 0."""
    saddle = model.saddle_point()
    expressions = {
        "free entropy": [model.free_entropy().expression],
        "updates": [update for _, update in saddle.updates],
    }
    if hasattr(model, "cycle"):
        expressions["error"] = [model.cycle().error]
    for derivation in _derivations(model):
        expressions[derivation.title] = [derivation.initial, *(step.after for step in derivation.steps)]
    for what, some in expressions.items():
        wrong = sum(_differs(node) for expr in some for node in sp.preorder_traversal(expr))
        yield Finding("rebuilt from its arguments", what, float(wrong), 0.0, 0.0)


def _differs(node: sp.Basic) -> bool:
    return bool(node.args) and node.func(*node.args) != node


def identities(model: Any) -> Iterator[Finding]:
    """Both sides of every step that claims to be an identity and of any other that can be checked."""
    for derivation in _derivations(model):
        for step in derivation.steps:
            if step.rule.check is None:
                continue
            for c in step.rule.check(step.before, step.after):
                yield Finding(f"step '{step.name}'", c.what, _number(c.left), _number(c.right), c.tolerance)


def _number(value: Any) -> float:
    """A float, or nan for what should have become a number and has not."""
    try:
        return float(value)
    except TypeError:
        return float("nan")


def stationary_at_a_solution(
    model: Any, values: Mapping[str, Fraction], start: str | None = None
) -> Iterator[Finding]:
    """Of spins at T > 0: dPhi/dx = 0 in every unknown x, e = -dPhi/dbeta and f = e - T s, by differences."""
    solution, temperature = _solved(model, values, start), float(values["T"])
    module, name = FAMILIES[model.solver].split(":")
    others = {name: value for name, value in values.items() if name != "T"}
    family = getattr(import_module(module), name)(model, "T", others)
    x = np.array([float(solution[n]) for n in family.names])

    def phi(y: np.ndarray, t: float = temperature) -> float:
        return float(family.observed(y, t)["free_entropy"])

    step = 1e-4
    for i, unknown in enumerate(family.names):
        e = np.eye(x.size)[i] * step
        inner, outer = phi(x + e) - phi(x - e), phi(x + 2 * e) - phi(x - 2 * e)
        yield Finding("Phi is stationary", f"in {unknown}", (8 * inner - outer) / (12 * step), 0.0, 1e-8)
    inverse = 1 / temperature
    inner, outer = (phi(x, 1 / (inverse + k * step)) - phi(x, 1 / (inverse - k * step)) for k in (1, 2))
    slope = (8 * inner - outer) / (12 * step)
    yield Finding("thermodynamics", "e is -dPhi/dbeta", float(solution["energy"]), -slope, 1e-8)
    free = float(solution["energy"]) - temperature * float(solution["entropy"])
    yield Finding("thermodynamics", "f is e - T s", float(solution["f"]), free, 1e-12)


def risk_equations_are_derivatives(model: Any, values: Mapping[str, Fraction]) -> Iterator[Finding]:
    """The six equations come from Phi: away from any solution dPhi/d(overlap) = 0 where the conjugates are
    their updates, and dPhi/d(conjugate) = 0 where the overlaps are theirs.
    """
    equations = risk_equations(model)
    nested = any(group.inner for group in equations.outputs.groups)
    backend: Any = Float64() if nested else Arb(DIGITS)
    accuracy, last, tolerance = (1e-14, 8, 1e-7) if nested else (1e-24, 10, 1e-12)
    step = Fraction(1, 2**8) if nested else Fraction(1, 10**4)
    with backend.context():
        parameters = [backend.number(values[name]) for name in equations.parameters]
        rho = float(equations.second_moment.run(backend, parameters, accuracy, last).values[0])

        def phi(x: list[Fraction]) -> Fraction:
            at = [*(backend.number(v) for v in x), *parameters]
            return _fraction(backend, equations.measured.run(backend, at, accuracy, last).values[0])

        def updated(program: Any, x: list[Fraction]) -> list[Fraction]:
            at = [*(backend.number(v) for v in x), *parameters]
            return [_fraction(backend, v) for v in program.run(backend, at, accuracy, last).values[:3]]

        for cosine, square, response in ((0.4, Fraction(3, 2), Fraction(4, 5)), (0.7, Fraction(1, 3), 3)):
            overlap = Fraction(cosine * float(square * rho) ** 0.5) if rho else Fraction(0)
            order = [overlap, square, Fraction(response)]
            yield from _risk_slopes(phi, [*order, *updated(equations.outputs, order)], 0, step, tolerance)
        for conjugates in (
            (Fraction(1), Fraction(2, 5), Fraction(7, 10)),
            (Fraction(2), Fraction(3), Fraction(1, 5)),
        ):
            order = updated(equations.weights, list(conjugates))
            yield from _risk_slopes(phi, [*order, *conjugates], 3, step, tolerance)


def _risk_slopes(
    phi: Callable[[list[Fraction]], Fraction], x: list[Fraction], first: int, step: Fraction, tolerance: float
) -> Iterator[Finding]:
    """The derivatives of Phi in three of the logarithms of its unknowns, against 0."""
    for k in range(first, first + 3):

        def moved(factor: Fraction, k: int = k) -> Fraction:
            return phi([v * factor if i == k else v for i, v in enumerate(x)])

        slope = _slope(moved, Fraction(1), step)
        where = f"in {RISK_UNKNOWNS[k]} at {RISK_UNKNOWNS[first + 2]} = {float(x[first + 2]):.3g}"
        yield Finding("Phi is stationary", where, float(slope), 0.0, tolerance)


def minimum_of_a_risk(model: Any, values: Mapping[str, Fraction]) -> Iterator[Finding]:
    """At the solution: bounds on the overlaps, the energy's derivatives in alpha and lam against what is
    observed, the same numbers at a higher precision; and no weights without data.
    """
    solution = _solved(model, values, None)
    number = {name: float(value) for name, value in solution.values.items()}
    equations = risk_equations(model)
    parameters = [float(values[name]) for name in equations.parameters]
    rho = float(equations.second_moment.run(Float64(), parameters, 1, 0).values[0])
    yield Finding("bounds", "the residual is at rounding", solution.residual, 0.0, 1e-10)
    yield Finding(
        "bounds", "m^2 is not above q rho", max(number["m"] ** 2 - number["q"] * rho, 0.0), 0.0, 1e-12
    )
    for name in ("q", "V", "q_hat", "V_hat", "training_loss"):
        yield Finding("bounds", f"{name} is not negative", min(number[name], 0.0), 0.0, 1e-12)

    def energy(name: str) -> float:
        """The derivative of the energy in the logarithm of a parameter."""

        def at(factor: Fraction) -> Fraction:
            return Fraction(float(_solved(model, {**values, name: values[name] * factor}, None)["energy"]))

        return float(_slope(at, Fraction(1), Fraction(1, 2**8)))

    loss = float(values["alpha"]) * number["training_loss"]
    spread = number["V"] * number["q_hat"] / 2  # alpha E (prox - omega)^2/(2 V)
    yield Finding("thermodynamics", "dE/dalpha is the Moreau envelope", energy("alpha"), loss + spread, 1e-8)
    penalty = model.penalty.value(w)
    if values["lam"] and sp.expand(penalty.diff(lam) * lam - penalty) == 0:
        left = energy("lam")
        yield Finding("thermodynamics", "lam dE/dlam is the penalty", left, number["energy"] - loss, 1e-8)
        if sp.expand(penalty - lam * w**2 / 2) == 0:
            yield Finding(
                "thermodynamics", "2 dE/dlam is q", 2 * left / float(values["lam"]), number["q"], 1e-7
            )
    if not any(group.inner for group in equations.outputs.groups):
        fine = _solved(model, values, None, DIGITS)
        for name, value in number.items():
            yield Finding("two precisions", name, value, float(fine[name]), 1e-11)
    without: dict[str, Any] = {**values, "alpha": SCARCE}
    scarce = solve(model, throw=False, **without) if values["lam"] else None
    if (
        scarce is not None and scarce.outcome.converged
    ):  # an l1 norm may leave fewer weights than doubles hold
        for name in ("m", "q", "energy"):
            yield Finding("no data", f"{name} is 0", float(scarce[name]), 0.0, 1e-4)


def updates_are_derivatives(model: Any, values: Mapping[str, Fraction]) -> Iterator[Finding]:
    """The updates come from Phi: away from any solution dPhi/dq_hat = 0 where v is the update of v at q_hat,
    and dPhi/dv = 0 where q_hat is the update of q_hat at v.
    """
    problem = pair_problem(model)
    backend = _backend_of(model)
    names = model.canonical(dict(values))
    with backend.context():
        numbers = {name: backend.number(value) for name, value in names.items()}
        largest = Fraction(_moments(model, names)[1])
        for conjugate, error in ((Fraction(1, 2), largest * 3 / 5), (Fraction(3), largest / 4)):
            own = _half(problem.signal, backend, conjugate, numbers)
            yield _still(model, values, (conjugate, own), 0, f"q_hat = {float(conjugate):.3g}")
            own = _half(problem.output, backend, error, numbers)
            if own > 0:  # outputs without information at this error: q_hat = 0, where Phi ends
                yield _still(model, values, (own, error), 1, f"v = {float(error):.3g}")


def _still(
    model: Any, values: Mapping[str, Fraction], at: tuple[Fraction, Fraction], which: int, where: str
) -> Finding:
    """DPhi/dlog q_hat (0) or dPhi/dlog v (1) by differences, which should vanish at (q_hat, v)."""
    phi, backend = _free_entropy(model, values), _backend_of(model)
    step = at[which] * (Fraction(1, 10**5) if backend.name != "float64" else Fraction(1, 2**8))

    def moved(value: Fraction) -> Fraction:
        return phi(backend, *((value, at[1]) if which == 0 else (at[0], value)))

    slope = at[which] * _slope(moved, at[which], step)
    tolerance = 1e-12 if backend.name != "float64" else 1e-7
    return Finding(
        "Phi is stationary", f"in {('q_hat', 'v')[which]} at {where}", float(slope), 0.0, tolerance
    )


def _backend_of(model: Any) -> Any:
    """40 digits where the averages are one-dimensional, else doubles."""
    return Float64() if has_nested_averages(model.cycle().entropy) else Arb(40)


Phi = Callable[[Any, Fraction, Fraction], Fraction]


def _free_entropy(model: Any, values: Mapping[str, Fraction]) -> Phi:
    problem = pair_problem(model)
    names = model.canonical(dict(values))

    def phi(backend: Any, conjugate: Fraction, error: Fraction) -> Fraction:
        with backend.context():
            numbers = {name: backend.number(value) for name, value in names.items()}
            where = backend.number(conjugate), backend.number(error)
            accuracy = 1e-14 if backend.name == "float64" else 1e-28
            result, _ = at_level(lambda k: problem.free_entropy(backend, k, *where, numbers), accuracy)
            return _fraction(backend, result.value)

    return phi


def _half(half: Any, backend: Any, at: Fraction, numbers: Mapping[str, Any]) -> Fraction:
    accuracy = 1e-14 if backend.name == "float64" else 1e-28
    result, _ = at_level(lambda k: half(backend, k, backend.number(at), numbers), accuracy)
    return _fraction(backend, result.value)


def _fraction(backend: Any, value: Any) -> Fraction:
    number = value.item() if isinstance(value, np.ndarray) else value
    return backend.to_fraction(backend.midpoint(number + backend.number(0)))  # an exact value may be an int


def _slope(function: Callable[[Fraction], Fraction], at: Fraction, step: Fraction) -> Fraction:
    """The derivative by four values, of error step^4."""
    inner = function(at + step) - function(at - step)
    outer = function(at + 2 * step) - function(at - 2 * step)
    return (8 * inner - outer) / (12 * step)


def solution_checks(
    model: Any, values: Mapping[str, Fraction], start: str | None = None
) -> Iterator[Finding]:
    """At the solution: bounds on the overlap, Phi stationary, and the same numbers at a higher precision."""
    solution = _solved(model, values, start)
    overlap, error = float(solution["q"]), float(solution["mmse"])
    second, prior_error = _moments(model, values)
    least = second - prior_error
    yield Finding("bounds", "q + mmse is E x^2", overlap + error, second, 1e-12)
    yield Finding("bounds", "q is not below (E x)^2", max(least - overlap, 0.0), 0.0, 1e-12)
    yield Finding("bounds", "the error is not negative", min(error, 0.0), 0.0, 0.0)
    if not has_nested_averages(model.cycle().entropy):
        fine = _solved(model, values, start, DIGITS)
        for name in ("q", "mmse"):
            yield Finding("two precisions", name, float(solution[name]), float(fine[name]), 1e-12)
        finite = isfinite(float(solution.free_entropy))
        left, right = float(solution.free_entropy), float(fine.free_entropy)
        yield Finding("two precisions", "free entropy", *((left, right) if finite else (0.0, 0.0)), 1e-12)
        solution = fine
    conjugate = float(solution["q_hat"])
    if isfinite(conjugate) and conjugate > 1e-6 and error > 0:  # Phi ends at q_hat = 0 and at infinity
        at = (Fraction(str(solution["q_hat"])), Fraction(str(solution["mmse"])))
        for which in (0, 1):
            yield _still(model, values, at, which, "the solution")


def _solved(
    model: Any, values: Mapping[str, Fraction], start: str | None, digits: int | None = None
) -> Solution:
    parameters: dict[str, Any] = dict(values)
    return solve(model, start=start, digits=digits, **parameters)


def no_data(model: Any, values: Mapping[str, Fraction]) -> Iterator[Finding]:
    """With hardly any outputs the posterior is the prior: mmse is its variance, q_hat is 0, to O(alpha)."""
    if "alpha" not in values:
        return
    scarce = {**values, "alpha": SCARCE}
    solution = _solved(model, scarce, "uninformed")
    conjugate = float(solution["q_hat"])
    yield Finding("no data", "q_hat is 0", conjugate, 0.0, 1e-4)
    prior_error = _moments(model, values)[1]
    yield Finding("no data", "mmse is the variance of the prior", float(solution["mmse"]), prior_error, 1e-4)


def _moments(model: Any, values: Mapping[str, Fraction]) -> tuple[float, float]:
    """E x^2 and the variance of the prior."""
    symbols = model.parameter_symbols()
    at = {s: sp.Rational(values[p.name].numerator, values[p.name].denominator) for p, s in symbols}
    cycle = model.cycle()
    return float(sp.N(cycle.second_moment.subs(at))), float(sp.N(cycle.prior_error.subs(at)))
