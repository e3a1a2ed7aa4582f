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


def _strip_zeros(coefficients: Array, backend: Any) -> tuple[Array, int]:
    """One polynomial without its exact zeros: leading coefficients dropped, roots at 0 divided out."""
    nonzero = np.flatnonzero(backend.to_float(coefficients))
    return coefficients[nonzero[0] : nonzero[-1] + 1], coefficients.size - 1 - int(nonzero[-1])


def _branch_points(branch: Array, backend: Any) -> list[Array]:
    """Roots of each polynomial of the batch (laws, degree + 1); equal degrees are solved together."""
    groups: dict[tuple[int, int], list[int]] = {}
    stripped = []
    for index, row in enumerate(branch):
        bare, at_zero = _strip_zeros(row, backend)
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
    cuts: list[float]


def _candidates(owner: int, points: Array, nonnegative: bool, backend: Any) -> list[_Candidate]:
    floats: Any = np.asarray(backend.to_float(points), dtype=complex)
    real = np.abs(floats.imag) <= 1e-9 * np.abs(floats.real)
    if nonnegative:
        real &= floats.real >= 0
    exact = {float(f.real): backend.re(p) for f, p, keep in zip(floats, points, real, strict=True) if keep}
    if nonnegative:
        exact.setdefault(0.0, backend.number(0))
    edges = sorted(exact)
    pairs = floats[~real & (floats.imag > 0)]
    found = []
    for a, b in itertools.pairwise(edges):
        near = [p.real for p in pairs if a < p.real < b and p.imag < 0.5 * min(p.real - a, b - p.real)]
        found.append(_Candidate(owner, exact[a], exact[b], sorted(near)))
    return found


def _pieces(
    backend: Any, coefficients: Coefficients, branch: Coefficients, nonnegative: bool, values: Sequence[Array]
) -> tuple[Array, Array, Array]:
    """(owner, lower, upper) of the pieces of the supports of a batch of laws; values are one-dimensional."""
    size = values[0].size if values else 1
    points = _branch_points(_stack(branch(*values), (size,), backend), backend)
    candidates = [c for i in range(size) for c in _candidates(i, points[i], nonnegative, backend)]
    owner = np.array([c.owner for c in candidates], dtype=int)
    middle = backend.array([(c.lower + c.upper) / 2 for c in candidates])
    at = [v[owner] for v in values]
    roots = backend.to_float(backend.roots(_stack(coefficients(middle, *at), middle.shape, backend)))
    imaginary = -roots.imag.min(axis=-1)
    carries = imaginary > 1e-7 * np.abs(roots).min(axis=-1)
    pieces = []
    for c in (c for c, yes in zip(candidates, carries, strict=True) if yes):
        ends = [c.lower, *(backend.number(x) for x in c.cuts), c.upper]
        pieces.extend((c.owner, a, b) for a, b in itertools.pairwise(ends))
    owners, lower, upper = zip(*pieces, strict=True)
    return np.array(owners), backend.array(lower), backend.array(upper)


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
    g = backend.lowest_root(_stack(coefficients(x, *at), x.shape, backend))
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
    x = np.maximum(x, np.finfo(float).tiny)
    inside = np.any((x >= nodes.x[:, :1]) & (x <= nodes.x[:, -1:]), axis=0)
    g = np.empty(x.shape, dtype=complex)
    g[inside] = backend.lowest_root(_stack(coefficients(x[inside], *values), x[inside].shape, backend))
    mass = -nodes.g.imag / np.pi * nodes.weights
    g[~inside] = (mass / (x[~inside, None, None] - nodes.x)).sum(axis=(1, 2))
    return g
