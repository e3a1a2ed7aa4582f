r"""The Parisi functional of spins in Gaussian fields, on step functions: value, gradient, Hessian.

    Phi(x) = phi(0, mean) - int_0^1 x(q) W'(q) dq,
    d phi/dq = -(v'(q)/2) [d^2 phi/dw^2 + x(q) (d phi/dw)^2],    phi(1, w) = log 2cosh w,

for nondecreasing x with values in [0, 1]; v(q) is the variance of the field up to the overlap q.  At zero
temperature phi(1, w) = |w| and x, over the temperature, has no bound.  Where x is constant the equation is
solved by phi -> (1/x) log E exp(x phi), so a step function needs one Gaussian average for each step
(``solvers.quadrature.dilated``).  The functional is convex (A. Auffinger, W.-K. Chen, Commun. Math. Phys.
335 (2015) 1429): Newton finds its minimum in a few steps, and the gradient bounds how far it is from the
infimum over all functions (``gap``).

The density of the field, carried from q = 0 to 1 with the weights of the averages, gives gradient and
Hessian: H.-J. Sommers, W. Dupont, J. Phys. C 17 (1984) 5785; steps at zero temperature: R. Oppermann, M. J.
Schmidt, D. Sherrington, PRL 98 (2007) 127201.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.polynomial import polynomial
from scipy.sparse import csr_array
from scipy.special import log_ndtr

from solvers.quadrature.dilated import PER_WIDTH, REACH, Dilation, dilation

FINEST, SPARSEST, SHARP = 0.15, 0.05, 0.3
"""Largest spacing of nodes over the scale of the level; above T = 0 also of fields, as far as that leaves a
spacing of ``SPARSEST``: levels with x near 1 do not smooth tanh."""
TAIL, FROZEN_RANGE = 33.0, 12.0
"""Minus the logarithm of 1 - |dphi/dw| where phi counts as |w| plus a constant; for the error function at T =
0 the field over the scale there."""
GRADING = 5 / 3
"""Scales of the levels are powers of a uniform grid: spreads the error evenly at zero temperature, where x/T
grows as 1/sqrt(1 - q)."""


STEEPEST = 4.0
"""x over the temperature for which a level has nodes enough; it is larger on thin levels only."""


@dataclass(frozen=True)
class Functional:
    """The functional by its numbers: polynomials are coefficients from the constant up.

    Attributes
    ----------
    variance:
        v(q).
    coupling:
        W(q), the antiderivative of what multiplies -x(q).
    mean:
        The field that all replicas share, in the units of w.
    frozen:
        Whether the temperature is 0.
    """

    variance: tuple[float, ...]
    coupling: tuple[float, ...]
    mean: float
    frozen: bool = False

    def scale(self, q: np.ndarray) -> np.ndarray:
        """On what scale of w phi(q, w) varies: that of tanh, 1, and the fields still to be averaged over."""
        inside = polynomial.polyval(1.0, self.variance) - polynomial.polyval(q, self.variance)
        return np.sqrt(inside + (not self.frozen))

    def overlap(self, scale: np.ndarray) -> np.ndarray:
        """The inverse of ``scale``, by bisection."""
        low, high = np.zeros_like(scale), np.ones_like(scale)
        for _ in range(60):
            middle = (low + high) / 2
            above = self.scale(middle) > scale
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return (low + high) / 2

    def edges(self, low: float, high: float, steps: int) -> np.ndarray:
        """Overlaps q_0 = low, ..., q_steps = high between which x is constant."""
        ends = self.scale(np.array([low, high])) ** (1 / GRADING)
        if self.frozen:
            ends[1] = ends[0] * 2 / (steps + 2)
        found = self.overlap(np.linspace(ends[0], ends[1], steps + 1) ** GRADING)
        found[0] = low
        if not self.frozen:
            found[-1] = high
        return found

    @property
    def unbiased(self) -> bool:
        """Whether the field vanishes at q = 0, so that x > 0 from there on."""
        return self.mean == 0 and self.variance[0] == 0

    def split(self, low: float, high: float, parts: int | None) -> np.ndarray:
        """All edges of a division of [low, high] but the last; none of an interval so short that no step in
        it counts.
        """
        ends = self.scale(np.array([low, high]))
        if parts is None and ends[0] - ends[1] < SHORT * ends[1]:
            return np.zeros(0)
        count = parts or int(np.clip((ends[0] / ends[1] - 1) / 0.02, 1, 16))
        found = self.overlap(np.linspace(ends[0], ends[1], count + 1))[:-1]
        found[0] = low
        return found

    def rate(self, q: float) -> float:
        """Variance of the field per overlap."""
        return float(polynomial.polyval(q, polynomial.polyder(self.variance)))

    def closing(self, high: float) -> float:
        """The last edge of a division of all of [0, 1], of which ``high`` was the last edge."""
        return 1.0

    def levels(self, edges: np.ndarray) -> Levels:
        """Step functions on these edges."""
        return Levels(self, edges)


SHORT = 1e-4
"""Relative change of the scale over an interval that needs no step of its own."""


class State(NamedTuple):
    """The functional at one step function.

    Attributes
    ----------
    phi:
        At each edge, on its nodes.
    far:
        phi - |w| beyond the nodes, at each edge.
    tilted:
        For each step the weights of its average times exp(x phi), summing to 1.
    slopes:
        Derivative of phi in x of each step, at the nodes of its outer edge, the last one frozen's own.
    masses:
        At each edge the law of the field, on its nodes and beyond.
    """

    x: np.ndarray
    value: float
    gradient: np.ndarray
    phi: list[np.ndarray]
    far: np.ndarray
    tilted: list[np.ndarray]
    slopes: list[np.ndarray]
    masses: list[np.ndarray]


class Levels:
    """Step functions on given edges: x is 0 below the first and 1 above the last, or one more step there at
    zero temperature.
    """

    def __init__(self, functional: Functional, edges: np.ndarray) -> None:
        self.functional = functional
        self.edges = edges
        self.scales = functional.scale(edges)
        ratios = self.scales[1:] / self.scales[:-1]
        widths = np.sqrt(1 / ratios**2 - 1)
        largest = FINEST if functional.frozen else float(np.clip(SHARP / self.scales[0], SPARSEST, FINEST))
        self.spacing = float(np.min(widths / PER_WIDTH, initial=largest))
        reach = FROZEN_RANGE if functional.frozen else _reach(self.scales)
        self.nodes = int(np.ceil(reach / self.spacing)) + 1
        self.variances = -np.diff(self.scales**2)
        # exp(x phi) moves the weight by at most x standard deviations of the field, as |phi'| <= 1
        tilts = np.minimum((STEEPEST if functional.frozen else 1.0) * np.sqrt(self.variances), REACH)
        grid = self.spacing * np.arange(self.nodes)
        self.points, self.law = self._start()
        self.averages: list[Dilation] = [
            dilation(grid / r if j else self.points / self.scales[1], w, self.spacing, self.nodes, float(t))
            for j, (r, w, t) in enumerate(zip(ratios, widths, tilts, strict=True))
        ]
        self.fields = self.scales[-1] * grid if self.steps else self.points
        coupling = polynomial.polyval(np.append(edges, 1.0), functional.coupling)
        weights = np.diff(coupling)
        self.weights = weights if functional.frozen else weights[:-1]
        self.above = 0.0 if functional.frozen else weights[-1]

    @property
    def steps(self) -> int:
        """Steps between the edges."""
        return len(self.edges) - 1

    @cached_property
    def unknowns(self) -> int:
        """Values of x."""
        return self.steps + self.functional.frozen

    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        """Points and weights for the field at the first edge, which are the nodes of that edge."""
        spread = np.sqrt(max(polynomial.polyval(self.edges[0], self.functional.variance), 0.0))
        if spread == 0:
            return np.array([self.functional.mean]), np.ones(1)
        step = min(spread / 4, max(self.scales[0] / 8, 0.0 if self.functional.frozen else SHARP))
        count = int(np.ceil(REACH * spread / step))
        z = np.linspace(-REACH, REACH, 2 * count + 1)
        law = np.exp(-(z**2) / 2)
        return self.functional.mean + spread * z, law / law.sum()

    def at(self, x: np.ndarray) -> State:
        """Value and gradient."""
        frozen, scales, steps = self.functional.frozen, self.scales, self.steps
        inner = _kink(self.fields, scales[-1], x[-1]) if frozen else _spin(self.fields, scales[-1])
        phi, tilted, slopes = [inner.phi], [], [inner.slope] if frozen else []
        far = [inner.far]
        for j in reversed(range(steps)):
            average = self.averages[j]
            inside = average.onto(phi[0], scales[j + 1], far[0])
            outside, weights, slope = _level(inside, average.weights, x[j])
            phi.insert(0, outside)
            tilted.insert(0, weights)
            slopes.insert(0, slope)
            far.insert(0, far[0] + x[j] * self.variances[j] / 2)
        masses = [np.append(self.law, 0.0)]
        for average, weights in zip(self.averages, tilted, strict=True):
            masses.append(average.spread(masses[-1][:-1], weights))
            masses[-1][-1] += masses[-2][-1]
        gains = [
            mass[:-1] @ slope + mass[-1] * far_slope
            for mass, slope, far_slope in zip(masses, slopes, self._far_slopes, strict=False)
        ]
        value = float(self.law @ phi[0] - self.weights @ x - self.above)
        return State(x, value, np.array(gains) - self.weights, phi, np.array(far), tilted, slopes, masses)

    @property
    def _far_slopes(self) -> np.ndarray:
        """Derivative of phi in each x beyond the nodes."""
        own = [self.scales[-1] ** 2] if self.functional.frozen else []
        return np.append(self.variances, own) / 2

    def hessian(self, state: State) -> np.ndarray:
        """Second derivatives in x: covariances, under the law of the field, of the slopes that enter a
        level.
        """
        count, far_slopes = self.unknowns, self._far_slopes
        found = np.zeros((count, count))
        known = np.zeros(
            (count, self.fields.size + 1)
        )  # derivative of phi at the current edge in each x inside
        if self.functional.frozen:
            own = _kink(self.fields, self.scales[-1], state.x[-1])
            known[-1] = np.append(own.slope, far_slopes[-1])
            found[-1, -1] = state.masses[-1][:-1] @ own.curvature
        for j in reversed(range(self.steps)):
            average, weights, x = self.averages[j], state.tilted[j], state.x[j]
            mass, inner_mass = state.masses[j], state.masses[j + 1]
            inside = slice(j + 1, count)
            carried = _carried(known[inside], average, weights)
            found[inside, inside] += x * (
                (known[inside] * inner_mass) @ known[inside].T - (carried * mass) @ carried.T
            )
            phi = average.onto(state.phi[j + 1], self.scales[j + 1], state.far[j + 1])
            centred = phi - (weights * phi).sum(axis=1, keepdims=True)
            cross = known[inside] @ average.spread(mass[:-1], weights * centred)
            found[j, inside] += cross
            found[inside, j] += cross
            second = (weights * centred**2).sum(axis=1) - 2 * state.slopes[j]
            third = (weights * centred**3).sum(axis=1) / 3  # its limit at x -> 0
            found[j, j] += mass[:-1] @ (second / x if x > SMALL else third)
            known = np.vstack(
                [np.zeros((j, carried.shape[1])), np.append(state.slopes[j], far_slopes[j]), carried]
            )
        return found

    def moments(self, state: State) -> Moments:
        """Averages over the field at every edge, from the derivatives of phi in w."""
        frozen = self.functional.frozen
        inner = (
            _kink(self.fields, self.scales[-1], state.x[-1])
            if frozen
            else _spin(self.fields, self.scales[-1])
        )
        m, response = inner.magnetisation, inner.response
        squares, responses = [], []
        for j in reversed(range(self.steps + 1)):
            mass = state.masses[j]
            squares.insert(0, mass[:-1] @ m**2 + mass[-1])
            responses.insert(0, mass[:-1] @ response**2)
            if j == 0:
                break
            average, weights = self.averages[j - 1], state.tilted[j - 1]
            inside = np.append(m, 1.0)[average.known] * np.sign(average.places)
            slope = np.append(response, 0.0)[average.known]
            m = (weights * inside).sum(axis=1)
            response = (weights * (slope + state.x[j - 1] * (inside - m[:, None]) ** 2)).sum(axis=1)
        return Moments(np.array(squares), np.array(responses), float(self.law @ m))


def _reach(scales: np.ndarray) -> float:
    """Field over the scale beyond which 1 - |dphi/dw| is below exp(-TAIL) on every level.

    Averaged over a variance v, 2 exp(-2|w|) is exp(2v - 2|w|) up to |w| = 2v from above, and exp(-w^2/2v)
    nearer to 0.
    """
    variance = scales**2 - 1
    field = np.where(2 * variance > TAIL, np.sqrt(2 * TAIL * variance), TAIL / 2 + variance)
    return float(np.max(field / scales))


class Moments(NamedTuple):
    """At each edge E (dphi/dw)^2 and E (d^2 phi/dw^2)^2; and dphi/dw at the start, the magnetisation."""

    overlap: np.ndarray
    response: np.ndarray
    magnetisation: float


SMALL = 1e-3
"""x below which its limits at 0 are used in second derivatives."""


def _level(inside: np.ndarray, weights: np.ndarray, x: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(1/x) log E exp(x phi), its tilted weights, its derivative in x: E[D e^D - e^D + 1]/x^2 with D = x (phi
    - result), a sum of positive terms.
    """
    mean = (weights * inside).sum(axis=1)
    centred = inside - mean[:, None]
    if x <= 0:
        return mean, weights, (weights * centred**2).sum(axis=1) / 2
    excess = np.log1p((weights * np.expm1(x * centred)).sum(axis=1))
    exponent = x * centred - excess[:, None]
    grown = np.expm1(exponent)
    near = exponent**2 * (
        1 / 2 + exponent * (1 / 3 + exponent * (1 / 8 + exponent * (1 / 30 + exponent * (1 / 144))))
    )
    loss = np.where(np.abs(exponent) < 5e-3, near, exponent * (grown + 1) - grown)
    return mean + excess / x, weights * (grown + 1), (weights * loss).sum(axis=1) / x**2


