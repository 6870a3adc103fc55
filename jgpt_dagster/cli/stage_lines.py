"""What `jgpt run` prints of a finished stage: what was current, what was made and why, in at most 80 columns."""

import textwrap
from typing import TYPE_CHECKING

from jgpt_dagster.literal_text import one_line

if TYPE_CHECKING:
    from jgpt_dagster.orchestration.local_runner import StageResult

_WORDS = 48
_COLUMNS = 80


def stage_lines(result: "StageResult", seconds: float) -> list[str]:
    """Return a line for a stage, and lines for the reasons that have no room in it."""
    made = sum(result.made.values())
    several = result.verified + made > 1
    reason = f" ({one_line(*result.made)})" if len(result.made) == 1 else ""
    words, below = _words(made, result.verified, several, reason), list[str]()
    if len(words) > _WORDS or len(result.made) > 1:
        words = _words(made, result.verified, several)
        below = [f"{count} made: {one_line(why)}" if several else one_line(why) for why, count in result.made.items()]
    first = f"{result.asset:<20} {words:<{_WORDS}} {seconds:8.1f} s"
    return [first, *(line for text in below for line in _indented(text))]


def _words(made: int, verified: int, several: bool, reason: str = "") -> str:
    parts = [f"{made} made{reason}" if several else f"made{reason}"] if made else []
    parts += [f"{verified} verified" if several else "verified"] if verified else []
    return ", ".join(parts)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, _COLUMNS, initial_indent="  ", subsequent_indent="    ")
