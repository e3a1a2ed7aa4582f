"""The README says only what runs: its Python sessions are doctests, its commands print the lines shown."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

from replica.cli import main

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_python_sessions(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    session = doctest.DocTestParser().get_doctest("".join(blocks("pycon")), {}, "README.md", "README.md", 0)
    assert len(session.examples) > 20
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    report = []
    runner.run(session, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def commands():
    for block in blocks("console"):
        for part in block.split("$ ")[1:]:
            command, *shown = part.splitlines()
            yield pytest.param(command, shown, id=" ".join(command.split()[1:3]))


@pytest.mark.parametrize(("command", "shown"), tuple(commands()))
def test_commands(command, shown, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(command)
    assert program == "replica"
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(line in printed for line in shown)
    for option in ("--to", "--out", "--plot"):
        if option in arguments:
            assert Path(arguments[arguments.index(option) + 1]).stat().st_size > 0


def test_files_named_exist():
    for path in re.findall(r"(?:docs|notebooks|tools)/[\w./]+\.(?:md|py|png|ipynb)", TEXT):
        assert (ROOT / path).is_file(), path
