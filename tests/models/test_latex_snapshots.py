"""What every model prints, against stored files: the saddle point and the free entropy of each model, once for every
value of each of its options (some of those that differ by a number only).

A change of the printed equations shows as a changed file in review. After an intended change run

    python tests/models/test_latex_snapshots.py [MODEL ...]

which rewrites ``tests/models/snapshots`` (of these models only), and read the difference.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sympy as sp
from sympy.core.function import AppliedUndef

from replica.derivation import Printed, used_definitions
from replica.expr import document
from replica.expr.binder import evaluate_inside
from replica.models import MODELS, OPTIONS, build
from replica.risk_action import Evidence, Moreau

FOLDER = Path(__file__).parent / "snapshots"
REWRITE = "if the change is intended, run: python tests/models/test_latex_snapshots.py"

AROUND = {
    ("risk", "teacher"): {"loss": "square"},
    ("risk", "penalty"): {"teacher": "gaussian", "loss": "square"},
    ("risk", "teacher_prior"): {"teacher": "gaussian", "loss": "square"},
    ("field", "spins"): {"covariance": "q^2/2+q^3/4"},
    ("perceptron", "ansatz"): {"weights": "spherical"},
    ("field", "ansatz"): {"covariance": "q^2/2+q^3/4"},
}
"""Other options than the defaults, with which one option goes through its values."""

SHOWN = {
    "p": ("3", "4"),
    "P": ("3", "4"),
    "K": ("2",),
    "patterns": ("1", "2"),
    "ansatz": ("rs", "1rsb"),
}
"""Of these options only some values: the others are the same with another power, or with deeper averages."""

CASES: dict[str, tuple[str, dict[str, str]]] = {
    f"{model}-{option}-{value.replace(' ', '-')}": (
        model,
        {**AROUND.get((model, option), {}), option: value},
    )
    for model in MODELS
    for option, values in OPTIONS.get(model, {}).items()
    for value in values
    if value in SHOWN.get(option, values)
}
CASES |= {model: (model, {}) for model in MODELS if not OPTIONS.get(model)}
CASES |= {"gaussian_spins": ("gaussian_spins", {})}  # its one option is a formula
"""Name of the file -> model and options."""

QUICK = {
    *(f"glm-channel-{c}" for c in ("sign", "probit")),
    *(f"glm-prior-{p}" for p in ("rademacher", "bernoulli", "gauss-bernoulli")),
    *(f"risk-loss-{loss}" for loss in ("hinge", "square")),
    "risk-penalty-l1",
    *(f"spiked-prior-{p}" for p in ("rademacher", "bernoulli")),
    "spiked-second_prior-rademacher",
    "quadratic-channel-sign",
}
"""Run by default, with the first value of every option: these take less than a second each."""


def _marked():
    first = {
        f"{model}-{option}-{values[0]}"
        for model in OPTIONS
        for option, values in OPTIONS[model].items()
        if values
    }
    for name, (model, options) in CASES.items():
        quick = name in QUICK | first or not options
        yield pytest.param(model, options, name, marks=[] if quick else [pytest.mark.slow], id=name)


def printed(model: str, options: dict[str, str]) -> str:
    """The text of a file: the LaTeX of the saddle point, then of the free entropy."""
    built = build(model, options)
    title = ", ".join([model, *(f"{option} {value}" for option, value in options.items())])
    parts = ("saddle point", built.saddle_point()), ("free entropy", built.free_entropy())
    return "".join(f"% {title}: {what}\n{part.body_latex()}\n" for what, part in parts)


def stored(name: str) -> Path:
    """The file of a case."""
    return FOLDER / f"{name}.tex"


@pytest.mark.parametrize(("model", "options", "name"), list(_marked()))
def test_printed_equations(model, options, name):
    assert stored(name).exists(), f"no snapshot {name}; {REWRITE}"
    assert printed(model, options) == stored(name).read_text(encoding="utf-8"), REWRITE


def test_every_case_has_a_file_and_every_file_a_case():
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES), REWRITE


def test_every_snapshot_compiles():
    """All in one document; one by one only to name the culprit."""
    from latex_engine import LatexError, compile_latex  # on pytest's path, not on that of a script

    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir())}
    try:
        compile_latex("\n".join(texts.values()))
    except LatexError:
        for name, text in texts.items():
            try:
                compile_latex(text)
            except LatexError as error:
                raise LatexError(f"{name}: {error}") from None
        raise


@pytest.mark.parametrize("model", MODELS)
def test_no_internal_name_is_printed(model):
    """Names of the library's own classes, or of variables without a meaning, say that a printer is missing."""
    for name in (name for name, (owner, _) in CASES.items() if owner == model):
        words = set(stored(name).read_text(encoding="utf-8").replace("{", " ").replace("}", " ").split())
        assert not words & {"nan", "zoo", "Dummy", "Binder", "Piecewise", "OutputSum"}, name


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("glm", {"prior": "bernoulli", "channel": "probit"}),
        ("glm", {"prior": "sparse-rademacher"}),
        ("spiked", {"prior": "gauss-bernoulli", "second_prior": "bernoulli"}),
    ],
    ids=str,
)
def test_what_is_printed_is_the_free_entropy(model, options):
    """With the definitions inserted for the names, at a point, by quadrature."""
    phi = build(model, options).free_entropy()
    named = dict(phi.printed.definitions)
    values = {s: sp.Rational(3 + k, 12) for k, s in enumerate(sorted(phi.expression.free_symbols, key=str))}
    plain = phi.printed.expression
    for name, value in named.items():
        if name.args:
            plain = plain.replace(name.func, sp.Lambda(name.args, value))
        else:
            values[name] = value.subs(values)
    assert not plain.atoms(AppliedUndef)
    assert plain != phi.expression
    left, right = (sp.N(evaluate_inside(e.subs(values)), 12) for e in (plain, phi.expression))
    assert abs(left - right) < 1e-9


