"""Averages over outputs and shared field of what a loss does to a field, with no proximal operator to solve.

With s the argument (residual or margin) at the shared field omega and u that at the minimum, s = u + V l'(u)
inside a smooth piece: the average is an integral over u, with ds = (1 + V l'') du.  At a kink u stays and the
subgradient g moves, s = u + V g: an integral over g between the two slopes.  All limits are fixed, so
derivatives go under the integrals, and nothing is iterated (Newton on the proximal operator of the logistic
loss fails at large V).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false, reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from replica.action import nodes_of
from replica.channel_rules import evidence_by_output
from replica.derivation import Comparison, Kind, Printed, Rule
from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.numeric import mp_function
from replica.expr.stable import normal_density
from replica.ingredients.convex import Kink, Smooth, U, on_branches
from replica.risk_action import Evidence, Extremum, Moreau
from replica.risk_ground_rules import tidy
from replica.risk_rules import F_OUT, G, point_for, with_evidence
from replica.symbols import V, h, m, omega, q, y
from solvers.errors import InputError

S = sp.Symbol("s", real=True)
LABELS = sp.FiniteSet(-1, 1)


def additive_noise(channel: Any) -> sp.Expr | None:
    """Delta of a channel y = h + sqrt(Delta) z, None for another channel."""
    density = channel.density(y, h)
    if isinstance(density, normal_density) and density.args[:2] == (y, h) and not density.args[2].has(y, h):
        return density.args[2]
    return None


def check_supported(channel: Any, loss: Any) -> None:
    """Raise InputError for a loss of the margin without labels, and for outputs that are neither labels nor
    the field with Gaussian noise.
    """
    if channel.outputs == LABELS:
        return
    if loss.margin:
        raise InputError(
            f"the {loss.name} loss needs outputs -1 and 1, the channel {channel.name} has others"
        )
    if additive_noise(channel) is None:
        raise InputError(
            f"empirical risk needs outputs -1 and 1 or the field with Gaussian noise, not {channel.name}"
        )


class Quantity:
    """A function of output and shared field, in the variables that the integrals use.

    ``of(y, s, u, g, slope)``: s the argument at omega, u at the minimum, g = l'(u) = (s - u)/V, slope =
    dg/ds.
    """

    def __init__(self, expr: sp.Expr, loss: Any) -> None:
        self.expr, self.loss = expr, loss

    def at(
        self, output: sp.Expr, s: sp.Expr, u: sp.Expr, g: sp.Expr, slope: sp.Expr, value: sp.Expr
    ) -> sp.Expr:
        """Named functions in their place: f = -c g, c = d(argument)/dh of square 1, M = V g^2/2 + l(u)."""
        c = self.loss.orientation(y)
        named = self.expr.replace(
            lambda e: isinstance(e, sp.Derivative) and e.expr == F_OUT, lambda e: -slope
        )
        named = named.replace(F_OUT.func, lambda *_: -c * g)
        named = named.replace(lambda e: isinstance(e, Moreau), lambda e: V * g**2 / 2 + value)
        named = named.replace(lambda e: e == TRAINING, lambda e: value)
        return named.subs(y, output)


TRAINING = sp.Function("l")(y, omega, V)
"""The loss at the minimum, loss(y, prox), by name."""


def _weights(
    channel: Any, loss: Any, second_moment: sp.Expr, order: int
) -> list[tuple[sp.Expr, Callable[[sp.Expr], sp.Expr]]]:
    """(output, density of s times the order-th derivative of the evidence), one entry an output.

    Real outputs with Gaussian noise: the residual is Gaussian of variance tau^2 = E (y - omega)^2, and
    d log Z_0/domega = (y - omega_0)/variance has the mean s/tau^2 given s.
    """
    if channel.outputs == LABELS:
        variance = second_moment - m**2 / q
        field = {v: (lambda s, v=v: loss.field(sp.Integer(v), s)) for v in (1, -1)}

        def weight(v: int) -> Callable[[sp.Expr], sp.Expr]:
            def at(s: sp.Expr) -> sp.Expr:
                point = field[v](s)
                centre = sp.expand(v * point)  # the density is even: mirror images look alike
                evidence = with_evidence(Evidence(sp.Integer(v), m * point / q, variance, order), channel)
                return normal_density(centre, 0, q) * evidence

            return at

        return [(sp.Integer(v), weight(v)) for v in (1, -1)]
    tau2 = residual_variance(channel, second_moment)
    return [(y, lambda s: normal_density(s, 0, tau2) * (s / tau2) ** order)]


def residual_variance(channel: Any, second_moment: sp.Expr) -> sp.Expr:
    """E (y - omega)^2 = rho - 2 m + q + Delta: (m/q - 1) omega plus the teacher's spread plus noise."""
    return sp.expand((m / q - 1) ** 2 * q + second_moment - m**2 / q + additive_noise(channel))


