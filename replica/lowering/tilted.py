"""log Z and the tilted averages Z^(k)/Z of an evidence Z = E_{h ~ N(omega, V)} P(y|h) without closed form.

With l = log P and <f> = E[P f]/E[P], dZ/domega = Z <l'>, and in general Z^(k) = Z <r_k> with
r_(k+1) = r_k' + r_k l'; or, where r_k jumps in h and has no such derivative, by Stein's lemma
r_(k+1) = r_k (h - omega)/V + dr_k/domega.  The sums run over nodes clustered at the peaks of
P(y|h) N(h; omega, V) and weigh by exp(l - its maximum): nothing is 0/0 where P underflows, and a P(y|h) much
narrower than the Gaussian costs no more nodes.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sympy as sp

from replica.expr.kinks import split_at_kinks
from replica.expr.logsum import expit, stable_log
from replica.expr.polynomials import affine_coefficients
from replica.lowering.jets import FIELD, JET, OUTPUT
from replica.lowering.printer import LoweringError, compile_kernel, loggamma, xlogy
from replica.lowering.switches import switches_of
from solvers.backends.float64 import Float64
from solvers.quadrature.clustered import as_numbers
from solvers.quadrature.peaks import LOW, Peaks, find_peaks, improved, narrowed, peaked_maps, trimmed
from solvers.quadrature.rules import PEAKED, gaussian_reach, nested_sum

_FLOAT = Float64()
LOG = sp.Symbol("log_Z", real=True)
TILT = (sp.S.One, *(sp.Symbol(f"T_{k}", real=True) for k in range(1, len(JET))))
"""log Z and Z^(k)/Z as letters."""
PULL, PRECISION = sp.Symbol("pull", real=True), sp.Symbol("precision", positive=True)
"""(h - omega)/V and 1/V as letters."""
WIDE = 60.0
"""Widths of a peak in a line from which it is worth looking where it may end."""
_BRANCHES = (sp.Max, sp.Min, sp.Piecewise)
STEPS = 1
"""Newton steps from where a Gaussian likelihood would have its peak."""


class Tilted(NamedTuple):
    """log Z and the ratios Z^(k)/Z for k = 1, 2, ..., and an error of each."""

    values: tuple[Any, ...]
    errors: tuple[Any, ...]


def in_tilts(body: sp.Expr) -> sp.Expr:
    """An expression in the letters of the jet, in log Z and the ratios."""
    scale = sp.Dummy("Z", positive=True)
    ratios = {letter: scale * tilt for letter, tilt in zip(JET, TILT, strict=True)}
    body = body.subs(ratios, simultaneous=True)
    if not body.is_Mul or body.has(sp.Add):
        body = sp.factor(sp.expand(body))  # Z to the first power: no power of it overflows
    return body.subs(scale, sp.exp(LOG))


def order_of(bodies: Sequence[sp.Expr]) -> int:
    """The highest derivative in expressions in the letters of the jet."""
    return max((k for k, letter in enumerate(JET) if any(b.has(letter) for b in bodies)), default=0)


@dataclass(frozen=True)
class Likelihood:
    """log P(y|h) as lowered functions of (backend, *arguments, y, h)."""

    slopes: Callable[..., tuple[Any, ...]]  # log P and two derivatives
    tilts: Callable[..., tuple[Any, ...]]  # log P, r_1, r_2, ...; of (h - omega)/V and 1/V too
    kinks: Callable[..., tuple[Any, ...]]  # of (backend, *arguments, y): centre, width, ... in h
    order: int

    def log_weight(self, arguments: Sequence[Any], output: Any) -> Any:
        """Log P and two derivatives at h of shape (points, any), in doubles."""
        columns = [a if np.ndim(a) == 0 else a[:, None] for a in arguments]

        def evaluate(h: Any) -> Any:
            with np.errstate(all="ignore"):
                found = self.slopes(_FLOAT, *columns, output[:, None], h)
            return tuple(np.broadcast_to(v, h.shape) for v in found)

        return evaluate

    def peaks(self, arguments: Sequence[Any], output: Any, mean: Any, variance: Any) -> Peaks:
        """Peaks of P(y|h) N(h; mean, variance), all of shape (points,), in doubles."""
        return find_peaks(self.log_weight(arguments, output), mean, variance)

    def averages(
        self,
        backend: Any,
        level: int,
        arguments: Sequence[Any],
        output: Any,
        mean: Any,
        variance: Any,
        peaks: Peaks,
    ) -> Tilted:
        """Log Z and the ratios on points (one-dimensional arrays; arguments may be scalars), given the peaks
        of P times a wider Gaussian.
        """
        floats = [backend.to_float(a) if np.ndim(a) else float(backend.to_float(a)) for a in arguments]
        y, m, v = (backend.to_float(a) for a in (output, mean, variance))
        s = np.sqrt(v)
        with np.errstate(all="ignore"):
            places, widths = self._inner_peaks(floats, y, m, v, peaks)
            single = ~np.isfinite(places[:, -1])
            if np.any(single) and not np.all(single):  # all points of a call have as many nodes
                given = (arguments, output, mean, variance, peaks)
                return self._apart(backend, level, single, *given)
            if np.all(single):
                places, widths = places[:, :1], widths[:, :1]
            places, widths = (places - m[:, None]) / s[:, None], widths / s[:, None]
            reach = gaussian_reach(backend)
            filled = np.where(np.isfinite(places), places, 0.0)
            ends = (np.minimum(filled.min(axis=1), 0) - reach, np.maximum(filled.max(axis=1), 0) + reach)
            if places.shape[1] == 1 and np.any(ends[1] - ends[0] > WIDE * widths[:, 0]):
                scaled = self._scaled(floats, y, m[:, None], s[:, None])
                one = np.ones((1, 1))
                ends = trimmed(scaled, places, widths, 0 * one, one, ends, reach**2 / 2)
            kinks = [np.broadcast_to(k, y.shape) for k in self.kinks(_FLOAT, *floats, y)]
            centres = np.array([*places.T[1:], *((c - m) / s for c in kinks[::2])])
            switches = centres, np.array([*widths.T[1:], *(w / s for w in kinks[1::2])])
        # in deviations from the mean: where these are small, h holds too few of their digits
        t, weights = peaked_maps(backend, places[:, 0], widths[:, 0], switches, ends).line(backend, level)
        h = mean[:, None] + backend.sqrt(variance)[:, None] * t
        columns = [a if np.ndim(a) == 0 else a[:, None] for a in arguments]
        precision = 1 / variance[:, None]
        pull = t * backend.sqrt(precision)
        log, *ratios = self.tilts(backend, *columns, output[:, None], h, pull, precision)
        exponent = log - t * t / 2
        sizes = backend.to_float(exponent)
        top = sizes.max(axis=1)
        if not np.all(np.isfinite(top)):  # log 0, or inf - inf far out, where P is 0
            sizes = np.where(sizes < np.inf, sizes, -np.inf)
            top = sizes.max(axis=1)
            top = np.where(np.isfinite(top), top, 0.0)
            exponent = np.where(np.isfinite(sizes), exponent, backend.rational(-(10**6), 1))
            ratios = [np.where(np.isfinite(sizes), r, 0 * h) for r in ratios]
        terms = weights * backend.exp(exponent - as_numbers(backend, top)[:, None])
        total = nested_sum(backend, terms, most=PEAKED)
        zero = ~(backend.to_float(total.value) > 0)
        z = np.where(zero, 1 + 0 * total.value, total.value)
        size = backend.to_float(z)
        doubt = total.error / size
        gauss = backend.log(2 * backend.pi) / 2
        values = [np.where(zero, -np.inf, as_numbers(backend, top) + backend.log(z) - gauss)]
        errors = [doubt]
        for ratio in ratios:
            part = nested_sum(backend, terms * ratio, most=PEAKED)
            values.append(part.value / z)
            errors.append(part.error / size + np.abs(backend.to_float(values[-1])) * doubt)
        return Tilted(tuple(values), tuple(errors))

    def _apart(self, backend: Any, level: int, single: Any, *given: Any) -> Tilted:
        """``averages`` of points with one peak and of those with two."""
        arguments, output, mean, variance, peaks = given
        parts = []
        for some in (single, ~single):
            mine = [a if np.ndim(a) == 0 else a[some] for a in arguments]
            chosen = Peaks(*(p[some] for p in peaks))
            parts.append(
                self.averages(backend, level, mine, output[some], mean[some], variance[some], chosen)
            )
        order = np.argsort(np.concatenate([np.flatnonzero(single), np.flatnonzero(~single)]))
        joined = (
            tuple(np.concatenate(pair)[order] for pair in zip(*lists, strict=True))
            for lists in zip(*parts, strict=True)
        )
        return Tilted(*joined)

    def _scaled(self, arguments: Any, y: Any, mean: Any, deviation: Any) -> Any:
        """``log_weight`` in deviations from the mean; only its value."""
        log_weight = self.log_weight(arguments, y)
        return lambda t: (log_weight(mean + deviation * t)[0],)

    def height(self, arguments: Any, y: Any, omega: Any, noise: Any, peaks: Peaks) -> Any:
        """About log Z at omega of shape (points, any): the highest value of log P - (h - omega)^2/(2 V)."""
        count = omega.shape[1]
        repeated = [a if np.ndim(a) == 0 else np.repeat(a, count) for a in arguments]
        outputs, m, v = np.repeat(y, count), omega.reshape(-1), np.repeat(noise, count)
        wide = Peaks(*(np.repeat(p, count, axis=0) for p in peaks))
        place, _ = self._inner_peaks(repeated, outputs, m, v, wide)
        log = self.log_weight(repeated, outputs)(place)[0] - (place - m[:, None]) ** 2 / (2 * v[:, None])
        return np.nanmax(np.where(np.isfinite(log), log, -np.inf), axis=1).reshape(omega.shape)

    def _inner_peaks(self, arguments: Any, y: Any, m: Any, v: Any, peaks: Peaks) -> tuple[Any, Any]:
        """Places and widths of the peaks of P N(m, v), the highest first, from those of a wider Gaussian."""
        m, v = m[:, None], v[:, None]
        gain = v / (1 + peaks.sharpness * v)
        place = m + gain * (peaks.slope + peaks.sharpness * (peaks.place - m))
        log_weight = self.log_weight(arguments, y)
        if place.shape[1] == 1:
            place, width = improved(log_weight, place, m, v, STEPS, 3 * np.sqrt(v))
            place = np.where(np.isfinite(place), place, m)
            return place, narrowed(log_weight, place, width, m, v)
        place, width = improved(log_weight, place, m, v, STEPS, 3 * np.sqrt(v))
        width = narrowed(log_weight, place, width, m, v)
        height = log_weight(place)[0] - (place - m) ** 2 / (2 * v)
        height = np.where(np.isfinite(height), height, -np.inf)
        place = np.where(height > height.max(axis=1, keepdims=True) - LOW, place, np.nan)
        order = np.argsort(-height, axis=1)
        place, width = np.take_along_axis(place, order, axis=1), np.take_along_axis(width, order, axis=1)
        place[:, 0] = np.where(np.isfinite(place[:, 0]), place[:, 0], m[:, 0])
        return place, width


def well_conditioned(density: sp.Expr) -> sp.Expr:
    """The same density without branches, and without what under- or overflows or cancels: e^u expit(-u) is
    expit(u), 1 - expit(u) is expit(-u), 1 - e^u is 2 t/(1 + t) with t = tanh(-u/2), and a gamma function the
    exponential of its logarithm.
    """
    density = density.rewrite([sp.factorial, sp.binomial], sp.gamma)
    density = density.replace(lambda e: isinstance(e, _BRANCHES), lambda e: split_at_kinks(e, FIELD))
    density = density.replace(sp.Mul, lambda *factors: _with_odds(factors))
    density = density.replace(_is_complement, lambda e: _complement(1 - e))
    return density.replace(sp.gamma, lambda z: sp.exp(loggamma(z)))


def _with_odds(factors: Sequence[Any]) -> sp.Expr:
    for k, factor in enumerate(factors):
        if isinstance(factor, expit):
            u = -factor.args[0]
            rest = sp.Mul(*factors[:k], *factors[k + 1 :])
            power = sp.Mul(*(f for f in sp.Mul.make_args(rest) if isinstance(f, sp.exp)))
            if isinstance(power, sp.exp) and sp.expand(power.args[0] - u) == 0:
                return rest / power * expit(u)
    return sp.Mul(*factors)


def _is_complement(expr: Any) -> bool:
    return isinstance(expr, sp.Add) and isinstance(1 - expr, sp.exp | expit)


def _complement(part: Any) -> sp.Expr:
    """1 - e^u, 1 - expit(u)."""
    if isinstance(part, expit):
        return expit(-part.args[0])
    t = sp.tanh(-part.args[0] / 2)
    return 2 * t / (1 + t)


def log_likelihood(density: sp.Expr) -> sp.Expr:
    """Log P(y|h) in OUTPUT and FIELD; a power of the field to the output is 1 at the output 0."""
    log = stable_log(well_conditioned(density))
    return log.replace(lambda e: isinstance(e, sp.Mul), _with_xlogy)


def _with_xlogy(product: sp.Expr) -> sp.Expr:
    logs = [f for f in product.args if isinstance(f, sp.log) and f.has_free(FIELD)]
    if len(logs) != 1 or not (product / logs[0]).has_free(OUTPUT):
        return product
    return xlogy(product / logs[0], logs[0].args[0])


def _next_ratio(ratio: sp.Expr, log: sp.Expr) -> sp.Expr:
    """r_(k+1) from r_k: by the derivative in h, or by Stein's lemma where that has a DiracDelta."""
    if not ratio.has(PULL):
        plain = _vanishing_deltas_removed(ratio.diff(FIELD) + ratio * log.diff(FIELD))
        if not plain.has(sp.DiracDelta):
            return plain
    return ratio * PULL - PRECISION * ratio.diff(PULL)


