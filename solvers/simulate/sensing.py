"""Sensing operators: the linear map S -> h that a sample set is, kept within a stated memory.

Normalisation, here and everywhere in `solvers.simulate`: the n samples X_mu are d x L with iid N(0, 1)
entries, F = X / sqrt(d L) row by row, and h_mu = <X_mu, S> / sqrt(d L) = (F S)_mu, so that an S with
entries of order 1 gives outputs of order 1 (arXiv 2410.18858, section II).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from solvers.errors import InputError

FloatArray: TypeAlias = NDArray[np.float64]
Seed: TypeAlias = int | np.random.SeedSequence | np.random.Generator

GIB = 1 << 30
CHUNK_BYTES = 32 << 20
"""Size of one chunk of rows. Fixed, so that the matrix depends on the seed and the shape, never on the
budget."""


@runtime_checkable
class Sensing(Protocol):
    """What message passing needs of a sample set; a fast transform is another implementation."""

    @property
    def samples(self) -> int:
        """Number of samples n."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (d, L) of the signal."""
        ...

    def forward(self, signal: FloatArray) -> FloatArray:
        """F S: (d, L) -> (n,)."""
        ...

    def adjoint(self, residual: FloatArray) -> FloatArray:
        """F^T g: (n,) -> (d, L)."""
        ...


