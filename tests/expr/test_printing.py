"""LaTeX as in a paper: exact snapshots, and a document that compiles."""

# SymPy's annotations say that calling a function class makes a class:
# pyright: reportArgumentType=false, reportOperatorIssue=false

from __future__ import annotations

import shutil
import subprocess

import pytest
import sympy as sp

from replica.expr import GaussianAverage, OutputSum, aligned, document, latex, log2cosh, ndtr, normal_density
from replica.expr.logsum import logaddexp
from replica.expr.printing import rendered_width
from replica.expr.readable import readable
from replica.expr.stable import ndtr_interval, xlogx

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


a, b, beta, lam = sp.symbols("alpha b beta lambda", positive=True)
hat = sp.Symbol(r"\hat{q}", positive=True)


@pytest.mark.parametrize(
    ("expr", "tex"),
    [
        (1 - q, "1 - q"),
        (hat + 1, r"1 + \hat{q}"),
        (b - q + a, r"\alpha + b - q"),
        (-a * q * hat / 2, r"- \frac{\alpha q \hat{q}}{2}"),
        (y * omega / sp.sqrt(V), r"\frac{y \omega}{\sqrt{V}}"),
        ((-a - omega) / sp.sqrt(V), r"- \frac{\alpha + \omega}{\sqrt{V}}"),
        (1 / (lam * b - b - hat), r"- \frac{1}{\hat{q} + b - \lambda b}"),
        (omega / (sp.sqrt(a) * sp.sqrt(1 + V / a)), r"\frac{\omega}{\sqrt{V + \alpha}}"),
        (sp.sqrt(2) * a / (sp.sqrt(sp.pi) * (1 + V)), r"\frac{\sqrt{\frac{2}{\pi}} \alpha}{1 + V}"),
        (sp.sqrt(2) * sp.exp(-V) / 2, r"\frac{e^{- V}}{\sqrt{2}}"),
        (a * sp.log(1 + q) / 2, r"\frac{\alpha}{2} \log{\left(1 + q \right)}"),
        ((beta - 1) * xlogx(beta - 1), r"\left(\beta - 1\right)^{2} \log{\left(\beta - 1 \right)}"),
        (a * (-sp.log(q) - 1), r"- \alpha \log q - \alpha"),
        (sp.Mul(-2, ndtr_interval(x, y)), r"- 2 \left(\Phi\left(y\right)-\Phi\left(x\right)\right)"),
        (logaddexp(0, -h * y), r"\log{\left(1 + e^{- h y} \right)}"),
        (logaddexp(x + sp.log(a), sp.log(1 - a)), r"\log{\left(1 - \alpha + \alpha e^{x} \right)}"),
        (sp.exp(y * h - sp.exp(h) - sp.loggamma(y + 1)), r"\frac{e^{h y - e^{h}}}{y!}"),
        (
            GaussianAverage(-2 * q * x**4 + 1, x, 0, q),
            r"1 - 2 q \mathbb{E}_{x\sim\mathcal{N}(0,q)}\left[x^{4}\right]",
        ),
        (OutputSum(-h * ndtr(y), y, sp.FiniteSet(-1, 1)), r"- h \sum_{y\in\{-1,1\}} \Phi\left(y\right)"),
    ],
    ids=str,
)
def test_terms_and_factors_stand_as_in_a_paper(expr, tex):
    assert latex(expr) == tex


@pytest.mark.parametrize(
    "expr",
    [
        GaussianAverage(1 - 2 * q * log2cosh(x), x, V, q),
        OutputSum(-h * ndtr(y * V), y, sp.FiniteSet(-1, 1)),
        sp.Mul(logaddexp(log2cosh(h) + sp.log(V), sp.log(q)), xlogx(V)),
        q * sp.Add(sp.Mul(-1, logaddexp(0, h)), -V) + ndtr(h / sp.sqrt(V) - q / sp.sqrt(V)),
        sp.exp(3 * h - sp.loggamma(V + 4)),
    ],
    ids=str,
)
def test_the_readable_form_has_the_same_value(expr):
    at = {h: sp.Rational(2, 7), q: sp.Rational(3, 5), V: sp.Rational(9, 7)}
    form = readable(expr)
    assert form != expr
    left, right = (sp.N(sp.sympify(e).doit().subs(at), 25) for e in (form, expr))
    assert abs(left - right) < 1e-20


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
