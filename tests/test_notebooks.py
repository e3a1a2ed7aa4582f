"""Every notebook is committed without outputs and runs from top to bottom."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS_A_CELL = 300

main = runpy.run_path(str(ROOT / "tools" / "strip_notebooks.py"))["main"]


def execute(path):
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS_A_CELL, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    client.execute()
    return notebook


def test_notebooks_have_no_outputs_in_git():
    assert main(["--check", *map(str, NOTEBOOKS)]) == 0


def test_notebooks_run():
    for path in NOTEBOOKS:
        execute(path)


@pytest.fixture
def notebook(tmp_path):
    cells = [nbformat.v4.new_markdown_cell("# é"), nbformat.v4.new_code_cell("import replica\n6 * 7")]
    path = tmp_path / "toy.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_stripping_undoes_a_run(notebook, capsys):
    before = notebook.read_text(encoding="utf-8")
    assert main(["--check", str(notebook)]) == 0
    executed = execute(notebook)
    assert executed.cells[1].outputs[0]["data"]["text/plain"] == "42"
    nbformat.write(executed, notebook)
    assert main(["--check", str(notebook)]) == 1
    assert main([str(notebook)]) == 1
    assert main([str(notebook), "no-such-file.ipynb"]) == 0
    stripped = json.loads(notebook.read_text(encoding="utf-8"))
    assert [cell["source"] for cell in stripped["cells"]] == [
        c["source"] for c in json.loads(before)["cells"]
    ]
    assert stripped["cells"][1]["outputs"] == []
    assert capsys.readouterr().out.splitlines() == [
        f"{notebook}: has outputs",
        f"{notebook}: outputs stripped",
    ]


def test_a_failing_cell_fails(tmp_path):
    from nbclient.exceptions import CellExecutionError

    path = tmp_path / "bad.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(path)
