"""Ansaetze: what the overlaps of the replicas are assumed to look like at the saddle point.

An ansatz writes an overlap matrix in a few numbers (``replica.overlaps``); ``insert`` is the step of a
derivation that puts such matrices in place of the symbols Q and Q_hat.

D. Sherrington, S. Kirkpatrick, Phys. Rev. Lett. 35 (1975) 1792; G. Parisi, J. Phys. A 13 (1980) L115; H.
Nishimori, Prog. Theor. Phys. 66 (1981) 1169.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import sympy as sp

from replica.action import FieldAverage, MatrixFunction, covariance_of
from replica.derivation import Comparison, Kind, Rule
from replica.expr.binder import Binder
from replica.overlap_function import ORDER, FunctionMatrix
from replica.overlaps import HierarchicalMatrix, ParisiMatrix, PlantedMatrix, ReplicaSymmetricMatrix
from replica.parameters import Parameter, parse_number
from replica.symbols import n
from solvers.errors import InputError

Matrices = Mapping[sp.Symbol, HierarchicalMatrix | PlantedMatrix]
"""What an ansatz puts in place of the symbol of each overlap matrix."""

BLOCK_SIZE = Parameter("m", "m", "size of the blocks", Fraction(0), lower_open=True)
"""A control parameter of a model whose ansatz is given it."""


@dataclass(frozen=True)
class KStepRSB:
    """Blocks of replicas inside blocks, ``steps`` times: overlaps q_0, ..., q_k and sizes m_1, ..., m_k.

    With ``m`` the size of the blocks of one step is given rather than stationary: states are weighted by the
    m-th power of their weight, and counted by their complexity.  R. Monasson, PRL 75 (1995) 2847.

    Raises
    ------
    InputError
        ``steps`` is not a positive integer; m is not positive, or given for more than one step.

    >>> n, q = sp.symbols("n q")
    >>> KStepRSB(1).matrix(n, 1, q)
    ParisiMatrix(n, 1, (q_0, q_1), (m,))
    """

    steps: int
    m: Any = None

    def __post_init__(self) -> None:
        if not (isinstance(self.steps, int) and self.steps > 0):
            raise InputError(f"steps of replica symmetry breaking: a positive integer, not {self.steps}")
        if self.m is not None:
            if self.steps != 1:
                raise InputError(f"the size m of the blocks can be given for one step, not for {self.steps}")
            object.__setattr__(self, "m", BLOCK_SIZE.check(parse_number(self.m, "m")))

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.steps}-step replica symmetry breaking"

    @property
    def blocks(self) -> tuple[sp.Symbol, ...]:
        """m_1, ..., m_k, sizes of the blocks from the outermost; m where there is one."""
        names = ["m"] if self.steps == 1 else [f"m_{i}" for i in range(1, self.steps + 1)]
        return tuple(sp.Symbol(name, positive=True) for name in names)

    @property
    def stationary_blocks(self) -> tuple[sp.Symbol, ...]:
        """The sizes in which the free entropy is stationary: all, or none where one is given."""
        return self.blocks if self.m is None else ()

    def overlaps(self, overlap: sp.Symbol) -> tuple[sp.Symbol, ...]:
        """q_0, ..., q_k, from replicas in different blocks to replicas in one innermost block."""
        return tuple(sp.Symbol(f"{overlap.name}_{i}", **overlap.assumptions0) for i in range(self.steps + 1))

    def matrix(self, size: sp.Expr, diagonal: sp.Expr | int, overlap: sp.Symbol) -> HierarchicalMatrix:
        """Overlaps of ``size`` replicas, ``diagonal`` with themselves."""
        return ParisiMatrix(size, diagonal, self.overlaps(overlap), self.blocks)

    def integer_points(self) -> tuple[dict[sp.Symbol, int], ...]:
        """Numbers of replicas and sizes of blocks, each a divisor of the one before: where to check."""
        return tuple(
            {n: 2 * ratio**self.steps} | {m: ratio ** (self.steps - i) for i, m in enumerate(self.blocks)}
            for ratio in (2, 3)
        )


def OneStepRSB(m: Any = None) -> KStepRSB:
    """One step: overlaps q_0, q_1 and the size m of the blocks, stationary unless it is given."""
    return KStepRSB(1, m)


@dataclass(frozen=True)
class FullRSB:
    """Blocks inside blocks, infinitely many times: a function x(q) in place of overlaps and sizes of blocks.

    x(q) is the number of replicas that overlap with a given one by more than q; at n -> 0 it is the share of
    pairs that overlap by at most q, 0 below the smallest overlap q_min.  G. Parisi, J. Phys. A 13 (1980)
    L115.

    >>> n, q = sp.symbols("n q")
    >>> FullRSB().matrix(n, 1, q).row_sum(lambda entry: entry).subs(n, 0)
    OverlapIntegral(x(q), q, q_min, 1)
    """

    name: ClassVar[str] = "full replica symmetry breaking"
    blocks: ClassVar[tuple[sp.Symbol, ...]] = ()
    stationary_blocks: ClassVar[tuple[sp.Symbol, ...]] = ()
    steps: ClassVar[float] = float("inf")

    def overlaps(self, overlap: sp.Symbol) -> tuple[sp.Symbol, ...]:
        """The smallest overlap; x(q) holds the others."""
        return (sp.Symbol(f"{overlap.name}_min", **overlap.assumptions0),)

    def matrix(
        self, size: sp.Expr, diagonal: sp.Expr | int, overlap: sp.Symbol, entry: Any = None
    ) -> FunctionMatrix:
        """Overlaps of ``size`` replicas, ``diagonal`` with themselves, or ``entry``, a function of them."""
        (lowest,) = self.overlaps(overlap)
        shown = overlap if entry is None else entry
        return FunctionMatrix(size, sp.sympify(diagonal), shown, overlap, lowest, ORDER(overlap))


@dataclass(frozen=True)
class ReplicaSymmetric:
    """All replicas are alike: any two of them have the same overlap.

    >>> n, q = sp.symbols("n q")
    >>> ReplicaSymmetric().matrix(n, 1, q)
    ReplicaSymmetricMatrix(n, 1, q)
    """

    name: ClassVar[str] = "replica-symmetric ansatz"
    blocks: ClassVar[tuple[sp.Symbol, ...]] = ()
    stationary_blocks: ClassVar[tuple[sp.Symbol, ...]] = ()
    steps: ClassVar[int] = 0

    def overlaps(self, overlap: sp.Symbol) -> tuple[sp.Symbol, ...]:
        """The one overlap."""
        return (overlap,)

    def matrix(self, size: sp.Expr, diagonal: sp.Expr | int, overlap: sp.Symbol) -> ReplicaSymmetricMatrix:
        """Overlaps of ``size`` replicas, ``diagonal`` with themselves."""
        return ReplicaSymmetricMatrix(size, diagonal, overlap)

    def planted(
        self, teacher: sp.Expr | int, shared: sp.Symbol, diagonal: sp.Expr | int, overlap: sp.Symbol
    ) -> PlantedMatrix:
        """A teacher of this squared norm besides n replicas, its overlap with each of them ``shared``."""
        return PlantedMatrix(teacher, shared, self.matrix(n, diagonal, overlap))

    def integer_points(self) -> tuple[dict[sp.Symbol, int], ...]:
        """Numbers of replicas where to check."""
        return tuple({n: size} for size in (1, 3, 4))


@dataclass(frozen=True)
class BayesOptimal:
    """The student knows the laws of teacher and outputs: the teacher is one replica more, like the others.

    The self-overlap is the second moment of the prior: it does not fluctuate.

    >>> q = sp.Symbol("q")
    >>> BayesOptimal().matrix(1, q)
    ReplicaSymmetricMatrix(n + 1, 1, q)
    """

    name: ClassVar[str] = "Bayes-optimal ansatz"

    def matrix(self, diagonal: sp.Expr | int, overlap: sp.Symbol) -> ReplicaSymmetricMatrix:
        """Overlaps of the teacher and n replicas, ``diagonal`` with themselves."""
        return ReplicaSymmetric().matrix(n + 1, diagonal, overlap)

    def integer_points(self) -> tuple[dict[sp.Symbol, int], ...]:
        """Numbers of replicas where to check."""
        return tuple({n: size} for size in (1, 3, 5))


def by_name(name: str) -> ReplicaSymmetric | KStepRSB | FullRSB:
    """The ansatz that the command line calls rs, 1rsb, 2rsb, ..., fullrsb; InputError otherwise."""
    if name == "rs":
        return ReplicaSymmetric()
    if name == "fullrsb":
        return FullRSB()
    if name[:-3].isdecimal() and name.endswith("rsb"):
        return KStepRSB(int(name[:-3]))
    raise InputError(f"the ansatz must be rs, 1rsb, 2rsb, ..., fullrsb, not {name!r}")


Ansatz = ReplicaSymmetric | KStepRSB | BayesOptimal


def insert(
    ansatz: Ansatz, matrices: Matrices, reference: str, introduces: tuple[tuple[sp.Basic, str], ...]
) -> Rule:
    """The step that puts the matrices of an ansatz in place of their symbols, sums over entries done."""

    def apply(expr: sp.Expr) -> sp.Expr:
        summed = expr.replace(lambda e: isinstance(e, MatrixFunction), lambda e: e.total(*_of(e, matrices)))
        fields = summed.replace(lambda e: isinstance(e, FieldAverage), lambda e: _fields(e, matrices))
        return fields.xreplace(dict(matrices))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """The sums, entry by entry of the explicit matrices at integer sizes."""
        written, result = _sums(before, *matrices), _sums(after, HierarchicalMatrix, PlantedMatrix)
        comparisons = []
        for sizes in ansatz.integer_points():
            explicit = {symbol: matrix.subs(sizes).explicit() for symbol, matrix in matrices.items()}
            entries = written.replace(
                lambda e: isinstance(e, MatrixFunction),
                lambda e, explicit=explicit: e.explicit(*_of(e, explicit)),
            )
            left, right = (e.subs(sizes) for e in (entries, result))
            at = {
                symbol: sp.Rational(3 + 2 * k, 40 + k)
                for k, symbol in enumerate(sorted(left.free_symbols | right.free_symbols, key=str))
            }
            comparisons.append(
                Comparison(f"sums over entries at {_shown(sizes)}", left.subs(at), right.subs(at), 1e-14)
            )
        return tuple(comparisons)

    return Rule(ansatz.name, Kind.ANSATZ, apply, reference, check, introduces)


def _of(node: MatrixFunction, matrices: Mapping[sp.Symbol, Any]) -> list[Any]:
    """The matrices that a sum is over."""
    return [matrices[symbol] for symbol in node.matrices]


def _fields(node: FieldAverage, matrices: Matrices) -> FieldAverage:
    return FieldAverage(node.body, *node.bound_symbols, covariance_of(node.covariance, matrices), node.size)


def _sums(expr: sp.Expr, *matrices: Any) -> sp.Expr:
    """The terms in which matrices occur in sums over entries only."""
    slots = {node: sp.Dummy() for node in expr.atoms(MatrixFunction)}
    terms = sp.Add.make_args(expr.xreplace(slots))
    kept = sp.Add(*(t for t in terms if not t.has(Binder, *matrices)))
    return kept.xreplace({slot: node for node, slot in slots.items()})


def _shown(sizes: Mapping[sp.Symbol, int]) -> str:
    return ", ".join(f"{symbol} = {size}" for symbol, size in sizes.items())
