"""Averages over a Gaussian, and sums or integrals over the outputs of a channel."""

from __future__ import annotations

from typing import Any, cast

import sympy as sp
from sympy.printing.precedence import PRECEDENCE

from replica.expr.binder import Binder, evaluate_inside


class GaussianAverage(Binder):
    r"""E_{x ~ N(mean, variance)}[body], with `x` bound in the body only.

    Derivatives follow Price's theorem (R. Price, IRE Trans. Inf. Theory 4, 69, 1958), without square roots:

    d/dt E[f] = E[df/dt] + mean' E[f'] + (1/2) variance' E[f''].

    Average over kinks (sign, ReLU) analytically before differentiating: f'' has a DiracDelta there.

    >>> from sympy import Symbol
    >>> x, q = Symbol("x", real=True), Symbol("q", positive=True)
    >>> GaussianAverage(x**4, x, 0, q).diff(q)
    6*GaussianAverage(x**2, x, 0, q)
    >>> GaussianAverage(x**4, x, 0, q).doit()
    3*q**2
    """

    def __new__(cls, body: Any, var: Any, mean: Any, variance: Any) -> Any:
        """Sympify and check the arguments."""
        variance = sp.sympify(variance)
        if variance.is_extended_negative:
            raise ValueError(f"a variance must not be negative, got {variance}")
        return super().__new__(cls, body, var, mean, variance)

    @property
    def var(self) -> sp.Symbol:
        """The Gaussian variable."""
        return self.bound_symbols[0]

    @property
    def mean(self) -> sp.Expr:
        """The mean of the Gaussian variable."""
        return cast(sp.Expr, self.args[2])

    @property
    def variance(self) -> sp.Expr:
        """The variance of the Gaussian variable."""
        return cast(sp.Expr, self.args[3])

    def with_body(self, body: Any) -> sp.Expr:
        """The average of another body, numbers pulled out; a body free of the variable is its own average."""
        number, rest = sp.sympify(body).as_coeff_Mul()
        return number * self.func(rest, *self.args[1:]) if rest.has_free(self.var) else number * rest

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        if s == self.var:
            return self.renamed()._eval_derivative(s)
        slope, spread = self.mean.diff(s), self.variance.diff(s)
        first = self.body.diff(self.var) if slope != 0 or spread != 0 else sp.S.Zero
        result = self.with_body(self.body.diff(s))
        if slope != 0:
            result += slope * self.with_body(first)
        if spread != 0:
            result += sp.Rational(1, 2) * spread * self.with_body(first.diff(self.var))
        return result

    def doit(self, **hints: Any) -> sp.Expr:
        """The exact closed form where `gaussian_closed_form` knows one, inner averages first."""
        from replica.expr.closed_forms import gaussian_closed_form

        node = self
        if hints.get("deep", True):
            node = self.func(*(evaluate_inside(arg, **hints) for arg in self.args))
        if node.variance.is_zero:
            return node.body.subs(node.var, node.mean)
        closed = gaussian_closed_form(node)
        return node if closed is None else closed

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        from replica.expr.numeric import evaluate

        return evaluate(self, prec)

    def _eval_is_real(self) -> bool | None:
        return True if self.body.is_real else None

    def _eval_is_positive(self) -> bool | None:
        return True if self.body.is_positive else None

    def _eval_is_nonnegative(self) -> bool | None:
        return True if self.body.is_nonnegative else None

    def _latex(self, printer: Any) -> str:
        var, mean, variance = (printer._print(arg) for arg in self.args[1:])
        law = rf"{var}\sim\mathcal{{N}}({mean},{variance})"
        return rf"\mathbb{{E}}_{{{law}}}\left[{printer._print(self.body)}\right]"


