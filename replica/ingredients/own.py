"""A channel and a prior of one's own, from their density: the rest is derived as for those with a name.

>>> from fractions import Fraction
>>> from sympy import Heaviside
>>> from replica.parameters import Parameter
>>> eps = Parameter("eps", "epsilon", "share of flipped labels", Fraction(0), upper=Fraction(1, 2))
>>> noisy = ExpressionChannel(
...     lambda y, h, eps: (1 - eps) * Heaviside(y * h) + eps * Heaviside(-y * h), (-1, 1), parameters=(eps,)
... )
>>> noisy.evidence(1, 2, 4)
epsilon*ndtr(-1) + (1 - epsilon)*ndtr(1)
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import sympy as sp

from replica import symbols
from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder
from replica.expr.kinks import affine_kinks, limits, nested_switches, split_at_kinks, whole_on_half_lines
from replica.expr.logsum import expit, stable_log
from replica.expr.numeric import mp_function
from replica.expr.polynomials import affine_coefficients, polynomial_coefficients
from replica.expr.rules import output_integral_to_average
from replica.expr.stable import log_ndtr, ndtr, normal_density
from replica.ingredients.channels import Channel
from replica.ingredients.priors import Prior
from replica.parameters import Parameter, parse_number
from replica.symbols import PARAMETERS, A, B, h, parameter_symbol, x, y
from solvers.errors import InputError

TOLERANCE = 1e-8
"""How far a density may be from normalised, by quadrature."""
SUMMED, OCTAVES = 256, 12
"""Counts summed one by one, and octaves of counts beyond them that are integrated one by one."""
UNIT = sp.Symbol("u", real=True)
NOISE = sp.Symbol("V", positive=True)
_ALLOWED = (
    "allowed are sums of positive terms exp(quadratic), each on the line, a half-line or an interval; "
    "a Discrete or GaussianMixture prior may approximate it"
)
_FIELDS = tuple(sp.Rational(k, 10) for k in (-17, -4, 3, 12))
_OUTPUTS = tuple(sp.Rational(k, 7) for k in (-9, -2, 0, 3, 7, 14))
JUMP = 1e-12  # relative to a density; less is rounding
_OF_MODELS = ("alpha", "beta", "rho", "lam")


@dataclass(frozen=True, init=False)
class ExpressionChannel(Channel):
    """P_out(y|h) given by an expression, with as many control parameters as it needs."""

    formula: sp.Expr
    outputs: Any
    parameters: tuple[Parameter, ...]
    sampler: Callable[..., Any] | None = field(repr=False)

    name = "own"
    description = "P(y|h) given by an expression"

    def __init__(
        self,
        density: Any,
        outputs: Any,
        parameters: tuple[Parameter, ...] = (),
        sample: Callable[..., Any] | None = None,
    ) -> None:
        """Make an expression of a function, and refuse what is no channel.

        Parameters
        ----------
        density:
            An expression in ``replica.symbols.y``, ``h`` and the ``parameter_symbol`` of each parameter, or a
            function (y, h, name=symbol, ...) that returns one.  Floats mean the decimals that they print as.
        outputs:
            Where y lives: the values of a finite set, as a tuple or a ``sympy.FiniteSet``; ``sympy.Reals``, a
            ``sympy.Interval`` or ``sympy.S.Naturals0`` (counts).
        parameters:
            Control parameters, those of ``replica.parameters``: their bounds say what is known of their
            symbols.
        sample:
            (fields, rng, **parameters) -> outputs.  Not needed for finite outputs, which are drawn from their
            probabilities, nor for ``normal_density(y, g(h), variance)``.

        Raises
        ------
        InputError
            No such outputs, unknown symbols, a density that is negative somewhere or is not normalised
            (looked at for several fields, at one point of the parameters).
        """
        outputs, parameters = _output_set(outputs), tuple(parameters)
        names = {p.name: _own_symbol(p) for p in parameters}
        if len(set(names.values())) < len(parameters):
            raise InputError(
                f"parameters must have different names, got {', '.join(p.name for p in parameters)}"
            )
        formula = _expression(density, (y, h), names, "P(y|h)")
        values = {"formula": formula, "outputs": outputs, "parameters": parameters, "sampler": sample}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not formula.has(h):
            raise InputError(f"P(y|h) must depend on h, got {formula}")
        inside = {names[p.name]: _inside(p) for p in parameters}
        for value in _FIELDS:
            _check_law(formula.subs(inside | {h: value}), y, outputs, f"P(y|h) at h = {value}")

    def density(self, y: sp.Expr, field: sp.Expr) -> sp.Expr:
        """As given, but for steps at quadratics of the field: ``affine_kinks``."""
        return _affine(self.formula).subs({symbols.y: y, h: field}, simultaneous=True)

    def pieces(self, y: sp.Expr, field: sp.Expr) -> tuple[tuple[sp.Set, sp.Expr], ...]:
        """Finite outputs that have a formula each, or a closed evidence only one by one."""
        if isinstance(self.outputs, sp.FiniteSet) and _one_by_one(self.formula, self.outputs):
            laws = ((v, whole_on_half_lines(self.density(v, h), h)) for v in self.outputs)
            return tuple((sp.FiniteSet(v), law.subs(h, field)) for v, law in laws)
        return super().pieces(y, field)

    @property
    def symmetric(self) -> bool:
        """Whether P(y|h) = P(y|-h), as expanded expressions."""
        return sp.expand(self.density(y, h) - self.density(y, -h)) == 0

    def noiseless(self, values: Mapping[str, Any]) -> bool:
        """Whether each probability is a sum of steps in h, and 0 or 1."""
        if not isinstance(self.outputs, sp.FiniteSet):
            return False
        at = {parameter_symbol(p): sp.Rational(str(values[p.name])) for p in self.parameters}
        bodies = [self.density(v, h).subs(at) for v in self.outputs]
        steps = (sp.Heaviside, sp.sign, sp.Piecewise)
        if any(b.replace(lambda e: isinstance(e, steps), lambda _: sp.Dummy()).has_free(h) for b in bodies):
            return False
        edges = sorted({-a / b for body in bodies for a, b in nested_switches(body, h)}) or [sp.S.Zero]
        between = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
        fields = [edges[0] - 1, *between, edges[-1] + 1]
        return all(body.subs(h, f) in (0, 1) for body in bodies for f in fields)

    def jumps(self, values: Mapping[str, Any]) -> bool:
        """Looked at where the formula switches, at a few outputs."""
        return _jumps(self, tuple((p, values[p.name]) for p in self.parameters))

    def sample(self, field: Any, rng: Any, **parameters: float) -> Any:
        """Outputs from the sampler; from their probabilities; from a Gaussian density.

        Raises
        ------
        InputError
            None of the three.
        """
        import numpy as np

        if self.sampler is not None:
            return np.asarray(self.sampler(field, rng, **parameters), dtype=float)
        arguments = [h, *(parameter_symbol(p) for p in self.parameters)]
        values = [field, *(parameters[p.name] for p in self.parameters)]
        if isinstance(self.outputs, sp.FiniteSet):
            found = list(self.outputs)
            columns = [_numpy(self.density(v, h), arguments)(*values) for v in found]
            chances = np.cumsum([np.broadcast_to(c, field.shape) for c in columns], axis=0)
            chosen = (rng.random(field.shape) > chances[:-1]).sum(axis=0)
            return np.array([float(v) for v in found])[chosen]
        law = self.formula
        if isinstance(law, normal_density) and law.args[0] == y and not (law.args[1] + law.args[2]).has(y):
            mean, variance = (_numpy(part, arguments)(*values) for part in law.args[1:])
            return mean + np.sqrt(variance) * rng.standard_normal(field.shape)
        raise InputError(
            f"to draw outputs of {law} in {self.outputs}, give sample=(fields, rng, **parameters)"
        )


@lru_cache(maxsize=256)
def _jumps(channel: ExpressionChannel, point: tuple[tuple[Parameter, Any], ...]) -> bool:
    law = _affine(channel.formula).subs({parameter_symbol(p): sp.Rational(str(v)) for p, v in point})
    finite = isinstance(channel.outputs, sp.FiniteSet)
    some = channel.outputs if finite else [v for v in _OUTPUTS if v in channel.outputs]
    sides = [pair for v in some for pair in limits(law.subs(y, v), h)]
    return any(abs(sp.N(one - other)) > JUMP * abs(sp.N(one + other)) for one, other in sides)


@lru_cache(maxsize=64)
def _affine(formula: sp.Expr) -> Any:
    return affine_kinks(formula, h)


@lru_cache(maxsize=64)
def _one_by_one(formula: sp.Expr, outputs: sp.FiniteSet) -> bool:
    """Whether the outputs are better looked at one by one: y (|h| - 1) switches where y = 1 tells, and a term
    y sign(h) has a logarithm.
    """
    functions = formula.replace(lambda e: isinstance(e, sp.Function | sp.exp), lambda _: sp.Dummy())
    if formula.has(sp.Piecewise, sp.KroneckerDelta) or functions.has(y):
        return True

    def closed(density: sp.Expr) -> bool:
        return not GaussianAverage(density, h, symbols.omega, NOISE).doit().has(Binder)

    return not closed(formula) and all(closed(formula.subs(symbols.y, v)) for v in outputs)


@dataclass(frozen=True)
class DensityPrior(Prior):
    """A law of one coordinate given by its density p(x), of which Z_in has a closed form.

    Allowed are sums of positive terms, each an exponential of at most a quadratic on the line, a half-line or
    an interval, written with |x - a|, signs, steps or ``Piecewise`` of affine functions.

    Attributes
    ----------
    formula:
        An expression in ``replica.symbols.x``, or a function of x that returns one.  Floats mean the decimals
        that they print as.

    Raises
    ------
    InputError
        Unknown symbols, a density that is negative somewhere or not normalised, no closed form.
    """

    formula: Any

    name = "density"
    description = "p(x) given by an expression"

    def __post_init__(self) -> None:
        """Make an expression of a function, and refuse what is no law or has no closed form."""
        formula = _expression(self.formula, (x,), {}, "p(x)")
        object.__setattr__(self, "formula", formula)
        _check_law(formula, x, sp.S.Reals, "p(x)")
        try:
            closed = not self.partition().has(Binder) and not self.second_moment.has(Binder)
        except sp.PolynomialError:
            closed = False
        if not closed:
            raise InputError(f"Z_in has no closed form for p(x) = {formula}: {_ALLOWED}")
        self._check_logarithms()

    def _check_logarithms(self) -> None:
        """Every logarithm in log Z_in must be of something positive."""
        logarithms = self.log_partition().atoms(sp.log)
        for a, b in ((sp.Rational(3, 2), sp.Rational(k, 5)) for k in (-31, -7, 2, 7, 31)):
            if any(not sp.N(node.args[0].subs({A: a, B: b}), 12).is_positive for node in logarithms):
                raise InputError(f"log Z_in is not real term by term for p(x) = {self.formula}: {_ALLOWED}")

    @property
    def symmetric(self) -> bool:
        """Whether p(x) = p(-x), as expanded expressions between the kinks."""
        plain = self._plain()
        return sp.expand(split_at_kinks(plain - plain.subs(x, -x), x)) == 0

    def _plain(self) -> sp.Expr:
        """The density in exponentials."""
        return self.formula.replace(normal_density, _gaussian).rewrite([sp.cosh, sp.sinh], sp.exp)

    @property
    def second_moment(self) -> sp.Expr:
        """E x^2."""
        return self._moment(2)

    @property
    def mean(self) -> sp.Expr:
        """E x."""
        return self._moment(1)

    def _moment(self, order: int) -> sp.Expr:
        terms = sp.Add.make_args(sp.expand_mul(split_at_kinks(self._plain(), x)))
        return sp.Add(*(_term_moment(term, order) for term in terms))

    def density(self, at: sp.Expr) -> sp.Expr:
        """The density at a point."""
        return self.formula.subs(x, at)

    def tilted_moment(self, order: int) -> sp.Expr:
        """Z_in by completing the square, a Gaussian average of the density over N(B/A, 1/A); its derivatives
        in B for the moments.
        """
        average = GaussianAverage(self.formula, x, B / A, 1 / A).doit()
        scale = sp.sqrt(2 * sp.pi / A) * sp.exp(B**2 / (2 * A))
        partition = sp.Add(*(scale * term for term in sp.Add.make_args(sp.expand_mul(average))))
        return partition.diff(B, order) if order else partition

    def observed(self, body: sp.Expr) -> sp.Expr:
        """An integral over the density of B, term by term, centred and in units of its standard deviation."""
        mean = self.mean
        deviation = sp.sqrt(A + A**2 * (self.second_moment - mean**2))
        noise = -sp.log(2 * sp.pi * A) / 2 - B**2 / (2 * A)
        terms = sp.Add.make_args(self.partition())
        density = sp.Add(*(sp.exp(sp.expand(stable_log(t) + noise, log=False)) for t in terms))
        return OutputSum((deviation * density * body).subs(B, A * mean + deviation * UNIT), UNIT, sp.S.Reals)

    def dimension(self, values: Mapping[str, Fraction]) -> Fraction:
        """1: the law has a density."""
        return Fraction(1)

    def sample(self, size: int, rng: Any, **parameters: float) -> Any:
        """By inversion of the distribution function, integrated on 400 001 points within 40 deviations."""
        import numpy as np

        mean = float(self.mean)
        reach = 40 * float(self.second_moment - self.mean**2) ** 0.5
        points = np.linspace(mean - reach, mean + reach, 400_001)
        with np.errstate(over="ignore", under="ignore"):
            weights = np.broadcast_to(_numpy(self.formula, [x])(points), points.shape)
        total = np.concatenate([[0.0], np.cumsum((weights[1:] + weights[:-1]) / 2)])
        return np.interp(rng.random(size), total / total[-1], points)


def _gaussian(point: sp.Expr, mean: sp.Expr, variance: sp.Expr) -> sp.Expr:
    return sp.exp(-((point - mean) ** 2) / (2 * variance)) / sp.sqrt(2 * sp.pi * variance)


def _term_moment(term: sp.Expr, order: int) -> sp.Expr:
    """The integral of x^order times one term: polynomial * exp(quadratic) * steps."""
    factors = sp.Mul.make_args(term)
    steps = [f for f in factors if isinstance(f, sp.Heaviside)]
    powers = [f for f in factors if isinstance(f, sp.exp) and f.has(x)]
    polynomial = sp.Mul(*(f for f in factors if f not in steps and f not in powers))
    exponent = polynomial_coefficients(sp.Add(*(f.exp for f in powers)), x)
    if exponent is None or max(exponent, default=0) > 2:
        raise sp.PolynomialError(f"{term} is no polynomial * exp(quadratic)")
    c, b, a = (exponent.get(k, sp.S.Zero) for k in range(3))
    if a == 0:
        return sp.expand(sp.exp(c) * _exponential_integral(polynomial * x**order, b, *_bounds(steps)))
    # derivatives of E exp(B x) in B at 0, with exp(a x^2 + b x) as a Gaussian
    variance = -1 / (2 * a)
    scale = sp.sqrt(2 * sp.pi * variance) * sp.exp(c + b**2 * variance / 2)
    body = polynomial * sp.exp(B * x) * sp.Mul(*steps)
    average = GaussianAverage(body, x, b * variance, variance).doit()
    return scale * (average.diff(B, order) if order else average).subs(B, 0)


def _bounds(steps: list[Any]) -> tuple[sp.Expr, sp.Expr]:
    """The interval where all steps are 1."""
    low, high = -sp.oo, sp.oo
    for step in steps:
        start, slope = affine_coefficients(step.args[0], x) or (sp.nan, sp.nan)
        if slope.is_positive:
            low = sp.Max(low, -start / slope)
        else:
            high = sp.Min(high, -start / slope)
    return low, high


def _exponential_integral(polynomial: sp.Expr, rate: sp.Expr, low: sp.Expr, high: sp.Expr) -> sp.Expr:
    """Of polynomial * exp(rate x) from low to high, by its antiderivative, which is 0 at infinite ends."""
    if high <= low:
        return sp.S.Zero
    body = sp.Poly(polynomial, x)
    primitive = body.integrate().as_expr()
    if rate != 0:
        derivatives = [body.as_expr().diff(x, k) if k else body.as_expr() for k in range(body.degree() + 1)]
        terms = [(-1) ** k * d / rate ** (k + 1) for k, d in enumerate(derivatives)]
        primitive = sp.Add(*terms) * sp.exp(rate * x)
    ends = ((1, high), (-1, low))
    return sp.Add(*(sign * primitive.subs(x, end) for sign, end in ends if end.is_finite))


def _output_set(outputs: Any) -> sp.Set:
    if isinstance(outputs, tuple | list | set | frozenset):
        outputs = sp.FiniteSet(*(_rational(v) for v in outputs))
    known = outputs in (sp.S.Reals, sp.S.Naturals0, sp.S.Naturals) or isinstance(outputs, sp.Interval)
    finite = isinstance(outputs, sp.FiniteSet) and len(outputs) > 1 and all(v.is_real for v in outputs)
    if not (known or finite):
        raise InputError(f"outputs must be numbers, Reals, an Interval, Naturals or Naturals0, got {outputs}")
    return outputs


def _rational(value: Any) -> sp.Expr:
    if isinstance(value, sp.Expr) and not value.is_Float:
        return value
    number = parse_number(value, "an output")
    return sp.Rational(number.numerator, number.denominator)


def _own_symbol(parameter: Parameter) -> sp.Symbol:
    """The symbol of a parameter, which must not be one that the models use for something else."""
    if parameter.name in _OF_MODELS:
        raise InputError(f"the parameter {parameter.name!r} belongs to the models: take another name")
    symbol = parameter_symbol(parameter)
    taken = {s.name for s in vars(symbols).values() if isinstance(s, sp.Symbol)}
    if parameter.name not in PARAMETERS and symbol.name in taken:
        raise InputError(
            f"the symbol {symbol.name} of {parameter.name!r} has a meaning already: take another"
        )
    return symbol


def _inside(parameter: Parameter) -> sp.Rational:
    """A point in the domain of a parameter, at no end of it."""
    low, high = parameter.lower, parameter.upper
    if low is not None and high is not None:
        value = low + (high - low) * Fraction(3, 10)
    elif low is not None:
        value = low + Fraction(7, 10)
    else:
        value = Fraction(7, 10) if high is None else high - Fraction(7, 10)
    return sp.Rational(value.numerator, value.denominator)


def _expression(given: Any, variables: tuple[Any, ...], names: dict[str, sp.Symbol], what: str) -> sp.Expr:
    """The expression, exact, in the variables and named parameters only."""
    if callable(given) and not isinstance(given, sp.Basic):
        try:
            given = given(*variables, **names)
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{what} must be written with SymPy functions: {error}") from None
    if not isinstance(given, sp.Expr):  # no string: nothing that users type is evaluated
        raise InputError(f"{what} must be a SymPy expression or a function that returns one, got {given!r}")
    numbers = {f: parse_number(f, what) for f in given.atoms(sp.Float)}
    given = given.xreplace({f: sp.Rational(v.numerator, v.denominator) for f, v in numbers.items()})
    allowed = [*variables, *names.values()]
    if strange := sorted(str(s) for s in given.free_symbols - set(allowed)):
        raise InputError(
            f"{what} has the unknown symbol {strange[0]}: allowed are {', '.join(map(str, allowed))} of "
            "replica.symbols and the symbols of its parameters"
        )
    if given.has(sp.DiracDelta):
        raise InputError(f"{what} must be a function, not a distribution: no DiracDelta, got {given}")
    given = given.replace(sp.erf, lambda u: 2 * ndtr(sp.sqrt(2) * u) - 1)
    given = given.replace(sp.erfc, lambda u: 2 * ndtr(-sp.sqrt(2) * u)).rewrite(sp.tan, sp.sin)
    given = given.replace(sp.Add, lambda *terms: _complements(terms))
    return given.replace(_is_logistic, lambda e: expit(-(e.base - 1).exp) ** (-e.exp))


def _complements(terms: tuple[Any, ...]) -> sp.Expr:
    """A sum with c - c ndtr(u), c > 0, as c ndtr(-u): a logarithm takes positive terms."""
    for k, term in enumerate(terms):
        factor, rest = term.as_independent(ndtr, as_Add=False)
        for i, other in enumerate(terms):
            if isinstance(rest, ndtr) and other == -factor and other.is_positive:
                left = [t for j, t in enumerate(terms) if j not in (i, k)]
                return _complements((*left, other * ndtr(-rest.args[0])))
    return sp.Add(*terms)


def _is_logistic(expr: Any) -> bool:
    """Whether it is (1 + exp(u))^(-k), which overflows where expit(-u)^k does not."""
    if not (isinstance(expr, sp.Pow) and expr.exp.could_extract_minus_sign()):
        return False
    return isinstance(expr.base - 1, sp.exp)


def _check_law(density: sp.Expr, variable: sp.Symbol, outputs: Any, what: str) -> None:
    """Refuse a density in one variable, all else numbers, that is negative or not normalised."""
    value = mp_function(density, (variable,))
    for point in _places(outputs):
        try:
            found = value(point)
        except (ArithmeticError, ValueError, TypeError, NameError) as error:
            raise InputError(f"{what} cannot be evaluated at {mpmath.nstr(point, 6)}: {error}") from None
        if not isinstance(found, mpmath.mpf | int | float) or not mpmath.isfinite(found) or found < -1e-12:
            raise InputError(f"{what} must be >= 0, got {found} at {variable} = {mpmath.nstr(point, 6)}")
    total = _total(density, variable, outputs)
    if total is None or abs(total - 1) > TOLERANCE:
        got = "no convergent sum or integral" if total is None else mpmath.nstr(total, 10)
        raise InputError(f"{what} must sum or integrate to 1 over the outputs, got {got}")


def _places(outputs: Any) -> list[Any]:
    if isinstance(outputs, sp.FiniteSet):
        return [mp_function(v, ())() for v in outputs]
    if outputs in (sp.S.Naturals, sp.S.Naturals0):
        return [mpmath.mpf(int(outputs.inf) + k) for k in range(12)]
    low = float(outputs.inf) if outputs.inf.is_finite else float(min(-8, outputs.sup - 16))
    high = float(outputs.sup) if outputs.sup.is_finite else float(max(8, outputs.inf + 16))
    return [mpmath.mpf(low + (high - low) * (k + 0.37) / 60) for k in range(60)]


def _total(density: sp.Expr, variable: sp.Symbol, outputs: Any) -> Any:
    """The sum or integral: Gaussian densities by rule, else by mpmath, split at the kinks and the largest of
    some values.
    """
    value = mp_function(density, (variable,))
    try:
        if isinstance(outputs, sp.FiniteSet):
            return mpmath.fsum(value(point) for point in _places(outputs))
        if outputs in (sp.S.Naturals, sp.S.Naturals0):
            return _count_total(value, int(outputs.inf))
        if outputs == sp.S.Reals and density.has(normal_density):
            ruled = output_integral_to_average(OutputSum(density, variable, outputs)).doit()
            if not ruled.has(Binder):
                return mpmath.mpf(sp.N(ruled, 15))
    except (ValueError, ArithmeticError):
        if not isinstance(outputs, sp.Interval) and outputs != sp.S.Reals:
            return None
    peak = max(_places(outputs), key=value)
    kinks = [mp_function(-a / b, ())() for a, b in nested_switches(density, variable)]
    low, high = (mp_function(end, ())() for end in (outputs.inf, outputs.sup))
    inner = sorted({p for p in (*kinks, peak, peak - 2, peak + 2) if low < p < high})
    try:
        total, error = mpmath.quad(
            _unless_nothing(value, density, variable), [low, *inner, high], error=True, maxdegree=8
        )
    except (ValueError, ArithmeticError):
        return None
    return total if mpmath.isfinite(total) and error < TOLERANCE else None


def _unless_nothing(
    value: Callable[[Any], Any], density: sp.Expr, variable: sp.Symbol
) -> Callable[[Any], Any]:
    """0 where a double is: exp(-exp(-y)) at y = -1e10 would take the logarithm of 2 to 1e10 digits."""
    import numpy as np

    rough = _numpy(density, [variable])

    def guarded(point: Any) -> Any:
        at = np.float64(point)
        with np.errstate(all="ignore"):
            nothing = not np.isfinite(at) or rough(at) == 0
        return mpmath.mpf(0) if nothing else value(point)

    return guarded


def _count_total(value: Callable[[Any], Any], first: int) -> Any:
    """The sum over counts: some one by one, the rest, which is smooth there, by Euler and Maclaurin's formula
    with derivatives by differences.
    """
    total = mpmath.fsum(value(mpmath.mpf(first + k)) for k in range(SUMMED))
    last = first + SUMMED
    f, near = value(mpmath.mpf(last)), [value(mpmath.mpf(last + k)) for k in (-2, -1, 1, 2)]
    if max(abs(f), abs(near[0])) < TOLERANCE**2 and abs(total - 1) < TOLERANCE:
        return total
    slope = (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / 12
    third = (near[3] - 2 * near[2] + 2 * near[1] - near[0]) / 2
    octaves = [last * mpmath.mpf(2) ** k for k in range(OCTAVES)]
    integral, error = mpmath.quad(value, [*octaves, mpmath.inf], error=True, maxdegree=8)
    rest = integral + f / 2 - slope / 12 + third / 720
    return total + rest if error < TOLERANCE else None


def _numpy(expr: sp.Expr, arguments: list[Any]) -> Callable[..., Any]:
    """A NumPy function of an expression without averages."""
    import numpy as np
    from scipy import special

    own = {
        ndtr.__name__: special.ndtr,
        log_ndtr.__name__: special.log_ndtr,
        expit.__name__: special.expit,
        normal_density.__name__: lambda u, m, v: np.exp(-((u - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v),
        "Heaviside": lambda u, at_zero=0.5: np.heaviside(u, at_zero),
    }
    return sp.lambdify(arguments, expr, modules=[own, "scipy", "numpy"])