def average(expr: sp.Expr, order: int, channel: Any, loss: Any, second_moment: sp.Expr) -> sp.Expr:
    """E_omega int dy d^order Z_0 expr, in closed form where the pieces are quadratic, else by pieces."""
    closed = _closed(Quantity(expr, loss), order, channel, loss, second_moment)
    if closed is not None:
        return closed
    if channel.outputs == LABELS:
        loss = loss.on_labels()  # mirror images for more losses
    return _by_pieces(Quantity(expr, loss), order, channel, loss, second_moment)


def _closed(
    quantity: Quantity, order: int, channel: Any, loss: Any, second_moment: sp.Expr
) -> sp.Expr | None:
    profile = loss.profile()
    if not profile.quadratic or (channel.outputs == LABELS and profile.breaks):
        return None  # half-lines times ndtr: no closed form
    branches = profile.branches(S, V)
    bodies = []
    for branch in branches:
        g = sp.cancel((S - branch.minimiser) / V)
        value = sp.cancel(branch.value - V * g**2 / 2)
        bodies.append((branch.minimiser, g, g.diff(S), value))
    if channel.outputs == LABELS:
        total = sp.S.Zero
        for v in (1, -1):
            s = loss.argument(sp.Integer(v), omega)
            evidence = with_evidence(
                Evidence(sp.Integer(v), m * omega / q, second_moment - m**2 / q, order), channel
            )
            ((u, g, slope, value),) = bodies
            if evidence.has(GaussianAverage):
                return None  # no closed evidence, no closed average of it
            total += evidence * quantity.at(sp.Integer(v), S, u, g, slope, value).subs(S, s)
        result = GaussianAverage(sp.expand(total), omega, 0, q).doit()
    else:
        tau2 = residual_variance(channel, second_moment)
        parts = tuple(sp.expand(quantity.at(y, S, *b) * (S / tau2) ** order) for b in bodies)
        result = GaussianAverage(sp.expand(on_branches(branches, S, parts)), S, 0, tau2).doit()
    if sp.sympify(result).has(GaussianAverage):
        return None
    return tidy(result)


def _by_pieces(quantity: Quantity, order: int, channel: Any, loss: Any, second_moment: sp.Expr) -> sp.Expr:
    weights = _weights(channel, loss, second_moment, order)
    terms = []
    for part in loss.profile().segments():
        if isinstance(part, Kink):
            s, jacobian = part.at + V * G, V
            known = (part.at, G, 1 / V, part.value)
            variable, ends = G, (part.lower, part.upper)
        else:
            u, piece = _from_its_end(part)
            s, jacobian = u + V * piece.slope, 1 + V * piece.curvature
            known = (u, piece.slope, piece.curvature / jacobian, piece.value)
            variable, ends = U, (piece.lower, piece.upper)
        # the sum over outputs before s is written out, so that mirror images merge
        body = sp.Add(*(density(S) * quantity.at(v, S, *known) for v, density in weights))
        body = jacobian * sp.factor_terms(sp.expand(body)).subs(S, s)
        if body != 0:
            domain = sp.S.Reals if ends == (-sp.oo, sp.oo) else sp.Interval(*ends)
            terms.append(OutputSum(body, variable, domain))
    return sp.Add(*terms)


def _from_its_end(part: Smooth) -> tuple[sp.Expr, Smooth]:
    """(u, the piece) in the distance from its end where it has one: large V presses u against it."""
    ends = [e for e in (part.lower, part.upper) if e.is_finite]
    if len(ends) != 1 or ends == [0]:
        return U, part
    (end,) = ends
    u = end + U
    value, slope, curvature = (sp.expand(e.subs(U, u)) for e in (part.value, part.slope, part.curvature))
    return u, Smooth(part.lower - end, part.upper - end, value, slope, curvature)


def insert_loss(channel: Any, loss: Any, second_moment: sp.Expr) -> Rule:
    """The channel and the loss in place of their names."""

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(node: GaussianAverage) -> sp.Expr:
            (evidence,) = nodes_of(node, Evidence)
            total = node.body
            prefactor, total = total.as_independent(OutputSum, as_Add=False)
            rest = sp.expand(total.body / evidence)
            return prefactor * average(rest, int(evidence.args[3]), channel, loss, second_moment)

        return expr.replace(lambda e: isinstance(e, GaussianAverage) and e.has(Evidence), rewrite)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        (node,) = [e for e in nodes_of(before, GaussianAverage) if e.has(Evidence)]
        at = point_for(before, after, channel.density(y, h))
        # the sum of the rest is untouched: compare the node alone
        return (
            Comparison(
                "by the proximal operator, found by bisection",
                by_proximal_operator(node, channel, loss, at),
                sp.N(apply(node).subs(at), 15),
                1e-8,
            ),
        )

    def shown(before: sp.Expr, after: sp.Expr) -> Printed | None:
        return Printed(before, named_functions(channel, loss)) if after.has(OutputSum) else None

    return Rule(
        "loss and channel",
        Kind.IDENTITY,
        apply,
        "s = u + V l'(u): integrals over the minimiser and, at kinks, over the subgradient",
        check,
        shown=shown,
    )


