"""Notebooks, run as a kernel runs them: cell by cell in one namespace, the value of a last expression shown.

    python -m jgpt_dagster_tests.support.notebooks NOTEBOOK

A notebook without commands of the kernel (`%…`, `!…`) needs no more than this.
"""

import ast
import json
import sys
from pathlib import Path
from typing import Any


def cells_of(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


def run(path: Path) -> None:
    """Run every cell of code; the first one that fails ends it, with its number in the traceback."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells_of(path), 1):
        if cell["cell_type"] != "code":
            continue
        name, tree = f"<cell {number}>", ast.parse("".join(cell["source"]))
        *body, last = tree.body
        shown = ast.Expression(last.value) if isinstance(last, ast.Expr) else None
        tree.body = body if shown else tree.body
        exec(compile(tree, name, "exec"), namespace)
        if shown and (value := eval(compile(shown, name, "eval"), namespace)) is not None:
            print(repr(value), flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
