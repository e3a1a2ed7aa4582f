"""validate: theory against simulation, with the error bar that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from replica.api import solve
from replica.simulation import Progress, RectangleSizes, Simulation, SpikeSizes, simulate
from solvers.errors import NotConvergedError
from solvers.solution import Solution

MAX_Z = 3.5
"""What counts as agreement for many seeds; for few, Student's quantile of the same probability."""
FLOOR = 1e-6
"""Below this mse exact recovery is reached: single-precision sensing and the stopping rule decide the rest.
"""


@dataclass(frozen=True)
class Comparison:
    """One quantity: predicted at the sizes simulated, its mean over seeds, the standard error of that mean,
    (simulated - theory)/error.
    """

    name: str
    theory: float
    simulated: float
    error: float
    z_score: float


@dataclass(frozen=True)
class Check:
    """Theory beside simulation at one point.

    Attributes
    ----------
    theory, simulated, error:
        The headline (the mmse; the generalisation error or the mse of a risk) predicted at the sizes
        simulated, its mean over seeds and the standard error of that mean.
    z_score:
        (simulated - theory)/error; the finite size itself shifts the values by O(1/d), or O(1/N), which is
        not in the error.
    quantity:
        The headline's name in the solution.
    others:
        The comparisons of all else that the runs observe: overlaps, matrix errors, the training loss.
    """

    theory: float
    simulated: float
    error: float
    z_score: float
    solution: Solution
    simulation: Simulation
    quantity: str = "mmse"
    others: tuple[Comparison, ...] = ()

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All of them, the headline first."""
        headline = Comparison(self.quantity, self.theory, self.simulated, self.error, self.z_score)
        return (headline, *self.others)

    @property
    def params(self) -> Mapping[str, Fraction]:
        """Control parameters at the sizes simulated."""
        return self.simulation.params

    @property
    def seeds(self) -> int:
        """Number of instances."""
        return len(self.simulation.runs)

    @property
    def converged(self) -> int:
        """How many runs met their tolerance; those at the iteration limit count in the mean all the same."""
        return sum(run.outcome.converged for run in self.simulation.runs)

    @property
    def decided(self) -> bool:
        """Whether at least half of the runs converged: otherwise their mean says nothing of the theory."""
        return 2 * self.converged >= self.seeds

    @property
    def agrees(self) -> bool:
        """Decided, and every quantity within 3.5 error bars (more for few seeds, whose error bar is itself
        uncertain), within 1e-6, or both at exact recovery.
        """
        return self.decided and self._close

    @property
    def verdict(self) -> str:
        """In words: "agrees", "DISAGREES" or "UNDECIDED", with how many runs converged when not all did."""
        word = ("agrees" if self._close else "DISAGREES") if self.decided else "UNDECIDED"
        few = "" if self.converged == self.seeds else f": {self.converged} of {self.seeds} runs converged"
        return word + few

    @property
    def _close(self) -> bool:
        return all(self._is_close(comparison) for comparison in self.comparisons)

    def _is_close(self, comparison: Comparison) -> bool:
        finished = self.simulation.finished
        if abs(comparison.z_score) <= _student_limit(len(finished)):
            return True
        if abs(comparison.simulated - comparison.theory) < FLOOR:
            return True
        reached = float(np.median([run.observed[comparison.name] for run in finished]))
        return comparison.name.endswith("mmse") and comparison.theory < FLOOR and reached < FLOOR

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        runs = self.simulation.runs
        fields: dict[str, Any] = {
            "quantity": self.quantity,
            "theory": self.theory,
            "simulated": self.simulated,
            "error": self.error,
            "z_score": self.z_score,
            "agrees": self.agrees,
            "verdict": self.verdict,
            "others": {c.name: {k: v for k, v in asdict(c).items() if k != "name"} for c in self.others},
            "sizes": asdict(self.simulation.sizes),
            "seeds": self.seeds,
            "converged": self.converged,
            "params": {name: float(value) for name, value in self.params.items()},
            "outcomes": [run.outcome.value for run in runs],
            "iterations": [run.iterations for run in runs],
        }
        fields[_run_name(self.quantity)] = [run.observed.get(self.quantity) for run in runs]
        return fields

    def plot(self, path: str | Path | None = None) -> Any:
        """The mse per iteration: seeds, their mean with error bars, state evolution, fixed point; or, of a
        risk, every quantity of every run beside theory. Returns the figure.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        if any(run.mse.size for run in self.simulation.runs):
            self._plot_trajectories(axes)
        else:
            self._plot_quantities(axes)
        point = ", ".join(f"{name} = {float(value):g}" for name, value in self.params.items())
        axes.set_title(point if self.decided else f"{point}\n{self.verdict}")
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def _plot_trajectories(self, axes: Any) -> None:
        for run in self.simulation.runs:
            color, line = ("0.8", "-") if run.outcome.converged else ("tab:orange", "--")
            axes.plot(np.arange(1, run.mse.size + 1), run.mse, color=color, linestyle=line, linewidth=0.8)
        missed = self.seeds - self.converged
        if missed:
            axes.plot([], [], "--", color="tab:orange", label=f"not converged: {missed} of {self.seeds} runs")
        mean, error = self.simulation.trajectory()
        steps = np.arange(1, mean.size + 1)
        axes.errorbar(steps, mean, error, fmt="o", markersize=3, label=f"AMP, {self.simulation.sizes.label}")
        prediction = self.simulation.state_evolution
        axes.plot(np.arange(1, prediction.size + 1), prediction, "k-", label="state evolution")
        if self.theory > 0:
            axes.axhline(self.theory, color="tab:red", linestyle=":", label="saddle point")
        else:
            axes.set_yscale("log")
        axes.set_xlabel("iteration")
        axes.set_ylabel("mse")
        axes.legend()

    def _plot_quantities(self, axes: Any) -> None:
        places = np.arange(len(self.comparisons))
        for run in self.simulation.finished:
            color = "0.7" if run.outcome.converged else "tab:orange"
            values = [run.observed[c.name] for c in self.comparisons]
            axes.plot(places, values, "_", color=color)
        axes.plot(places, [c.theory for c in self.comparisons], "rx", label="saddle point")
        axes.errorbar(
            places,
            [c.simulated for c in self.comparisons],
            [c.error for c in self.comparisons],
            fmt="o",
            markersize=3,
            label=f"simulated, {self.simulation.sizes.label}",
        )
        axes.set_xticks(places, [c.name.replace("_", " ") for c in self.comparisons], rotation=20)
        axes.legend()