@pytest.mark.parametrize("name", sorted(QUICK))
def test_every_name_that_is_printed_is_defined(name):
    """Functions have a definition, and definitions a use, in the saddle point and in the free entropy."""
    model, options = CASES[name]
    built = build(model, options)
    saddle, phi = built.saddle_point(), built.free_entropy()
    named = dict(saddle.definitions)
    updates = tuple(named.get(u, e) for u, e in saddle.updates)
    functions = tuple(d for d in saddle.definitions if d[0] not in saddle.unknowns)
    printed = phi.printed or Printed(phi.expression)
    for expressions, definitions in ((updates, functions), ((printed.expression,), printed.definitions)):
        used = set().union(*(e.atoms(AppliedUndef, Evidence, Moreau) for e in expressions))
        used |= set().union(*(right.atoms(AppliedUndef, Evidence, Moreau) for _, right in definitions), set())
        defined = {left.func for left, _ in definitions if left.args}
        implicit = {f.func for left, right in definitions if not left.args for f in right.atoms(AppliedUndef)}
        assert {f.func for f in used} <= defined | implicit
        assert used_definitions(expressions, definitions) == definitions


def test_no_formula_runs_off_the_page():
    """Nor has a line that only splitting its functions into names would shorten."""
    assert max(len(line) for path in FOLDER.iterdir() for line in path.read_text().splitlines()) < 600


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_every_formula_fits_the_width_of_the_page(tmp_path):
    texts = (path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir()))
    (tmp_path / "all.tex").write_text(document("\n".join(texts)), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0
    assert b"Overfull" not in done.stdout


def rewrite(models: list[str]) -> None:
    """Write every file of these models anew and remove those without a case."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        if path.stem not in CASES:
            path.unlink()
    for name, (model, options) in CASES.items():
        if model not in models:
            continue
        text = printed(model, options)
        changed = not stored(name).exists() or stored(name).read_text(encoding="utf-8") != text
        stored(name).write_text(text, encoding="utf-8")
        if changed:
            print(f"{name} changed")


if __name__ == "__main__":
    rewrite(sys.argv[1:] or list(MODELS))
