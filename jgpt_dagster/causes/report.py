"""How a training process passes its cause to the process that launched it: as a marked line of its output.

Output arrives through every launcher, through ssh and from a host whose disk is full.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

_MARK = "jgpt-cause: "
# A pipe takes 4,096 bytes at once; longer lines of several processes would mix. JSON may take six bytes a character.
_LONGEST_LINE = 4_000

Kind = Literal["failed", "crashed", "lost peer", "interrupted"]

# What explains a run, if its processes ended in different ways: whoever fails first takes the others along.
_MOST_TELLING: tuple[Kind, ...] = ("failed", "crashed", "lost peer", "interrupted")


@dataclass(frozen=True)
class Report:
    """How a process of a run ended.

    It failed for a known cause, crashed by a bug, lost the connection to another process, or was interrupted.
    """

    kind: Kind
    cause: str
    rank: int = 0

    def send(self) -> None:
        """Write the report to this process's output."""
        cause = self.cause
        while len(line := _line(Report(self.kind, cause, self.rank))) > _LONGEST_LINE:
            cause = cause[: len(cause) * 3 // 4].rstrip("…") + "…"
        sys.stderr.flush()
        os.write(sys.stderr.fileno(), line)


def read_report(line: str) -> Report | None:
    """Return the report that a line of output holds; None for any other line."""
    _, mark, text = line.partition(_MARK)
    if not mark:
        return None
    try:
        return Report(**json.loads(text))
    except (ValueError, TypeError):
        return None


def most_telling(reports: Iterable[Report]) -> Report | None:
    """Return the report that explains why a run ended, of the first process that has one; None without reports."""
    return min(reports, key=lambda report: (_MOST_TELLING.index(report.kind), report.rank), default=None)


def _line(report: Report) -> bytes:
    return f"{_MARK}{json.dumps(asdict(report))}\n".encode()