def named_functions(channel: Any, loss: Any) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """The output function, the Moreau envelope of the loss and the evidence of the teacher's channel."""
    envelope = Moreau(y, omega, V, 0)
    minimum = Extremum((h - omega) ** 2 / (2 * V) + loss.value(y, h), h, sp.S.NegativeOne)
    evidence = ((Evidence(at, omega, V, 0), value) for at, value in evidence_by_output(channel))
    return ((F_OUT, -sp.Derivative(envelope, omega)), (envelope, minimum), *evidence)


def by_proximal_operator(node: GaussianAverage, channel: Any, loss: Any, at: dict[Any, Any]) -> Any:
    """E_omega int dy of a named quantity by mpmath, the minimiser found by bisection on its stationarity.

    The witness of ``average``: it knows neither branches nor the change of variable.  Real outputs are
    averaged in the pair (omega, y - omega).
    """
    import mpmath

    (evidence,) = nodes_of(node, Evidence)
    rest = sp.expand(node.body.body / evidence)
    order = int(evidence.args[3])
    profile = loss.profile()
    slopes = mp_function(profile.cases([p.slope for p in profile.smooth()]).subs(at), (U,))
    curve = mp_function(profile.cases([p.curvature for p in profile.smooth()]).subs(at), (U,))
    value = mp_function(profile.at(U).subs(at), (U,))
    variance = mpmath.mpf(sp.Rational(at[V]).p) / sp.Rational(at[V]).q
    kinks = [mpmath.mpf(sp.N(k.at.subs(at), 20)) for k in profile.kinks()]

    def minimiser(s: Any) -> Any:
        low, high = s - 60 * variance - 60, s + 60 * variance + 60
        for _ in range(90):
            middle = (low + high) / 2
            low, high = (low, middle) if middle + variance * slopes(middle) > s else (middle, high)
        return (low + high) / 2

    u_, g_, slope_, value_ = sp.symbols("u_ g_ slope_ value_", real=True)
    quantity = mp_function(
        Quantity(rest, loss).at(y, S, u_, g_, slope_, value_).subs(at), (y, u_, g_, slope_, value_)
    )
    spread = node.variance.subs(at)

    def body(output: Any, s: Any) -> Any:
        u = minimiser(s)
        kink = any(abs(u - k) < mpmath.mpf(10) ** -12 for k in kinks)
        c = curve(u)
        slope = 1 / variance if kink else c / (1 + variance * c)
        return quantity(output, u, (s - u) / variance, slope, value(u))

    breaks = [
        k + variance * g
        for p in profile.kinks()
        for k, g in (
            (mpmath.mpf(sp.N(p.at.subs(at), 20)), mpmath.mpf(sp.N(e.subs(at), 20)))
            for e in (p.lower, p.upper)
        )
    ]
    breaks += [b + variance * slopes(b) for b in (mpmath.mpf(sp.N(x.subs(at), 20)) for x in profile.breaks)]
    with mpmath.workdps(20):
        if channel.outputs == LABELS:
            total = mpmath.mpf(0)
            sd = mpmath.sqrt(mpmath.mpf(sp.N(spread, 20)))
            for v in (1, -1):
                named = Evidence(sp.Integer(v), *evidence.args[1:3], order)
                weight = mp_function(with_evidence(named, channel).subs(at), (omega,))
                ends = sorted({-12 * sd, mpmath.mpf(0), 12 * sd, *(loss.field(v, t) for t in breaks)})
                ends = [e for e in ends if abs(e) <= 12 * sd]
                total += mpmath.quad(
                    lambda o, v=v, weight=weight: (
                        mpmath.npdf(o, 0, sd) * weight(o) * body(v, loss.argument(v, o))
                    ),
                    ends,
                    maxdegree=6,
                )
            return total
        # (omega, s) jointly Gaussian: the score of Z_0 is linear, so its mean given s is a regression on s
        noise = additive_noise(channel).subs(at)
        mean, var0 = (sp.N(x.subs(at), 20) for x in (evidence.args[1] / omega, evidence.args[2]))
        spread, noise = sp.N(spread, 20), sp.N(noise, 20)
        residual = mpmath.mpf((mean - 1) ** 2 * spread + var0 + noise)
        sd = mpmath.sqrt(residual)
        ends = sorted({-12 * sd, 12 * sd, *(t for t in breaks if abs(t) < 12 * sd)})
        return mpmath.quad(
            lambda s: mpmath.npdf(s, 0, sd) * (s / residual) ** order * body(0, s), ends, maxdegree=6
        )
