"""The main job in one command: derive bilinear sequence regression, solve it, and confirm it by message
passing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from replica.api import solve, sweep
from replica.derivation import Kind
from replica.models import BilinearSequenceRegression
from replica.symbols import q, q_hat
from replica.validation import Check, validate

POINTS = (
    {"alpha": "0.3", "beta": 1, "rho": "0.2", "delta": "0.1"},
    {"alpha": "0.37", "beta": "1.7", "rho": "0.4", "delta": "0.2"},
    {"alpha": "0.37", "beta": "0.4", "rho": "0.3", "delta": "0.2"},
    {"alpha": "0.8", "beta": 2, "rho": "1.5", "delta": "0.05"},
    {"alpha": "0.25", "beta": 1, "rho": "0.2", "delta": 0},
    {"alpha": "0.5", "beta": 1, "rho": "0.2", "delta": 0},
)
SIZE, SEEDS = 60, 6


def run(plot: Path | None = None) -> None:
    """Print the derivation, its equations, high-precision numbers and theory against simulation at six
    points.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    clock = time.perf_counter()
    model = BilinearSequenceRegression()
    _derive(console, model)
    _solve(console, model)
    checks = _validate(console, model)
    if plot is not None:
        _plot(model, checks, plot)
        console.print(f"figure written to {plot}")
    console.print(f"done in {time.perf_counter() - clock:.0f} s")


def _derive(console: Any, model: BilinearSequenceRegression) -> None:
    console.rule("1. derive")
    derivation = model.derive()
    for number, step in enumerate(derivation.steps, 1):
        comparisons = step.verify()
        worst = max((c.difference for c in comparisons), default=None)
        claim = "verified" if step.kind is Kind.IDENTITY else "its identities verified"
        verified = "" if worst is None else f"  {claim} to {max(worst, 1e-16):.0e}"
        console.print(f"  {number}. {step.name} ({step.kind.value}){verified}")
    saddle = model.saddle_point()
    for name, expression in (
        ("Phi", model.free_entropy().expression),
        ("q", saddle.update(q)),
        ("q_hat", saddle.update(q_hat)),
    ):
        console.print(f"\n  {name} = {expression}".replace(r"\hat{q}", "q_hat"))
    console.print()


def _solve(console: Any, model: BilinearSequenceRegression) -> None:
    console.rule("2. solve")
    fine = solve(model, digits=50, **POINTS[0])
    console.print(f"  {_show(POINTS[0])}: mmse to 50 digits")
    console.print(f"  {fine['mmse']}   ({fine.outcome.value})\n")


def _validate(console: Any, model: BilinearSequenceRegression) -> list[Check]:
    from rich.table import Table

    from replica.cli_progress import progress_bar

    console.rule(f"3. validate by message passing (d = {SIZE}, {SEEDS} seeds)")
    table = Table("alpha", "beta", "rho", "Delta", "mmse", "message passing", "z-score", "")
    checks = []
    for point in POINTS:
        with progress_bar(_show(point)) as progress:
            parameters: dict[str, Any] = dict(point)
            check = validate(model, d=SIZE, seeds=SEEDS, progress=progress, **parameters)
        checks.append(check)
        values = [f"{float(check.params[name]):.4g}" for name in ("alpha", "beta", "rho", "delta")]
        table.add_row(
            *values,
            f"{check.theory:.6f}",
            f"{check.simulated:.6f} ± {check.error:.6f}",
            "exact" if check.theory == 0 else f"{check.z_score:+.2f}",
            check.verdict,
        )
    console.print(table)
    return checks


def _plot(model: BilinearSequenceRegression, checks: list[Check], path: Path) -> None:
    """Left: mmse against alpha at the parameters of the first point. Right: simulated against theory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    curve, agreement = figure.subplots(1, 2)
    fixed = {name: value for name, value in POINTS[0].items() if name != "alpha"}
    data = sweep(model, alpha=[k / 100 for k in range(1, 101)], **fixed)
    curve.plot(data.alpha, data.mmse, "k-", label="saddle point")
    curve.errorbar(
        [float(checks[0].params["alpha"])], [checks[0].simulated], [checks[0].error], fmt="o", label="AMP"
    )
    curve.set_xlabel("alpha")
    curve.set_ylabel("mmse")
    curve.set_title(_show(fixed))
    curve.legend()
    theory = [check.theory for check in checks]
    agreement.errorbar(theory, [c.simulated for c in checks], [c.error for c in checks], fmt="o")
    agreement.plot([0, max(theory)], [0, max(theory)], "k-", linewidth=0.8)
    agreement.set_xlabel("mmse, theory")
    agreement.set_ylabel(f"mse of AMP, d = {SIZE}")
    figure.savefig(path, dpi=150)


def _show(point: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in point.items())
