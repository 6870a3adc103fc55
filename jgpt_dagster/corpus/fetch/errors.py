"""The errors of fetching: what the user reads, and what the next attempt may overcome."""

from jgpt_dagster.errors import JgptError


def printable(text: str, limit: int) -> str:
    """Return text from outside for a message: at most `limit` characters, none of which controls a terminal."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cut)


class DownloadError(JgptError):
    """A file cannot be fetched, or what arrived is not what was announced."""


class MissingError(DownloadError):
    """The file does not exist."""


class TemporaryError(Exception):
    """A failure that another attempt may overcome; `wait` is the pause in seconds that the server asked for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait
