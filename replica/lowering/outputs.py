"""Averages over unbounded outputs without closed evidence, functions of log Z and Z^(k)/Z.

The sum over y goes outside: for each y the averages over omega and, inside, over h run on nodes clustered
where y puts them, and what is left is smooth in y.  Counts are summed one by one at first, then in octaves;
real outputs on a line with the scale of P(y|h) at its peak, that ends where P(y|h) does.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sympy as sp

from replica.lowering.jets import FIELD, OMEGA, OUTPUT, OutputAverage
from replica.lowering.printer import LoweringError, compile_kernel
from replica.lowering.smeared import Functions, Layer, smeared_layer
from replica.lowering.tilted import (
    LOG,
    TILT,
    WIDE,
    Likelihood,
    in_tilts,
    likelihood,
    log_likelihood,
    order_of,
)
from solvers.backends.float64 import Float64
from solvers.quadrature.clustered import as_numbers, cluster
from solvers.quadrature.counts import block_error, count_block
from solvers.quadrature.lines import OutputLine
from solvers.quadrature.peaks import Peaks, peaked_maps, trimmed
from solvers.quadrature.profile import Profile, output_profile
from solvers.quadrature.rules import PEAKED, gaussian_reach, nested_sum

_FLOAT = Float64()
NODES = 2**14
"""How many nodes are evaluated at a time."""
FINEST = 7
"""Higher levels give a double nothing: they return this one, whose error then no longer falls."""
OCTAVES = 60
_SHARP = (sp.Abs, sp.sign, sp.Heaviside, sp.Piecewise, sp.Max, sp.Min)
HELD = 0.99
"""Probability that must have been seen before a sum over counts may end."""


class Fineness(NamedTuple):
    """Rules on a line have step 2^-fineness: that for outputs, and those for omega and h.

    Three sums in one another grow slowly enough.  What is left after the averages over omega and h is
    smoother than they are: at these rates the three errors are of about one size.
    """

    outputs: float
    fields: float


def fineness(level: int) -> Fineness:
    """Both at a level."""
    return Fineness(2 + 0.4 * (level - 3), 2 + 0.75 * (level - 3))


class Sums(NamedTuple):
    """Values, one for each average, and one error for all."""

    values: tuple[Any, ...]
    error: Any


@dataclass(frozen=True)
class OutputsBlock:
    """Averages over one law of outputs."""

    place: Callable[..., tuple[Any, ...]]  # mean and variance of omega, variance of h given omega
    likelihood: Likelihood
    bodies: Callable[..., tuple[Any, ...]]  # of arguments, y, omega, log Z, Z'/Z, ...
    passed: Callable[..., tuple[Any, ...]]  # derivatives of the counted bodies in log Z, Z'/Z, ...
    counted: tuple[bool, ...]
    outputs: Any
    used: tuple[bool, ...]  # arguments in the density
    smooth: bool  # whether the density has no kink in h

    @property
    def depth(self) -> int:
        """Three sums inside one another."""
        return 3

    def run(self, backend: Any, level: int, arguments: Sequence[Any]) -> Sums:
        """The averages on a batch of arguments."""
        batch = np.broadcast_shapes(*(np.shape(a) for a in arguments))
        size = int(np.prod(batch, dtype=int))
        flat = [backend.array(a) for a in arguments]
        flat = [a.reshape(())[()] if a.size == 1 else np.broadcast_to(a, batch).reshape(-1) for a in flat]
        level = min(level, FINEST) if backend.name == "float64" else level
        place = [np.broadcast_to(backend.array(p), (size,)) for p in self.place(backend, *flat)]
        summed = self._counts if self.outputs.is_iterable else self._line
        with np.errstate(all="ignore"):
            values, error = summed(backend, level, flat, place)
        return Sums(tuple(v.reshape(batch) for v in values), error.reshape(batch))

    def _counts(self, backend: Any, level: int, arguments: Any, place: Any) -> tuple[list[Any], Any]:
        size = place[0].size
        nodes = 2 * level + 2 if backend.name == "float64" else None
        small = 10.0 ** -min(4.0 * level - 7, backend.digits + 2)
        totals: list[Any] = []
        error, held = np.zeros(size), np.zeros(size)
        for index in range(OCTAVES):
            block = count_block(int(self.outputs.inf), index, nodes)
            y = np.broadcast_to(as_numbers(backend, block.nodes), (size, block.nodes.size))
            columns, inner, mass = self._layers(backend, level, arguments, place, y)
            weights = as_numbers(backend, block.weights)
            parts = [(c * weights).sum(axis=1) for c in columns]
            totals = [t + p for t, p in zip(totals, parts, strict=True)] if totals else parts
            held = held + (mass * block.weights).sum(axis=1)
            error = error + (inner * block.weights).sum(axis=1)
            last, over = np.zeros(size), held > HELD
            for column, part, total, counts in zip(columns, parts, totals, self.counted, strict=True):
                if counts:
                    error = error + block_error(block, backend.to_float(column))
                    rest = np.abs(backend.to_float(part))
                    last = np.maximum(last, rest)
                    over &= rest <= small * np.abs(backend.to_float(total))
            if np.all(over):
                break
        return totals, error + last + np.where(held > HELD, 0.0, np.inf)

    def _line(self, backend: Any, level: int, arguments: Any, place: Any) -> tuple[list[Any], Any]:
        size = place[0].size
        ends = (float(self.outputs.inf), float(self.outputs.sup))
        profile = self._profile(backend, arguments, place, ends)
        line = OutputLine(bool(np.isfinite(ends[0])), bool(np.isfinite(ends[1])))
        closed = [np.full(size, end) for end in ends if np.isfinite(end)]
        sharp = 10.0 ** -(backend.digits / 2 + 1) * profile.width
        centres = np.array([*profile.places.T, *closed])
        widths = np.array([*profile.widths.T, *(sharp for _ in closed)])
        maps = cluster(
            backend,
            (as_numbers(backend, profile.centre), as_numbers(backend, profile.width)),
            (as_numbers(backend, centres), as_numbers(backend, widths)),
            (as_numbers(backend, profile.low), as_numbers(backend, profile.high)),
        )
        y, weights = maps.line(backend, fineness(level).outputs)
        weights = line.weighted(backend, y, weights)
        distance = backend.to_float(y) - profile.centre[:, None]
        columns, inner, _ = self._layers(backend, level, arguments, place, y)
        sums = [nested_sum(backend, c * weights, 0) for c in columns]
        error = (inner * np.abs(backend.to_float(weights))).sum(axis=1)
        for column, total, counts in zip(columns, sums, self.counted, strict=True):
            if counts:
                error = error + total.error + line.tail(backend, column * weights, distance)
        return [s.value for s in sums], error

    def _profile(self, backend: Any, arguments: Any, place: Any, ends: tuple[float, float]) -> Profile:
        """Where the outputs lie; points that differ in nothing that matters share the search."""
        size = place[0].size
        floats = [np.broadcast_to(backend.to_float(a), (size,)) for a in arguments]
        mean, shared, noise = (backend.to_float(p) for p in place)
        whole = [float(f"{w:.10g}") for w in shared + noise]
        matter = np.array([mean, whole, *(f for f, u in zip(floats, self.used, strict=True) if u)])
        _, first, back = np.unique(matter, axis=1, return_index=True, return_inverse=True)
        mine = [f[first][:, None] for f in floats]
        profile = output_profile(
            lambda y, h: self.likelihood.slopes(_FLOAT, *mine, y, h)[0],
            mean[first],
            np.array(whole)[first],
            ends,
        )
        return Profile(*(p[back.reshape(-1)] for p in profile))

    def _layers(
        self, backend: Any, level: int, arguments: Any, place: Any, y: Any
    ) -> tuple[list[Any], Any, Any]:
        """The averages over omega at outputs y of shape (batch, n): values, error, and E_omega Z.

        Point by point on one lattice of fields for all outputs, where that does not take too many.
        """
        if not (self.smooth and backend.name == "float64"):
            return self._on_nodes(backend, level, arguments, place, y)
        layers = self._smeared(level, arguments, place, y)
        rest = np.array([p for p, layer in enumerate(layers) if layer is None], dtype=int)
        if rest.size == len(layers):
            return self._on_nodes(backend, level, arguments, place, y)
        if rest.size:
            mine = [a if np.ndim(a) == 0 else a[rest] for a in arguments]
            columns, error, mass = self._on_nodes(backend, level, mine, [p[rest] for p in place], y[rest])
            for k, p in enumerate(rest):
                layers[p] = Layer([c[k] for c in columns], error[k], mass[k])
        columns = [np.array(parts) for parts in zip(*(layer.columns for layer in layers), strict=True)]
        return columns, np.array([a.error for a in layers]), np.array([a.mass for a in layers])

    def _on_nodes(
        self, backend: Any, level: int, arguments: Any, place: Any, y: Any
    ) -> tuple[list[Any], Any, Any]:
        """The same on nodes of their own for each output."""
        size, count = y.shape
        flat = y.reshape(-1)
        spread = [a if np.ndim(a) == 0 else np.repeat(a, count) for a in arguments]
        mean, shared, noise = (np.repeat(p, count) for p in place)
        floats = [backend.to_float(a) for a in spread]
        outputs, m, s, v = (backend.to_float(a) for a in (flat, mean, shared, noise))
        peaks = self.likelihood.peaks(floats, outputs, m, s + v)
        maps = self._omega_maps(backend, floats, outputs, peaks, (m, s, v))
        panels = maps.panels(fineness(level).fields) + 1
        step = max(1, NODES // int(panels.max()) ** 2)
        found = []
        for start in range(0, flat.size, step):
            some = slice(start, start + step)
            mine = [a if np.ndim(a) == 0 else a[some] for a in spread]
            law = (mean[some], shared[some], noise[some])
            chosen = Peaks(*(p[some] for p in peaks))
            found.append(self._layer(backend, level, mine, law, flat[some], chosen, maps[some]))
        columns = [np.concatenate(parts).reshape(size, count) for parts in zip(*found, strict=True)]
        return columns[:-2], columns[-2], columns[-1]

    def _smeared(self, level: int, arguments: Any, place: Any, y: Any) -> list[Any]:
        """The layers of the points on lattices of fields; None for one that takes too many."""
        functions = Functions(
            lambda *a: self.likelihood.slopes(_FLOAT, *a)[0],
            self.bodies,
            self.passed,
            self.counted,
            self.likelihood.order,
        )
        layers = []
        for p in range(y.shape[0]):
            mine = [float(a[p] if np.ndim(a) else a) for a in arguments]
            mean, shared, noise = (float(part[p]) for part in place)
            law, whole = (mean, shared, noise), np.full(y.shape[1], shared + noise)
            peaks = self.likelihood.peaks(mine, y[p], np.full(y.shape[1], mean), whole)
            layers.append(smeared_layer(functions, level, mine, law, y[p], peaks))
        return layers

    def _omega_maps(self, backend: Any, arguments: Any, y: Any, peaks: Peaks, place: Any) -> Any:
        """Nodes for omega, in its standard deviations from the mean, where a Gaussian likelihood puts it."""
        mean, shared, noise = place
        whole = shared + noise
        places = (peaks.place - mean[:, None]) * (np.sqrt(shared) / whole)[:, None]
        kept = (shared / whole**2)[:, None] / (1 / whole[:, None] + peaks.sharpness)
        widths = np.sqrt((noise / whole)[:, None] + kept * peaks.narrower**2)
        reach = gaussian_reach(backend)
        filled = np.where(np.isfinite(places), places, 0.0)
        ends = (np.minimum(filled.min(axis=1), 0) - reach, np.maximum(filled.max(axis=1), 0) + reach)
        if places.shape[1] == 1 and np.any(ends[1] - ends[0] > WIDE * widths[:, 0]):

            def log_weight(z: Any) -> Any:
                omega = mean[:, None] + np.sqrt(shared)[:, None] * z
                return (self.likelihood.height(arguments, y, omega, noise, peaks),)

            one = np.ones((1, 1))
            ends = trimmed(log_weight, places, widths, 0 * one, one, ends, reach**2 / 2)
        # a kink of the likelihood at a field is a switch of the evidence there, as wide as h given omega
        kinks = [np.broadcast_to(k, y.shape) for k in self.likelihood.kinks(_FLOAT, *arguments, y)]
        centres = [(c - mean) / np.sqrt(shared) for c in kinks[::2]]
        spreads = [np.sqrt((w * w + noise) / shared) for w in kinks[1::2]]
        others = np.array([*places.T[1:], *centres]), np.array([*widths.T[1:], *spreads])
        return peaked_maps(backend, places[:, 0], widths[:, 0], others, ends)

    def _layer(
        self, backend: Any, level: int, arguments: Any, place: Any, y: Any, peaks: Peaks, maps: Any
    ) -> tuple[Any, ...]:
        mean, shared, noise = place
        z, weights = maps.line(backend, fineness(level).fields)
        weights = weights * backend.npdf(z)
        omega = mean[:, None] + backend.sqrt(shared)[:, None] * z
        shape = omega.shape
        flat = omega.reshape(-1)
        repeated = [a if np.ndim(a) == 0 else np.repeat(a, shape[1]) for a in arguments]
        outputs, noise = np.repeat(y, shape[1]), np.repeat(noise, shape[1])
        wide = Peaks(*(np.repeat(p, shape[1], axis=0) for p in peaks))
        sizes = np.abs(backend.to_float(weights))
        inner = self.likelihood.averages(
            backend, fineness(level).fields, repeated, outputs, flat, noise, wide
        )
        at = [*repeated, outputs, flat, *inner.values]
        vanished = np.isneginf(backend.to_float(inner.values[0])).reshape(shape)
        values = [np.broadcast_to(v, outputs.shape).reshape(shape) for v in self.bodies(backend, *at)]
        values = [np.where(vanished, 0 * weights, v) for v in values]
        errors = np.zeros(shape)
        for k, slope in enumerate(self.passed(backend, *at)):
            doubt = np.abs(backend.to_float(slope + 0 * noise)) * inner.errors[k % len(inner.errors)]
            errors = np.maximum(errors, np.where(vanished, 0.0, doubt.reshape(shape)))
        error = (errors * sizes).sum(axis=1)
        sums = [nested_sum(backend, v * weights, most=PEAKED) for v in values]
        for total, counts in zip(sums, self.counted, strict=True):
            if counts:
                error = error + total.error
        mass = (np.exp(backend.to_float(inner.values[0])).reshape(shape) * sizes).sum(axis=1)
        return (*(s.value for s in sums), error, mass)


def outputs_block(
    members: Sequence[OutputAverage], arguments: Sequence[sp.Symbol], counted: tuple[bool, ...]
) -> OutputsBlock | None:
    """The block of averages that share their law; None where something has no lowering."""
    law = members[0]
    jets = [m.body for m in members]
    order = order_of(jets)
    bodies = [in_tilts(b) for b in jets]
    letters = [LOG, *TILT[1 : order + 1]]
    names = [*arguments, OUTPUT, OMEGA, *letters]
    try:
        return OutputsBlock(
            compile_kernel([law.mean, law.variance, law.noise], list(arguments)),
            likelihood(law.density, order, arguments),
            compile_kernel(bodies, names),
            compile_kernel(
                [b.diff(x) for b, c in zip(bodies, counted, strict=True) if c for x in letters], names
            ),
            counted,
            law.outputs,
            tuple(law.density.has_free(a) for a in arguments),
            not any(node.has_free(FIELD) for node in log_likelihood(law.density).atoms(*_SHARP)),
        )
    except LoweringError:
        return None
