"""Mirrors of dumps.wikimedia.org: the dump dates of a wiki, whether a dump is finished, and the URLs of its files.

Layout and `dumpstatus.json`: https://wikitech.wikimedia.org/wiki/Dumps. Only small documents are downloaded here. In a
mirror that is a local folder, a dump needs no `dumpstatus.json`: mirrors keep only the last months, and older dumps
come from archives as plain files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from jgpt_dagster.corpus.fetch.errors import DownloadError, MissingError
from jgpt_dagster.corpus.fetch.http_client import fetch_json, fetch_text
from jgpt_dagster.errors import JgptError

# A wiki that is dumped in parts (such as jawiki) has its single file from the `recombine` job, which ends later.
_JOBS = ("articlesmultistreamdumprecombine", "articlesmultistreamdump")
_DATE = re.compile(r"\d{8}", re.ASCII)
_LINK = re.compile(r"""href\s*=\s*["'](?:[^"'?#]*/)?(\d{8})/?["']""", re.ASCII | re.IGNORECASE)
_STATUS = re.compile(r"[A-Za-z-]{1,20}")
_NAME = re.compile(r"[\w.-]{1,150}", re.ASCII)
_TIME = re.compile(r"[\d: -]{1,20}", re.ASCII)
# The newest; a listing may have any number.
_SHOWN_DATES = 20
_SHA1 = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)


class MirrorError(JgptError):
    """The mirror does not have what was requested, or its answer is malformed."""


class DumpNotReadyError(MirrorError):
    """The dump of a date is announced but not finished."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a dump: its name, URL, size in bytes and hex sha1 (None if unknown)."""

    name: str
    url: str
    size: int
    sha1: str | None


@dataclass(frozen=True)
class DumpStatus:
    """The status of one dump: `done`, or as Wikimedia calls it otherwise (`waiting`, `in-progress`, `failed`).

    `announced` is whether a `dumpstatus.json` says so; a dump without one is in a folder and may have no sha1 sums.
    """

    date: str
    job: str
    status: str
    updated: str
    files: Mapping[str, Mapping[str, Any]]
    announced: bool = True

    @property
    def done(self) -> bool:
        return self.status == "done"