def _run_name(quantity: str) -> str:
    """The error of one run is an mse, not a minimal one."""
    return "mse" if quantity == "mmse" else quantity


def _student_limit(seeds: int) -> float:
    """The |z| exceeded as rarely by the mean of so many Gaussian values as MAX_Z by a normal variable."""
    from scipy.stats import norm, t

    return float(t.isf(norm.sf(MAX_Z), seeds - 1))


def validate(
    model: Any,
    *,
    N: int | None = None,
    d: Any = None,
    seeds: int = 8,
    progress: Progress | None = None,
    **options: Any,
) -> Check:
    """Solve and simulate at one point; the size N or d, the options and the control parameters are those of
    ``simulate``.

    The theory is solved at the ratios that the integer sizes realise, at the solution that state evolution
    reaches from the start that the simulation has.  Every value that the runs observe is compared.

    Raises
    ------
    InputError
        As ``simulate``.
    NotConvergedError
        Theory without a solution, or fewer than two runs that did not diverge.
    """
    simulation = simulate(model, N=N, d=d, seeds=seeds, progress=progress, **options)
    solution = _reached(model, simulation)
    if len(simulation.finished) < 2:
        sentences = "; ".join(sorted({run.outcome.value for run in simulation.runs}))
        raise NotConvergedError(f"fewer than two runs of message passing ended with an estimate: {sentences}")
    headline, *others = (_compared(name, simulation, solution) for name in simulation.quantities)
    return Check(
        headline.theory,
        headline.simulated,
        headline.error,
        headline.z_score,
        solution,
        simulation,
        headline.name,
        tuple(others),
    )


def _compared(name: str, simulation: Simulation, solution: Solution) -> Comparison:
    simulated, error = simulation.estimate(name)
    theory = float(solution[name])
    gap = simulated - theory
    z = gap / error if error > 0 else (0.0 if gap == 0 else float(np.copysign(np.inf, gap)))
    return Comparison(name, theory, simulated, error, z)


def _reached(model: Any, simulation: Simulation) -> Solution:
    """The solution from the simulation's start.

    A start between the signal and the prior (an informed one, the small overlap of a spike) ends at the
    nearer to its state evolution of the solutions from either side.
    """
    point: dict[str, Any] = dict(simulation.params)
    solution = solve(model, start=simulation.start, **point)
    between = simulation.start == "informed" or isinstance(simulation.sizes, SpikeSizes | RectangleSizes)
    if between and len(solution.branches) > 1 and simulation.state_evolution.size:
        last = float(simulation.state_evolution[-1])
        side = "uninformed" if simulation.start == "informed" else "informed"
        other = solve(model, start=side, throw=False, **point)
        if other.outcome.converged and abs(float(other["mmse"]) - last) < abs(float(solution["mmse"]) - last):
            return other
    return solution
