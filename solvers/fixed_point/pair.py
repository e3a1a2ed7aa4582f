"""All solutions of v = signal(q_hat), q_hat = output(v), for many control parameters at once.

In s = log q_hat the equation is f(s) = log output(signal(e^s)) - s = 0.  It is tabulated (``table``) on a
grid of s that contains every solution: v lies between 0 and its value at q_hat = 0, and the output half is
monotone.  Every sign change of f is a solution, stable under iteration when f decreases through it, and is
polished by Newton's method (``roots``).  What doubles cannot finish is finished in more digits (``polish``),
where the exact parameters are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from solvers.fixed_point.halves import BACKEND, SignalHalf
from solvers.fixed_point.lattice import grid_of
from solvers.fixed_point.polish import POLISH_DIGITS, beyond, polished
from solvers.fixed_point.roots import Root, newton, nothing, recovery, roots_at
from solvers.fixed_point.table import brackets_of, residual_table, tabulated, unresolved
from solvers.problem import PairProblem
from solvers.solution import Outcome

STARTS = ("global", "uninformed", "informed")


@dataclass(frozen=True)
class PointResult:
    """The chosen solution at one point, and the overlaps of all solutions found, in increasing order."""

    chosen: Root
    overlaps: tuple[float, ...]
    evaluations: int


@np.errstate(all="ignore")  # every number is looked at before it is believed
def solve_points(
    problem: PairProblem,
    signal: Mapping[str, float],
    output: Mapping[str, np.ndarray],
    recovered: np.ndarray,
    *,
    start: str = "global",
    tolerance: float = 1e-12,
    exact: Sequence[Mapping[str, Fraction]] | None = None,
    digits: int = POLISH_DIGITS,
    recovered_entropy: np.ndarray | None = None,
) -> list[PointResult]:
    """Solve at one set of signal parameters and many sets of output parameters (arrays of one length).

    ``recovered`` marks the points at which q_hat = infinity is a solution, at or above the exact threshold of
    perfect recovery; at the threshold itself no finite precision can tell.
    ``start`` chooses
    among several solutions: "global" the largest free entropy, "uninformed" the one reached from q = 0,
    "informed" the one reached from q = 1.  With ``exact`` parameters, solutions that doubles cannot
    resolve are
    found and polished in as many digits as it takes (up to ``digits``, if that is more than 60).
    ``recovered_entropy`` is the free entropy at perfect recovery, infinite unless it is given.
    Non-convergence is an outcome of the point.
    """
    points = len(next(iter(output.values())))
    half = SignalHalf(problem, signal, float(problem.error_at_zero(BACKEND, signal, tolerance)))
    grid = grid_of(problem, half.error_at_zero, output)
    signal_table = tabulated(half, grid)
    half = signal_table.half
    table = residual_table(signal_table, output, recovered)
    brackets = brackets_of(grid.s, table)
    landing = newton(problem, half, output, brackets, grid.saturated, tolerance)
    # where the outputs of an uninformative v say nothing, q_hat = 0 is a solution
    silent = np.flatnonzero(grid.at_zero == 0)
    found, at_zero = roots_at(problem, half, output, brackets.point, grid.saturated, landing, silent)
    results = []
    for p in range(points):
        mine = [r for r, owner in zip(found, brackets.point, strict=True) if owner == p]
        last = unresolved(grid, table, p)
        if exact is not None and not problem.nested:
            mine = polished(problem, exact[p], mine, digits, bool(recovered[p]))
            if last is not None and not recovered[p]:
                mine.append(beyond(problem, exact[p], last, digits))
        elif last is not None and not recovered[p]:
            mine.append(nothing(Outcome.THRESHOLD))
        genuine = [r for r in mine if r.outcome.converged]
        stable = [r for r in genuine if not r.slope >= 1]
        if p in at_zero:
            genuine.insert(0, at_zero[p])
            signs = table.f[p][table.believed[p]]
            if not signs.size or signs[0] < 0:
                stable.insert(0, at_zero[p])
        if recovered[p]:
            end = recovery() if recovered_entropy is None else recovery(float(recovered_entropy[p]))
            genuine.append(end)
            stable.append(end)
        failed = [r for r in mine if not r.outcome.converged]
        # an unstable q_hat = 0 beside nothing else is where iteration starts, not where it ends
        others = [r for r in genuine if r.outcome is not Outcome.UNINFORMATIVE]
        chosen = _choose(stable or failed or others, start)
        second = float(problem.second_moment(BACKEND, signal))
        overlaps = tuple(sorted(second - r.v for r in genuine if r.outcome.converged))
        results.append(PointResult(chosen, overlaps, landing.evaluations + grid.s.size))
    return results


def _choose(roots: list[Root], start: str) -> Root:
    if not roots:
        return nothing(Outcome.NO_SOLUTION)
    if start == "uninformed":
        return max(roots, key=lambda r: r.v)
    if start == "informed":
        return min(roots, key=lambda r: r.v)
    return max(roots, key=lambda r: -np.inf if np.isnan(r.free_entropy) else r.free_entropy)
