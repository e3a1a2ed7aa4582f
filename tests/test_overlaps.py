"""Overlap matrices against their explicit entries, and their continuation to n = 0."""

from __future__ import annotations

import math

import mpmath as mp
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from latex_engine import check_structure, compile_latex

from replica.expr.replica_limit import replica_limit
from replica.overlaps import ParisiMatrix, PlantedMatrix, ReplicaSymmetricMatrix, per_replica
from solvers.errors import InputError

n, a, b = sp.symbols("n a b")
SYMBOLIC = ReplicaSymmetricMatrix(n, a, b)
POINT = {a: sp.Rational(7, 3), b: sp.Rational(-2, 7)}
SIZES = (2, 4, 6)


def at(size):
    return SYMBOLIC.subs({n: size, **POINT})


def test_args_invariants():
    assert SYMBOLIC.func(*SYMBOLIC.args) == SYMBOLIC
    assert SYMBOLIC.subs(n, 3) == ReplicaSymmetricMatrix(3, a, b)
    assert SYMBOLIC.free_symbols == {n, a, b}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "f", [lambda e: e, lambda e: e**3 - 1, lambda e: 1 / e], ids=["entry", "cubic", "inverse"]
)
def test_sums_over_entries_and_pairs(size, f):
    explicit = at(size).explicit()
    entries = sum(f(e) for e in explicit)
    pairs = sum(f(explicit[i, j]) for i in range(size) for j in range(i + 1, size))
    at_size = {n: size, **POINT}
    assert SYMBOLIC.sum_over_entries(f).subs(at_size) == entries
    assert SYMBOLIC.sum_over_pairs(f).subs(at_size) == pairs


@pytest.mark.parametrize("size", SIZES)
def test_determinant_and_spectrum(size):
    explicit = at(size).explicit()
    assert sp.simplify(sp.exp(SYMBOLIC.log_det().subs({n: size, **POINT})) - explicit.det()) == 0
    expected = {}
    for symbol, count in SYMBOLIC.eigenvalues():
        value = symbol.subs({n: size, **POINT})
        expected[value] = expected.get(value, 0) + count.subs(n, size)
    assert explicit.eigenvals() == expected


@pytest.mark.parametrize("size", SIZES)
def test_inverse(size):
    inverse = SYMBOLIC.inverse().subs({n: size, **POINT}).explicit()
    assert at(size).explicit() * inverse == sp.eye(size)
    assert sp.simplify(SYMBOLIC.inverse().inverse().off_diagonal - b) == 0


@pytest.mark.parametrize("size", SIZES)
def test_levels_are_the_covariance_of_a_shared_and_a_private_gaussian(size):
    shared, own = (level.subs(POINT) for level in SYMBOLIC.levels())
    assert shared * sp.ones(size) + own * sp.eye(size) == at(size).explicit()


def test_limit_of_no_replicas():
    """At n -> 0 both eigenvalues meet; d(log det)/dn is the replica formula log(a - b) + b/(a - b)."""
    (uniform, _), (transverse, _) = SYMBOLIC.eigenvalues()
    assert sp.expand(uniform.subs(n, 0) - transverse) == 0
    assert SYMBOLIC.log_det().subs(n, 0).subs(POINT).equals(0)
    slope = SYMBOLIC.log_det().diff(n).subs(n, 0)
    assert sp.simplify(slope - sp.log(a - b) - b / (a - b)) == 0
    assert SYMBOLIC.sum_over_pairs(lambda e: e).diff(n).subs(n, 0) == -b / 2


def test_latex_names_entries_and_size():
    assert sp.latex(ReplicaSymmetricMatrix(n + 1, 1, b)) == r"\left(1,b\right)_{n + 1}"


# --- hierarchical and planted matrices ----------------------------------------------------------------------

