"""Rules for functionals of the law of signal plus noise: the extensive-rank entropy, de Bruijn's identity
and the identities of the Hilbert transform.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.action import DifferentialEntropy, geometry
from replica.derivation import Comparison, Kind, Printed, Rule
from replica.expr.binder import Binder
from replica.expr.spectral import HilbertTransform, ImaginaryPart, SpectralDensity, SpectralIntegral
from replica.expr.spectral_numeric import evaluate_spectral
from replica.symbols import beta, kappa, q_hat, rho

_POINT = {
    beta: sp.Rational(17, 10),
    rho: sp.Rational(2, 5),
    kappa: sp.Rational(4, 5),
    q_hat: sp.Rational(6, 5),
}


def rotational_entropy(prior: Any) -> Rule:
    """The entropy of a rotationally invariant matrix from its spectral law; normalised on the Gaussian
    matrix, by difference.
    """
    share = geometry(prior.coordinates).share

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(node: DifferentialEntropy) -> sp.Expr:
            observed = prior.log_energy(prior.observed_law(node.args[0]), "Y")
            return (
                share * (sp.log(2 * sp.pi) / 2)
                + share * sp.Rational(1, 2)
                + observed
                - prior.log_energy(prior.noise_law(), "Z")
            )

        terms = sp.Add.make_args(expr.replace(lambda e: isinstance(e, DifferentialEntropy), rewrite))
        return sp.Add(*(t if t.has(Binder) else sp.expand_log(t, force=True) for t in terms))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """The entropy of a Gaussian matrix, known exactly: in a limit the observed signal becomes one."""
        (node,) = before.atoms(DifferentialEntropy)
        written = after - before.xreplace({node: sp.S.Zero})
        times = before.coeff(node)
        limit = prior.gaussian_limit()
        gaussian = share * times * sp.log(2 * sp.pi * sp.E * (limit.variance + 1 / node.args[0])) / 2
        comparisons = []
        for where, weighted in limit.points:
            found = sp.Add(*(weight * _value(written, point) for weight, point in weighted))
            exact = sp.Add(*(weight * sp.N(gaussian.subs(point), 15) for weight, point in weighted))
            comparisons.append(Comparison(f"Gaussian matrix, {where}", exact, found, limit.tolerance))
        return tuple(comparisons)

    return Rule(
        "extensive-rank entropy",
        Kind.LIMIT,
        apply,
        "spherical integral at its Bayes-optimal point: the density of Y depends on its eigenvalues or "
        "singular values alone, whose law concentrates (Guionnet and Zeitouni 2002; arXiv 2203.07752 and "
        "2410.18858)",
        check,
    )


def gaussian_energy(prior: Any) -> Rule:
    """The log-energy of pure noise in closed form; its scale is taken out of the law."""

    def apply(expr: sp.Expr) -> sp.Expr:
        return expr.subs(prior.log_energy(prior.noise_law(), "Z"), prior.noise_log_energy())

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        energy, slot = prior.log_energy(prior.noise_law(), "Z"), sp.Dummy("E")
        left = evaluate_spectral(energy.subs(_POINT))
        (closed,) = sp.solve(before.subs(energy, slot) - after, slot)
        right = sp.N(closed.subs(_POINT), 15)
        return (Comparison(f"log-energy of {prior.noise_name}", sp.sympify(left), right, 1e-10),)

    return Rule(
        "log-energy of pure noise",
        Kind.IDENTITY,
        apply,
        f"the potential of {prior.noise_name} is {prior.noise_potential} plus a constant on its support",
        check,
        shown=_with_laws,
    )


def _with_laws(before: sp.Expr, after: sp.Expr) -> Printed:
    """The result, and the equation of the resolvent of each law that it integrates over."""
    return Printed(after, law_definitions(after))


def law_definitions(expr: sp.Expr) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """The density of each law by its Stieltjes transform g(z), and the equation of that: z by g where it is
    linear in z, else the polynomial that vanishes.
    """
    found = []
    for x, g, law in dict.fromkeys(i.args[1:] for i in sorted(expr.atoms(SpectralIntegral), key=str)):
        z, old = law.bound_symbols
        at = sp.Symbol("z")
        transform = sp.Function(str(g))
        found.append(
            (SpectralDensity(g), -ImaginaryPart(transform(sp.Symbol(rf"{x}+\mathrm{{i}}0"))) / sp.pi)
        )
        polynomial = sp.Poly(law.polynomial, z)
        if polynomial.degree() == 1:
            slope, constant = polynomial.all_coeffs()
            left, right = at, sp.apart(-constant / slope, old)
        else:
            left, right = sp.S.Zero, sp.Add(*(c * old**k for k, c in enumerate(reversed(law.coefficients()))))
        found.append((left, right.subs({old: transform(at), z: at}, simultaneous=True)))
    return tuple(found)


def de_bruijn(prior: Any) -> Rule:
    """d E[law of S + sqrt(t) Z]/dt = J/2: the entropy grows at half the Fisher information.  Here t =
    1/q_hat.
    """
    observed = prior.observed_law(q_hat)
    energy = prior.log_energy(observed, "Y")

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(node: sp.Derivative) -> sp.Expr:
            slot = sp.Dummy("E")
            function = node.expr.subs(energy, slot)
            if function.has(SpectralIntegral):
                raise ValueError("a spectral integral that is not the log-energy of the observed signal")
            slope = sp.diff(1 / q_hat, q_hat) * prior.fisher_information(observed, "Y") / 2
            return function.diff(q_hat) + function.diff(slot) * slope

        return sp.expand_mul(expr.replace(lambda e: isinstance(e, sp.Derivative), rewrite))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """Finite differences in q_hat of what is differentiated."""
        step, middle = sp.Rational(1, 100), _POINT[q_hat]
        (node,) = before.atoms(sp.Derivative)

        def at(value: sp.Expr) -> sp.Expr:
            return _value(node.expr, _POINT | {q_hat: value})

        near, far = ((at(middle + k * step) - at(middle - k * step)) / (2 * k * step) for k in (1, 2))
        left = _value(before.xreplace({node: (4 * near - far) / 3}), _POINT)
        return (Comparison("d/dq_hat", left, _value(after, _POINT), 1e-7),)

    return Rule(
        "de Bruijn's identity",
        Kind.IDENTITY,
        apply,
        "A. J. Stam, Inf. Control 2 (1959) 101; the score is the gradient of the log-energy",
        check,
    )


def hilbert_identities() -> Rule:
    r"""\int rho h dx = 0 and \int x^k rho h^2 dx = (pi^2/3) \int x^k rho^3 dx for k = 0, 1 (take the large-z
    terms of g^2 and of z^k g^3).
    """

    def apply(expr: sp.Expr) -> sp.Expr:
        simplified = expr.replace(lambda e: isinstance(e, SpectralIntegral), _simplified)
        return sp.Add(*(_number_inside(term) for term in sp.Add.make_args(simplified)))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        return (Comparison("spectral integrals", _value(before, _POINT), _value(after, _POINT), 1e-9),)

    return Rule(
        "identities of the Hilbert transform",
        Kind.IDENTITY,
        apply,
        "large-z expansion of g^2, g^3 and z g^3",
        check,
        shown=_with_laws,
    )


def _value(expr: sp.Expr, point: dict[sp.Symbol, sp.Expr]) -> sp.Expr:
    """At numbers, the integrals by NumPy."""
    integrals = expr.atoms(SpectralIntegral)
    return expr.xreplace({i: sp.Float(evaluate_spectral(i.subs(point))) for i in integrals}).subs(point)


def _simplified(node: SpectralIntegral) -> SpectralIntegral:
    """The identities applied term by term.

    The coefficients stay inside the integral: at beta = 1 the coefficient of rho/x vanishes where its
    integral diverges.
    """
    body, x, g, law = node.args
    density, hilbert = SpectralDensity(g), HilbertTransform(g)
    total: dict[sp.Expr, sp.Expr] = {}
    for term in sp.Add.make_args(sp.expand(body)):
        coefficient, inside = term.as_independent(x, g)
        if inside == density * hilbert:
            continue
        for power in (sp.S.One, x):
            if inside == power * density * hilbert**2:
                coefficient, inside = coefficient * sp.pi**2 / 3, power * density**3
        total[inside] = total.get(inside, sp.S.Zero) + coefficient
    return SpectralIntegral(sp.Add(*(sp.factor(c) * f for f, c in total.items())), x, g, law)


def _number_inside(term: sp.Expr) -> sp.Expr:
    """A number in front of a spectral integral, put under it."""
    number, rest = term.as_coeff_Mul()
    _, integral = rest.as_independent(SpectralIntegral, as_Add=False)
    if number == 1 or not isinstance(integral, SpectralIntegral):
        return term
    body, *bound = integral.args
    return rest.xreplace({integral: SpectralIntegral(number * body, *bound)})