class DumpMirror:
    """The dumps of one wiki (database name, such as `jawiki`) at one mirror (http, https or file URL)."""

    def __init__(self, base_url: str, wiki: str) -> None:
        self.wiki = wiki
        self.url = f"{base_url.rstrip('/')}/{wiki}"

    def dates(self) -> list[str]:
        """Return the dates (YYYYMMDD) of all dumps that the mirror lists, finished or not, oldest first."""
        directory = self._folder
        if directory is None:
            return sorted(set(_LINK.findall(fetch_text(f"{self.url}/"))))
        if not directory.is_dir():
            raise MirrorError(f"{self.url}: there is no directory {directory}. Check JGPT_DUMPS_URL and JGPT_WIKI.")
        return sorted(entry.name for entry in directory.iterdir() if _DATE.fullmatch(entry.name) and entry.is_dir())

    def status(self, date: str) -> DumpStatus:
        """Return the status of the dump of a date.

        Raises MirrorError if the date is malformed or unknown to the mirror, or the status document is malformed.
        """
        if not _DATE.fullmatch(date):
            raise MirrorError(f"{date!r} is not a dump's date; dates look like 20250801; {self.url}/ lists them.")
        url = f"{self.url}/{date}/dumpstatus.json"
        try:
            document = fetch_json(url)
        except MissingError as error:
            if found := self._status_of_plain_folder(date):
                return found
            listed = ", ".join(self.dates()[-_SHOWN_DATES:]) or "no dump"
            raise MirrorError(
                f"no status of the {self.wiki} dump of {date}: {error} Mirrors keep the last months only; "
                f"{self.url}/ lists {listed}. One that you have as a file can be laid "
                f"into a folder, as {self.wiki}/{date}/{self._names(date)[0]}, with JGPT_DUMPS_URL=file:///FOLDER."
            ) from error
        except DownloadError as error:
            raise MirrorError(f"no status of the {self.wiki} dump of {date}: {error}") from error
        try:
            jobs = document["jobs"]
            name = next(job for job in _JOBS if job in jobs)
            job = jobs[name]
            status, files = job["status"], job.get("files") or {}
            if not (isinstance(status, str) and isinstance(files, dict)):
                raise TypeError("status or files of another type")
            # They are shown to the user, so they are taken only if they are what they should be.
            status = status if _STATUS.fullmatch(status) else "unknown"
            updated = str(job.get("updated", ""))
            return DumpStatus(date, name, status, updated if _TIME.fullmatch(updated) else "", files)
        except (KeyError, TypeError, AttributeError, StopIteration) as error:
            raise MirrorError(
                f"{url} does not tell the state of {' or '.join(_JOBS)}: it is not the dumpstatus.json that Wikimedia "
                "writes. Check JGPT_DUMPS_URL."
            ) from error

    def newest(self) -> str:
        """Return the date of the newest finished dump. Raises MirrorError if there is none among the newest."""
        dates = self.dates()[: -_SHOWN_DATES - 1 : -1]
        for date in dates:
            if self.status(date).done:
                return date
        raise MirrorError(f"{self.url}/ has no finished dump among {', '.join(dates) or 'no dump at all'}.")

    def files(self, date: str) -> list[RemoteFile]:
        """Return the multistream dump of a date and, if the mirror has it, the index.

        Raises DumpNotReadyError if the dump is unfinished, MirrorError if it has no single multistream file.
        """
        status = self.status(date)
        if not status.done:
            raise DumpNotReadyError(
                f"the {self.wiki} dump of {date} is not ready: {status.job} is '{status.status}' "
                f"(updated {status.updated or 'never'}). Take an earlier date or try again later."
            )
        dump, index = self._names(date)
        if dump not in status.files:
            stem = dump.removesuffix(".xml.bz2")
            parts = [name for name in status.files if name.startswith(stem) and _NAME.fullmatch(name)]
            raise MirrorError(
                f"{self.url}/{date}/ has no {dump}"
                + (f", but {len(parts)} parts such as {parts[0]}; dumps in parts are not supported" if parts else "")
                + ". Take another date."
            )
        return [self._file(status, name) for name in (dump, index) if name in status.files]

    @property
    def _folder(self) -> Path | None:
        """The folder of the wiki's dumps if the mirror is a file URL."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    def _names(self, date: str) -> tuple[str, str]:
        stem = f"{self.wiki}-{date}-pages-articles-multistream"
        return f"{stem}.xml.bz2", f"{stem}-index.txt.bz2"

    def _status_of_plain_folder(self, date: str) -> DumpStatus | None:
        """Return `done` for a dump in a folder without `dumpstatus.json`, with the sha1 sums if they are there."""
        folder = self._folder and self._folder / date
        dump, index = self._names(date)
        if folder is None or not (folder / dump).is_file():
            return None
        published = folder / f"{self.wiki}-{date}-sha1sums.txt"
        text = fetch_text(published.as_uri()) if published.is_file() else ""
        sums = {name: sha1 for sha1, name in re.findall(r"^(\S+)\s+(\S+)$", text, re.MULTILINE)}
        present = (name for name in (dump, index) if (folder / name).is_file())
        files = {name: {"size": (folder / name).stat().st_size, "sha1": sums.get(name)} for name in present}
        return DumpStatus(date, _JOBS[-1], "done", "", files, announced=False)

    def _file(self, status: DumpStatus, name: str) -> RemoteFile:
        # The URL is built here and not taken from the document: a mirror may have another base path, and a document
        # must not be able to name other hosts.
        entry = status.files[name]
        size, sha1 = (entry.get("size"), entry.get("sha1")) if isinstance(entry, dict) else (None, None)
        known = _SHA1.fullmatch(sha1) if isinstance(sha1, str) else sha1 is None and not status.announced
        if not (isinstance(size, int) and size >= 0 and known):
            raise MirrorError(f"{self.url}/{status.date}/ gives no size and sha1 for {name}: try again later.")
        return RemoteFile(name, f"{self.url}/{status.date}/{name}", size, sha1 and sha1.lower())
