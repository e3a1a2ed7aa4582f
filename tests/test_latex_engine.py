"""Both judges of LaTeX give the same verdicts."""

from __future__ import annotations

import shutil

import latex_engine
import pytest
from latex_engine import LatexError, check_structure, compile_latex, compile_math, run_pdflatex

GOOD = [
    r"Text with \(x_1^2\), $\hat{q}_{0}$ and 100\% more.",
    r"\[ \left. \frac{\partial \Phi}{\partial q} \right|_{q = q^\star} = \alpha \mathbb{E}_{\xi \sim "
    r"\mathcal{N}\left(0, 1\right)}\left[ \log \cosh \left( \sqrt{\hat{q}} \xi \right) \right] \]",
    r"\begin{align*} q &= 1 - \mathrm{mmse} \\ \hat{q} &= \frac{\alpha}{\Delta + 1 - q} \end{align*}",
    r"\begin{equation}\begin{aligned} a &= b \\ &= c\end{aligned}\end{equation}",
    r"\[ f(x) = \begin{cases} 1 & \text{if } x > 0 \\ 0 & \text{otherwise, as $x_1$} \end{cases} \]",
    r"\[ \begin{pmatrix} 1 & q \\ q & 1 \end{pmatrix}, \int_{0}^{\infty} e^{- \frac{x^{2}}{2}}\, dx \]",
    r"\newcommand{\mmse}[1]{\mathrm{mmse}(#1)} $$ \mmse{x_1}' + f'(x)^2 $$ % 100% _ {",
    r"\[ x^{a}_{b} {}^{c} \bigl( \operatorname{erf}(x) \bigr) \]",
    r"\section*{A}\label{sec:a_b} See \ref{sec:a_b}. \begin{itemize}\item one \end{itemize}",
]
BROKEN = [
    r"\[ \frac{1}{2 \]",
    r"\[ x } \]",
    r"\[ \left( x \]",
    r"\[ x \right) \]",
    r"\[ \unknowncommand{x} \]",
    r"\[ x^{2}^{3} \]",
    r"\[ x_1_2 \]",
    r"\[ x^ \]",
    r"\[ a & b \]",
    r"\[ x ",
    r"x \)",
    r"$ x $$",
    r"x_1 in text",
    r"\begin{align*} a &= b",
    r"\begin{align*} a &= b \end{gather*}",
    r"\begin{nowhere} x \end{nowhere}",
    r"\[ \begin{align} a \end{align} \]",
    r"\begin{aligned} a \end{aligned}",
    r"\[ \text{a_b} \]",
    r"a # b",
    r"\[ \{ \left\{ x \} \]",
]


def document(body):
    preamble = r"\documentclass{article}\usepackage{amsmath,amssymb}\DeclareMathOperator{\ndtr}{Ndtr}"
    return "\n".join([preamble, r"\begin{document}", body, r"$\ndtr(x)$", r"\end{document}"])


@pytest.fixture(params=["structure", "pdflatex"])
def judge(request):
    if request.param == "structure":
        return check_structure
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    return run_pdflatex


@pytest.mark.parametrize("body", GOOD)
def test_good_latex_passes(judge, body):
    judge(document(body))


@pytest.mark.parametrize("body", BROKEN)
def test_broken_latex_fails(judge, body):
    with pytest.raises(LatexError):
        judge(document(body))


def test_the_complaint_is_useful():
    with pytest.raises(LatexError, match=r"line 3: double superscript"):
        check_structure("\\[\nx\n^2^3\n\\]")


@pytest.mark.parametrize("installed", [True, False])
def test_the_judge_is_pdflatex_where_installed(monkeypatch, installed):
    used = []
    monkeypatch.setattr(latex_engine.shutil, "which", lambda _: "/bin/pdflatex" if installed else None)
    monkeypatch.setattr(latex_engine, "run_pdflatex", lambda _: used.append("pdflatex"))
    monkeypatch.setattr(latex_engine, "check_structure", lambda _: used.append("structure"))
    compile_latex("x")
    compile_math("x")
    assert used == ["pdflatex" if installed else "structure"] * 2