def _vanishing_deltas_removed(expr: sp.Expr) -> sp.Expr:
    """Without c(h) delta(a + b h) where c is 0 at h = -a/b, such as h delta(h)."""
    for node in expr.atoms(sp.DiracDelta):
        line = affine_coefficients(node.args[0], FIELD) if len(node.args) == 1 else None
        if line is None or line[1] == 0:
            continue
        name = sp.Dummy()
        coefficient = expr.xreplace({node: name}).diff(name)
        if not coefficient.has(sp.DiracDelta) and coefficient.subs(FIELD, -line[0] / line[1]) == 0:
            expr = expr.xreplace({node: sp.S.Zero})
    return expr


def _without_deltas(expr: sp.Expr) -> sp.Expr:
    """What steers nodes sees no kinks."""
    return expr.replace(sp.DiracDelta, lambda *_: sp.S.Zero)


def likelihood(density: sp.Expr, order: int, arguments: Sequence[sp.Symbol]) -> Likelihood:
    """Lower log P and the ratios up to an order; the density in OUTPUT and FIELD.

    Raises
    ------
    LoweringError
        Something without a lowering in them.
    """
    log = log_likelihood(density)
    ratios = [sp.S.One]
    for _ in range(order):
        ratios.append(_next_ratio(ratios[-1], log))
    names = [*arguments, OUTPUT, FIELD]
    slope = _without_deltas(log.diff(FIELD))
    bodies = [log, *ratios[1:]]
    found: list[sp.Expr] = []
    for switch in switches_of(bodies, FIELD):
        try:
            compile_kernel(list(switch), names[:-1])
        except LoweringError:
            continue
        found.extend(switch)
    return Likelihood(
        compile_kernel([log, slope, _without_deltas(slope.diff(FIELD))], names),
        compile_kernel(bodies, [*names, PULL, PRECISION]),
        compile_kernel(found, names[:-1]),
        order,
    )