q0, q1, q2, d, m1, m2, m, rho = sp.symbols("q0 q1 q2 d m1 m2 m rho")
FAMILIES = {
    0: ParisiMatrix(n, d, (q0,)),
    1: ParisiMatrix(n, d, (q0, q1), (m1,)),
    2: ParisiMatrix(n, d, (q0, q1, q2), (m1, m2)),
}
STEPS = pytest.mark.parametrize("k", FAMILIES)
VALUES = {
    d: sp.Rational(3, 2),
    q0: sp.Rational(1, 5),
    q1: sp.Rational(3, 7),
    q2: sp.Rational(5, 6),
    m: sp.Rational(2, 9),
    rho: sp.Rational(4, 3),
}
SHAPES = (
    (2, ()),
    (4, ()),
    (6, ()),
    (12, ()),
    (2, (1,)),
    (2, (2,)),
    (4, (2,)),
    (6, (2,)),
    (6, (3,)),
    (12, (4,)),
    (12, (6,)),
    (4, (4, 2)),
    (12, (4, 2)),
    (12, (6, 2)),
    (12, (6, 3)),
)
SHAPED = pytest.mark.parametrize(("size", "blocks"), SHAPES, ids=str)
CUBIC = [lambda e: e, lambda e: e**3 - 2, lambda e: 1 / (1 + e**2)]


