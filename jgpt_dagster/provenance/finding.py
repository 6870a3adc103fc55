"""What a check of files finds."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["damaged", "unlisted", "misplaced", "stale", "missing"]

FAULTS: frozenset[Kind] = frozenset({"damaged", "unlisted", "misplaced"})
"""Kinds that are never right. An output may be stale, or its inputs missing, because somebody wanted it so."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was recorded: its kind, the label of the output (or a path), and what is wrong.

    `path` is the file or directory that is wrong.
    """

    kind: Kind
    output: str
    path: str
    problem: str

    @property
    def is_fault(self) -> bool:
        """Whether this is never right."""
        return self.kind in FAULTS

    def line(self) -> str:
        """Return a line for the user."""
        return f"{self.kind}: {self.output}: {self.problem}"
