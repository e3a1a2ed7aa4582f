"""The package as installed: typed, versioned, and quick to say what it can do."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from importlib.metadata import entry_points, version
from importlib.resources import files
from pathlib import Path

import pytest

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = ("sympy", "numpy", "scipy", "xarray", "mpmath", "flint", "matplotlib", "networkx", "rich")


def python(code, *, check=False):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=check)


@pytest.mark.parametrize("package", ["replica", "solvers"])
def test_packages_are_typed(package):
    assert files(package).joinpath("py.typed").is_file()


def test_the_version_is_the_project_s():
    assert version("replica-calculator") == PYPROJECT["project"]["version"]
    run = python("from replica.cli import main; main(['--version'])", check=True)
    assert run.stdout == f"replica {PYPROJECT['project']['version']}\n"


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="replica")
    assert command.value == PYPROJECT["project"]["scripts"]["replica"]


@pytest.mark.parametrize(
    "words", [["--help"], ["solve", "--help"], ["models"], ["solve", "bsr", "--digits", "0"]]
)
def test_the_command_line_starts_without_heavy_imports(words):
    code = (
        "import sys\n"
        "from replica.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        f"heavy = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    run = python(code)
    assert run.returncode == 0, run.stderr


def test_help_is_quick():
    code = "from replica.cli import main; main(['--help'])"
    fastest = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        python(code, check=True)
        fastest = min(fastest, time.perf_counter() - start)
    assert fastest < 0.3


def test_importing_the_package_is_quick_and_lazy():
    code = f"import sys, replica, solvers; sys.exit(bool(set({HEAVY!r}) & set(sys.modules)))"
    python(code, check=True)
