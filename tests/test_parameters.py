from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import gmpy2
import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from replica.parameters import Parameter, parse_grid, parse_number, show, validate
from solvers.errors import InputError

ALPHA = Parameter("alpha", "alpha", "samples per coefficient", lower=Fraction(0), lower_open=True)
DELTA = Parameter("delta", "Delta", "noise variance", lower=Fraction(0))
OVERLAP = Parameter("q", "q", "overlap", lower=Fraction(0), upper=Fraction(1), upper_open=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, Fraction(3)),
        (Fraction(3, 10), Fraction(3, 10)),
        ("3/10", Fraction(3, 10)),
        (" 3 / 10 ", Fraction(3, 10)),
        ("-3/10", Fraction(-3, 10)),
        ("0.3", Fraction(3, 10)),
        (".5", Fraction(1, 2)),
        ("2.", Fraction(2)),
        ("1e-3", Fraction(1, 1000)),
        ("+1.5E2", Fraction(150)),
        (0.3, Fraction(3, 10)),
        (-1e-5, Fraction(-1, 100000)),
        (Decimal("0.3"), Fraction(3, 10)),
        (np.float64(0.3), Fraction(3, 10)),
        (np.float32(0.3), Fraction(3, 10)),
        (np.longdouble("0.25"), Fraction(1, 4)),
        (np.int64(7), Fraction(7)),
        (np.array(0.3), Fraction(3, 10)),
        (mpmath.mpf("0.3"), Fraction(3, 10)),
        (mpmath.mpf(0), Fraction(0)),
        (mpmath.mpf(1024), Fraction(1024)),
        (mpmath.mpf("1e22"), Fraction(10**22)),
        (mpmath.mpf("-1e-20"), Fraction(-1, 10**20)),
        (sp.Rational(3, 10), Fraction(3, 10)),
        (sp.Integer(3), Fraction(3)),
        (sp.Float("0.3"), Fraction(3, 10)),
        (sp.Float("0.3", 40), Fraction(3, 10)),
        (gmpy2.mpq(3, 10), Fraction(3, 10)),
        (gmpy2.mpz(3), Fraction(3)),
    ],
)
def test_a_number_means_the_decimal_it_prints_as(value, expected):
    assert parse_number(value, "alpha") == expected
    assert type(parse_number(value, "alpha")) is Fraction


def test_a_multiprecision_number_keeps_its_digits_outside_its_context():
    with mpmath.workdps(60):
        third = mpmath.mpf(1) / 3
        short = mpmath.mpf("0.3")
    assert abs(parse_number(third, "alpha") - Fraction(1, 3)) < Fraction(1, 10**60)
    assert parse_number(short, "alpha") == Fraction(3, 10)


@given(st.floats(min_value=-1e290, max_value=1e290).filter(lambda x: x == 0 or abs(x) > 1e-290))
def test_floats_and_mpfs_agree(x):
    assert parse_number(x, "x") == Fraction(repr(x)) == parse_number(repr(x), "x")
    assert float(parse_number(mpmath.mpf(x), "x")) == x


@pytest.mark.parametrize(
    "value",
    [
        "abc", "", "nan", "inf", "-Infinity", "1/0", "1//2", "1_000", "0x10", "1e", "٣", "line\nbreak",
        "1e99999", "1e-99999", "9" * 3000, "1e999999999999", "1e301", "__import__('os')", b"1", None,
        True, False, 1j, float("nan"), float("inf"), 10**400, [0.3], Decimal("nan"), Fraction(1, 10**301),
        np.True_, np.nan, np.float32("inf"), np.complex128(1), np.array([0.3]),
        mpmath.mpf("nan"), mpmath.mpf("inf"), mpmath.mpc(1, 0), mpmath.mpf("1e100000"),
        sp.nan, sp.oo, sp.Symbol("x"), sp.pi,
    ],
)  # fmt: skip
def test_anything_else_is_one_line_that_names_the_parameter(value):
    with pytest.raises(InputError, match=r"^alpha must be .*, got ") as caught:
        parse_number(value, "alpha")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


def test_the_sentence():
    with pytest.raises(InputError) as caught:
        parse_number("abc", "alpha")
    assert str(caught.value) == "alpha must be a finite number such as 3/10, 0.3 or 1e-3, got 'abc'"


def test_grids_are_exact():
    assert parse_grid("0.1:0.9:9", "alpha") == tuple(Fraction(k, 10) for k in range(1, 10))
    assert parse_grid("1:0:3", "alpha") == (1, Fraction(1, 2), 0)
    assert parse_grid("0.1,1/5, 0.5", "alpha") == (Fraction(1, 10), Fraction(1, 5), Fraction(1, 2))
    assert parse_grid("0.3", "alpha") == (Fraction(3, 10),)


@pytest.mark.parametrize(
    "text",
    ["", ",", "0.1,,0.2", "0.1,0.1", "0.1:0.2", "0.1:0.2:1", "0.1:0.2:0", "0.1:0.2:-3", "0.1:0.2:x",
     "0.1:0.2:3:4", "0.1:nan:3", "0.1:0.1:3", "0:1:100000000", "0:1:9999999999999", "0.1:0.2:2.5"],
)  # fmt: skip
def test_bad_grids_are_one_line(text):
    with pytest.raises(InputError, match=r"^alpha ") as caught:
        parse_grid(text, "alpha")
    assert "\n" not in str(caught.value)


def test_domains():
    assert validate([ALPHA, DELTA], {"delta": 0, "alpha": "0.3"}) == {"alpha": Fraction(3, 10), "delta": 0}
    assert OVERLAP.check(Fraction(0)) == 0
    assert OVERLAP.domain == "q >= 0 and < 1"
    assert Parameter("b", "b", "a field").domain == "b any real number"


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"alpha": 1, "delta": -0.1}, "delta must be >= 0, got -0.1"),
        ({"alpha": 0, "delta": 1}, "alpha must be > 0, got 0"),
        ({"alpha": 1}, "missing parameter delta"),
        ({}, "missing parameters alpha, delta"),
        ({"alpha": 1, "detla": 1}, "unknown parameter 'detla': did you mean delta? Allowed: alpha, delta"),
        ({"alpha": 1, "delta": 1, "zz": 1}, "unknown parameter 'zz': allowed: alpha, delta"),
        ({"alpha": "x", "delta": 1}, "alpha must be a finite number such as 3/10, 0.3 or 1e-3, got 'x'"),
    ],
)
def test_validation_says_what_is_wrong_and_what_is_allowed(given_, message):
    with pytest.raises(InputError) as caught:
        validate([ALPHA, DELTA], given_)
    assert str(caught.value) == message


def test_upper_bounds_and_hints():
    with pytest.raises(InputError, match=r"^q must be >= 0 and < 1, got 1$"):
        OVERLAP.check(Fraction(1))
    rho = Parameter("rho", "rho", "rank", lower=Fraction(0), lower_open=True, hint="take the low-rank limit")
    with pytest.raises(InputError, match=r"^rho must be > 0, got 0; take the low-rank limit$"):
        rho.check(Fraction(0))


@pytest.mark.parametrize(
    ("number", "text"),
    [(Fraction(3, 10), "0.3"), (Fraction(7), "7"), (Fraction(100), "100"), (Fraction(1, 3), "1/3"),
     (Fraction(0), "0"), (Fraction(10**20 + 1, 3), "3.33333333333E+19"), (Fraction(1, 10**12), "1E-12")],
)  # fmt: skip
def test_numbers_are_shown_as_people_write_them(number, text):
    assert show(number) == text