class DiscreteAverage(Binder):
    r"""E[body] over a variable of finitely many values. Args: body, variable, values, probabilities.

    >>> x, a, d = sp.symbols("x a d", real=True)
    >>> E = DiscreteAverage(sp.tanh(a * x) ** 2, x, (-1, 0, 1), ((1 - d) / 2, d, (1 - d) / 2))
    >>> E.doit().factor()
    -(d - 1)*tanh(a)**2
    """

    precedence = PRECEDENCE["Mul"]

    def __new__(cls, body: Any, var: Any, values: Any, probabilities: Any) -> Any:
        """Sympify and check the arguments."""
        values, probabilities = sp.Tuple(*values), sp.Tuple(*probabilities)
        if len(values) != len(probabilities) or not values:
            raise ValueError(f"as many probabilities as values: {values}, {probabilities}")
        return super().__new__(cls, body, var, values, probabilities)

    @property
    def var(self) -> sp.Symbol:
        """The discrete variable."""
        return self.bound_symbols[0]

    def atoms_of(self) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
        """(value, probability), in order."""
        return tuple(zip(*self.parameters, strict=True))

    def with_body(self, body: Any) -> sp.Expr:
        """The average of another body; numbers pulled out, and what is free of the variable."""
        factor, rest = sp.sympify(body).as_independent(self.var, as_Add=False)
        return factor if rest == 1 else factor * self.func(rest, *self.args[1:])

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        node = self.renamed() if s == self.var else self
        result = sp.Add(*(node.with_body(t) for t in sp.Add.make_args(node.body.diff(s))))
        for value, weight in zip(*node.parameters, strict=True):
            if value.has(s):
                result += weight * value.diff(s) * node.body.diff(node.var).subs(node.var, value)
            if weight.has(s):
                result += weight.diff(s) * node.body.subs(node.var, value)
        return result

    def doit(self, **hints: Any) -> sp.Expr:
        """The sum over the values."""
        body = evaluate_inside(self.body, **hints) if hints.get("deep", True) else self.body
        return sp.Add(*(weight * body.subs(self.var, value) for value, weight in self.atoms_of()))

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        return self.doit(deep=False)._eval_evalf(prec)

    def _eval_is_real(self) -> bool | None:
        return True if self.body.is_real else None

    def _eval_is_positive(self) -> bool | None:
        return True if self.body.is_positive else None

    def _eval_is_nonnegative(self) -> bool | None:
        return True if self.body.is_nonnegative else None

    def _latex(self, printer: Any) -> str:
        return rf"\mathbb{{E}}_{{{printer._print(self.var)}}}\left[{printer._print(self.body)}\right]"


class MixedOutputs(sp.Basic):
    """Atoms and intervals side by side, kept as written: SymPy's Union would swallow an atom at an end."""

    def contains(self, value: Any) -> Any:
        """Whether one of the parts does."""
        return sp.Or(*(cast(Any, part).contains(value) for part in self.args))

    def _latex(self, printer: Any) -> str:
        return r"\cup".join(printer._print(part) for part in self.args)


