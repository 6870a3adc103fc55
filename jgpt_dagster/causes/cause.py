"""The cause of an error: its own message if it is an error of this package, else what is known of it."""

import traceback
from collections.abc import Iterator

from jgpt_dagster.causes import libraries, system
from jgpt_dagster.errors import JgptError


def cause_of(error: BaseException) -> str | None:
    """Return the cause of an error that a person can mend; None for any other error, which is a bug.

    Errors that it was raised from or during count too: libraries wrap those of the system.
    """
    for link in _chain(error):
        if isinstance(link, JgptError):
            return str(link)
        if isinstance(link, MemoryError):
            return system.out_of_memory()
        if isinstance(link, OSError) and link.errno is not None:
            return system.describe(link)
        if cause := cause_of_text("".join(traceback.format_exception_only(link))):
            return cause
    return None


def cause_of_text(text: str) -> str | None:
    """Return the cause of an error of which only `module.Class: message` is left; None if it is not known."""
    return libraries.describe(text.strip().partition("\n")[0])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it, the last one first."""
    seen = set[int]()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
