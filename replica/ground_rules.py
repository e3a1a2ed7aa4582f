"""The zero-temperature limit of spins with Gaussian energies: the energy of the ground state.

At beta -> infinity the innermost overlap is 1 - V/beta, blocks have m_i = a_i/beta replicas and fields are
of order beta: Phi/beta tends to minus the energy, with |w| in place of (1/beta) log 2cosh(beta w).  G.
Parisi, J. Phys. A 13 (1980) L115; R. Oppermann, M. J. Schmidt, D. Sherrington, PRL 98 (2007) 127201,
for many steps.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.derivation import Comparison, Kind, Rule
from replica.expr.average import DiscreteAverage, GaussianAverage
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.folded import FoldedNormal
from replica.expr.recursion import KinkLevel, LogMoment
from replica.expr.stable import log2cosh
from replica.symbols import V, V_hat, beta, q, q_hat


def slopes(chosen: Any) -> tuple[sp.Symbol, ...]:
    """a_1, ..., a_k, what the sizes of the blocks are over the temperature; a where there is one."""
    return tuple(sp.Symbol(m.name.replace("m", "a"), positive=True) for m in chosen.blocks)


def _scaled(chosen: Any) -> dict[Any, Any]:
    """What stays finite at beta -> infinity, in place of the order parameters of an ansatz."""
    scaled: dict[Any, Any] = {chosen.overlaps(q)[-1]: 1 - V / beta}
    scaled |= {m: a / beta for m, a in zip(chosen.blocks, slopes(chosen), strict=True)}
    scaled[chosen.overlaps(q_hat)[-1]] = beta**2 * V_hat
    return scaled


def _leading(expr: sp.Expr, scaled: dict[Any, Any]) -> sp.Expr:
    """The limit of rational functions of beta, also times logarithms that have one."""
    terms = sp.Add.make_args(sp.expand_mul(_in_powers(expr.subs(scaled))))
    plain = [t for t in terms if not t.has(sp.log)]
    alone = [t for t in plain if _degree(t) <= 0]
    found = sp.Add(*map(_limit, alone), _limit(sp.Add(*(t for t in plain if _degree(t) > 0))))
    for term in terms:
        if term.has(sp.log):
            factor, logarithm = term.as_independent(sp.log, as_Add=False)
            limit = logarithm.func(sp.expand(logarithm.args[0]))
            if _degree(factor) > 0 or (_degree(factor) == 0 and limit.has(beta)):
                raise ValueError(f"{expr} diverges at zero temperature")
            found += _limit(factor) * limit if _degree(factor) == 0 else 0
    return found


ORDER = 3
"""Of an expansion in the temperature: energies are divided by it at most."""


def expanded(expr: sp.Expr, small: sp.Symbol) -> sp.Expr:
    """Functions that are not rational, such as a covariance xi(1 - V T), in powers of a small variable."""

    def smooth(e: Any) -> bool:
        return e.has(small) and (e.is_Function or (e.is_Pow and not e.exp.is_Integer))

    def series(e: sp.Expr) -> sp.Expr:
        terms = [e.diff(small, k).subs(small, 0) / sp.factorial(k) for k in range(ORDER + 1)]
        if any(t.has(sp.nan, sp.zoo, sp.oo) for t in terms):
            return e
        return sp.Add(*(t * small**k for k, t in enumerate(terms)))

    return expr.replace(smooth, series)


def _in_powers(expr: sp.Expr) -> sp.Expr:
    small = sp.Dummy("T", positive=True)
    return expanded(expr.subs(beta, 1 / small), small).subs(small, 1 / beta)


def zero_temperature(chosen: Any) -> Rule:
    """Phi/beta at beta -> infinity."""
    scaled = _scaled(chosen)

    def leading(expr: sp.Expr) -> sp.Expr:
        return _leading(expr, scaled)

    def cooled(node: Any) -> sp.Expr:
        """Of a free entropy over beta, fields in units of beta."""
        if isinstance(node, LogMoment):
            law = (node.var, node.mean, sp.factor(leading(node.variance / beta**2)))
            return LogMoment(cooled(node.inner), *law, leading(node.power * beta))
        if isinstance(node, log2cosh):
            return sp.Abs(node.args[0])
        raise ValueError(f"no zero-temperature limit of {node}")

    def averaged(term: sp.Expr) -> sp.Expr:
        if isinstance(term, DiscreteAverage):
            return term.func(averaged(term.body), *term.args[1:])
        if isinstance(term, sp.Mul):
            factor, spin = term.as_independent(Binder, log2cosh, as_Add=False)
            return factor * averaged(spin)
        if isinstance(term, log2cosh):
            return sp.Abs(leading(term.args[0] / beta))
        law = (leading(term.mean / beta), sp.factor(leading(term.variance / beta**2)))
        return GaussianAverage(cooled(term.body), term.var, *law)

    def apply(expr: sp.Expr) -> sp.Expr:
        terms = sp.Add.make_args(_free_entropy(expr))
        spins = [t for t in terms if t.has(Binder, log2cosh)]
        energies = leading(sp.Add(*(t / beta for t in terms if t not in spins)))
        tidy = sp.factor(energies) if energies.is_polynomial() else energies
        return tidy + sp.Add(*map(averaged, spins))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """The energies at a large beta; the recursion with the spin's beta |w|, which scales exactly."""
        before = _free_entropy(before)
        point = {
            s: sp.Rational(3 + 2 * k, 10 + k)
            for k, s in enumerate(sorted(before.free_symbols | after.free_symbols | {V}, key=str))
        }
        large = sp.Integer(10) ** 10
        plain = [sp.Add(*(t for t in sp.Add.make_args(e) if not t.has(Binder))) for e in (before, after)]
        at = {s: v for s, v in point.items() if s != beta}
        left = (plain[0] / beta).subs(scaled).subs(at).subs(beta, large)
        comparisons = [Comparison("energies", sp.N(left, 20), plain[1].subs(at), 1e-8)]
        x = sp.Rational(7, 10)
        comparisons.append(
            Comparison("one spin", sp.N(log2cosh(large * x) / large, 20), sp.N(sp.Abs(x), 20), 1e-9)
        )
        for hot, cold in zip(*(_outer(e) for e in (before, after)), strict=True):
            comparisons.append(Comparison("mean", leading(hot.mean / beta) - cold.mean, sp.S.Zero, 0))
            if isinstance(hot.body, LogMoment) and isinstance(hot.body.inner, log2cosh):
                inverse = sp.Integer(10) ** 6
                body = hot.body.replace(log2cosh, sp.Abs).subs(scaled).subs(at)
                field = {hot.var: inverse * x}
                values = (
                    evaluate_inside(body.subs(beta, inverse).subs(field).unfold()) / inverse,
                    evaluate_inside(cold.body.subs(at).subs(hot.var, x).unfold()),
                )
                comparisons.append(Comparison("recursion", *(sp.N(v, 20) for v in values), 1e-5))
        return tuple(comparisons)

    introduces = (
        (V, "beta (1 - q) of the innermost overlap"),
        *((a, "replicas in a block, over the temperature") for a in slopes(chosen)),
    )
    return Rule(
        "zero temperature",
        Kind.LIMIT,
        apply,
        "beta -> infinity with V = beta (1 - q) and a = beta m finite; Phi/beta -> minus the energy",
        check,
        introduces,
    )


