r"""Overlap matrices of symbolic size.

Q_ab is the overlap of replicas a and b, of any number ``size`` of them (n + 1 when planted: replica 0 is the
teacher).  A matrix knows its structure, so sums over its entries, its determinant and its spectrum are exact
at symbolic size; ``explicit`` writes the entries out at an integer size, which is what the tests compare
with.

A k-step hierarchical (Parisi) matrix groups the n = m_0 replicas into blocks of m_1, those into blocks of
m_2, and so on to single replicas, m_{k+1} = 1.  Q_ab = q_i for two replicas in one block of m_i and in
different blocks of m_{i+1}; Q_aa = q_{k+1} is the diagonal.  Let J_i have the entry 1 where a and b share a
block of m_i and 0 elsewhere.  Then Q = sum_i Delta_i J_i with the levels Delta_i = q_i - q_{i-1}, q_{-1} = 0.
The J_i / m_i are projectors, each inside the next, so the eigenvalues are lambda_i = sum_{j>=i} m_j Delta_j:
lambda_0 once, lambda_i n/m_i - n/m_{i-1} times.  k = 0 is replica-symmetric.  Everything below follows from
these sentences.

Entries and sums over one row, those of an inverse or a product too, are rational in n and regular at n = 0:
there the limit of no replicas is ``subs(n, 0)``.  Totals vanish with n; ``per_replica`` divides by it.

Sources: G. Parisi, J. Phys. A 13, L115 (1980); M. Mezard, G. Parisi, J. Phys. I France 1, 809 (1991), for
the algebra.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise
from operator import mul
from typing import Any

import sympy as sp
from sympy.printing.precedence import PRECEDENCE

from replica.expr.average import GaussianAverage
from replica.expr.replica_limit import replica_limit
from solvers.errors import InputError

Entry = Callable[[sp.Expr], sp.Expr]


def per_replica(total: sp.Expr, n: sp.Symbol) -> sp.Expr:
    """(1/n) ``total`` at n -> 0, of a total that vanishes there; InputError where it does not.

    >>> n, m, q0, q1 = sp.symbols("n m q0 q1")
    >>> Q = ParisiMatrix(n, 1, (q0, q1), (m,))
    >>> per_replica(Q.sum_over_pairs(lambda entry: entry**3), n)
    -m*q0**3/2 + q1**3*(m - 1)/2
    """
    constant = total.subs(n, 0)
    if constant.expand() != 0:
        raise InputError(f"divided by {n} this diverges at {n} -> 0: it tends to {constant}, not to 0")
    return replica_limit(total, n)


def _nonzero(eigenvalues: Iterable[sp.Expr]) -> None:
    if any(value == 0 for value in eigenvalues):
        raise InputError("a matrix with an eigenvalue 0 has no inverse")


class HierarchicalMatrix(sp.Basic):
    """The algebra of hierarchical matrices; ``ReplicaSymmetricMatrix`` and ``ParisiMatrix`` state one."""

    @property
    def size(self) -> sp.Expr:
        """Number of replicas, symbolic or not."""
        return self.args[0]

    @property
    def diagonal(self) -> sp.Expr:
        """Self-overlap."""
        return self.args[1]

    @property
    def overlaps(self) -> tuple[sp.Expr, ...]:
        """q_0, ..., q_k: overlaps of different replicas, from the outermost."""
        raise NotImplementedError

    @property
    def blocks(self) -> tuple[sp.Expr, ...]:
        """m_1, ..., m_k: sizes of the blocks, from the outermost."""
        raise NotImplementedError

    @property
    def sizes(self) -> tuple[sp.Expr, ...]:
        """m_0, ..., m_{k+1}: the number of replicas, the sizes of the blocks, and 1."""
        return (self.size, *self.blocks, sp.S.One)

    def levels(self) -> tuple[sp.Expr, ...]:
        """Variances Delta_0, ..., Delta_{k+1} of the independent Gaussians whose sums have covariance Q: one
        shared by all replicas, one of each block of m_1, ..., one of each replica.
        """
        values = (*self.overlaps, self.diagonal)
        return values[0], *(inner - outer for outer, inner in pairwise(values))

    def row_sum(self, f: Entry) -> sp.Expr:
        """Sum over b of f(Q_ab): the sum over all entries, divided by the number of replicas."""
        return f(self.diagonal) + sp.Add(*(count * f(q) for count, q in self._in_a_row()))

    def sum_over_entries(self, f: Entry) -> sp.Expr:
        """Sum over all a, b of f(Q_ab)."""
        s = self.size
        return s * f(self.diagonal) + sp.Add(*(s * count * f(q) for count, q in self._in_a_row()))

    def sum_over_pairs(self, f: Entry) -> sp.Expr:
        """Sum over a < b of f(Q_ab)."""
        return sp.Add(*(sp.Mul(sp.Rational(1, 2), self.size, count, f(q)) for count, q in self._in_a_row()))

    def trace(self) -> sp.Expr:
        """Sum of the diagonal entries."""
        return self.size * self.diagonal

    def trace_of_product(self, other: HierarchicalMatrix) -> sp.Expr:
        """Tr Q Q' = sum over all a, b of Q_ab Q'_ab."""
        return self.hadamard(other).sum_over_entries(lambda entry: entry)

    def eigenvalues(self) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
        """(eigenvalue, multiplicity): the uniform direction, then those uniform in each block of m_1, ...,
        then those of single replicas.
        """
        counts = (sp.S.One, *(self.size / block for block in self.sizes[1:]))
        multiplicities = (sp.S.One, *(inner - outer for outer, inner in pairwise(counts)))
        return tuple(zip(self._spectrum(), multiplicities, strict=True))

    def det(self) -> sp.Expr:
        """Determinant."""
        return sp.Mul(*(value**multiplicity for value, multiplicity in self.eigenvalues()))

    def log_det(self) -> sp.Expr:
        """log det Q."""
        return sp.Add(*(multiplicity * sp.log(value) for value, multiplicity in self.eigenvalues()))

    def inverse(self) -> HierarchicalMatrix:
        """Q^-1, of the same structure; InputError where an eigenvalue is 0."""
        _nonzero(self._spectrum())
        return self.from_levels(self._inverse_levels())

    def __matmul__(self, other: HierarchicalMatrix) -> HierarchicalMatrix:
        """The product, of the same structure: matrices with the same blocks commute."""
        left, right = self._aligned(other)
        # J_i J_j = m_j J_i for i <= j: level i of one meets level i and the deeper ones of the other
        inner = (*left._spectrum()[1:], sp.S.Zero), (*right._spectrum()[1:], sp.S.Zero)
        terms = zip(left.sizes, left.levels(), right.levels(), *inner, strict=True)
        return left.from_levels(a * lower_b + b * lower_a + m * a * b for m, a, b, lower_a, lower_b in terms)

    def entrywise(self, f: Callable[..., sp.Expr], *others: HierarchicalMatrix) -> HierarchicalMatrix:
        """f(Q_ab, Q'_ab, ...), of the same structure."""
        reference = self
        for other in others:
            reference, _ = reference._aligned(other)
        matrices = [matrix._aligned(reference)[0] for matrix in (self, *others)]
        overlaps = [f(*entries) for entries in zip(*(matrix.overlaps for matrix in matrices), strict=True)]
        return reference._with(f(*(matrix.diagonal for matrix in matrices)), overlaps)

    def hadamard(self, other: HierarchicalMatrix) -> HierarchicalMatrix:
        """Q_ab Q'_ab."""
        return self.entrywise(mul, other)

    def from_levels(self, levels: Iterable[sp.Expr]) -> HierarchicalMatrix:
        """The matrix of the same structure with these levels."""
        *overlaps, diagonal = accumulate(levels)
        return self._with(diagonal, overlaps)

    def refined(self, blocks: Iterable[sp.Expr]) -> HierarchicalMatrix:
        """The same matrix written with more blocks, its own among them; InputError where they are not.

        >>> n, m, q = sp.symbols("n m q")
        >>> ReplicaSymmetricMatrix(n, 1, q).refined((m,))
        ParisiMatrix(n, 1, (q, q), (m,))
        """
        finer = tuple(sp.sympify(block) for block in blocks)
        own, overlaps = list(self.blocks), [self.overlaps[0]]
        for block in finer:
            if own and own[0] == block:
                own.pop(0)
            overlaps.append(self.overlaps[len(self.blocks) - len(own)])
        if own:
            raise InputError(f"blocks of {self.blocks} are not among {finer}")
        return ParisiMatrix(self.size, self.diagonal, overlaps, finer)

    def nested_average(
        self, body: sp.Expr, var: sp.Symbol, shared: Iterable[sp.Symbol], mean: sp.Expr | int = 0
    ) -> sp.Expr:
        """E over fields h_a ~ N(mean, Q) of the product of ``body`` over the replicas, ``var`` being its
        field: fields given those that they share are independent.

        E_{w0 ~ N(mean, Delta_0)} (E_{w1 ~ N(w0, Delta_1)} ( ... E_{h ~ N(wk, Delta_{k+1})} body )^m_k ...
        )^(n/m_1), with ``shared`` the names w0, ..., wk: an identity where each size divides the one before.

        >>> n, m, q0, q1, w0, w1, h = sp.symbols("n m q0 q1 w0 w1 h")
        >>> ReplicaSymmetricMatrix(n, 1, q0).nested_average(sp.exp(h), h, (w0,))
        GaussianAverage(GaussianAverage(exp(h), h, w0, 1 - q0)**n, w0, 0, q0)
        """
        names, sizes = (*shared, var), self.sizes
        levels, centres = self.levels(), (sp.sympify(mean), *names[:-1])
        result = body
        for i in reversed(range(len(names))):
            if levels[i] == 0:
                result = result.subs(names[i], centres[i])
            else:
                result = GaussianAverage(result, names[i], centres[i], levels[i])
            if i > 0:
                result **= sizes[i - 1] / sizes[i]
        return result

    def explicit(self) -> sp.Matrix:
        """The matrix at an integer size; InputError where a block does not divide the one around it."""
        sizes = self.sizes
        if not all(size.is_Integer and size.is_nonnegative for size in sizes):
            raise InputError(f"explicit entries need integers, not {sizes[:-1]} as sizes")
        if any(inner == 0 or outer % inner != 0 for outer, inner in pairwise(sizes)):
            raise InputError(f"each of the sizes {sizes[:-1]} must divide the one before it")

        def entry(a: int, b: int) -> sp.Expr:
            shared = sum(a // block == b // block for block in map(int, self.blocks))
            return self.diagonal if a == b else self.overlaps[shared]

        return sp.Matrix(int(self.size), int(self.size), entry)

    def _with(self, diagonal: sp.Expr, overlaps: Iterable[sp.Expr]) -> HierarchicalMatrix:
        return ParisiMatrix(self.size, diagonal, overlaps, self.blocks)

    def _in_a_row(self) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
        """(count, q_i): how often each overlap occurs in a row, off the diagonal."""
        counts = (outer - inner for outer, inner in pairwise(self.sizes))
        return tuple(zip(counts, self.overlaps, strict=True))

    def _spectrum(self) -> tuple[sp.Expr, ...]:
        """lambda_0, ..., lambda_{k+1}."""
        terms = [size * level for size, level in zip(self.sizes, self.levels(), strict=True)]
        return tuple(accumulate(reversed(terms)))[::-1]

    def _inverse_levels(self) -> tuple[sp.Expr, ...]:
        """(1/lambda_i - 1/lambda_{i+1}) / m_i, the division carried out."""
        values = self._spectrum()
        pairs = zip(self.levels()[:-1], pairwise(values), strict=True)
        return *(-level / (here * inside) for level, (here, inside) in pairs), 1 / values[-1]

    def _aligned(self, other: HierarchicalMatrix) -> tuple[HierarchicalMatrix, HierarchicalMatrix]:
        """Both with the blocks of the one that has more."""
        if self.size != other.size:
            raise InputError(f"matrices of {self.size} and of {other.size} replicas")
        blocks = max(self.blocks, other.blocks, key=len)
        return self.refined(blocks), other.refined(blocks)


class ReplicaSymmetricMatrix(HierarchicalMatrix):
    """Q_ab = ``diagonal`` for a = b and ``off_diagonal`` otherwise.

    >>> n, q = sp.symbols("n q")
    >>> Q = ReplicaSymmetricMatrix(n + 1, 1, q)
    >>> Q.sum_over_pairs(lambda entry: entry)
    n*q*(n + 1)/2
    >>> Q.subs(n, 1).explicit()
    Matrix([
    [1, q],
    [q, 1]])
    """

    def __new__(
        cls, size: sp.Expr | int, diagonal: sp.Expr | int, off_diagonal: sp.Expr | int
    ) -> ReplicaSymmetricMatrix:
        """Sympify the arguments."""
        return sp.Basic.__new__(cls, sp.sympify(size), sp.sympify(diagonal), sp.sympify(off_diagonal))

    @property
    def off_diagonal(self) -> sp.Expr:
        """Overlap of two different replicas."""
        return self.args[2]

    @property
    def overlaps(self) -> tuple[sp.Expr, ...]:
        """The one overlap."""
        return (self.off_diagonal,)

    @property
    def blocks(self) -> tuple[sp.Expr, ...]:
        """None."""
        return ()

    def _latex(self, printer: Any) -> str:
        size, diagonal, off_diagonal = (printer._print(a) for a in self.args)
        return rf"\left({diagonal},{off_diagonal}\right)_{{{size}}}"


class ParisiMatrix(HierarchicalMatrix):
    """k steps: ``overlaps`` q_0, ..., q_k and ``blocks`` m_1, ..., m_k, from the outermost.

    Without blocks this is a ``ReplicaSymmetricMatrix``.

    >>> n, m, q0, q1 = sp.symbols("n m q0 q1")
    >>> Q = ParisiMatrix(n, 1, (q0, q1), (m,))
    >>> Q.eigenvalues()[1]
    (m*(-q0 + q1) - q1 + 1, -1 + n/m)
    >>> Q.subs({n: 4, m: 2}).explicit()
    Matrix([
    [ 1, q1, q0, q0],
    [q1,  1, q0, q0],
    [q0, q0,  1, q1],
    [q0, q0, q1,  1]])

    Twice the entropy of spherical spins, (1/n) log det Q at n -> 0:

    >>> per_replica(Q.log_det(), n)
    q0/(m*(-q0 + q1) - q1 + 1) + (1 - 1/m)*log(1 - q1) + log(m*(-q0 + q1) - q1 + 1)/m
    """

    def __new__(
        cls,
        size: sp.Expr | int,
        diagonal: sp.Expr | int,
        overlaps: Iterable[sp.Expr | int],
        blocks: Iterable[sp.Expr | int] = (),
    ) -> HierarchicalMatrix:
        """Sympify the arguments; InputError unless there is one more overlap than blocks."""
        values, sizes = sp.Tuple(*overlaps), sp.Tuple(*blocks)
        if len(values) != len(sizes) + 1:
            raise InputError(
                f"{len(sizes)} sizes of blocks need {len(sizes) + 1} overlaps, not {len(values)}"
            )
        if not sizes:
            return ReplicaSymmetricMatrix(size, diagonal, values[0])
        return sp.Basic.__new__(cls, sp.sympify(size), sp.sympify(diagonal), values, sizes)

    @property
    def overlaps(self) -> tuple[sp.Expr, ...]:
        """q_0, ..., q_k."""
        return self.args[2].args

    @property
    def blocks(self) -> tuple[sp.Expr, ...]:
        """m_1, ..., m_k."""
        return self.args[3].args

    def _latex(self, printer: Any) -> str:
        """The sum over levels, from the innermost, without those that vanish."""
        terms = []
        for size, level in reversed(tuple(zip(self.sizes, self.levels(), strict=True))):
            if level == 0:
                continue
            ones = rf"\mathbf{{1}}_{{{printer._print(size)}}}"
            matrix = rf"{ones}{ones}^{{\top}}"
            if size == 1:
                matrix = rf"I_{{{printer._print(self.size)}}}"
            elif size != self.size:
                matrix = rf"I_{{{_ratio(printer, self.size, size)}}}\otimes {matrix}"
            coefficient = "" if level == 1 else printer.parenthesize(level, PRECEDENCE["Mul"]) + r"\,"
            terms.append(coefficient + matrix)
        return "+".join(terms) or "0"


def _ratio(printer: Any, numerator: sp.Expr, denominator: sp.Expr) -> str:
    return "/".join(printer.parenthesize(e, PRECEDENCE["Mul"], strict=True) for e in (numerator, denominator))


class PlantedMatrix(sp.Basic):
    """A teacher, replica 0, with overlap ``teacher`` with itself and ``overlap`` with each of ``replicas``.

    The uniform direction of the replicas mixes with the teacher into a 2 x 2 matrix; the other eigenvalues
    are those of the replicas.  A product of two is in general not symmetric, so there is none here.

    >>> n, m, q, rho = sp.symbols("n m q rho")
    >>> Q = PlantedMatrix(rho, m, ReplicaSymmetricMatrix(n, 1, q))
    >>> Q.log_det()
    (n - 1)*log(1 - q) + log(-m**2*n + rho*(n*q - q + 1))
    >>> replica_limit(Q.log_det(), n)
    log(1 - q) + (-m**2 + q*rho)/(rho*(1 - q))
    >>> Q.subs(n, 2).explicit()
    Matrix([
    [rho, m, m],
    [  m, 1, q],
    [  m, q, 1]])
    """

    def __new__(
        cls, teacher: sp.Expr | int, overlap: sp.Expr | int, replicas: HierarchicalMatrix
    ) -> PlantedMatrix:
        """Sympify the arguments; InputError unless the replicas are a matrix."""
        if not isinstance(replicas, HierarchicalMatrix):
            raise InputError(f"the replicas of a planted matrix are a hierarchical matrix, not {replicas}")
        return sp.Basic.__new__(cls, sp.sympify(teacher), sp.sympify(overlap), replicas)

    @property
    def teacher(self) -> sp.Expr:
        """Overlap of the teacher with itself."""
        return self.args[0]

    @property
    def overlap(self) -> sp.Expr:
        """Overlap of the teacher with a replica."""
        return self.args[1]

    @property
    def replicas(self) -> HierarchicalMatrix:
        """Overlaps of the replicas."""
        return self.args[2]

    @property
    def size(self) -> sp.Expr:
        """Number of replicas, the teacher included."""
        return self.replicas.size + 1

    def levels(self) -> tuple[sp.Expr, ...]:
        """Variances of the independent Gaussians of the replicas; see ``teacher_given_shared``."""
        return self.replicas.levels()

    def teacher_given_shared(self) -> tuple[sp.Expr, sp.Expr]:
        """(c, v): given the Gaussian w that all replicas share, the teacher is c w plus one of variance v,
        independent of the replicas.
        """
        shared = self.levels()[0]
        return self.overlap / shared, self.teacher - self.overlap**2 / shared

    def sum_over_entries(self, f: Entry) -> sp.Expr:
        """Sum over all a, b of f(Q_ab)."""
        mixed = 2 * self.replicas.size * f(self.overlap)
        return f(self.teacher) + mixed + self.replicas.sum_over_entries(f)

    def sum_over_pairs(self, f: Entry) -> sp.Expr:
        """Sum over a < b of f(Q_ab)."""
        return self.replicas.size * f(self.overlap) + self.replicas.sum_over_pairs(f)

    def trace(self) -> sp.Expr:
        """Sum of the diagonal entries."""
        return self.teacher + self.replicas.trace()

    def trace_of_product(self, other: PlantedMatrix) -> sp.Expr:
        """Tr Q Q' = sum over all a, b of Q_ab Q'_ab."""
        return self.hadamard(other).sum_over_entries(lambda entry: entry)

    def eigenvalues(self) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
        """(eigenvalue, multiplicity): two of teacher and uniform direction, then those of the replicas."""
        (uniform, _), *rest = self.replicas.eigenvalues()
        gap = sp.sqrt((self.teacher - uniform) ** 2 + 4 * self.replicas.size * self.overlap**2)
        total = self.teacher + uniform
        return ((total + gap) / 2, sp.S.One), ((total - gap) / 2, sp.S.One), *rest

    def det(self) -> sp.Expr:
        """Determinant."""
        _, *rest = self.replicas.eigenvalues()
        return self._mixed_det() * sp.Mul(*(value**multiplicity for value, multiplicity in rest))

    def log_det(self) -> sp.Expr:
        """log det Q."""
        _, *rest = self.replicas.eigenvalues()
        return sp.log(self._mixed_det()) + sp.Add(*(count * sp.log(value) for value, count in rest))

    def inverse(self) -> PlantedMatrix:
        """Q^-1, of the same structure, for a teacher of norm 0 too; InputError where an eigenvalue is 0."""
        det, (uniform, inside, *deeper) = self._mixed_det(), self.replicas._spectrum()
        _nonzero((det, inside, *deeper))
        shared, *_ = self.levels()
        # of the replicas only the uniform direction feels the teacher: (teacher/det - 1/inside) / n
        outermost = (self.overlap**2 - self.teacher * shared) / (det * inside)
        _, *inner = self.replicas._inverse_levels()
        replicas = self.replicas.from_levels((outermost, *inner))
        return PlantedMatrix(uniform / det, -self.overlap / det, replicas)

    def entrywise(self, f: Callable[..., sp.Expr], *others: PlantedMatrix) -> PlantedMatrix:
        """f(Q_ab, Q'_ab, ...), of the same structure."""
        matrices = (self, *others)
        return PlantedMatrix(
            f(*(matrix.teacher for matrix in matrices)),
            f(*(matrix.overlap for matrix in matrices)),
            self.replicas.entrywise(f, *(other.replicas for other in others)),
        )

    def hadamard(self, other: PlantedMatrix) -> PlantedMatrix:
        """Q_ab Q'_ab."""
        return self.entrywise(mul, other)

    def explicit(self) -> sp.Matrix:
        """The (n + 1) x (n + 1) matrix at an integer size."""
        inner = self.replicas.explicit()
        column = sp.ones(inner.rows, 1) * self.overlap
        return sp.Matrix(sp.BlockMatrix([[sp.Matrix([[self.teacher]]), column.T], [column, inner]]))

    def _mixed_det(self) -> sp.Expr:
        """Determinant of teacher and uniform direction."""
        uniform, *_ = self.replicas._spectrum()
        return self.teacher * uniform - self.replicas.size * self.overlap**2

    def _latex(self, printer: Any) -> str:
        teacher, _, replicas = (printer._print(a) for a in self.args)
        size = printer._print(self.replicas.size)
        if self.overlap == 0:
            row = column = "0"
        else:
            factor = "" if self.overlap == 1 else printer.parenthesize(self.overlap, PRECEDENCE["Mul"])
            column = rf"{factor}\mathbf{{1}}_{{{size}}}"
            row = rf"{column}^{{\top}}"
        return rf"\begin{{pmatrix}}{teacher}&{row}\\{column}&{replicas}\end{{pmatrix}}"
