"""Runs at the start of every Python process that has this folder on PYTHONPATH: it counts along (`file_changes`)."""

import runpy
from pathlib import Path

# By its path: the package is imported by processes that need it only.
runpy.run_path(str(Path(__file__).parent.parent / "file_changes.py"))["count_along"]()
