"""A short look at the mirror: its newest finished dump, and how the newest fetched one stands against it."""

import threading
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import dagster as dg

from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror, MirrorError
from jgpt_dagster.corpus.fetch.errors import TemporaryError
from jgpt_dagster.corpus.fetch.http_client import open_client, open_url
from jgpt_dagster.errors import JgptError
from jgpt_dagster.literal_text import one_line

T = TypeVar("T")

IS_NEWEST = "is_newest"
"""The name of the check of a dump that compares the newest fetched one with the mirror's."""

# Dagster gives the tick of a sensor 60 s.
_MIRROR_SECONDS = 45.0


@dataclass(frozen=True)
class Search:
    """The dump that was looked for and its size in bytes, or no date and the reasons why there is none."""

    date: str | None
    size: int
    notes: Sequence[str]


class MirrorLook:
    """What a mirror has at one moment: it is asked for its listing once, and once for the files of a dump."""

    def __init__(self, mirror: DumpMirror) -> None:
        self._mirror = mirror
        self._sizes: dict[str, int | MirrorError] = {}
        self._listed: list[str] | None = None

    def newest_finished(self, after: str, passed_over: Container[str] = ()) -> Search:
        """Return the newest finished dump after a date that is not to be passed over.

        Raises JgptError if the mirror cannot be reached or its listing cannot be read.
        """
        notes = list[str]()
        for date in reversed(self._dates):
            if date > after and date not in passed_over:
                size = self._size(date)
                if not isinstance(size, MirrorError):
                    return Search(date, size, notes)
                notes.append(str(size))
        newer = f" newer than {after}." if after else "."
        return Search(None, 0, notes or [f"{self._mirror.url}/ lists no dump{newer}"])

    def require_dumps(self) -> None:
        """Raise MirrorError if the mirror lists no dump at all: what answered may be something else."""
        if not self._dates:
            raise MirrorError(f"{self._mirror.url}/ lists no dump. Check JGPT_DUMPS_URL and JGPT_WIKI.")

    @property
    def _dates(self) -> list[str]:
        # No cached property: until Python 3.12 a lock makes all others wait for one that gets no answer.
        if self._listed is None:
            _require_reachable(self._mirror.url)
            self._listed = self._mirror.dates()
        return self._listed

    def _size(self, date: str) -> int | MirrorError:
        """Return the size of a dump, or why it cannot be fetched."""
        if date not in self._sizes:
            try:
                self._sizes[date] = sum(file.size for file in self._mirror.files(date))
            except MirrorError as error:
                self._sizes[date] = error
        return self._sizes[date]


def look_at_mirror(dumps_url: str, wiki: str, look: Callable[[MirrorLook], T]) -> T:
    """Return what `look` makes of the mirror of a wiki. Raises JgptError, and MirrorError if it takes too long."""
    mirror = DumpMirror(dumps_url, wiki)
    return _with_timeout(_MIRROR_SECONDS, mirror.url, lambda: look(MirrorLook(mirror)))


def freshness(fetched: Sequence[str], look: MirrorLook) -> tuple[bool, str]:
    """Return whether the newest of the fetched dumps is the newest finished one of the mirror, and that in words.

    Raises JgptError as `MirrorLook` does.
    """
    look.require_dumps()
    newest = max(fetched, default="")
    found = look.newest_finished(newest)
    if found.date is None:
        return bool(newest), f"{_newest_here(fetched)}; the mirror has finished no newer one"
    days = f", {(_day(found.date) - _day(newest)).days} days newer" if newest else ""
    return False, f"{_newest_here(fetched)}; the mirror has finished that of {found.date}{days}"


def evaluation(asset: str, fetched: Sequence[str], look: MirrorLook | JgptError) -> dg.AssetCheckEvaluation:
    """Return the evaluation of `is_newest` of the fetched dumps; an error instead of a look says why there is none.

    It is a warning at most. Text of the mirror is metadata, because the description is Markdown.
    """
    metadata = dict[str, str]()
    try:
        if isinstance(look, JgptError):
            raise look
        passed, description = freshness(fetched, look)
    except JgptError as error:
        passed, description = False, f"mirror not reached: nothing is known of newer dumps. {_newest_here(fetched)}"
        metadata = {"reason": one_line(str(error))}
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=IS_NEWEST,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def _newest_here(fetched: Sequence[str]) -> str:
    return f"The newest dump here is of {max(fetched)}" if fetched else "No dump is here"


def _day(date: str) -> datetime:
    return datetime.strptime(date, "%Y%m%d")


def _require_reachable(url: str) -> None:
    """Request a mirror's listing once. A download retries for minutes; a look does not, because the next one comes."""
    if url.startswith("file:"):
        return
    try:
        with open_client() as client, open_url(client, f"{url}/", {}):
            pass
    except TemporaryError as error:
        raise MirrorError(f"{url}/ cannot be reached now ({error}); the next poll tries again.") from error


def _with_timeout(seconds: float, url: str, look: Callable[[], T]) -> T:
    """Return what `look` returns. Raises MirrorError if it takes longer; its thread then ends unobserved."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(look())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise MirrorError(f"{url}/ has not answered within {seconds:.0f} s; the next poll tries again.") from error
