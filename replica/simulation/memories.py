"""Associative memories: Monte Carlo in the valley of a state beside the saddle point from the same start.

One instance is one draw of the patterns and their examples, with four chains.  The first update of the spins
is in the field that the start's overlaps exert, as the first pass of the saddle point is.  At T > 0 heat-bath
sweeps follow, measured over the second half; at T = 0 every spin follows its field until none moves.

Energies, laws and the number of patterns are read from the statement of the model.  A finite system differs
from its limit by O(1/N), which is not in the error bar.  A valley may end before the theory's does: points
near the end are refused, and at T > 0 the drift shows that chains have left.  Refused are also states where
replica symmetry is unstable, the glass for one.  At T = 0 the dynamics ends in a local minimum, above the
lowest state of its valley: in Hopfield networks of 4000 spins at alpha = 0.125 by 0.0014 +- 0.0007 in energy
per spin, with overlap 0.9913 +- 0.0010 where theory has 0.9908.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOperatorIssue=false
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import sympy as sp

from replica.condensed_action import GaussianEnergies, QuadraticPatterns, SiteLaw, vanishes
from replica.expr.polynomials import polynomial_coefficients
from replica.simulation.results import Experiment, Request
from replica.simulation.sizes import MemorySizes, affordable, whole
from replica.sweeping import solve_one
from replica.symbols import q
from solvers.errors import InputError, NotConvergedError
from solvers.simulate.amp import AmpOutcome
from solvers.simulate.dense_memories import DenseNetwork
from solvers.simulate.examples import draw_patterns, mean_examples
from solvers.simulate.memory_chains import FEWEST, Network, first_spins, run_chains, settle
from solvers.simulate.quadratic_memories import QuadraticNetwork
from solvers.simulate.spin_statistics import LARGEST_Z, second_half
from solvers.solution import Solution

CHAINS = 4
"""Of one instance at T > 0: they share the patterns."""
SIZES = {2: 4000, 3: 200, 4: 80, 5: 48}
"""Numbers of spins by default, by the order of the interactions, with many patterns; 32 beyond. In smaller
systems chains leave the valley of a state that is only metastable.
"""
FEW_PATTERNS = 10000
"""Number of spins by default where the patterns are few."""
SWEEPS, DENSE_SWEEPS = 400, 200
"""At T > 0, by default: of quadratic energies, of dense ones."""
EDGE, COLD_EDGE = 0.85, 0.6
"""Derivative of the map at a solution (1 where the state ends or another branches off) beyond which a point
is refused, at T > 0 and at T = 0: fluctuations of the patterns are amplified by 1/(1 - derivative), and the
error bar does not know.  Multitasking networks of 10000 spins disagree at 0.90 and 0.98.  At T = 0 nothing
else tells that a network has lost the state: of 32 Hopfield networks with 4000 spins all keep it at alpha =
0.125 (0.52), one loses it at 0.13 (0.62), some at 0.136 (0.82).
"""


@dataclass(frozen=True)
class MemorySample:
    """One draw of the patterns.

    Attributes
    ----------
    observed:
        The overlaps by the names of the solution, q at T > 0, and the energy per spin.
    discrepancy:
        Second quarter against second half of the sweeps, in error bars: the largest; 0 at T = 0.
    resolution:
        One flip of one spin in one of the configurations averaged: no error bar is smaller.
    """

    observed: Mapping[str, float]
    iterations: int
    outcome: AmpOutcome
    discrepancy: float
    resolution: float
    mse: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)


@dataclass(frozen=True)
class Stored:
    """How many patterns there are besides the condensed ones, and what load they realise exactly."""

    order: int
    patterns: int
    realised: Mapping[str, Fraction]


def prepare(model: Any, asked: Request) -> Experiment:
    """Make a point ready; ``max_iterations`` are sweeps, ``tolerance`` the drift allowed, in error bars."""
    exact = asked.exact
    tolerance = LARGEST_Z if asked.tolerance is None else asked.tolerance
    asked.refuse("a Monte Carlo run", "damping")
    if model.field_allowed:
        raise InputError(f"{model.name} has a field: only memories without one are simulated")
    temperature = float(exact["T"])
    order = _order(model)
    sweeps = _sweeps(asked.max_iterations, temperature, order)
    default = FEW_PATTERNS if vanishes(_at(model.noise, model, exact)) else SIZES.get(order, 32)
    size = asked.size(default)
    if size < max(order, 4):
        raise InputError(f"{model.name} is simulated with at least {max(order, 4)} spins, got N = {size}")
    stored = _stored(model, exact, order, size)
    sizes = MemorySizes(size, stored.patterns, order, CHAINS if temperature else 1)
    affordable(sizes, asked.memory_budget)
    realised = {**exact, **stored.realised}
    named, solution = _state(model, realised, asked.start or model.default_start)
    _refuse_unstable(model, named, solution)
    overlaps = dict(model.states)[named][: len(model.overlaps)]
    at_start = dict(zip(model.overlaps, overlaps, strict=True))
    slopes = [float(_at(model.energy.diff(m), model, realised).subs(at_start)) for m in model.overlaps]
    draw, names = _network(model, realised, sizes), _names(model, temperature)

    def one(rng: np.random.Generator) -> MemorySample:
        condensed, archetypes, network = draw(rng)
        spins = first_spins(np.array(slopes) @ condensed, temperature, sizes.chains, rng)
        references = np.concatenate([condensed, archetypes]) if model.examples else condensed
        if temperature == 0:
            end = settle(network, spins, sweeps=sweeps)
            values = [*(end.spins @ references.T / sizes.N).mean(axis=0), end.energy.mean()]
            outcome = AmpOutcome.CONVERGED if end.settled else AmpOutcome.ITERATION_LIMIT
            return MemorySample(_named(names, values), end.sweeps, outcome, 0.0, 2 / sizes.N)
        run = run_chains(network, spins, temperature, rng, references=references, sweeps=sweeps)
        values = [*run.overlaps(), second_half(run.same).mean(), second_half(run.energy).mean()]
        discrepancy = run.discrepancy()
        outcome = AmpOutcome.CONVERGED if discrepancy <= tolerance else AmpOutcome.ITERATION_LIMIT
        flip = 2 / (sizes.N * second_half(run.energy).size)
        return MemorySample(_named(names, values), sweeps, outcome, discrepancy, flip)

    return Experiment(realised, sizes, named, one, lambda _: np.empty(0))


def _sweeps(asked: int | None, temperature: float, order: int) -> int:
    if asked is None:
        return 1000 if temperature == 0 else SWEEPS if order == 2 else DENSE_SWEEPS
    least = FEWEST if temperature else 1
    whole("max_iterations, the sweeps,", asked, least)
    return asked


def _named(names: tuple[str, ...], values: list[Any]) -> dict[str, float]:
    return dict(zip(names, map(float, values), strict=True))


def _names(model: Any, temperature: float) -> tuple[str, ...]:
    """Of what is observed, as in a solution."""
    archetypes = tuple(model.archetype_overlaps(sp.tanh))
    return (*model.names, *archetypes, *(("q",) if temperature else ()), "energy")


def _state(model: Any, exact: Mapping[str, Fraction], start: str) -> tuple[str, Solution]:
    """The state asked for with its solution; for "global" the one of lowest free energy."""
    asked = [name for name, _ in model.states] if start == "global" else [start]
    found = [(name, solve_one(model, exact, name)) for name in asked]
    good = [pair for pair in found if pair[1].outcome.converged]
    if not good:
        raise NotConvergedError(found[0][1].outcome.value)
    return min(good, key=lambda pair: pair[1]["f"])


def _refuse_unstable(model: Any, start: str, solution: Solution) -> None:
    """InputError where the simulation would be no witness of the theory."""
    replicon = solution.values.get("replicon", 1.0)
    if replicon < 0:
        state = "the glass" if max(abs(solution[name]) for name in model.names) < 1e-6 else "the state"
        raise InputError(
            f"replica symmetry is unstable in {state} that the start {start} leads to "
            f"(replicon {replicon:.3g}): it is not simulated beside the theory"
        )
    if solution.stability > (EDGE if solution.params["T"] else COLD_EDGE):
        raise InputError(
            f"the state that the start {start} leads to is about to end or to branch (derivative of the map "
            f"{solution.stability:.3g}): finite networks differ from the theory by more than error bars"
        )


# ------------------------------------------------------------------------------- reading the statement


def _at(expr: Any, model: Any, exact: Mapping[str, Fraction]) -> Any:
    return expr.subs({symbol: sp.Rational(exact[p.name]) for p, symbol in model.parameters})


def _order(model: Any) -> int:
    """2 where the energy is a sum of squares of overlaps, P where it is the power P of one; else refused."""
    powers = sp.Poly(model.energy, *model.overlaps).monoms()
    squares = all(sorted(powers_of)[-1] == sum(powers_of) == 2 for powers_of in powers)
    if squares and (isinstance(model.noise, QuadraticPatterns) or vanishes(model.noise)):
        return 2
    if len(model.overlaps) == len(powers) == 1 and isinstance(model.noise, GaussianEnergies):
        (order,) = powers[0]
        terms = polynomial_coefficients(sp.expand(model.noise.args[0]), q) or {}
        if order > 2 and {int(k) for k, c in terms.items() if c != 0} <= {order}:
            return order
    raise InputError(f"there is no simulation of memories with the energy {model.energy} and this noise")


def _stored(model: Any, exact: Mapping[str, Fraction], order: int, size: int) -> Stored:
    """As many patterns as make the variance of their energies that of the statement, rounded."""
    noise = _at(model.noise, model, exact)
    if vanishes(noise):
        return Stored(order, 0, {})
    if order == 2:
        wanted = noise.args[0] * size
    else:
        variance = noise.args[0].subs(q, 1)
        wanted = variance * comb(size, order) / (size * _pattern_variance(model, exact, order))
    count = max(1, round(Fraction(wanted.p, wanted.q)))
    (load,) = [p for p, s in model.parameters if s in model.noise.free_symbols]
    return Stored(order, count, {load.name: exact[load.name] * count / Fraction(wanted.p, wanted.q)})


def _pattern_variance(model: Any, exact: Mapping[str, Fraction], order: int) -> sp.Rational:
    """u^2 E[x^2]^P: the energy -(N u/C(N, P)) e_P of a pattern has N^2/C(N, P) times this variance."""
    law: SiteLaw = model.laws[0]
    strength = sp.Poly(_at(model.energy, model, exact), *model.overlaps).LC()
    square = law.average(law.variable**2).doit() * law.scale**2 * (1 + law.blur)
    return strength**2 * _at(square, model, exact) ** order


Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray, Network]]


def _network(model: Any, exact: Mapping[str, Fraction], sizes: MemorySizes) -> Draw:
    """From a generator to the condensed patterns x as their overlaps have them, the archetypes xi, and the
    network that stores these and all others.
    """
    coefficients = sp.Poly(_at(model.energy, model, exact), *model.overlaps)
    laws = [_Law.of(law, lambda e: _at(e, model, exact)) for law in model.laws]

    def condensed(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        archetypes = np.concatenate([law.archetypes(1, sizes.N, rng) for law in laws])
        blurred = [law.examples(xi, rng) for law, xi in zip(laws, archetypes, strict=True)]
        return np.array(blurred), archetypes

    def quadratic(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Network]:
        x, archetypes = condensed(rng)
        others = draw_patterns(sizes.patterns, sizes.N, (-1, 1), (0.5, 0.5), rng)
        weights = [2 * float(coefficients.coeff_monomial(m**2)) for m in model.overlaps]
        every = np.concatenate([weights, np.ones(sizes.patterns)])
        shift = sizes.patterns / (2 * sizes.N)  # -H of the others is (1/2N) sum [(xi.s)^2 - N]
        return x, archetypes, QuadraticNetwork(np.concatenate([x, others]), every, shift)

    def dense(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Network]:
        x, archetypes = condensed(rng)
        others = laws[0].examples(laws[0].archetypes(sizes.patterns, sizes.N, rng), rng)
        return x, archetypes, DenseNetwork(np.concatenate([x, others]), sizes.order, float(coefficients.LC()))

    return quadratic if sizes.order == 2 else dense


@dataclass(frozen=True)
class _Law:
    """A ``SiteLaw`` in numbers."""

    values: tuple[float, ...]
    probabilities: tuple[float, ...]
    scale: float
    blur: float

    @classmethod
    def of(cls, law: SiteLaw, at: Callable[[Any], Any]) -> _Law:
        values, probabilities = (tuple(float(at(x)) for x in law.args[k]) for k in (1, 2))
        return cls(values, probabilities, float(at(law.scale)), float(at(law.blur)))

    def archetypes(self, count: int, size: int, rng: np.random.Generator) -> np.ndarray:
        return draw_patterns(count, size, self.values, self.probabilities, rng)

    def examples(self, archetypes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self.scale * mean_examples(archetypes, self.blur, rng)