@runtime_checkable
class RowSensing(Sensing, Protocol):
    """A sensing operator whose rows can be read, which the exact witnesses need."""

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Blocks (rows, X[rows]), X[rows] of shape (rows, d L), entries N(0, 1), not yet over sqrt(d L)."""
        ...


class DenseGaussianSensing:
    """n samples with iid N(0, 1) entries, drawn in chunks of rows, each from its own child seed.

    Args:
        samples: n, at least 1.
        shape: (d, L).
        seed: an integer, a `SeedSequence`, or a `Generator` from which 128 bits are drawn. The same seed,
            shape and dtype give the same matrix whatever the budget.
        memory_budget: bytes that the stored chunks and the scratch chunk may take together (2 GiB).
        dtype: float32 (half the traffic of a product) or float64.
        regenerate: what to do when the matrix does not fit: refuse (False), or draw the chunks that do not
            fit again on each pass (True), slower by the cost of the random numbers and bounded in memory.

    Raises:
        InputError: sizes below 1, a dtype that is not float32 or float64, or a matrix over the budget.

    A product casts its vector to `dtype` (a float32 matrix times a float64 vector is nine times slower) and
    adds up the chunks in float64: in float32 one product is good to a relative 1e-6 or so.
    """

    def __init__(
        self,
        samples: int,
        shape: tuple[int, int],
        seed: Seed,
        *,
        memory_budget: int = 2 * GIB,
        dtype: DTypeLike = np.float32,
        regenerate: bool = False,
    ) -> None:
        rows, columns = shape
        if samples < 1 or rows < 1 or columns < 1:
            raise InputError(f"sensing needs n, d, L >= 1, got n = {samples}, d = {rows}, L = {columns}")
        self._dtype: np.dtype[np.floating] = np.dtype(dtype)  # pyright: ignore[reportAttributeAccessIssue]
        if self._dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise InputError(f"sensing entries are float32 or float64, got {self._dtype}")
        self._samples = int(samples)
        self._shape = (int(rows), int(columns))
        self._entropy = _seed_sequence(seed)
        self._scale = 1.0 / np.sqrt(rows * columns)
        row_bytes = rows * columns * self._dtype.itemsize
        self._rows = max(1, CHUNK_BYTES // row_bytes)
        self._count = -(-self._samples // self._rows)
        stored = self._stored_within(int(memory_budget), row_bytes, regenerate)
        self._stored = tuple(self._draw(k) for k in range(stored))

    def _stored_within(self, budget: int, row_bytes: int, regenerate: bool) -> int:
        """How many chunks to keep; the refusal, before anything is allocated."""
        needed = self._samples * row_bytes
        if needed <= budget:
            return self._count
        chunk = self._rows * row_bytes
        if regenerate and chunk <= budget:
            return (budget - chunk) // chunk
        dtype_hint = ", use dtype float32" if self._dtype.itemsize > 4 else ""
        change = (
            f"one chunk alone is {_gib(chunk)}: raise memory_budget"
            if regenerate
            else f"raise memory_budget, lower d, L or n{dtype_hint}, or pass regenerate=True (slower)"
        )
        raise InputError(f"the sensing matrix needs {_gib(needed)}, the budget is {_gib(budget)}; {change}")

    def _draw(self, index: int, out: NDArray[np.floating] | None = None) -> NDArray[np.floating]:
        """Chunk `index`, the same numbers each time it is drawn."""
        rows = min(self._rows, self._samples - index * self._rows)
        child = np.random.SeedSequence(
            entropy=self._entropy.entropy, spawn_key=(*self._entropy.spawn_key, index)
        )
        rng = np.random.Generator(np.random.SFC64(child))
        columns = self._shape[0] * self._shape[1]
        target = np.empty((rows, columns), dtype=self._dtype) if out is None else out[:rows]
        fill: Callable[..., object] = rng.standard_normal  # the stubs tie `out` to one precision
        fill(dtype=self._dtype, out=target)
        return target

    @property
    def samples(self) -> int:
        """Number of samples n."""
        return self._samples

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (d, L) of the signal."""
        return self._shape

    @property
    def stored_bytes(self) -> int:
        """Bytes held by the stored chunks."""
        return sum(chunk.nbytes for chunk in self._stored)

    @property
    def regenerated_chunks(self) -> int:
        """How many chunks are drawn again on each pass: 0 when the whole matrix is stored."""
        return self._count - len(self._stored)

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Blocks (rows, X[rows]), in order. A block may be overwritten when the next is asked for."""
        scratch: NDArray[np.floating] | None = None
        for index in range(self._count):
            if index < len(self._stored):
                block = self._stored[index]
            else:
                if scratch is None:
                    scratch = np.empty((self._rows, self._shape[0] * self._shape[1]), dtype=self._dtype)
                block = self._draw(index, scratch)
            first = index * self._rows
            yield slice(first, first + block.shape[0]), block

    def forward(self, signal: FloatArray) -> FloatArray:
        """Outputs h_mu = <X_mu, S> / sqrt(d L).

        Args:
            signal: S of shape (d, L).

        Returns:
            h of shape (n,), float64.

        Raises:
            InputError: a signal of another shape.
        """
        if signal.shape != self._shape:
            raise InputError(f"signal has shape {signal.shape}, the samples have {self._shape}")
        vector = np.ascontiguousarray(signal, dtype=self._dtype).ravel()
        outputs = np.empty(self._samples, dtype=np.float64)
        for rows, block in self.chunks():
            outputs[rows] = block @ vector
        outputs *= self._scale
        return outputs

    def adjoint(self, residual: FloatArray) -> FloatArray:
        """Back-projection sum_mu g_mu X_mu / sqrt(d L).

        Args:
            residual: g of shape (n,).

        Returns:
            array of shape (d, L), float64.

        Raises:
            InputError: a residual of another shape.
        """
        if residual.shape != (self._samples,):
            raise InputError(f"residual has shape {residual.shape}, there are {self._samples} samples")
        vector = np.ascontiguousarray(residual, dtype=self._dtype)
        total = np.zeros(self._shape[0] * self._shape[1], dtype=np.float64)
        for rows, block in self.chunks():
            total += vector[rows] @ block
        total *= self._scale
        return total.reshape(self._shape)


def _seed_sequence(seed: Seed) -> np.random.SeedSequence:
    if isinstance(seed, np.random.SeedSequence):
        return seed
    if isinstance(seed, np.random.Generator):
        words = seed.integers(0, 1 << 32, size=4, dtype=np.uint64)
        return np.random.SeedSequence([int(word) for word in words])
    if seed < 0:
        raise InputError(f"a seed is a non-negative integer, got {seed}")
    return np.random.SeedSequence(int(seed))


def _gib(size: int) -> str:
    return f"{size / GIB:.3g} GiB"