def kronecker(matrix):
    """The entries from the levels by Kronecker products: the definition, written without ``explicit``."""
    if isinstance(matrix, PlantedMatrix):
        inner = kronecker(matrix.replicas)
        full = sp.zeros(inner.rows + 1)
        full[1:, 1:] = inner
        full[0, 1:], full[1:, 0] = [matrix.overlap * sp.ones(*s) for s in ((1, inner.rows), (inner.rows, 1))]
        full[0, 0] = matrix.teacher
        return full
    size, values = int(matrix.size), (*matrix.overlaps, matrix.diagonal)
    blocks = [size, *map(int, matrix.blocks), 1]
    total = values[0] * sp.ones(size)
    for block, outer, inner in zip(blocks[1:], values, values[1:], strict=False):
        total += (inner - outer) * sp.kronecker_product(sp.eye(size // block), sp.ones(block))
    return total


def sizes_at(size, blocks):
    return {n: size, **dict(zip((m1, m2), blocks, strict=False))}


def both(size, blocks):
    """The symbolic matrix and its planted version, with what puts numbers in."""
    symbolic = FAMILIES[len(blocks)]
    return (symbolic, PlantedMatrix(rho, m, symbolic)), sizes_at(size, blocks) | VALUES


def characteristic(matrix):
    """Coefficients of det(x - matrix), over the rationals."""
    return [sp.QQ.to_sympy(c) for c in matrix.to_DM().to_field().charpoly()]


def from_spectrum(spectrum):
    x = sp.Symbol("x")
    factors = [sp.Mul(*((x - value) for value, count in spectrum if count == 1))]
    factors += [(x - value) ** count for value, count in spectrum if count != 1]
    return sp.Poly(sp.expand(factors[0]) * sp.Mul(*factors[1:]), x).all_coeffs()


@STEPS
def test_args_invariants_of_every_structure(k):
    matrix = FAMILIES[k]
    for e in (matrix, matrix.inverse(), PlantedMatrix(rho, m, matrix)):
        assert e.func(*e.args) == e
        assert e.subs(q0, 1).subs(q0, 2) == e.subs(q0, 1)
    assert matrix.free_symbols == {n, d, *matrix.overlaps, *matrix.blocks}


def test_without_blocks_a_parisi_matrix_is_replica_symmetric():
    assert FAMILIES[0] == ReplicaSymmetricMatrix(n, d, q0)
    assert isinstance(FAMILIES[0].inverse(), ReplicaSymmetricMatrix)


@SHAPED
def test_explicit_entries(size, blocks):
    matrices, at_size = both(size, blocks)
    for matrix in matrices:
        assert matrix.subs(at_size).explicit() == kronecker(matrix.subs(at_size))


@SHAPED
@pytest.mark.parametrize("f", CUBIC, ids=["entry", "cubic", "rational"])
def test_sums(size, blocks, f):
    matrices, at_size = both(size, blocks)
    for matrix in matrices:
        entries = kronecker(matrix.subs(at_size))
        side = range(entries.rows)
        pairs = sum(f(entries[i, j]) for i in side for j in side if i < j)
        assert matrix.sum_over_entries(f).subs(at_size) == sum(map(f, entries))
        assert matrix.sum_over_pairs(f).subs(at_size) == pairs
        assert matrix.trace().subs(at_size) == entries.trace()
    assert matrices[0].row_sum(f).subs(at_size) == sum(map(f, kronecker(matrices[0].subs(at_size))[0, :]))


@SHAPED
def test_determinant_and_spectrum_with_multiplicities(size, blocks):
    matrices, at_size = both(size, blocks)
    for matrix in matrices:
        entries = kronecker(matrix.subs(at_size))
        coefficients = characteristic(entries)
        spectrum = [(value.subs(at_size), count.subs(at_size)) for value, count in matrix.eigenvalues()]
        assert sum(count for _, count in spectrum) == entries.rows
        assert from_spectrum(spectrum) == coefficients
        det = (-1) ** entries.rows * coefficients[-1]
        assert matrix.det().subs(at_size) == det
        assert abs(sp.N(matrix.log_det().subs(at_size) - sp.log(det), 30)) < 1e-25


@SHAPED
def test_inverse_of_every_structure(size, blocks):
    matrices, at_size = both(size, blocks)
    for matrix in matrices:
        inverse, entries = matrix.inverse(), kronecker(matrix.subs(at_size))
        assert type(inverse) is type(matrix)
        assert entries * kronecker(inverse.subs(at_size)) == sp.eye(entries.rows)


@SHAPED
def test_products(size, blocks):
    (matrix, planted), at_size = both(size, blocks)
    other = matrix.entrywise(lambda e: 1 / e - 3)
    left, right = kronecker(matrix.subs(at_size)), kronecker(other.subs(at_size))
    assert kronecker((matrix @ other).subs(at_size)) == left * right
    assert kronecker(matrix.hadamard(other).subs(at_size)) == left.multiply_elementwise(right)
    assert matrix.trace_of_product(other).subs(at_size) == (left * right).trace()
    planted_other = planted.entrywise(lambda e: 1 / e - 3)
    left, right = kronecker(planted.subs(at_size)), kronecker(planted_other.subs(at_size))
    assert kronecker(planted.hadamard(planted_other).subs(at_size)) == left.multiply_elementwise(right)
    assert planted.trace_of_product(planted_other).subs(at_size) == (left * right).trace()


def test_products_of_matrices_with_different_blocks():
    coarse, fine = FAMILIES[0], FAMILIES[2].subs({q0: a, q1: b})
    skipping = ParisiMatrix(n, d, (q0, q1), (m2,))
    at_size = {n: 12, m1: 6, m2: 2, a: 3, b: sp.Rational(1, 4), **VALUES}
    for left, right in ((coarse, fine), (fine, coarse), (skipping, fine)):
        entries = [kronecker(e.subs(at_size)) for e in (left, right)]
        assert kronecker((left @ right).subs(at_size)) == entries[0] * entries[1]
        assert kronecker(left.hadamard(right).subs(at_size)) == entries[0].multiply_elementwise(entries[1])
        total = left.entrywise(sp.Add, right, coarse)
        assert kronecker(total.subs(at_size)) == entries[0] + entries[1] + kronecker(coarse.subs(at_size))


@SHAPED
def test_levels_are_variances_of_independent_gaussians(size, blocks):
    """Q = B diag(levels) B^T, the columns of B the members of each block of each level; with the teacher's
    regression on the shared one.
    """
    (matrix, planted), at_size = both(size, blocks)
    matrix, planted = matrix.subs(at_size), planted.subs(at_size)
    columns, variances = [], []
    for block, level in zip(map(int, matrix.sizes), matrix.levels(), strict=True):
        for first in range(0, size, block):
            columns.append([int(first <= row < first + block) for row in range(size)])
            variances.append(level)
    members = sp.Matrix(columns).T
    assert members * sp.diag(*variances) * members.T == kronecker(matrix)
    slope, variance = planted.teacher_given_shared()
    with_teacher = sp.Matrix.vstack(sp.Matrix([[slope] + [0] * (len(columns) - 1)]), members)
    covariance = with_teacher * sp.diag(*variances) * with_teacher.T
    covariance[0, 0] += variance
    assert covariance == kronecker(planted)


# --- symbolic number of replicas ----------------------------------------------------------------------------


def vanishes(expr):
    return sp.cancel(sp.together(expr)) == 0


@STEPS
def test_moments_of_the_spectrum_at_symbolic_size(k):
    matrix = FAMILIES[k]
    for e in (matrix, PlantedMatrix(rho, m, matrix)):
        spectrum = e.eigenvalues()
        assert vanishes(sum(count for _, count in spectrum) - e.size)
        assert vanishes(sp.expand(sum(count * value for value, count in spectrum)) - e.trace())
        second = sp.expand(sum(count * sp.expand(value**2) for value, count in spectrum))
        assert vanishes(second - e.trace_of_product(e))


@STEPS
def test_inverse_at_symbolic_size(k):
    matrix = FAMILIES[k]
    unit = matrix @ matrix.inverse()
    assert vanishes(unit.diagonal - 1)
    assert all(vanishes(entry) for entry in unit.overlaps)
    again = matrix.inverse().inverse()
    assert all(vanishes(x - y) for x, y in zip(again.levels(), matrix.levels(), strict=True))


@STEPS
def test_gradient_of_the_log_determinant_is_the_inverse(k):
    """d log det Q / dQ_ab = (Q^-1)_ab, summed over the entries that an overlap stands for."""
    matrix = FAMILIES[k]
    planted = PlantedMatrix(rho, m, matrix)
    for e, replicas in ((matrix, matrix.inverse()), (planted, planted.inverse().replicas)):
        assert vanishes(e.log_det().diff(d) - n * replicas.diagonal)
        for i, q in enumerate(matrix.overlaps):
            count = matrix.sizes[i] - matrix.sizes[i + 1]
            assert vanishes(e.log_det().diff(q) - n * count * replicas.overlaps[i])
    assert vanishes(planted.log_det().diff(rho) - planted.inverse().teacher)
    assert vanishes(planted.log_det().diff(m) - 2 * n * planted.inverse().overlap)


def test_a_teacher_like_the_replicas_is_one_more_replica():
    planted = PlantedMatrix(d, q0, ReplicaSymmetricMatrix(n, d, q0))
    one_more = ReplicaSymmetricMatrix(n + 1, d, q0)
    assert planted.size == one_more.size
    at = {**VALUES, n: sp.Rational(7, 3)}
    assert abs(sp.N((planted.log_det() - one_more.log_det()).subs(at), 30)) < 1e-25
    assert vanishes(planted.sum_over_entries(lambda e: e**2) - one_more.sum_over_entries(lambda e: e**2))
    inverse, expected = planted.inverse(), one_more.inverse()
    assert vanishes(inverse.teacher - expected.diagonal)
    assert vanishes(inverse.overlap - expected.off_diagonal)
    assert vanishes(inverse.replicas.off_diagonal - expected.off_diagonal)


@pytest.mark.parametrize(
    ("merged", "fewer"),
    [
        ({q2: q1}, ParisiMatrix(n, d, (q0, q1), (m1,))),
        ({q1: q0, q2: q1}, ParisiMatrix(n, d, (q0, q1), (m2,))),
        ({m2: m1}, ParisiMatrix(n, d, (q0, q2), (m1,))),
        ({m1: n}, ParisiMatrix(n, d, (q1, q2), (m2,))),
        ({m2: 1}, ParisiMatrix(n, d, (q0, q1), (m1,))),
    ],
    ids=str,
)
def test_steps_that_merge_leave_fewer_steps(merged, fewer):
    """Equal overlaps, or blocks of equal size, make two steps one."""
    two = FAMILIES[2].subs(merged, simultaneous=True)
    difference = two.log_det() - fewer.log_det()
    point = {**VALUES, n: sp.Rational(7, 3), m1: sp.Rational(5, 4), m2: sp.Rational(3, 8)}
    assert abs(sp.N(difference.subs(point), 30)) < 1e-25
    assert vanishes(two.sum_over_entries(lambda e: e**2) - fewer.sum_over_entries(lambda e: e**2))


# --- no replicas --------------------------------------------------------------------------------------------


@STEPS
def test_sum_rule_of_no_replicas(k):
    """(1/n) sum_{a != b} f(Q_ab) -> sum_i (m_i - m_{i+1}) f(q_i), m_0 = 0: minus the integral of f(q(x))."""
    f = sp.Function("f")
    matrix = FAMILIES[k]
    breaks = [0, *matrix.blocks, 1]
    overlaps = -sum((breaks[i + 1] - breaks[i]) * f(q) for i, q in enumerate(matrix.overlaps))
    assert sp.expand(per_replica(matrix.sum_over_pairs(f), n) - overlaps / 2) == 0
    assert sp.expand(per_replica(matrix.sum_over_entries(f), n) - overlaps - f(d)) == 0
    assert sp.expand(matrix.row_sum(f).subs(n, 0) - overlaps - f(d)) == 0
    planted = PlantedMatrix(rho, m, matrix).sum_over_pairs(f)
    assert sp.expand(per_replica(planted, n) - f(m) - overlaps / 2) == 0


LIMIT = {m1: 6, m2: 2, **VALUES}


@STEPS
def test_sums_of_no_replicas_from_explicit_matrices(k):
    """Sums at 6, 12 and 18 replicas are on a parabola through the origin; its slope there is the limit."""
    matrix = FAMILIES[k].subs(LIMIT)
    x = sp.Symbol("x")
    f = CUBIC[1]
    points = [(0, 0), *((s, sum(map(f, kronecker(matrix.subs(n, s))))) for s in (6, 12, 18))]
    parabola = sp.interpolate(points, x)
    assert sp.degree(parabola, x) == 2
    assert per_replica(matrix.sum_over_entries(f), n) == parabola.diff(x).subs(x, 0)


def slope_from_determinants(dets, step):
    """d log D/dn at n = 0 of D(n) = (1 + c n) r^n, c > 0, from D(step), D(2 step), and D(3 step) to confirm
    the form.
    """
    one, two, three = (mp.mpf(int(det.p)) / int(det.q) for det in dets)
    ratio = two / one**2  # (1 + 2u)/(1 + u)^2 with u = c step
    u = (1 - ratio + mp.sqrt(1 - ratio)) / ratio
    assert mp.almosteq(three, (1 + 3 * u) * (one / (1 + u)) ** 3, rel_eps=mp.mpf(10) ** -25)
    return (u + mp.log(one / (1 + u))) / step


@STEPS
def test_log_determinant_of_no_replicas_from_explicit_matrices(k):
    """Determinants of 6 and 12 replicas, continued to none."""
    for matrix, at_zero in (
        (FAMILIES[k].subs(LIMIT), sp.S.One),
        (PlantedMatrix(rho, m, FAMILIES[k]).subs(LIMIT), VALUES[rho]),
    ):
        dets = [kronecker(matrix.subs(n, size)).to_DM().det() for size in (6, 12, 18)]
        dets = [sp.QQ.to_sympy(det) / at_zero for det in dets]
        with mp.workdps(30):
            expected = slope_from_determinants(dets, 6)
            found = sp.N(replica_limit(matrix.log_det(), n), 30)
            assert abs(expected - mp.mpf(str(found))) < 1e-25


def test_log_determinant_of_one_step_is_the_textbook_form():
    """That of the spherical p-spin glass: A. Crisanti, H.-J. Sommers, Z. Phys. B 87, 341 (1992)."""
    found = per_replica(FAMILIES[1].subs(d, 1).log_det(), n)
    chi = 1 - (1 - m1) * q1 - m1 * q0
    textbook = sp.log(1 - q1) + sp.log(chi / (1 - q1)) / m1 + q0 / chi
    for value in ((1, 3, 8), (0, 1, 2), (2, 4, 5)):
        point = dict(zip((q0, q1, m1), (sp.Rational(v, 10) for v in value), strict=True))
        assert abs(sp.N((found - textbook).subs(point), 40)) < 1e-35
    spherical = (m1 - 1) / (2 * m1) * sp.log(1 - q1) + sp.log(1 - (1 - m1) * q1) / (2 * m1)
    at_zero = (found / 2).subs(q0, 0) - spherical
    assert abs(sp.N(at_zero.subs({q1: sp.Rational(3, 10), m1: sp.Rational(7, 10)}), 40)) < 1e-35


@STEPS
def test_log_determinant_of_no_replicas_by_a_small_number_of_them(k):
    """log det/n at n = 1e-25 in 80 digits, blocks between 0 and 1."""
    at = {**VALUES, m1: sp.Rational(1, 3), m2: sp.Rational(3, 4)}
    matrix = FAMILIES[k].subs(at)
    small = sp.Rational(1, 10**25)
    quotient = sp.N(matrix.log_det().subs(n, small), 80, maxn=400) / small
    assert abs(quotient - sp.N(per_replica(matrix.log_det(), n), 40)) < 1e-20


@STEPS
def test_inverse_of_no_replicas(k):
    """At n = 0 the inverse is that of the limit: the row of Q Q^-1 is that of the identity."""
    matrix = FAMILIES[k].subs(n, 0)
    inverse = FAMILIES[k].inverse().subs(n, 0)
    assert inverse == matrix.inverse()
    assert vanishes((matrix @ inverse).diagonal - 1)
    assert vanishes(matrix.hadamard(inverse).row_sum(lambda e: e) - 1)
    at = {**VALUES, m1: sp.Rational(1, 3), m2: sp.Rational(3, 4)}
    for i, q in enumerate(FAMILIES[k].overlaps):
        gradient = per_replica(FAMILIES[k].log_det(), n).diff(q)
        assert ((matrix.sizes[i] - matrix.sizes[i + 1]) * inverse.overlaps[i] - gradient).subs(at) == 0


def test_energy_of_the_sk_model_of_one_step():
    """(1/2n) sum_ab Q_ab^2 -> (1/2)[1 - m q0^2 - (1 - m) q1^2]: M. Mezard, G. Parisi, M. A. Virasoro, Spin
    Glass Theory and Beyond (1987), chapter III.
    """
    found = per_replica(FAMILIES[1].subs(d, 1).sum_over_entries(lambda e: e**2) / 2, n)
    assert sp.expand(found - (1 - m1 * q0**2 - (1 - m1) * q1**2) / 2) == 0


# --- any entries --------------------------------------------------------------------------------------------

RATIONALS = st.builds(sp.Rational, st.integers(-6, 6), st.integers(1, 5))


@st.composite
def matrices(draw):
    """Hierarchical matrices of at most 12 replicas and 3 steps."""
    factors = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda f: math.prod(f) <= 12))
    sizes = [math.prod(factors[i:]) for i in range(len(factors))]
    entries = draw(st.lists(RATIONALS, min_size=len(sizes) + 1, max_size=len(sizes) + 1))
    return ParisiMatrix(sizes[0], entries[-1], entries[:-1], sizes[1:])


