"""LaTeX as in a paper: exact snapshots, and a document that compiles."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import sympy as sp

from replica.expr import GaussianAverage, OutputSum, aligned, document, latex, log2cosh, ndtr, normal_density
from replica.expr.printing import rendered_width

x, y, h = sp.symbols("x y h", real=True)
omega = sp.Symbol("omega", real=True)
q, V = sp.Symbol("q", positive=True), sp.Symbol("V", positive=True)
n = sp.Symbol("n")


@pytest.mark.parametrize(
    ("expr", "tex"),
    [
        (
            GaussianAverage(log2cosh(x), x, 0, q),
            r"\mathbb{E}_{x\sim\mathcal{N}(0,q)}\left[\log 2\cosh\left(x\right)\right]",
        ),
        (
            GaussianAverage(GaussianAverage(h**2, h, omega, V) ** n, omega, 0, q),
            r"\mathbb{E}_{\omega\sim\mathcal{N}(0,q)}\left[\mathbb{E}_{h\sim\mathcal{N}(\omega,V)}"
            r"\left[h^{2}\right]^{n}\right]",
        ),
        (OutputSum(ndtr(y * h), y, sp.FiniteSet(-1, 1)), r"\sum_{y\in\{-1,1\}} \Phi\left(h y\right)"),
        (
            OutputSum(normal_density(y, h, V), y, sp.S.Reals),
            r"\int\mathrm{d}y\,\mathcal{N}\left(y;h,V\right)",
        ),
        (OutputSum(y + h, y, sp.Interval(0, sp.oo)), r"\int_{0}^{\infty}\mathrm{d}y\,\left(h + y\right)"),
        (OutputSum(y, y, sp.S.Reals) ** 2, r"\left(\int\mathrm{d}y\,y\right)^{2}"),
    ],
    ids=["average", "nested", "sum", "integral", "half-line", "power"],
)
def test_latex_snapshots(expr, tex):
    assert latex(expr) == tex


def test_an_integral_before_another_factor_is_bracketed():
    product = sp.Mul(OutputSum(y, y, sp.S.Reals), sp.Symbol("zeta"), evaluate=False)
    assert latex(product, order="none").startswith(r"\left(\int\mathrm{d}y\,y\right)")


def test_aligned_snapshot():
    a, b = sp.symbols("alpha beta")
    expr = a * log2cosh(x) - b * x**2 / 2 + a**2
    assert aligned("f", expr, width=25) == "\n".join(
        [
            r"\begin{aligned}",
            r"f &= \alpha^{2} - \frac{\beta x^{2}}{2} \\",
            r"&\quad + \alpha \log 2\cosh\left(x\right)",
            r"\end{aligned}",
        ]
    )


def long_sum():
    return sp.Add(*(sp.Symbol(f"c_{k}") * (-1) ** k * log2cosh(k * x) for k in range(2, 22)))


def test_aligned_splits_a_long_sum_and_loses_nothing():
    expr = long_sum()
    text = aligned(sp.Symbol("Phi"), expr, width=60)
    lines = text.splitlines()[1:-1]
    assert len(lines) > 3
    assert all(
        rendered_width(line.removesuffix(r"\\").replace(r"\quad", "").replace("&", "")) < 64 for line in lines
    )
    assert text.count("c_{") == 20
    assert text.count(" - ") == 10
    assert len(aligned("f", expr, width=10**4).splitlines()) == 3


def test_aligned_begins_with_the_sign_of_the_first_term():
    assert aligned("f", -q).splitlines()[1] == "f &= -q"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_document_compiles(tmp_path):
    nested = GaussianAverage(OutputSum(ndtr(y * h) * sp.log(ndtr(y * h)), y, sp.FiniteSet(-1, 1)), h, 0, q)
    body = "\\[\n" + aligned(r"\Phi", long_sum() + nested) + "\n\\]"
    (tmp_path / "paper.tex").write_text(document(body))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout.decode()[-2000:]
    assert b"Overfull" not in done.stdout
