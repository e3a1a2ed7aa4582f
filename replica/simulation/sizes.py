"""Sizes of an instance: integers, and the control parameters that they realise exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from solvers.errors import InputError
from solvers.simulate.sensing import GIB

MATRIX_SIZE, VECTOR_SIZE = 100, 2000
"""Sizes by default: d and N."""
RISK_SIZE = 500
"""Dimension of a risk by default."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a matrix signal; ``ratios`` are the control parameters that they realise exactly."""

    d: int
    L: int
    r: int
    n: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """alpha, beta and rho of these sizes."""
        return {
            "alpha": Fraction(self.n, self.d * self.L),
            "beta": Fraction(self.L, self.d),
            "rho": Fraction(self.r, self.d),
        }

    @property
    def shape(self) -> tuple[int, int]:
        """Of the signal."""
        return self.d, self.L

    @property
    def samples(self) -> int:
        """How many outputs."""
        return self.n

    @property
    def label(self) -> str:
        """The size that the others follow from."""
        return f"d = {self.d}"

    @property
    def bytes(self) -> int:
        """Sensing matrix in single precision, signal with its factors."""
        entries = self.d * self.L
        return 4 * self.n * entries + 8 * (4 * entries + self.r * (self.d + self.L))


@dataclass(frozen=True)
class NetworkSizes:
    """The sizes of a quadratic network: d inputs, a hidden layer of width r, n samples."""

    d: int
    r: int
    n: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """Alpha and kappa of these sizes."""
        return {"alpha": Fraction(self.n, self.d**2), "kappa": Fraction(self.r, self.d)}

    @property
    def shape(self) -> tuple[int, int]:
        """Of the signal."""
        return self.d, self.d

    @property
    def samples(self) -> int:
        """How many outputs."""
        return self.n

    @property
    def label(self) -> str:
        """The size that the others follow from."""
        return f"d = {self.d}"

    @property
    def bytes(self) -> int:
        """Sensing matrix in single precision, signal with its factor."""
        return 4 * self.n * self.d**2 + 8 * (4 * self.d**2 + self.r * self.d)


@dataclass(frozen=True)
class VectorSizes:
    """The sizes of a vector signal: N coordinates, M outputs."""

    N: int
    M: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """Alpha of these sizes."""
        return {"alpha": Fraction(self.M, self.N)}

    @property
    def shape(self) -> tuple[int, int]:
        """Of the signal: a column."""
        return self.N, 1

    @property
    def samples(self) -> int:
        """How many outputs."""
        return self.M

    @property
    def label(self) -> str:
        """The size that the other follows from."""
        return f"N = {self.N}"

    @property
    def bytes(self) -> int:
        """Sensing matrix in single precision, a few vectors."""
        return 4 * self.M * self.N + 64 * (self.M + self.N)


@dataclass(frozen=True)
class SpikeSizes:
    """The size of a symmetric spike: N coordinates."""

    N: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """None follows from the size."""
        return {}

    @property
    def label(self) -> str:
        """The size."""
        return f"N = {self.N}"

    @property
    def bytes(self) -> int:
        """The matrix and its noise in double precision."""
        return 16 * self.N**2


@dataclass(frozen=True)
class RectangleSizes:
    """The sizes of a rectangular spike: N coordinates of u, M of v."""

    N: int
    M: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """Alpha of these sizes."""
        return {"alpha": Fraction(self.M, self.N)}

    @property
    def label(self) -> str:
        """The size that the other follows from."""
        return f"N = {self.N}"

    @property
    def bytes(self) -> int:
        """The matrix and its noise in double precision."""
        return 16 * self.N * self.M


@dataclass(frozen=True)
class RiskSizes:
    """The sizes of a regression: d weights, n samples."""

    d: int
    n: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """Alpha of these sizes."""
        return {"alpha": Fraction(self.n, self.d)}

    @property
    def label(self) -> str:
        """The size that the other follows from."""
        return f"d = {self.d}"

    @property
    def bytes(self) -> int:
        """The inputs in double precision, and the inverse of a d x d matrix."""
        return 8 * (self.n * self.d + 3 * self.d**2)


@dataclass(frozen=True)
class SpinSizes:
    """The size of a spin system: N spins, couplings of at most this order."""

    N: int
    order: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """None follows from the size."""
        return {}

    @property
    def label(self) -> str:
        """The size."""
        return f"N = {self.N}"

    @property
    def bytes(self) -> int:
        """The couplings in double precision, twice."""
        return 16 * self.N**self.order


@dataclass(frozen=True)
class PatternSizes:
    """The sizes of a perceptron: N weights, M patterns."""

    N: int
    M: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """Alpha of these sizes."""
        return {"alpha": Fraction(self.M, self.N)}

    @property
    def label(self) -> str:
        """The size that the other follows from."""
        return f"N = {self.N}"

    @property
    def bytes(self) -> int:
        """The patterns and their scalar products in double precision."""
        return 8 * self.M * (self.M + 2 * self.N)


@dataclass(frozen=True)
class MemorySizes:
    """The sizes of an associative memory: N spins, patterns besides the condensed ones, how many spins
    interact, chains that share the patterns.
    """

    N: int
    patterns: int
    order: int
    chains: int

    @property
    def ratios(self) -> dict[str, Fraction]:
        """None follows from the sizes alone: the load has the normalisation of the statement."""
        return {}

    @property
    def label(self) -> str:
        """The size that the others follow from."""
        return f"N = {self.N}"

    @property
    def bytes(self) -> int:
        """Patterns in double precision, with the powers and symmetric functions that dense ones need."""
        copies = 3 if self.order == 2 else self.order + 2
        functions = self.chains * (8 * self.N + 4 * self.order * self.patterns)
        return 8 * (copies * self.N * (self.patterns + 5) + functions)


AnySizes: TypeAlias = (
    Sizes
    | NetworkSizes
    | VectorSizes
    | SpikeSizes
    | RectangleSizes
    | RiskSizes
    | SpinSizes
    | PatternSizes
    | MemorySizes
)


def whole(name: str, value: Any, least: int) -> None:
    """Refuse what is no integer of at least ``least``.

    Raises
    ------
    InputError
        As said.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} must be an integer of at least {least}, got {value!r}")


def affordable(sizes: AnySizes, budget: int) -> None:
    """Refuse before anything is drawn.

    Raises
    ------
    InputError
        More bytes than the budget.
    """
    if sizes.bytes > budget:
        named = ", ".join(f"{name} = {value}" for name, value in asdict(sizes).items())
        raise InputError(
            f"{named} need {sizes.bytes / GIB:.3g} GiB of memory, the budget is {budget / GIB:.3g} GiB; "
            f"raise memory_budget or lower {next(iter(asdict(sizes)))}"
        )
