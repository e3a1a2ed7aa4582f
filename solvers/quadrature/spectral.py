"""Integrals over the support of a law given by the polynomial of its Stieltjes transform.

The support is cut at its edges and, where two edges have met and moved off into the complex plane, at the
real part of the pair: that is where the density is about to split, and where a smooth rule would lose its
digits unnoticed.  Each piece gets the double-exponential rule, which does not mind what happens at its ends.

The physical root, as a stated rule: on the support of the laws built here the polynomial has one
complex-conjugate pair (every other root is real), and a Stieltjes transform has Im g < 0 above the real axis:
g(x + i0) is the root of most negative imaginary part.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from solvers.backends.base import Array
from solvers.quadrature.rules import Estimate, double_exponential, nested_sum

Coefficients = Callable[..., Sequence[Any]]


class SpectralNodes(NamedTuple):
    """Nodes on the pieces of the supports of a batch of laws.

    ``owner`` (pieces,) is the index of the law in the batch; ``x``, ``weights`` (pieces, nodes) for the
    measure dx; ``g`` (pieces, nodes) is g(x + i0), Im g <= 0.
    """

    batch: tuple[int, ...]
    owner: Array
    x: Array
    g: Array
    weights: Array


def _stack(coefficients: Sequence[Any], shape: tuple[int, ...], backend: Any) -> Array:
    return np.stack([np.broadcast_to(backend.array(c), shape) for c in coefficients], axis=-1)


def _strip_zeros(coefficients: Array) -> tuple[Array, int]:
    """One polynomial without its exact zeros: leading coefficients dropped, roots at 0 divided out."""
    nonzero = np.flatnonzero([bool(c != 0) for c in coefficients])  # a double would underflow
    return coefficients[nonzero[0] : nonzero[-1] + 1], coefficients.size - 1 - int(nonzero[-1])


def _branch_points(branch: Array, backend: Any) -> list[Array]:
    """Roots of each polynomial of the batch (laws, degree + 1); equal degrees are solved together."""
    groups: dict[tuple[int, int], list[int]] = {}
    stripped = []
    for index, row in enumerate(branch):
        bare, at_zero = _strip_zeros(row)
        stripped.append(bare)
        groups.setdefault((bare.size, at_zero), []).append(index)
    points: list[Array] = [np.empty(0)] * len(branch)
    for (size, at_zero), members in groups.items():
        if size == 1:
            roots = backend.array(np.empty((len(members), 0)))
        else:
            roots = backend.roots(np.stack([stripped[i] for i in members]))
        for index, found in zip(members, roots, strict=True):
            zero = [backend.number(0)] if at_zero else []
            points[index] = (
                backend.array([*found, *zero]) if backend.name == "float64" else np.array([*found, *zero])
            )
    return points


class _Candidate(NamedTuple):
    """An interval between neighbouring real branch points, and where to cut it if it carries density."""

    owner: int
    lower: Any
    upper: Any
    cuts: list[Any]


def _candidates(owner: int, points: Array, nonnegative: bool, backend: Any) -> list[_Candidate]:
    """The intervals of one law.

    A branch point counts as real when its imaginary part is at the rounding of a double root, which has half
    the digits: anything larger is a pair that has left the axis.  Edges are told apart, and ordered, by their
    exact values: two of them may agree to many more digits than a double holds.
    """
    floats: Any = np.asarray(backend.to_float(points), dtype=complex)
    real = np.abs(floats.imag) <= _real_tolerance(backend) * np.abs(floats.real)
    if nonnegative:
        real &= floats.real >= 0
    exact: Callable[[Any], Any] = float if backend.name == "float64" else backend.to_fraction
    edges = {exact(backend.re(p)): backend.re(p) for p, keep in zip(points, real, strict=True) if keep}
    if nonnegative:
        edges.setdefault(exact(backend.number(0)), backend.number(0))
    pairs = [
        (exact(backend.re(p)), f.imag, backend.re(p))
        for p, f, keep in zip(points, floats, ~real & (floats.imag > 0), strict=True)
        if keep
    ]
    found = []
    for a, b in itertools.pairwise(sorted(edges)):
        near = sorted(
            (x, number) for x, height, number in pairs if a < x < b and height < 0.5 * min(x - a, b - x)
        )
        found.append(_Candidate(owner, edges[a], edges[b], [number for _, number in near]))
    return found


def _real_tolerance(backend: Any) -> float:
    """Relative imaginary part below which a branch point is real: half of the digits, less one or two."""
    return 1e-9 if backend.name == "float64" else 10.0 ** -(0.45 * backend.digits)


@lru_cache(maxsize=32)
def _finer(backend: Any) -> Any:
    """The backend at twice the digits, for branch points: two edges about to meet are a double root and lose
    half of them.  Doubles have no finer relative.
    """
    return backend if backend.name == "float64" else type(backend)(2 * backend.digits)


def _edges(
    backend: Any, branch: Coefficients, nonnegative: bool, values: Sequence[Array], size: int
) -> list[_Candidate]:
    """The candidate intervals of every law of the batch, as numbers of the backend."""
    finer = _finer(backend)
    if finer is backend:
        points = _branch_points(_stack(branch(*values), (size,), backend), backend)
        return [c for i in range(size) for c in _candidates(i, points[i], nonnegative, backend)]
    with finer.context():
        same = [finer.array([finer.number(backend.to_fraction(x)) for x in v]) for v in values]
        points = _branch_points(_stack(branch(*same), (size,), finer), finer)
        found = [c for i in range(size) for c in _candidates(i, points[i], nonnegative, finer)]

    def number(x: Any) -> Any:
        return backend.number(finer.to_fraction(x))

    return [_Candidate(c.owner, number(c.lower), number(c.upper), [number(x) for x in c.cuts]) for c in found]


def _pieces(
    backend: Any, coefficients: Coefficients, branch: Coefficients, nonnegative: bool, values: Sequence[Array]
) -> tuple[Array, Array, Array]:
    """(owner, lower, upper) of the pieces of the supports of a batch of laws; values are one-dimensional."""
    size = values[0].size if values else 1
    candidates = _edges(backend, branch, nonnegative, values, size)
    owner = np.array([c.owner for c in candidates], dtype=int)
    middle = backend.array([(c.lower + c.upper) / 2 for c in candidates])
    at = [v[owner] for v in values]
    roots = backend.to_float(backend.roots(_stack(coefficients(middle, *at), middle.shape, backend)))
    imaginary = -roots.imag.min(axis=-1)
    carries = imaginary > 1e-7 * np.abs(roots).min(axis=-1)
    pieces = []
    for c in (c for c, yes in zip(candidates, carries, strict=True) if yes):
        pieces.extend((c.owner, a, b) for a, b in itertools.pairwise([c.lower, *c.cuts, c.upper]))
    owners, lower, upper = zip(*pieces, strict=True)
    return np.array(owners), backend.array(lower), backend.array(upper)


def _lowest_root(backend: Any, coefficients: Array) -> Array:
    """The physical root.  Coefficients beyond the range of a double, in which the backends start, are brought
    back: g = t h with a power t of 2 such that the first and the last are equal in size.
    """
    if backend.name == "float64":
        return backend.lowest_root(coefficients)
    floats = np.abs(backend.to_float(coefficients))
    size = floats.max(axis=-1)
    if np.all(np.isfinite(size) & (floats[..., 0] > 1e-280 * size)):
        return backend.lowest_root(coefficients)
    degree = coefficients.shape[-1] - 1
    first, last = (backend.abs(coefficients[..., k]) for k in (0, -1))
    exponent = np.round(backend.to_float(backend.log(last / first)) / (degree * np.log(2)))
    t = np.frompyfunc(lambda e: backend.number(Fraction(2) ** int(e)), 1, 1)(exponent.astype(float))
    powers = np.stack([t ** (degree - k) for k in range(degree + 1)], axis=-1)
    return t * backend.lowest_root(coefficients * powers / coefficients[..., -1:])


def spectral_nodes(
    backend: Any,
    level: int,
    coefficients: Coefficients,
    branch: Coefficients,
    nonnegative: bool,
    values: Sequence[Any],
) -> SpectralNodes:
    """Quadrature nodes for a batch of laws.

    Parameters
    ----------
    backend:
        The number type.
    level:
        The step of the rule is 2^-level.
    coefficients:
        (x, *values) -> coefficients in g of the law's polynomial, highest first.
    branch:
        values -> coefficients in x of the polynomial whose roots contain the edges.
    nonnegative:
        Whether the support lies in x >= 0.
    values:
        The parameters, scalars or arrays that broadcast to the batch's shape.
    """
    batch = np.broadcast_shapes(*(np.shape(v) for v in values))
    flat = [np.broadcast_to(backend.array(v), batch).reshape(-1) for v in values]
    owner, lower, upper = _pieces(backend, coefficients, branch, nonnegative, flat)
    rule = double_exponential(backend, level)
    a, b = lower[:, None], upper[:, None]
    if nonnegative:
        a, b = backend.sqrt(a), backend.sqrt(b)
    # distances from the nearer end, so that nodes close to an edge keep their digits
    x = np.where(
        np.arange(rule.left.size) < rule.left.size // 2, a + (b - a) * rule.left, b - (b - a) * rule.right
    )
    weights = (b - a) * rule.weights
    if nonnegative:
        x, weights = x * x, 2 * x * weights
    at = [v[owner][:, None] for v in flat]
    g = _lowest_root(backend, _stack(coefficients(x, *at), x.shape, backend))
    return SpectralNodes(batch, owner, x, g, weights)


def integrate(backend: Any, nodes: SpectralNodes, terms: Array) -> Estimate:
    """Sum terms (pieces, nodes), of the measure dx, over each law of the batch."""
    total = nested_sum(backend, terms * nodes.weights)
    size = int(np.prod(nodes.batch, dtype=int))
    value = backend.array([backend.number(0)] * size)
    error = np.zeros(size)
    np.add.at(value, nodes.owner, total.value)
    np.add.at(error, nodes.owner, total.error)
    return Estimate(value.reshape(nodes.batch), error.reshape(nodes.batch))


def stieltjes_at(
    backend: Any,
    level: int,
    coefficients: Coefficients,
    branch: Coefficients,
    nonnegative: bool,
    values: Sequence[Any],
    x: Array,
) -> Array:
    """g(x + i0) of one law (float64) at any x: the root on the support, the defining integral outside it.

    Eigenvalues of finite samples fluctuate beyond the edges; the double-exponential nodes are dense there, so
    the integral is accurate up to the edge itself.
    """
    nodes = spectral_nodes(
        backend, level, coefficients, branch, nonnegative, [np.reshape(v, 1) for v in values]
    )
    if nonnegative:
        x = np.maximum(x, np.finfo(float).tiny)
    inside = np.any((x >= nodes.x[:, :1]) & (x <= nodes.x[:, -1:]), axis=0)
    g = np.empty(x.shape, dtype=complex)
    g[inside] = backend.lowest_root(_stack(coefficients(x[inside], *values), x[inside].shape, backend))
    mass = -nodes.g.imag / np.pi * nodes.weights
    g[~inside] = (mass / (x[~inside, None, None] - nodes.x)).sum(axis=(1, 2))
    return g