def _carried(known: np.ndarray, average: Dilation, weights: np.ndarray) -> np.ndarray:
    """Functions on the inner nodes and beyond averaged onto the outer ones."""
    starts = np.arange(len(weights) + 1) * weights.shape[1]
    shape = (len(weights), average.nodes + 1)
    matrix = csr_array((weights.ravel(), average.known.ravel(), starts), shape=shape)
    return np.concatenate([(matrix @ known.T).T, known[:, -1:]], axis=1)


class _Innermost(NamedTuple):
    """phi at the last edge with its derivatives in w, and in its own x."""

    phi: np.ndarray
    far: float
    magnetisation: np.ndarray
    response: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray


def _spin(w: np.ndarray, scale: float) -> _Innermost:
    """log E 2cosh: x = 1 above the last edge."""
    m, far = np.tanh(w), (scale**2 - 1) / 2
    nothing = np.zeros_like(w)
    return _Innermost(np.logaddexp(w, -w) + far, far, m, 1 - m**2, nothing, nothing)


LEAST = 1e-6
"""Smallest x over the temperature of a spin at zero temperature."""


def _kink(w: np.ndarray, s: float, a: float) -> _Innermost:
    """(1/a) log E exp(a |w + s z|), from Gaussian integrals over two half-lines."""
    a = max(a, LEAST)  # the limit at 0 is that of E |w + s z|, to 1e-6
    ends = np.array([w, -w]) / s + a * s
    logs = np.array([w, -w]) * a + log_ndtr(ends)
    total = np.logaddexp(*logs)
    up, down = shares = np.exp(logs - total)
    mills = np.exp(-(ends**2) / 2 - log_ndtr(ends)) / np.sqrt(2 * np.pi)
    first = (shares * s * (ends + mills)).sum(axis=0)  # E |u| with the weight
    second = (shares * s**2 * (1 + ends * (ends + mills))).sum(axis=0)
    far = a * s**2 / 2
    phi = total / a + far
    slope = (first - phi) / a
    density = np.exp(-((w / s) ** 2 + (a * s) ** 2) / 2 - total) / np.sqrt(2 * np.pi) / s
    return _Innermost(
        phi,
        far,
        up - down,
        2 * density + 4 * a * up * down,
        slope,
        (second - first**2 - 2 * slope) / a,
    )


