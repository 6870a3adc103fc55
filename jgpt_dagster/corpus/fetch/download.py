"""Bringing large files to disk: resumable, verified, and never under their name before they are right.

What is fetched, and from which place of a mirror, is `mirror`'s matter.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from jgpt_dagster.corpus.fetch.http_client import (
    DownloadError,
    TemporaryError,
    attempts,
    local_path,
    open_client,
    open_url,
)
from jgpt_dagster.storage.atomic_write import DiskFullError, require_free_space, write_json
from jgpt_dagster.storage.manifest import FileEntry

Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Expected:
    """What is known of a file before it comes; None where nothing is."""

    size: int | None
    sha1: str | None
    sha256: str | None

    @property
    def hashed(self) -> bool:
        """Whether a hash is known, which settles all doubt once the file is whole."""
        return bool(self.sha1 or self.sha256)

    def mismatch(self, size: int, sha1: str, sha256: str) -> str | None:
        found = {"size": size, "sha1": sha1, "sha256": sha256}
        for name, value in asdict(self).items():
            if value is not None and value != found[name]:
                return f"its {name} is {found[name]}, expected {value}"
        return None


def fetch(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha1: str | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> FileEntry:
    """Make `target` the verified content of an http, https or file URL; return its size and sha256.

    An unfinished download waits in `<target>.part` (`<target>.part.json` says what it is a part of) and the next call
    goes on with it, where a hash is given also from another URL. A file URL is not copied: `target` becomes a hard link
    to it or, where that is not possible, a symbolic link. `progress` is called with the bytes done and, if known, their
    total.

    Raises DownloadError (url, what was expected and found, what to do) and DiskFullError. After a mismatch of size or
    hash the part is gone; after any other error it is kept. A `target` that is there and has the expected hash is not
    downloaded again.
    """
    expected = _Expected(size, sha1 and sha1.lower(), sha256 and sha256.lower())
    target.parent.mkdir(parents=True, exist_ok=True)
    if (source := local_path(url)) is not None:
        return _link(url, source, target, expected, progress)
    if (sha1 or sha256) and target.is_file():
        found = _Digests.of(target, progress)
        if not found.mismatch(expected):
            return found.entry()
    with _Part(url, target, expected) as part, open_client() as client:
        for attempt in attempts(url, lambda: part.high_water):
            with attempt:
                _receive(client, url, part, progress)
        return part.place()


def _link(url: str, source: Path, target: Path, expected: _Expected, progress: Progress | None) -> FileEntry:
    source = source.resolve()
    digests = _Digests.of(source, progress)
    if mismatch := digests.mismatch(expected):
        raise DownloadError(f"{url}: {mismatch}. The file is damaged or not the one announced; replace it.")
    temporary = _part_path(target)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:  # another device, a file of another user, a file system without hard links
        os.symlink(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # rename does nothing between two names of one file
    return digests.entry()


class _Digests:
    """Size, sha1 and sha256 of what has passed."""

    def __init__(self) -> None:
        self.size = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    @classmethod
    def of(cls, path: Path, progress: Progress | None = None) -> "_Digests":
        """Return the digests of a whole file."""
        digests, total = cls(), path.stat().st_size
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digests.update(chunk)
                if progress:
                    progress(digests.size, total)
        return digests

    def update(self, data: bytes) -> None:
        self._sha1.update(data)
        self._sha256.update(data)
        self.size += len(data)

    def mismatch(self, expected: _Expected) -> str | None:
        return expected.mismatch(self.size, self._sha1.hexdigest(), self._sha256.hexdigest())

    def entry(self) -> FileEntry:
        return FileEntry(self.size, self._sha256.hexdigest())


class _Part:
    """The unfinished file of one download, its digests, and what is known of its source."""

    def __init__(self, url: str, target: Path, expected: _Expected) -> None:
        self.url, self.target, self.expected = url, target, expected
        self.path = _part_path(target)
        self.validator: str | None = None
        self.high_water = 0  # the most that this call has ever held: the measure of progress
        self.digests = _Digests()
        # Unbuffered: what the disk could not take must not come up again when the file is closed.
        self._stream = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed by __exit__)
        if not self._is_ours():
            self.restart(None)
        self._stream.seek(0)
        while chunk := self._stream.read(_CHUNK):
            self.digests.update(chunk)

    def __enter__(self) -> "_Part":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        if not self.size:
            self._delete()

    @property
    def size(self) -> int:
        return self.digests.size

    @property
    def verifiable(self) -> bool:
        """Whether it would be noticed if the rest that the server sends belonged to another file."""
        return bool(self.validator) or self.expected.hashed

    def restart(self, validator: str | None) -> None:
        """Begin at byte 0, with the source's present validator (its ETag or date) on record.

        Where the hash is known, it is not needed; and the hosts of a mirror may each have another for the same file.
        """
        self._stream.truncate(0)
        self.digests = _Digests()
        self.validator = None if self.expected.hashed else validator
        write_json(self._record, self._identity())

    def append(self, data: bytes) -> None:
        if self.expected.size is not None and self.size + len(data) > self.expected.size:
            raise self.refused(f"it is longer than the expected {self.expected.size:,} bytes")
        view = memoryview(data)
        while view:
            view = view[self._stream.write(view) :]
        self.digests.update(data)
        self.high_water = max(self.high_water, self.size)

    def refused(self, reason: str) -> DownloadError:
        """Delete the part and return the error that says why."""
        self._delete()
        return DownloadError(
            f"{self.url}: {reason}. What was downloaded is deleted; run the same command again, and if this comes back "
            "the mirror's copy is damaged or being replaced: use another mirror or date."
        )

    def place(self) -> FileEntry:
        """Verify the whole file and give it its name."""
        if mismatch := self.digests.mismatch(self.expected):
            raise self.refused(mismatch)
        os.fsync(self._stream.fileno())
        os.replace(self.path, self.target)
        self._record.unlink(missing_ok=True)
        return self.digests.entry()

    def _delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def _identity(self) -> dict[str, Any]:
        """Return what the part is a part of: with a known hash, the same file at any mirror."""
        known = asdict(self.expected)
        return known if self.expected.hashed else {"url": self.url, **known, "validator": self.validator}

    def _is_ours(self) -> bool:
        """Whether the bytes on disk may be the beginning of this very file."""
        try:
            record = json.loads(self._record.read_text())
            self.validator = record.get("validator")
        except (OSError, ValueError, AttributeError):
            return False
        held = self.path.stat().st_size
        return self.verifiable and record == self._identity() and held <= (self.expected.size or held)


def _receive(client: httpx.Client, url: str, part: _Part, progress: Progress | None) -> None:
    """Make one request and append what it brings. Returns when the part is complete."""
    if part.expected.size == part.size:
        return
    if part.expected.size is not None:
        require_free_space(part.path.parent, part.expected.size - part.size, f"downloading {url}")
    headers = {}
    if part.size and not part.verifiable:
        part.restart(None)
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.validator and not part.validator.startswith("W/"):  # If-Range takes strong validators alone
            headers["If-Range"] = part.validator
    with open_url(client, url, headers) as response:
        total = _total(response)
        if not _continues(response, part):
            if response.status_code != httpx.codes.OK:
                held = part.size
                part.restart(None)
                raise TemporaryError(f"HTTP {response.status_code} is not the rest of the file from byte {held:,}")
            part.restart(_validator(response))
        if total is not None and part.expected.size not in (None, total):
            raise part.refused(f"the server's copy has {total:,} bytes, expected {part.expected.size:,}")
        if total is not None:
            require_free_space(part.path.parent, total - part.size, f"downloading {url}")
        if response.status_code != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            _append_body(response, part, total, progress)
    whole = total if part.expected.size is None else part.expected.size
    if whole is not None and part.size < whole:
        raise TemporaryError(f"the connection ended after {part.size:,} of {whole:,} bytes")


def _append_body(response: httpx.Response, part: _Part, total: int | None, progress: Progress | None) -> None:
    try:
        # Raw: what counts is the file as the server keeps it, whatever Content-Encoding it declares.
        for chunk in response.iter_raw():
            part.append(chunk)
            if progress:
                progress(part.size, total if part.expected.size is None else part.expected.size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"{part.path}: the disk is full. What was downloaded is kept; free some space, then run the same "
                "command again and it goes on from there."
            ) from error
        raise


def _continues(response: httpx.Response, part: _Part) -> bool:
    """Whether the answer to a request for the rest is the rest of the same file."""
    if part.validator and _validator(response) not in (None, part.validator):
        return False
    content_range = response.headers.get("Content-Range", "")
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        return content_range == f"bytes */{part.size}"
    return (
        response.status_code == httpx.codes.PARTIAL_CONTENT
        and part.size > 0
        and content_range.startswith(f"bytes {part.size}-")
    )


def _total(response: httpx.Response) -> int | None:
    """Return the size of the whole file, in bytes, as the answer tells it."""
    if response.status_code == httpx.codes.OK:
        text = response.headers.get("Content-Length", "")
    else:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if text.isascii() and text.isdigit() else None


def _validator(response: httpx.Response) -> str | None:
    return response.headers.get("ETag") or response.headers.get("Last-Modified")


def _part_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")
