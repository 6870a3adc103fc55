"""Dates of dumps as people type them: checked before anything is done, and `latest` for the newest that is finished."""

from datetime import datetime
from typing import TYPE_CHECKING

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.safe_path import require_form

if TYPE_CHECKING:
    from jgpt_dagster.settings import Settings

LATEST = "latest"


def require_date(text: str) -> str:
    """Return `text` if it is the date of a day, as YYYYMMDD. Raises UnsafeNameError or JgptError."""
    require_form("dump", text)
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        raise JgptError(
            f"{text} is not the date of a day: dumps are named YYYYMMDD. `jgpt dumps available` lists the mirror's."
        ) from None
    return text


def dump_date(settings: "Settings", text: str) -> str:
    """Return a date as it was given or, for `latest`, that of the newest finished dump at the mirror.

    Raises JgptError for what is no date, and MirrorError if the mirror has no finished dump or does not answer.
    """
    if text != LATEST:
        return require_date(text)
    from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror

    return DumpMirror(settings.dumps_url, settings.wiki).newest()


def require_obtainable(settings: "Settings", dump: str) -> None:
    """Raise MirrorError unless a dump is here or finished at the mirror, before anything large is fetched."""
    from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror

    for corpus in settings.catalog.dated_corpora:
        source = settings.catalog.source(corpus, dump)
        if source and source.manifest() is None:
            DumpMirror(settings.dumps_url, settings.wiki).files(dump)