@settings(max_examples=30)
@given(matrices(), RATIONALS, RATIONALS)
def test_any_rational_entries(matrix, teacher, overlap):
    for e in (matrix, PlantedMatrix(teacher, overlap, matrix)):
        entries = kronecker(e)
        assert e.explicit() == entries
        assert e.sum_over_entries(lambda x: x**2 + 1) == sum(x**2 + 1 for x in entries)
        assert from_spectrum(e.eigenvalues()) == characteristic(entries)
        assert e.det() == (-1) ** entries.rows * characteristic(entries)[-1]
        if all(value != 0 for value, _ in e.eigenvalues()):
            assert entries * kronecker(e.inverse()) == sp.eye(entries.rows)
        else:
            with pytest.raises(InputError, match="no inverse"):
                e.inverse()


@settings(max_examples=30)
@given(matrices(), st.data())
def test_any_product(matrix, data):
    count = len(matrix.sizes)
    other = matrix.from_levels(data.draw(st.lists(RATIONALS, min_size=count, max_size=count)))
    left, right = kronecker(matrix), kronecker(other)
    assert kronecker(matrix @ other) == left * right
    assert kronecker(matrix.hadamard(other)) == left.multiply_elementwise(right)


# --- bad input and printing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: ParisiMatrix(n, 1, (q0, q1)),
        lambda: ParisiMatrix(n, 1, (q0,), (m1,)),
        FAMILIES[1].explicit,
        lambda: FAMILIES[1].subs({n: 6, m1: 4}).explicit(),
        lambda: FAMILIES[1].subs({n: 0, m1: sp.Rational(1, 2)}).explicit(),
        lambda: FAMILIES[1] @ FAMILIES[1].subs(n, 2),
        lambda: FAMILIES[1].hadamard(FAMILIES[1].subs(m1, 3)),
        lambda: PlantedMatrix(1, m, q0),
        lambda: per_replica(PlantedMatrix(rho, m, FAMILIES[0]).trace(), n),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)


