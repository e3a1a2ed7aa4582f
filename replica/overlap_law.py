"""The law of the overlap of two configurations, P(q), that a solution with steps predicts.

Two replicas drawn at random have the overlap q_i with the share of entries q_i in a row of the overlap matrix
at n -> 0: m at q_0 and 1 - m at q_1 for one step.  G. Parisi, Phys. Rev. Lett. 50 (1983) 1946.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import sympy as sp

from replica.ansatz import KStepRSB, ReplicaSymmetric
from replica.symbols import n, q
from solvers.broken_solution import BrokenSolution
from solvers.errors import InputError
from solvers.solution import Solution


@dataclass(frozen=True)
class OverlapLaw:
    """Atoms of P(q): where they are, increasing, and their probabilities.

    >>> OverlapLaw((0.0, 0.5), (0.25, 0.75)).moment(2)
    0.1875
    """

    overlaps: tuple[float, ...]
    weights: tuple[float, ...]

    def moment(self, power: int) -> float:
        """E[q^power]."""
        return sum(w * x**power for x, w in zip(self.overlaps, self.weights, strict=True))

    def mirrored(self) -> OverlapLaw:
        """Half of each atom at q, half at -q: what a simulation samples where -s is as likely as s (no field
        and an even covariance).

        >>> OverlapLaw((0.0, 0.5), (0.25, 0.75)).mirrored()
        OverlapLaw(overlaps=(-0.5, 0.0, 0.5), weights=(0.375, 0.25, 0.375))
        """
        both = [(s * x, w / 2) for x, w in zip(self.overlaps, self.weights, strict=True) for s in (-1, 1)]
        return _collected(both)


def overlap_law(solution: Solution) -> OverlapLaw:
    """P(q) of a solution of a ``GaussianField`` with any number of steps.

    With infinitely many it is dx(q): an atom at each jump of the step function that was solved for.
    At T = 0 blocks have no replicas, m = a T = 0, and the ground state is alone: q = 1.

    Raises
    ------
    InputError
        A solution without overlaps q or q_0, ..., q_k; blocks of a given size m > 1, which weight states so
        that no two configurations are drawn.

    >>> from replica import solve
    >>> from replica.ansatz import OneStepRSB
    >>> from replica.models import sherrington_kirkpatrick
    >>> law = overlap_law(solve(sherrington_kirkpatrick(OneStepRSB()), T="0.5"))
    >>> [f"{x:.6f} {w:.6f}" for x, w in zip(law.overlaps, law.weights)]
    ['0.214631 0.281843', '0.619201 0.718157']
    """
    if solution.params.get("T") == 0:
        return OverlapLaw((1.0,), (1.0,))
    if isinstance(solution, BrokenSolution):
        jumps = pairwise([0.0, *map(float, solution.profile.x), 1.0])
        edges = map(float, solution.profile.edges)
        return _collected([(x, b - a) for x, (a, b) in zip(edges, jumps, strict=True)])
    known = {**solution.params, **solution.values}
    names = [name for name in solution.values if re.fullmatch("q[0-9]*", name)]
    if not names:
        raise InputError("an overlap law needs a solution with overlaps q or q0, q1, ...")
    steps = len(names) - 1
    sizes = ["m"] if steps == 1 else [f"m{i}" for i in range(1, steps + 1)]
    if not all(size in known for size in sizes):  # replica symmetric: every overlap is the same
        names, sizes, steps = names[-1:], [], 0
    blocks = [float(known[size]) for size in sizes]
    if any(m > 1 for m in blocks):
        raise InputError(f"blocks of m = {max(blocks):g} > 1 replicas are no pairs of configurations")
    weights = _shares(steps)(*blocks)
    return _collected([(float(known[x]), float(w)) for x, w in zip(names, weights, strict=True)])


@lru_cache(maxsize=8)
def _shares(steps: int):  # noqa: ANN202 a function of the sizes of the blocks
    """The share of each overlap among pairs of replicas at n -> 0, from the matrix of the ansatz."""
    ansatz = KStepRSB(steps) if steps else ReplicaSymmetric()
    matrix, overlaps = ansatz.matrix(n, 0, q), ansatz.overlaps(q)
    shares = [
        sp.cancel(matrix.row_sum(lambda entry, x=x: sp.Integer(entry == x)) / (n - 1)).subs(n, 0)
        for x in overlaps
    ]
    return sp.lambdify(ansatz.blocks, shares, "math")


def _collected(atoms: list[tuple[float, float]]) -> OverlapLaw:
    """In increasing order; atoms at the same place are one."""
    together: dict[float, float] = {}
    for x, w in atoms:
        together[x + 0.0] = together.get(x + 0.0, 0.0) + w
    places = sorted(together)
    return OverlapLaw(tuple(places), tuple(together[x] for x in places))