class OutputSum(Binder):
    r"""Sum or integral of the body over the outputs `var` of a channel.

    `outputs` is `sympy.Reals`, `sympy.Interval(a, b)` (Lebesgue measure), a `sympy.FiniteSet` of numbers
    (counting measure), `sympy.S.Naturals0` or `Naturals` (counts), or `MixedOutputs` of these.

    >>> from sympy import FiniteSet, Symbol, exp
    >>> y, h = Symbol("y", real=True), Symbol("h", real=True)
    >>> OutputSum(exp(y * h), y, FiniteSet(-1, 1)).doit()
    exp(h) + exp(-h)
    """

    precedence = PRECEDENCE["Mul"]

    def __new__(cls, body: Any, var: Any, outputs: Any) -> Any:
        """Sympify and check the arguments."""
        outputs = sp.sympify(outputs)
        if outputs == sp.S.Reals:
            outputs = sp.S.Reals
        parts = outputs.args if isinstance(outputs, MixedOutputs) else (outputs,)
        known = (sp.S.Reals, sp.S.Naturals, sp.S.Naturals0)
        if not all(isinstance(p, sp.FiniteSet | sp.Interval) or p in known for p in parts):
            raise TypeError(
                f"outputs must be Reals, Naturals, an Interval, a FiniteSet or mixed, not {outputs}"
            )
        return super().__new__(cls, body, var, outputs)

    @property
    def var(self) -> sp.Symbol:
        """The output variable."""
        return self.bound_symbols[0]

    @property
    def outputs(self) -> Any:
        """The set of outputs."""
        return self.args[2]

    def parts(self) -> tuple[OutputSum, ...]:
        """One sum or integral for each part of a union of outputs, piecewise bodies resolved."""
        if not isinstance(self.outputs, MixedOutputs):
            return (self,)
        found = []
        for part in self.outputs.args:
            inside = _inner_point(part)

            def resolved(*pairs: Any, inside: sp.Expr = inside) -> sp.Expr:
                return next(e for e, condition in pairs if condition.subs(self.var, inside) == sp.true)

            body = self.body.replace(sp.Piecewise, resolved)
            found.append(self.func(body, self.var, part))
        return tuple(found)

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        if s in self.outputs.free_symbols:
            raise NotImplementedError(f"the derivative of {self} with respect to its outputs")
        if s == self.var:
            return sp.S.Zero
        slope = self.body.diff(s)
        return sp.S.Zero if slope == 0 else self.func(slope, *self.args[1:])

    def doit(self, **hints: Any) -> sp.Expr:
        """The explicit sum over a FiniteSet; `output_integral_to_average` for an integral, if it applies."""
        from replica.expr.rules import output_integral_to_average

        if isinstance(self.outputs, MixedOutputs):
            return sp.Add(*(part.doit(**hints) for part in self.parts()))
        node = self
        if hints.get("deep", True):
            node = self.func(*(evaluate_inside(arg, **hints) for arg in self.args))
        if isinstance(node.outputs, sp.FiniteSet):
            values = sorted(node.outputs.args, key=sp.default_sort_key)
            return sp.Add(*(evaluate_inside(node.body.subs(node.var, value), **hints) for value in values))
        try:
            averages = output_integral_to_average(node)
        except ValueError:
            return node
        return evaluate_inside(averages, **hints)

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        from replica.expr.numeric import evaluate

        return evaluate(self, prec)

    def _eval_is_real(self) -> bool | None:
        return True if self.body.is_real else None

    def _eval_is_positive(self) -> bool | None:
        return True if self.body.is_positive and self.outputs is not sp.S.EmptySet else None

    def _eval_is_nonnegative(self) -> bool | None:
        return True if self.body.is_nonnegative else None

    def _latex(self, printer: Any) -> str:
        body = printer._print(self.body)
        if self.body.is_Add:
            body = rf"\left({body}\right)"
        var = printer._print(self.var)
        if isinstance(self.outputs, sp.FiniteSet):
            values = sorted(self.outputs.args, key=sp.default_sort_key)
            listed = ",".join(printer._print(value) for value in values)
            return rf"\sum_{{{var}\in\{{{listed}\}}}} {body}"
        if self.outputs in (sp.S.Naturals, sp.S.Naturals0):
            return rf"\sum_{{{var}={self.outputs.inf}}}^{{\infty}} {body}"
        if self.outputs == sp.S.Reals:
            return rf"\int\mathrm{{d}}{var}\,{body}"
        if isinstance(self.outputs, MixedOutputs):
            return rf"\int_{{{printer._print(self.outputs)}}}\mathrm{{d}}{var}\,{body}"
        lower, upper = (printer._print(end) for end in (self.outputs.inf, self.outputs.sup))
        return rf"\int_{{{lower}}}^{{{upper}}}\mathrm{{d}}{var}\,{body}"


def _inner_point(outputs: Any) -> Any:
    """An output of a part: an atom, or a point inside an interval that is no end of it."""
    if isinstance(outputs, sp.FiniteSet):
        return next(iter(outputs))
    lower, upper = outputs.inf, outputs.sup
    if lower.is_infinite and upper.is_infinite:
        return sp.S.Zero
    if lower.is_infinite or upper.is_infinite:
        return lower + 1 if upper.is_infinite else upper - 1
    return (lower + upper) / 2
