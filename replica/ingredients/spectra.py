r"""Laws of random-matrix spectra as objects, with the operations of free probability.

A law is known by the polynomial P(z, g) = 0 of its Stieltjes transform g(z) = \int rho(x) dx/(z - x), and by
its logarithmic potential U(z) = \int rho(x) log(z - x) dx, a closed form in (z, g).  Each operation states
how the transform of the new law is *subordinated* to that of the old one, g_old = B(z, g) at the point z_old
= A(z, g); the new polynomial is the elimination of (z_old, g_old) between these relations and the old
polynomial, and the new potential follows from dU = g dz.  Nothing is pasted.

====================  =======================================================================================
object                normalisation
====================  =======================================================================================
``point_mass(t)``     all eigenvalues equal t (t = 0: the zero matrix, of any shape)
``plus_wigner``       A + sqrt(variance) W, W symmetric with entries of variance 1/N
``plus_gaussian``     (A + sqrt(variance) Z)(A + sqrt(variance) Z)^T/columns; the law: that of A A^T/columns
``gaussian_product``  G A A^T G^T/(inner columns), G of shape rows x inner with iid N(0, 1) entries
``transposed``        from M M^T/columns to M^T M/columns: the same nonzero eigenvalues
``scaled``            all eigenvalues times a factor
====================  =======================================================================================

Aspects are ratios: ``aspect`` = rows/columns, ``inner`` = inner dimension/rows.

Sources: R. B. Dozier and J. W. Silverstein, J. Multivariate Anal. 98 (2007) 678 (information plus noise);
J. W. Silverstein and Z. D. Bai, J. Multivariate Anal. 54 (1995) 175 (sample covariance matrices);
L. A. Pastur, Theor. Math. Phys. 10 (1972) 67 (deformed Wigner matrices).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from functools import lru_cache

import sympy as sp

# bound in every law: dummies, so that no symbol of a user can be mistaken for them; numbered, so that
# processes agree
z = sp.Dummy("z", dummy_index=1_000_001)
g = sp.Dummy("g", dummy_index=1_000_002)


class Law(sp.Basic):
    r"""A spectral law: ``Law(polynomial, log_potential, nonnegative)``, expressions in the module's (z, g).

    ``nonnegative`` says that the support lies in x >= 0, so that x = s^2 is a good variable of integration
    (a hard edge at 0 becomes regular).

    >>> import sympy as sp
    >>> point_mass(0).plus_wigner(1).polynomial           # Wigner's semicircle
    -_g**2 + _g*_z - 1
    """

    def __new__(cls, polynomial: sp.Expr, log_potential: sp.Expr, nonnegative: sp.Basic | bool) -> Law:
        """Sympify the arguments."""
        return sp.Basic.__new__(
            cls, sp.sympify(polynomial), sp.sympify(log_potential), sp.true if nonnegative else sp.false
        )

    @property
    def polynomial(self) -> sp.Expr:
        """P(z, g), irreducible, whose root g(z) ~ 1/z at infinity is the Stieltjes transform."""
        return self.args[0]

    @property
    def log_potential(self) -> sp.Expr:
        """U(z, g); its real part on the support is the integral of rho(y) log|x - y|."""
        return self.args[1]

    @property
    def nonnegative(self) -> bool:
        """Whether the support lies in x >= 0."""
        return bool(self.args[2])

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """The parameters: everything but the bound (z, g)."""
        return super().free_symbols - {z, g}

    @property
    def bound_symbols(self) -> list[sp.Symbol]:
        """The bound (z, g)."""
        return [z, g]

    def coefficients(self) -> tuple[sp.Expr, ...]:
        """The coefficients of the polynomial in g, highest power first, as functions of z and the parameters.

        Each power of z carries a factored coefficient: what vanishes at a special aspect vanishes exactly in
        floats.
        """
        return tuple(_collected(c) for c in sp.Poly(self.polynomial, g).all_coeffs())

    @property
    def branch_polynomial(self) -> tuple[sp.Expr, ...]:
        """Coefficients in z (highest first) of the polynomial whose roots contain every edge of the support.

        The product of the factors of the discriminant of P in g of odd multiplicity, and of the leading
        coefficient of P (where a root goes to infinity: a hard edge), each taken once.
        """
        return _branch_polynomial(self)

    def stieltjes_derivative(self, parameter: sp.Symbol) -> sp.Expr:
        """dg/d(parameter) at fixed z, by implicit differentiation: -P_parameter/P_g.

        Written with the collected coefficients: at a hard edge both are differences that must cancel exactly.
        """
        powers = list(enumerate(reversed(self.coefficients())))
        by_parameter = sp.Add(*(_collected(c.diff(parameter)) * g**k for k, c in powers))
        return -by_parameter / sp.Add(*(k * c * g ** (k - 1) for k, c in powers if k))

    def _subordinated(
        self, old_z: sp.Expr, old_g: sp.Expr, potential: sp.Expr, *, nonnegative: bool | None = None
    ) -> Law:
        """The law with g_old(old_z(z, g)) = old_g(z, g) and U = U_old + potential."""
        substitution = {z: old_z, g: old_g}
        relation = sp.numer(sp.together(self.polynomial.subs(substitution, simultaneous=True)))
        return Law(
            physical_factor(relation),
            self.log_potential.subs(substitution, simultaneous=True) + potential,
            self.nonnegative if nonnegative is None else nonnegative,
        )

    def plus_wigner(self, variance: sp.Expr | int) -> Law:
        """Free additive convolution with a semicircle: g(z) = g_A(z - variance g)."""
        v = sp.sympify(variance)
        return self._subordinated(z - v * g, g, v * g**2 / 2, nonnegative=False)

    def plus_gaussian(self, variance: sp.Expr | int, aspect: sp.Expr | int) -> Law:
        """Law of (A + sqrt(variance) Z)(A + sqrt(variance) Z)^T/columns from that of A A^T/columns.

        With a = 1 - variance aspect g: g/a = g_A(a^2 z - a variance (1 - aspect)) (Dozier and Silverstein
        2007, eq. 1.1).
        """
        v, c = sp.sympify(variance), sp.sympify(aspect)
        a = 1 - v * c * g
        old_z, old_g = a**2 * z - a * v * (1 - c), g / a
        return self._subordinated(
            old_z, old_g, v * c * old_z * old_g**2 + (1 - c) / c * (1 / a - 1 + sp.log(a)), nonnegative=True
        )

    def gaussian_product(self, inner: sp.Expr | int) -> Law:
        r"""Law of G T G^T/inner dimension, from that of T (inner x inner); ``inner`` = inner dimension/rows.

        z = 1/g + inner \\int t/(inner - t g) dT(t) (Silverstein and Bai 1995, eq. 1.1), solved for
        g_T(inner/g).
        """
        r = sp.sympify(inner)
        potential = g * z - 1 - sp.log(g) + r * (sp.log(g) - sp.log(r))
        old_z, old_g = r / g, g * (r - 1 + g * z) / r**2
        old = self.log_potential.subs({z: old_z, g: old_g}, simultaneous=True)
        return self._subordinated(old_z, old_g, potential + (r - 1) * old, nonnegative=self.nonnegative)

    def transposed(self, aspect: sp.Expr | int) -> Law:
        """From M M^T/columns (aspect = rows/columns) to M^T M/columns: g = aspect g_M + (1 - aspect)/z."""
        c = sp.sympify(aspect)
        old_g = (g - (1 - c) / z) / c
        old = self.log_potential.subs(g, old_g)
        return self._subordinated(z, old_g, (c - 1) * old + (1 - c) * sp.log(z))

    def scaled(self, factor: sp.Expr | int) -> Law:
        """All eigenvalues times a positive factor."""
        f = sp.sympify(factor)
        return self._subordinated(z / f, f * g, sp.log(f))


def point_mass(t: sp.Expr | int) -> Law:
    """All eigenvalues equal to t: g = 1/(z - t)."""
    t = sp.sympify(t)
    return Law(sp.expand(g * (z - t) - 1), sp.log(z - t), bool(t.is_nonnegative))


def gaussian_matrix(aspect: sp.Expr | int) -> Law:
    """Z Z^T/columns for Z with iid N(0, 1) entries: the Marchenko-Pastur law; aspect = rows/columns."""
    return point_mass(0).plus_gaussian(1, aspect)


def gaussian_factors(beta: sp.Expr | int, rho: sp.Expr | int) -> Law:
    """S S^T/L for S = U V^T/sqrt(r), U of shape d x r and V of shape L x r; beta = L/d, rho = r/d.

    V^T V/L is an r x r Gaussian matrix law of aspect r/L = rho/beta; U multiplies it from the left.
    """
    beta, rho = sp.sympify(beta), sp.sympify(rho)
    return gaussian_matrix(rho / beta).gaussian_product(rho)


@lru_cache(maxsize=64)
def _branch_polynomial(law: Law) -> tuple[sp.Expr, ...]:
    discriminant = sp.discriminant(law.polynomial, g)
    factors = {f for f, power in sp.factor_list(discriminant, z)[1] if power % 2 and f.has(z)}
    factors |= {f for f, _ in sp.factor_list(law.coefficients()[0], z)[1] if f.has(z)}
    product = sp.Mul(*sorted(factors, key=sp.default_sort_key))
    return tuple(sp.factor(c) for c in sp.Poly(product, z).all_coeffs())


def _collected(coefficient: sp.Expr) -> sp.Expr:
    return sp.collect(sp.expand(coefficient), z, sp.factor)


def physical_factor(relation: sp.Expr) -> sp.Expr:
    """The irreducible factor of a polynomial relation that admits g = 1/z + O(1/z^2) at infinity.

    A Stieltjes transform of a probability law has this expansion; the other factors come from the
    elimination.
    """
    u = sp.Dummy("u")
    found = []
    for factor, _ in sp.factor_list(relation, z, g)[1]:
        if not factor.has(g):
            continue
        at_infinity = sp.Poly(sp.numer(sp.together(factor.subs(g, u / z))), z).LC()
        if sp.expand(at_infinity.subs(u, 1)) == 0:
            found.append(factor)
    if len(found) != 1:
        raise ValueError(f"expected one factor with g ~ 1/z at infinity, found {len(found)}")
    return sp.expand(found[0])