def test_latex_is_the_sum_over_levels():
    assert sp.latex(ParisiMatrix(n, 1, (q0, q1), (m,))) == (
        r"\left(1 - q_{1}\right)\,I_{n}"
        r"+\left(- q_{0} + q_{1}\right)\,I_{n/m}\otimes \mathbf{1}_{m}\mathbf{1}_{m}^{\top}"
        r"+q_{0}\,\mathbf{1}_{n}\mathbf{1}_{n}^{\top}"
    )
    assert sp.latex(ParisiMatrix(n, 1, (0, q1), (m,))) == (
        r"\left(1 - q_{1}\right)\,I_{n}+q_{1}\,I_{n/m}\otimes \mathbf{1}_{m}\mathbf{1}_{m}^{\top}"
    )
    planted = PlantedMatrix(rho, m, ReplicaSymmetricMatrix(n, 1, b))
    assert sp.latex(planted) == (
        r"\begin{pmatrix}\rho&m\mathbf{1}_{n}^{\top}\\m\mathbf{1}_{n}&\left(1,b\right)_{n}\end{pmatrix}"
    )


def test_latex_compiles():
    everything = [
        e
        for k, matrix in FAMILIES.items()
        for e in (
            matrix,
            PlantedMatrix(rho, m - 1, matrix),
            matrix.subs(n, n + 1),
            ParisiMatrix(n, 0, [0] * (k + 1), matrix.blocks),
        )
    ]
    everything += [
        FAMILIES[1].inverse(),
        PlantedMatrix(1, 1, FAMILIES[1]).inverse(),
        PlantedMatrix(1, 0, FAMILIES[1]),
    ]
    fragments = [f"\\[\n{sp.latex(e)}\n\\]" for e in everything]
    check_structure("\n".join(fragments))
    compile_latex("\n".join(fragments))