def cooled_magnetisation(moment: sp.Expr, chosen: Any) -> sp.Expr:
    """An average of tanh(w) over the field of a spin, at beta -> infinity: that of its sign."""
    scaled = _scaled(chosen)

    def average(node: GaussianAverage) -> sp.Expr:
        law = (_leading(node.mean / beta, scaled), _leading(node.variance / beta**2, scaled))
        signs = node.body.replace(sp.tanh, sp.sign)
        if signs == sp.sign(node.var) and not law[1].is_positive:
            return FoldedNormal(*law, 1)
        return GaussianAverage(signs, node.var, *law).doit()

    cold = moment.replace(lambda e: isinstance(e, GaussianAverage), average)
    return cold.replace(sp.tanh, lambda x: sp.sign(_leading(x / beta, scaled)))


def _degree(expr: sp.Expr) -> int:
    """Of a rational function in beta: that of the numerator less that of the denominator."""
    above, below = sp.fraction(sp.cancel(sp.together(expr)))
    return sp.degree(above, beta) - sp.degree(below, beta)


def _limit(expr: sp.Expr) -> sp.Expr:
    """Of a rational function at beta -> infinity."""
    above, below = sp.fraction(sp.cancel(sp.together(expr)))
    degree = sp.degree(above, beta) - sp.degree(below, beta)
    if degree > 0:
        raise ValueError(f"{expr} diverges at zero temperature")
    return sp.cancel(sp.LC(above, beta) / sp.LC(below, beta)) if degree == 0 else sp.S.Zero


def _free_entropy(expr: sp.Expr) -> sp.Expr:
    """Phi from Phi/beta."""
    return sp.expand_mul(beta * expr, deep=False)


def _outer(expr: sp.Expr) -> list[GaussianAverage]:
    return [t for t in sp.Add.make_args(expr) if isinstance(t, GaussianAverage)]


def _insert_spin(expr: sp.Expr) -> sp.Expr:
    def innermost(node: Any) -> bool:
        if isinstance(node, LogMoment):
            return isinstance(node.inner, sp.Abs)
        return isinstance(node, GaussianAverage) and isinstance(node.body, sp.Abs)

    def closed(node: Any) -> sp.Expr:
        if isinstance(node, GaussianAverage):
            # a variance that can vanish, with the values of discrete variables, is not divided by
            return node.doit() if node.variance.is_positive else FoldedNormal(node.mean, node.variance, 0)
        return KinkLevel(node.mean, node.variance, node.power, 0, 0)

    return expr.replace(innermost, closed)


def _check_insert_spin(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """By quadrature on both half-lines, at one outer field."""
    nodes = [
        e
        for e in sp.preorder_traversal(before)
        if isinstance(e, LogMoment | GaussianAverage) and isinstance(e.args[0], sp.Abs)
    ]
    comparisons = [Comparison("what surrounds it", _insert_spin(before) - after, sp.S.Zero, 0)]
    for node in nodes:
        at = {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(sorted(node.free_symbols, key=str))}
        found = _insert_spin(node).subs(at)
        shown = node.subs(at)
        direct = shown.unfold() if isinstance(shown, LogMoment) else shown
        comparisons.append(Comparison("a spin in a Gaussian field", sp.N(direct, 12), sp.N(found, 12), 1e-9))
    return tuple(comparisons)


insert_spin = Rule(
    "average of |w|",
    Kind.IDENTITY,
    _insert_spin,
    "Gaussian integrals of exp(a |w|) over two half-lines: phi(w) = (1/a) log E exp(a |u|), u ~ N(w, v)",
    _check_insert_spin,
)
