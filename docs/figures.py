"""Draw docs/images/bsr_theory_amp.png: theory, ridge regression and message passing.

Run it as: python docs/figures.py [--d 80] [--seeds 8] [--out docs/images/bsr_theory_amp.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from replica import sweep, validate
from replica.models import BilinearSequenceRegression
from replica.models.bsr_ridge import ridge_mse

DELTA = 0.1
RHOS = (0.1, 0.2, 0.5, 1.0)
ALPHAS = tuple(round(0.02 * k, 2) for k in range(1, 61))
AMP_ALPHAS = (0.1, 0.3, 0.5, 0.75, 1.05)


def draw(d: int, seeds: int) -> Figure:
    """The mmse against alpha for several rho, the optimal ridge, and message passing with its error bars."""
    model = BilinearSequenceRegression()
    fixed = {"beta": 1, "delta": DELTA}
    curves = sweep(model, alpha=ALPHAS, rho=RHOS, **fixed)
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    for i, rho in enumerate(RHOS):
        axes.plot(curves.alpha, curves.mmse.sel(rho=rho), color=f"C{i}", label=rf"$\rho={rho:g}$")
        checks = [validate(model, d=d, seeds=seeds, alpha=a, rho=rho, **fixed) for a in AMP_ALPHAS]
        for a, c in zip(AMP_ALPHAS, checks, strict=True):
            simulated = f"AMP {c.simulated:.5f} +- {c.error:.5f}, z = {c.z_score:.2f}"
            print(f"rho = {rho:g}, alpha = {a:g}: theory {c.theory:.5f}, {simulated}")
        means, errors = np.array([(c.simulated, c.error) for c in checks]).T
        label = f"message passing, d = {d}, {seeds} seeds" if i == 0 else None
        style = {"fmt": "o", "markersize": 4, "capsize": 2.5, "color": f"C{i}"}
        axes.errorbar(AMP_ALPHAS, means, errors, label=label, **style)
    ridge = [float(ridge_mse(a, DELTA)) for a in ALPHAS]
    axes.plot(ALPHAS, ridge, "k--", linewidth=1.2, label="ridge on vectorised tokens")
    axes.set(xlabel=r"samples per entry of the signal, $\alpha=n/(dL)$", ylabel="mean square error")
    axes.set(xlim=(0, 1.2), ylim=(0, 1))
    axes.set_title(rf"Bilinear sequence regression, $\beta=1$, $\Delta={DELTA:g}$")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw theory, ridge regression and message passing.")
    parser.add_argument("--d", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "bsr_theory_amp.png")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    draw(arguments.d, arguments.seeds).savefig(arguments.out, dpi=120)
    print(arguments.out)
