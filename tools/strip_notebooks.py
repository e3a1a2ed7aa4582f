"""Strip the outputs of notebooks in place, or with ``--check`` only say which ones have any.

    python tools/strip_notebooks.py [--check] NOTEBOOK...

Exits 1 when a notebook had outputs, so that a commit hook stops and the stripped file is added. Arguments
that are no files are ignored: an unmatched shell pattern in an empty folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def strip(notebook: dict[str, Any]) -> bool:
    """Remove outputs and execution counts from a notebook (nbformat 4); True when there were any."""
    dirty = False
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        dirty |= bool(cell.get("outputs")) or cell.get("execution_count") is not None
        cell["outputs"] = []
        cell["execution_count"] = None
    return dirty


def main(arguments: list[str]) -> int:
    """Strip (or check) the notebooks named; return the exit status."""
    check = "--check" in arguments
    status = 0
    for path in (Path(a) for a in arguments if a != "--check"):
        if not path.is_file():
            continue
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if strip(notebook):
            status = 1
            if not check:
                path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"{path}: has outputs" if check else f"{path}: outputs stripped")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
