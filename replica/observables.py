r"""Observables of Bayes-optimal models, derived from the channel and from the free entropy.

====================  =====================================================================================
observable            definition and normalisation
====================  =====================================================================================
generalisation_error  error of the Bayes-optimal prediction of a new output y.  Finitely many outputs: the
                      probability that the most probable one is wrong, E_omega [1 - max_y Z_out(y|omega)].
                      Real outputs and counts: E (y - E[y|omega])^2, the noise of y included
gibbs_error           the same for a prediction drawn from the posterior: y' ~ P_out(.|x'), x' a sample of
                      the posterior.  Finitely many outputs: P(y' != y) = E_omega [1 - sum_y Z_out^2]; real
                      outputs and counts: E (y - y')^2, which is twice the error above
training_loss         -E log P_out(y|h) per sample, in nats, h the field of a sample of the posterior at a
                      training output; by exchangeability h may as well be the teacher's field
training_error        outputs g(h) + noise of variance Delta: E (y - E[g(h)|data])^2 at the training samples
log_loss              -E log Z_out(y|omega) per new sample, in nats: -dPhi/dalpha
field_mmse            E (h - E[h|data])^2 at the training samples; for new ones it is V
mutual_information    I(signal; outputs | inputs) in the units of Phi, in nats
====================  =====================================================================================

Here omega ~ N(0, c q) is the mean of the field of a new sample, V = c (E x^2 - q) its variance given the data
and Z_out(y|omega) = E_{h ~ N(omega, V)} P_out(y|h) the predictive law.  For noiseless labels the two errors
are those of M. Opper and D. Haussler, Phys. Rev. Lett. 66 (1991) 2677, arccos(sqrt q)/pi and arccos(q)/pi for
the sign.  What holds at the saddle point of largest Phi is what the data say; at any other it is the value of
that branch.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy as sp

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.logsum import stable_log
from replica.expr.polynomials import affine_coefficients, polynomial_coefficients
from replica.expr.stable import normal_density, xlogx
from replica.symbols import V, h, omega, y

PHI = sp.Symbol("Phi", real=True)
"""The free entropy at the solution, in an observable."""


@dataclass(frozen=True)
class Decision:
    """1 - E_omega max_k Z_k(omega), omega ~ N(0, variance): how often the most probable of several is wrong.

    The maximum switches where two of the Z_k cross, at places that only numbers tell.  ``within`` writes the
    error for a given order of decisions; it is stationary in those places.
    """

    probabilities: tuple[sp.Expr, ...]
    variance: sp.Expr

    @property
    def expression(self) -> sp.Expr:
        """As written in a paper."""
        best = sp.Max(*self.probabilities, evaluate=False)
        return GaussianAverage(1 - best, omega, 0, self.variance)

    def within(self, chosen: Sequence[int], places: Sequence[sp.Symbol]) -> sp.Expr:
        """The error when Z_{chosen[0]} is believed up to places[0], then Z_{chosen[1]}, and so on."""
        # theta(omega - a) - theta(omega - b), with theta = 1 from the left end on and 0 from the right one
        steps = [sp.S.One, *(sp.Heaviside(omega - place) for place in places), sp.S.Zero]
        wrong = [sp.Add(*self.probabilities[:k], *self.probabilities[k + 1 :]) for k in chosen]
        body = sp.Add(*(w * (steps[i] - steps[i + 1]) for i, w in enumerate(wrong)))
        return GaussianAverage(body, omega, 0, self.variance)


Observable = sp.Expr | Decision


def labels(channel: Any) -> tuple[sp.Expr, ...]:
    """The outputs where they are finitely many, in increasing order; else nothing."""
    parts = [part for part, _ in channel.pieces(y, h)]
    if not all(isinstance(part, sp.FiniteSet) for part in parts):
        return ()
    return tuple(sorted(value for part in parts for value in part))


def prediction_errors(channel: Any, shared: sp.Expr, variance: sp.Expr) -> dict[str, Observable]:
    """Bayes's and Gibbs's errors on a new sample; ``shared`` is the variance of omega."""
    outputs = labels(channel)
    if outputs:
        chances = tuple(channel.evidence(value, omega, variance) for value in outputs)
        differ = sp.Add(*(a * sp.Add(*chances[:k], *chances[k + 1 :]) for k, a in enumerate(chances)))
        bayes = Decision(chances, shared)
        return {"generalisation_error": bayes, "gibbs_error": GaussianAverage(differ, omega, 0, shared)}
    error = _predictive_variance(channel, shared, variance)
    return {"generalisation_error": error, "gibbs_error": 2 * error}


def _predictive_variance(channel: Any, shared: sp.Expr, variance: sp.Expr) -> sp.Expr:
    """E Var(y|omega) = E Var(y|h) + E_omega Var(E[y|h]|omega), the variances given omega in closed form where
    there is one.
    """
    mean, noise = output_moments(channel)
    line = affine_coefficients(mean, h)
    if line is not None:
        spread = line[1] ** 2 * variance
    else:
        square = GaussianAverage(mean**2, h, 0, shared + variance).doit()
        predicted = GaussianAverage(mean, h, omega, variance).doit()
        spread = square - GaussianAverage(predicted**2, omega, 0, shared).doit()
    return spread + GaussianAverage(noise, h, 0, sp.expand(shared + variance)).doit()


def output_moments(channel: Any) -> tuple[sp.Expr, sp.Expr]:
    """Mean and variance of y given h.

    By rule: a Gaussian density N(y; g(h), v); a law of y - h alone; a score d log P_out/dh affine in y
    (M. S. Bartlett, Biometrika 40 (1953) 12: E score = 0 and E score^2 = -E dscore/dh); outputs that are
    functions of the field; else sums and integrals over y.
    """
    pieces = channel.pieces(y, h)
    if len(pieces) == 1:
        part, density = pieces[0]
        for rule in (_gaussian_moments, _location_moments, _score_moments):
            found = rule(density, part)
            if found is not None:
                return found
    mean, square = (sp.Add(*(_moment(k, part, density) for part, density in pieces)) for k in (1, 2))
    if all(density.has(sp.DiracDelta) or part == sp.FiniteSet(0) for part, density in pieces):
        return mean, sp.S.Zero  # y = g(h), and the terms of g^2 do not mix
    return mean, square - mean**2


def _gaussian_moments(density: sp.Expr, part: Any) -> tuple[sp.Expr, sp.Expr] | None:
    if part == sp.S.Reals and isinstance(density, normal_density):
        at, mean, variance = density.args
        if at == y and not mean.has(y) and not variance.has(y):
            return mean, variance
    return None


def _location_moments(density: sp.Expr, part: Any) -> tuple[sp.Expr, sp.Expr] | None:
    """y = h + u, u of a law of its own: moments about h."""
    if part != sp.S.Reals:
        return None
    centred = density.subs(y, y + h).replace(sp.Abs, lambda u: sp.Abs(sp.expand(u)))
    if centred.has(h):
        return None
    square = OutputSum(y**2 * centred, y, sp.S.Reals).doit()
    if centred.subs(y, -y) == centred:
        return h, square
    bias = OutputSum(y * centred, y, sp.S.Reals).doit()
    return h + bias, square - bias**2


def _score_moments(density: sp.Expr, part: Any) -> tuple[sp.Expr, sp.Expr] | None:
    """Where the score is a(h) y - b(h): E y = b/a and Var y = (b' - a' b/a)/a^2."""
    score = polynomial_coefficients(sp.expand(stable_log(density).diff(h)), y)
    if score is None or max(score) != 1 or part != sp.S.Naturals0:
        return None
    a, b = score[1], -score.get(0, sp.S.Zero)
    return b / a, (b.diff(h) - a.diff(h) * b / a) / a**2


def _moment(order: int, part: Any, density: sp.Expr) -> sp.Expr:
    """One part of E[y^order|h]."""
    if isinstance(part, sp.FiniteSet):
        return sp.Add(*(value**order * density.subs(y, value) for value in part))
    terms = []
    for term in sp.Add.make_args(density):
        line = affine_coefficients(term.args[0], y) if isinstance(term, sp.DiracDelta) else None
        if line is None:
            terms.append(OutputSum(y**order * term, y, part))
            continue
        at = -line[0] / line[1]
        inside = sp.Heaviside(at - part.inf) if part.inf.is_finite else sp.Heaviside(part.sup - at)
        terms.append(at**order * inside / sp.Abs(line[1]))
    return sp.Add(*terms)


def log_likelihood(channel: Any, second_moment: sp.Expr) -> sp.Expr:
    """E log P_out(y|h) per sample, h of the given variance: E log Z_out at V = 0, the known field."""
    known = channel.expectation(lambda _, density: _log_where_positive(density), omega, sp.S.Zero)
    return GaussianAverage(known, omega, 0, second_moment).doit()


def _log_where_positive(density: sp.Expr) -> sp.Expr:
    """The logarithm without those of steps, which are 0 where the density is not."""
    terms = sp.Add.make_args(stable_log(density))
    steps = [t for t in terms if isinstance(t, sp.log) and isinstance(t.args[0], sp.Heaviside)]
    return sp.Add(*(t for t in terms if t not in steps))


def training_error(channel: Any, shared: sp.Expr, variance: sp.Expr) -> sp.Expr | None:
    """Delta^2 E_omega int dy Z_out (d log Z_out/dy)^2, for outputs g(h) and Gaussian noise of variance Delta.

    Tweedie's formula: y - E[g(h)|y, omega] = -Delta d log Z_out/dy (B. Efron, J. Am. Stat. Assoc. 106 (2011)
    1602).
    """
    pieces = channel.pieces(y, h)
    if len(pieces) > 1 or _gaussian_moments(pieces[0][1], pieces[0][0]) is None:
        return None
    noise = pieces[0][1].args[2]
    if noise.has(h):
        return None

    def squared(at: sp.Expr, evidence: sp.Expr) -> sp.Expr:
        return stable_log(evidence).diff(at) ** 2

    # cancelled in V, never in what it stands for: E x^2 - q expanded loses the digits of a small V
    inner = noise**2 * channel.expectation(squared, omega, V)
    average = GaussianAverage(sp.cancel(inner), omega, 0, shared).doit()
    return average.subs(V, variance)


@lru_cache(maxsize=256)
def discrete_entropy(prior: Any) -> sp.Expr:
    """-sum p log p over the atoms of a coordinate."""
    weights: dict[sp.Expr, sp.Expr] = {}
    for weight, mean, _ in prior.components():
        weights[mean] = weights.get(mean, sp.S.Zero) + weight
    return -sp.Add(*(xlogx(p) for p in weights.values()))
