"""What doubles cannot finish is finished in more digits, where the exact parameters are given."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import exp, isfinite

import numpy as np

from solvers.backends.arb import Arb
from solvers.fixed_point.far import Far, far_root, passed
from solvers.fixed_point.halves import BACKEND, EPS
from solvers.fixed_point.lattice import NOISELESS
from solvers.fixed_point.refine import refine
from solvers.fixed_point.roots import Root, nothing
from solvers.problem import PairProblem, at_level
from solvers.solution import Errors, Outcome

POLISH_DIGITS = 18
START = 1e6  # q_hat from where roots beyond the table are sought
BESIDE = 3.0  # in log q_hat, how far from a root its signs are looked at
POLISH_ABOVE, POLISH_RELATIVE = 1e-9, 1e-5  # errors of v beyond which a root is finished in more digits


def polished(
    problem: PairProblem,
    exact: Mapping[str, Fraction],
    roots: list[Root],
    digits: int,
    recovered: bool = False,
) -> list[Root]:
    """The roots, those that doubles leave uncertain finished in more digits; each once.

    ``recovered``: q_hat = infinity is a solution, and the stable one there; an unstable one so far out that
    doubles do not see it is left out.
    """
    kept: list[Root] = []
    for root in roots:
        if not (np.isfinite(root.q_hat) and np.isfinite(root.slope)):
            continue  # a sign of rounding beside q = 0
        better: Root | None = root
        if root.q_hat >= NOISELESS:
            better = _distant(problem, exact, root, digits, recovered)
        elif not (root.outcome.converged and _sharp(root)):
            better = _refined(problem, exact, Fraction(root.q_hat))
        if better is not None and all(abs(better.q_hat - r.q_hat) > 1e-9 * r.q_hat for r in kept):
            kept.append(better)
    return kept


def _distant(
    problem: PairProblem, exact: Mapping[str, Fraction], root: Root, digits: int, recovered: bool
) -> Root | None:
    """A root where the table was continued: sought again from before, or None if f changes no sign there.

    Of a spectral law a pass costs much, and the table continues the law of its edge: Newton from there.
    """
    try:
        far = None if recovered or problem.spectral else far_root(problem, exact, START, digits, Arb)
    except (ValueError, ArithmeticError):  # no number comes out that far
        return nothing(Outcome.RESIDUAL)
    if far is not None:
        return _root_of(problem, exact, far)
    if _changes_sign(problem, exact, root.q_hat):
        return _refined(problem, exact, Fraction(root.q_hat))
    return None


def _changes_sign(problem: PairProblem, exact: Mapping[str, Fraction], q_hat: float) -> bool:
    """Whether doubles see f change its sign beside a root."""
    if problem.spectral:
        return True
    s = np.log(q_hat)
    left, right = (passed(problem, exact, s + d, BACKEND) for d in (-BESIDE, BESIDE))
    return left.f * right.f < 0 and all(abs(side.f) > 10 * side.doubt for side in (left, right))


def _sharp(root: Root) -> bool:
    return root.errors.total <= min(POLISH_ABOVE, POLISH_RELATIVE * root.v)


def _refined(problem: PairProblem, exact: Mapping[str, Fraction], q_hat: Fraction) -> Root:
    try:
        fine = refine(problem, exact, q_hat, POLISH_DIGITS, Arb)
    except (ValueError, ArithmeticError):  # no number comes out beside q = 0 or v = 0
        return nothing(Outcome.RESIDUAL)
    return Root(
        float(fine.q_hat),
        float(fine.v),
        float(fine.free_entropy),
        fine.residual,
        fine.errors,
        fine.slope,
        Outcome.CONVERGED if fine.converged else Outcome.RESIDUAL,
    )


def beyond(problem: PairProblem, exact: Mapping[str, Fraction], last: float, digits: int) -> Root:
    """The root beyond the last f that doubles resolve, or the reason why there is none."""
    far = far_root(problem, exact, last, digits, Arb)
    return nothing(Outcome.THRESHOLD) if far is None else _root_of(problem, exact, far)


def _root_of(problem: PairProblem, exact: Mapping[str, Fraction], far: Far) -> Root:
    """A root that is known to a few digits, which v has as well."""
    q_hat, v = exp(far.s), far.v
    numbers = {name: float(value) for name, value in exact.items()}
    phi, _ = at_level(lambda k: problem.free_entropy(BACKEND, k, q_hat, v, numbers), POLISH_ABOVE)
    errors = Errors(v * far.spread, far.last.quadrature, 4 * EPS * v)
    entropy = float(phi.value)
    outcome = Outcome.CONVERGED if isfinite(entropy) else Outcome.RESIDUAL
    return Root(q_hat, v, entropy, abs(far.last.f), errors, far.last.gain, outcome)
