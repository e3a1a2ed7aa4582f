"""simulate: one function for every model that says how its instances are solved."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from replica.parameters import validate
from replica.simulation.results import Experiment, Progress, Request, Simulation, point_root
from replica.simulation.sizes import whole
from solvers.errors import InputError
from solvers.simulate.ensemble import run_seeds
from solvers.simulate.sensing import GIB

STARTS = ("uninformed", "informed")
KINDS = {
    "gamp": "replica.simulation.gamp",
    "low-rank amp": "replica.simulation.low_rank",
    "memories": "replica.simulation.memories",
    "quadratic spins": "replica.simulation.quadratic_spins",
    "risk": "replica.simulation.risk",
    "spins": "replica.simulation.spins",
    "volume": "replica.simulation.volume",
}
"""What a model's ``simulation`` may be, and the module that prepares it."""


def simulate(
    model: Any,
    *,
    N: int | None = None,
    d: Any = None,
    seeds: int = 8,
    start: str | None = None,
    max_iterations: int | None = None,
    tolerance: float | None = None,
    damping: float | None = None,
    seed: int = 0,
    memory_budget: int = 4 * GIB,
    progress: Progress | None = None,
    **params: Any,
) -> Simulation:
    """Run the algorithm of a model on instances of a given size.

    A ``TeacherStudent`` has GAMP, with the output functions of its channel and the denoiser of its prior: a
    vector with a separable one, or a matrix (bilinear sequence regression, quadratic networks). A
    ``SpikedMatrix`` has low-rank AMP. An ``EmpiricalRisk`` is minimised. A ``GaussianField`` of Ising spins
    has parallel tempering. Associative memories have heat-bath Monte Carlo, or the dynamics at T = 0, that
    begins in the state named by ``start``. Gaussian spins have exact averages over their Gibbs law. The
    solutions of a ``Perceptron`` are counted (Ising weights) or
    sampled by a billiard (spherical ones).

    Parameters
    ----------
    model:
        A model that says how it is simulated.
    N, d:
        The size, under either name. A vector has N coordinates (2000 by default) and M = alpha N outputs; a
        matrix d rows (100 by default), L = beta d columns, r = rho d and n = alpha d L; a quadratic network d
        inputs (100), width kappa d and n = alpha d^2; a spike N coordinates (2000), alpha N of v; a risk d
        weights (500) and n = alpha d; there are N spins (256; 64 or 32 with couplings of three or four; 4000
        of a Hopfield network, 10000 where patterns are few, 200, 80, 48 in dense networks of order 3, 4, 5;
        500 Gaussian ones); a perceptron has N weights (16 Ising ones, 100 spherical ones) and alpha N
        patterns. All are rounded to integers (at least 1). Where d is a control parameter the size is N.
    seeds:
        Independent instances; at least 2, for an error bar.
    start:
        "uninformed" or "informed" (near the signal); by default uninformed where the data can leave the
        prior mean, see ``Simulation.start``. A risk is convex and has no choice of start. Of a memory the
        name of a state, as for ``solve``.
    max_iterations:
        Iterations allowed to a run: 200 by default, 500 for a spike, 20000 for a risk; the sweeps of spins,
        2000 (of memories 400, dense ones 200), those of a billiard, 64; the instances that one run of Ising
        weights counts, 64.
    tolerance:
        Root mean square move of the estimate, over the standard deviation of the signal, at which a run has
        converged: 1e-4 by default; for a risk relative to the weights, 1e-6.
    damping:
        Share of the old iterate kept; by default 0, and 0.1 where outputs determine their field, where single
        runs can be unstable. Not for a spike or a risk.
    seed:
        Root of all random numbers: the same seed draws the same instances at the same point, and independent
        ones at another (see ``point_root``).
    progress:
        Called as ``progress(done, seeds)``.
    memory_budget:
        Bytes allowed for the data and the signal.
    params:
        Control parameters, as for ``solve``.

    Raises
    ------
    InputError
        Bad parameters; sizes below 2; data over the memory budget; a model that has no message passing.
    """
    prepare = _prepare(model)
    known = getattr(model, "starts", STARTS)
    if start is not None and start not in known:
        raise InputError(f"start must be one of {', '.join(known)}, got {start!r}")
    if d is not None and any(p.name == "d" for p in model.control_parameters):
        d, params["d"] = None, d
    exact = validate(model.control_parameters, params)
    whole("seeds", seeds, 2)
    experiment = prepare(
        model, Request(exact, N, d, start, damping, memory_budget, max_iterations, tolerance)
    )
    root = point_root(seed, model, experiment.sizes, experiment.params)
    runs = tuple(run_seeds(experiment.run, seeds, root=root, progress=progress))
    if not runs:
        raise KeyboardInterrupt("interrupted before the first instance was done")
    length = max(run.mse.size for run in runs)
    return Simulation(
        experiment.params, experiment.sizes, runs, experiment.prediction(length), experiment.start
    )


def _prepare(model: Any) -> Callable[[Any, Request], Experiment]:
    kind = getattr(model, "simulation", None)
    if kind not in KINDS:
        raise InputError(f"there is no message passing for the model {getattr(model, 'name', model)!r}")
    return import_module(KINDS[kind]).prepare