class AnyFunctional(Protocol):
    """What ``gap`` and ``solvers.fixed_point.breaking`` need of a functional."""

    @property
    def frozen(self) -> bool:
        """Whether the temperature is 0."""
        ...

    @property
    def unbiased(self) -> bool:
        """Whether the field vanishes at q = 0, so that x > 0 from there on."""
        ...

    def edges(self, low: float, high: float, steps: int) -> np.ndarray:
        """Overlaps between which x is constant."""
        ...

    def split(self, low: float, high: float, parts: int | None) -> np.ndarray:
        """All edges of a division of [low, high] but the last."""
        ...

    def rate(self, q: float) -> float:
        """Variance of the field per overlap."""
        ...

    def closing(self, high: float) -> float:
        """The last edge of a division of all of [0, 1]."""
        ...

    def levels(self, edges: np.ndarray) -> Any:
        """Step functions on these edges: value, gradient, Hessian and moments."""
        ...


def gap(functional: AnyFunctional, edges: np.ndarray, x: np.ndarray, parts: int = 4) -> float:
    """How far a step function is from the infimum over all functions, at most.

    The functional is convex, so Phi(y) >= Phi(x) + int g (y - x) for its gradient g; over steps from 0 to 1
    at any overlap, of which every y is a mixture, the right side has the minimum Phi(x) - gap.  The gradient
    is taken on ``parts`` pieces of each step and on [0, 1] outside.
    """
    finer = [functional.split(a, b, parts) for a, b in pairwise(edges)]
    below, above = functional.split(0.0, edges[0], None), functional.split(edges[-1], 1.0, None)
    cells = [below, *finer, above]
    last = functional.closing(edges[-1]) if above.size else edges[-1]
    full = np.concatenate([*cells, [last]])
    steps = np.repeat([0.0, *x, 1.0], [len(c) for c in cells])
    gradient = functional.levels(full).at(steps).gradient
    tails = np.append(np.cumsum(gradient[::-1])[::-1], 0.0)
    return float(gradient @ steps - tails.min())
