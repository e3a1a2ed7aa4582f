"""What doubles cannot finish is finished in more digits, where the exact parameters are given."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from solvers.backends.arb import Arb
from solvers.fixed_point.far import far_root
from solvers.fixed_point.refine import refine
from solvers.fixed_point.roots import Root, nothing
from solvers.fixed_point.lattice import NOISELESS
from solvers.problem import PairProblem
from solvers.solution import Outcome

POLISH_DIGITS = 18
POLISH_ABOVE, POLISH_RELATIVE = 1e-9, 1e-5  # errors of v beyond which a root is finished in more digits


def polished(
    problem: PairProblem, exact: Mapping[str, Fraction], roots: list[Root], digits: int
) -> list[Root]:
    """The roots, those that doubles leave uncertain finished in more digits; each once."""
    kept: list[Root] = []
    for root in roots:
        if not (np.isfinite(root.q_hat) and np.isfinite(root.slope)):
            continue  # a sign of rounding beside q = 0
        far = not root.outcome.converged or root.q_hat >= NOISELESS
        better = _refined(problem, exact, Fraction(root.q_hat)) if far or not _sharp(root) else root
        if all(abs(better.q_hat - r.q_hat) > 1e-9 * r.q_hat for r in kept):
            kept.append(better)
    return kept


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
    q_hat = far_root(problem, exact, last, digits, Arb)
    return nothing(Outcome.THRESHOLD) if q_hat is None else _refined(problem, exact, q_hat)
