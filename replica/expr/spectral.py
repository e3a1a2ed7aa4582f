r"""Integrals over the support of a spectral law, with the value of its Stieltjes transform bound beside x.

``SpectralIntegral(body, x, g, law)`` is the integral of body(x, g(x + i0)) dx over the support.  With the
nodes ``SpectralDensity(g)`` = rho(x) = -Im g/pi and ``HilbertTransform(g)`` = Re g every functional of a law
known by its polynomial is such an integral, and its derivative in a parameter is another one, since dg =
-(dP/dparameter)/(dP/dg).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.expr.binder import Binder


class _Part(sp.Function):
    """A real-linear function of one complex argument: differentiates through, evaluates nothing by itself."""

    is_real = True
    is_commutative = True

    @classmethod
    def eval(cls, *args: sp.Expr) -> None:
        """Never: an unevaluated part prints and lowers as it stands."""
        return None

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        inner = self.args[0].diff(s)
        return sp.S.Zero if inner == 0 else self._linear(inner)

    def _linear(self, inner: sp.Expr) -> sp.Expr:
        raise TypeError(f"{type(self).__name__} must say how it differentiates")


class RealPart(_Part):
    """Re of a complex expression."""

    def _linear(self, inner: sp.Expr) -> sp.Expr:
        return RealPart(inner)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        text = rf"\operatorname{{Re}}\left[{printer._print(self.args[0])}\right]"
        return text if exp is None else rf"{text}^{{{exp}}}"


class ImaginaryPart(_Part):
    """Im of a complex expression."""

    def _linear(self, inner: sp.Expr) -> sp.Expr:
        return ImaginaryPart(inner)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        text = rf"\operatorname{{Im}}\left[{printer._print(self.args[0])}\right]"
        return text if exp is None else rf"{text}^{{{exp}}}"


def _index(g: sp.Basic) -> str:
    """The subscript of a law in print: that of the bound symbol of its Stieltjes transform (g_Y -> _{Y})."""
    _, _, label = str(g).partition("_")
    return f"_{{{label}}}" if label else ""


def _plain_index(g: sp.Basic) -> str:
    _, _, label = str(g).partition("_")
    return f"_{label}" if label else ""


class SpectralDensity(_Part):
    """rho(x) = -Im g(x + i0)/pi."""

    is_nonnegative = True

    def _linear(self, inner: sp.Expr) -> sp.Expr:
        return -ImaginaryPart(inner) / sp.pi

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\varrho{_index(self.args[0])}{power}(x)"

    def _sympystr(self, printer: Any) -> str:
        return f"rho{_plain_index(self.args[0])}(x)"


class HilbertTransform(_Part):
    """h(x) = Re g(x + i0), the principal value of the integral of rho(y)/(x - y)."""

    def _linear(self, inner: sp.Expr) -> sp.Expr:
        return RealPart(inner)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"h{_index(self.args[0])}{power}(x)"

    def _sympystr(self, printer: Any) -> str:
        return f"h{_plain_index(self.args[0])}(x)"


class LogPotential(sp.Function):
    """U(x) = Re of the integral of rho(y) log(x - y); arguments: its closed form in (x, g), and g, whose
    index it prints.
    """

    is_real = True
    is_commutative = True

    @classmethod
    def eval(cls, *args: sp.Expr) -> None:
        """Never."""
        return None

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        inner = self.args[0].diff(s)
        return sp.S.Zero if inner == 0 else RealPart(inner)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        text = rf"\int\!\varrho{_index(self.args[1])}(x')\log|x-x'|\,\mathrm{{d}}x'"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"

    def _sympystr(self, printer: Any) -> str:
        return f"U{_plain_index(self.args[1])}(x)"


def unfold_parts(expr: sp.Expr) -> sp.Expr:
    """The named parts as plain real and imaginary parts, for lowering."""
    return expr.replace(SpectralDensity, lambda a: -ImaginaryPart(a) / sp.pi).replace(
        lambda e: isinstance(e, HilbertTransform | LogPotential), lambda e: RealPart(e.args[0])
    )


class SpectralIntegral(Binder):
    r"""The integral of body(x, g(x + i0)) dx over the support of ``law``; x and g are bound in the body only.

    The derivative in a parameter is taken under the integral: the body must vanish at the moving edges (every
    functional proportional to the density does).
    """

    binds = 2

    @property
    def law(self) -> Any:
        """The law integrated over."""
        return self.args[3]

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        body, x, g, law = self.args
        if s not in self.free_symbols:
            return sp.S.Zero
        if s in (x, g):
            return self.renamed()._eval_derivative(s)
        if s in law.free_symbols:
            moving = sp.Function("g_moving")(s)
            at_node = dict(zip(law.bound_symbols, (x, g), strict=True))
            from_law = law.stieltjes_derivative(s).subs(at_node, simultaneous=True)
            total = body.subs(g, moving).diff(s).subs(moving.diff(s), from_law).subs(moving, g)
        else:
            total = body.diff(s)
        return sp.S.Zero if total == 0 else SpectralIntegral(total, x, g, law)

    def _latex(self, printer: Any) -> str:
        body = printer._print(self.body)
        if self.body.is_Add:
            body = rf"\left({body}\right)"
        return rf"\int\!\mathrm{{d}}x\;{body}"

    def _sympystr(self, printer: Any) -> str:
        return f"int dx [{printer._print(self.args[0])}]"


class PairIntegral(SpectralIntegral):
    """The integral of a density times its logarithmic potential, printed as a double integral; for print."""

    def _latex(self, printer: Any) -> str:
        (potential,) = self.body.atoms(LogPotential)
        density = SpectralDensity(potential.args[1])
        rest = self.body / (potential * density)
        index = _index(potential.args[1])
        pair = rf"\varrho{index}(x)\varrho{index}(x')\log|x-x'|"
        before = "" if rest == 1 else printer._print(rest) + " "
        return rf"\iint\!\mathrm{{d}}x\,\mathrm{{d}}x'\;{before}{pair}"
