"""Control parameters: what a user may give for one, and what it then means, an exact fraction.

Nothing here evaluates a string: numbers are matched by a pattern. A binary float means the decimal that it
prints as, so ``0.3`` is 3/10 whether it comes from a command line, a Python float, NumPy or mpmath.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from itertools import count
from numbers import Complex, Integral, Rational
from typing import Any, cast

from solvers.errors import InputError

_INTEGER = r"[+-]?[0-9]+"
_DECIMAL = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE](?P<exponent>[+-]?[0-9]{1,5}))?"
_NUMBER = re.compile(rf"(?P<fraction>{_INTEGER}\s*/\s*[0-9]+)|{_DECIMAL}", re.ASCII)

_LONGEST = 2000  # characters of a number; exact arithmetic on more is a mistake or an attack
_LARGEST = Fraction(10**300)  # every number must also exist in double precision, where solving starts
_MOST_POINTS = 1_000_000  # of one grid


def parse_number(value: object, name: str) -> Fraction:
    """Return what a user gave for the parameter ``name`` as an exact fraction.

    Accepts text (``"3/10"``, ``"0.3"``, ``"1e-3"``), Python, NumPy, mpmath, gmpy2 and SymPy real numbers.

    >>> parse_number("3/10", "alpha"), parse_number(0.1, "delta"), parse_number("1e-3", "delta")
    (Fraction(3, 10), Fraction(1, 10), Fraction(1, 1000))
    >>> parse_number("abc", "alpha")
    Traceback (most recent call last):
    ...
    solvers.errors.InputError: alpha must be a finite number such as 3/10, 0.3 or 1e-3, got 'abc'

    Raises:
        InputError: nan, an infinity, a bool, a complex number, anything that is no number, and magnitudes
            outside 1e-300 to 1e300.
    """
    number = _read(value)
    if number is None:
        raise InputError(f"{name} must be a finite number such as 3/10, 0.3 or 1e-3, got {_shorten(value)}")
    if number and not 1 / _LARGEST <= abs(number) <= _LARGEST:
        raise InputError(f"{name} must be 0 or between 1e-300 and 1e300 in magnitude, got {_shorten(value)}")
    return number


def parse_grid(text: str, name: str) -> tuple[Fraction, ...]:
    """Return the values of a grid: ``"0.1,0.2,0.5"`` lists them, ``"0.1:0.9:9"`` is 9 from end to end.

    >>> [str(x) for x in parse_grid("0.1:0.9:5", "alpha")]
    ['1/10', '3/10', '1/2', '7/10', '9/10']
    """
    if ":" not in text:
        values = tuple(parse_number(item, name) for item in text.split(","))
        if len(set(values)) < len(values):
            raise InputError(f"{name} has a value twice in {_shorten(text)}")
        return values
    parts = text.split(":")
    if len(parts) != 3 or not re.fullmatch(r"\s*[0-9]{1,9}\s*", parts[2], re.ASCII):
        raise InputError(
            f"{name} must be a number, a list 0.1,0.2,0.5 or a grid first:last:points, got {_shorten(text)}"
        )
    first, last, points = parse_number(parts[0], name), parse_number(parts[1], name), int(parts[2])
    if not 2 <= points <= _MOST_POINTS:
        raise InputError(f"{name} must have 2 to {_MOST_POINTS} points in its grid, got {points}")
    if first == last:
        raise InputError(f"{name} must have two different ends in its grid, got {_shorten(text)}")
    return tuple(first + (last - first) * Fraction(k, points - 1) for k in range(points))


def show(number: Fraction) -> str:
    """Return a fraction as people write it: a short decimal when exact, else p/q, else twelve digits.

    >>> show(Fraction(-1, 10)), show(Fraction(1, 3)), show(Fraction(1, 10**30))
    ('-0.1', '1/3', '1E-30')
    """
    exact = Context(prec=17)
    decimal = exact.normalize(exact.divide(Decimal(number.numerator), Decimal(number.denominator)))
    if Fraction(decimal) == number:
        return f"{decimal:f}" if -8 <= decimal.adjusted() <= 15 else str(decimal)
    if len(text := str(number)) <= 20:
        return text
    return str(Context(prec=12).plus(decimal))


@dataclass(frozen=True)
class Parameter:
    """A control parameter of a model: its name, the symbol it stands for, and the values it may take.

    Attributes:
        name: what users type, in Python and on the command line (``delta``).
        symbol_name: the name of its SymPy symbol (``Delta``).
        doc: one line, with the definition: ``samples per coefficient, n/(dL)``.
        lower: smallest value, None for unbounded; ``lower_open`` excludes it.
        upper: largest value, None for unbounded; ``upper_open`` excludes it.
        hint: what to do instead, added to the message when a value lies outside.
        default: the value where none is given; None asks for one.

    >>> rho = Parameter("rho", "rho", "rank over dimension, r/d", lower=Fraction(0), lower_open=True)
    >>> rho.domain
    'rho > 0'
    >>> rho.check(Fraction(0))
    Traceback (most recent call last):
    ...
    solvers.errors.InputError: rho must be > 0, got 0
    """

    name: str
    symbol_name: str
    doc: str
    lower: Fraction | None = None
    lower_open: bool = False
    upper: Fraction | None = None
    upper_open: bool = False
    hint: str = ""
    default: Fraction | None = None

    @property
    def _bounds(self) -> list[str]:
        bounds = []
        if self.lower is not None:
            bounds.append(f"{'>' if self.lower_open else '>='} {show(self.lower)}")
        if self.upper is not None:
            bounds.append(f"{'<' if self.upper_open else '<='} {show(self.upper)}")
        return bounds

    @property
    def domain(self) -> str:
        """The values allowed, in words: ``delta >= 0``, ``q >= 0 and < 1``."""
        return f"{self.name} {' and '.join(self._bounds)}" if self._bounds else f"{self.name} any real number"

    def contains(self, value: Fraction) -> bool:
        """Whether the value lies in the domain."""
        if self.lower is not None and (value < self.lower or (self.lower_open and value == self.lower)):
            return False
        return self.upper is None or not (value > self.upper or (self.upper_open and value == self.upper))

    def check(self, value: Fraction) -> Fraction:
        """Return the value, or raise InputError when it lies outside the domain."""
        if not self.contains(value):
            hint = f"; {self.hint}" if self.hint else ""
            raise InputError(f"{self.name} must be {' and '.join(self._bounds)}, got {show(value)}{hint}")
        return value


def check_names(parameters: Sequence[Parameter], given: Mapping[str, object]) -> None:
    """Raise InputError when a parameter is unknown or missing; the values are not looked at."""
    names = [p.name for p in parameters]
    for name in given:
        if name not in names:
            raise InputError(unknown("parameter", name, names))
    if missing := [p.name for p in parameters if p.name not in given and p.default is None]:
        raise InputError(f"missing parameter{'s' * (len(missing) > 1)} {', '.join(missing)}")


def validate(parameters: Sequence[Parameter], given: Mapping[str, object]) -> dict[str, Fraction]:
    """Return the value of every parameter, in their order, or raise InputError with one line.

    >>> delta = Parameter("delta", "Delta", "noise variance", lower=Fraction(0))
    >>> validate([delta], {"delta": "0.1"})
    {'delta': Fraction(1, 10)}
    >>> validate([delta], {"detla": "0.1"})
    Traceback (most recent call last):
    ...
    solvers.errors.InputError: unknown parameter 'detla': did you mean delta? Allowed: delta
    """
    check_names(parameters, given)
    return {p.name: p.check(parse_number(given.get(p.name, p.default), p.name)) for p in parameters}


def check_kind(value: Any, kinds: type | tuple[type, ...], what: str, example: str) -> None:
    """Raise InputError where an ingredient of a model is none of its kind.

    >>> check_kind(int, int, "prior", "Gaussian()")
    Traceback (most recent call last):
    ...
    solvers.errors.InputError: the prior must be one such as Gaussian(), got the class int: write int()
    """
    if isinstance(value, kinds):
        return
    got = f"the class {value.__name__}: write {value.__name__}()" if isinstance(value, type) else None
    raise InputError(f"the {what} must be one such as {example}, got {got or _shorten(value)}")


def with_given(model: Any, names: Collection[str]) -> Any:
    """The model that takes these parameters: the size m of blocks may be given or solved for."""
    if isinstance(model, type) or not hasattr(model, "control_parameters"):
        check_kind(model, (), "model", "TeacherStudent()")
    state = getattr(model, "given", None)
    return model if state is None else state(names)


def unknown(what: str, name: str, allowed: Sequence[str]) -> str:
    """Return the sentence for a name that is not among the allowed ones, with the closest one.

    >>> unknown("model", "bsrr", ["bsr"])
    "unknown model 'bsrr': did you mean bsr? Allowed: bsr"
    """
    import difflib

    close = difflib.get_close_matches(name, allowed, n=1)
    suggestion = f"did you mean {close[0]}? Allowed: " if close else "allowed: "
    return f"unknown {what} {_shorten(name)}: {suggestion}{', '.join(allowed) or 'none'}"


def _shorten(value: object) -> str:
    text = repr(value)  # a repr has no line breaks for strings; other types may
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _read(value: Any) -> Fraction | None:
    """Return a number as a fraction, None when it is none that we take."""
    if isinstance(value, str):
        return _read_text(value)
    if getattr(value, "shape", None) == () and not isinstance(value, Complex) and hasattr(value, "item"):
        value = value.item()  # an array of no dimensions
    if isinstance(value, bool):
        return None
    if isinstance(value, Integral):
        return Fraction(int(value))
    if isinstance(value, Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if hasattr(value, "_mpf_"):  # mpmath.mpf and sympy.Float: (sign, mantissa, exponent, bits)
        return _shortest_decimal(*cast(Any, value)._mpf_[:3])
    if isinstance(value, float):
        return _read_text(float.__repr__(value))
    if isinstance(value, Decimal) or type(value).__module__ == "numpy":
        return _read_text(
            str(value)
        )  # numpy.float32(0.1) prints as 0.1; numpy.bool_ as True, which is no number
    return None


def _read_text(text: str) -> Fraction | None:
    text = text.strip()
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or abs(int(match["exponent"] or 0)) > 2 * _LONGEST:
        return None
    try:
        if match["fraction"]:
            numerator, denominator = text.split("/")
            return Fraction(int(numerator), int(denominator))
        return Fraction(text)
    except ZeroDivisionError:
        return None


def _shortest_decimal(sign: int, mantissa: int, exponent: int) -> Fraction | None:
    """Return the shortest decimal that rounds to ``(-1)^sign mantissa 2^exponent``, at its own precision.

    That is at least 53 bits: the mantissa of an mpf comes without its trailing zeros.
    """
    mantissa, exponent = int(mantissa), int(exponent)
    if mantissa == 0:
        return Fraction(0) if exponent == 0 else None  # mpmath keeps infinities and nan as mantissa 0
    bits = mantissa.bit_length()
    if abs(exponent) + bits > 20 * _LONGEST:
        return None
    exact = mantissa * Fraction(2) ** exponent
    half_unit = Fraction(2) ** (exponent + bits - max(bits, 53) - 1)
    if mantissa == 1:
        half_unit /= 2  # below a power of two the numbers lie closer
    first = -((exponent + bits) * 30103 // 100000) - 1
    for places in count(first):
        scale = Fraction(10) ** places
        decimal = round(exact * scale) / scale
        if abs(decimal - exact) < half_unit or decimal == exact:
            return -decimal if sign else decimal
    return None  # unreachable: enough places are exact
