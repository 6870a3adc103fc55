"""Downloading large files: resumed after an interruption, verified, and renamed to their target only when complete.

HTTP semantics are those of RFC 9110: a range request (section 14) asks for the missing bytes, and `If-Range` (13.1.5)
for the whole file instead if its validator (8.8) has changed.
"""

import os
from enum import Enum, auto
from pathlib import Path

import httpx

from jgpt_dagster.corpus.fetch.checksums import ExpectedDigests, FileDigests, OnProgress
from jgpt_dagster.corpus.fetch.errors import DownloadError, TemporaryError
from jgpt_dagster.corpus.fetch.http_client import Client, body_of, local_path, open_client, open_url, shown
from jgpt_dagster.corpus.fetch.partial_file import PartialFile, partial_path
from jgpt_dagster.corpus.fetch.retry import attempts
from jgpt_dagster.storage.disk_space import DiskFullError, is_disk_full, require_free_space
from jgpt_dagster.storage.file_creation import make_own_directory, remove
from jgpt_dagster.storage.manifest import FileEntry

MAX_FILE_BYTES = 256 << 30
"""The largest file that is downloaded: ten times the largest dump of a Wikipedia."""

# Of a size in a header: more digits than any file has bytes.
_MAX_DIGITS = 19
_MAX_VALIDATOR_CHARACTERS = 1000


def download_file(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha1: str | None = None,
    sha256: str | None = None,
    on_progress: OnProgress | None = None,
) -> FileEntry:
    """Make `target` the verified content of an http, https or file URL; return its size and sha256.

    An unfinished download stays in `<target>.part` and the next call resumes it, with a known hash also from another
    URL. Its directory is an internal one and must not be a link. A file URL is not copied: `target` becomes a hard link
    to the file or, where that is impossible, a symbolic link. An existing `target` with the expected hash is not
    downloaded again, unless it is a link.

    Raises DownloadError (URL, what was expected and found, what to do) and DiskFullError. After a mismatch of size or
    hash the part is deleted; after any other error it is kept.
    """
    expected = ExpectedDigests(size, sha1 and sha1.lower(), sha256 and sha256.lower())
    make_own_directory(target.parent)
    if (source := local_path(url)) is not None:
        return _link(url, source, target, expected, on_progress)
    if expected.has_hash and target.is_file() and not target.is_symlink():
        found = FileDigests.of(target, on_progress)
        if not found.mismatch(expected):
            return found.entry()
    with PartialFile(url, target, expected) as part, open_client() as client:
        for attempt in attempts(shown(url), lambda: part.peak_size):
            with attempt:
                _download_rest(client, url, part, on_progress)
        return part.finish()


def _link(url: str, source: Path, target: Path, expected: ExpectedDigests, on_progress: OnProgress | None) -> FileEntry:
    source = source.resolve()
    digests = FileDigests.of(source, on_progress)
    if mismatch := digests.mismatch(expected):
        raise DownloadError(f"{shown(url)}: {mismatch}. The file is damaged or not the one announced; replace it.")
    temporary = partial_path(target)
    remove(temporary)
    try:
        os.link(source, temporary)
    except OSError:  # another device, a file of another user, a file system without hard links
        os.symlink(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # rename does nothing between two names of one file
    return digests.entry()


def _download_rest(client: Client, url: str, part: PartialFile, on_progress: OnProgress | None) -> None:
    """Request the missing bytes once and append them.

    Raises TemporaryError if the file is still incomplete, DownloadError if it cannot be the expected one.
    """
    expected_size = part.expected.size
    if part.size == expected_size:
        return
    _require_space_for(part, expected_size)
    if part.size and not part.detects_other_file:
        part.restart()
    with open_url(client, url, _range_headers(part)) as response:
        kind = _classify(response, part)
        if kind is _Response.UNUSABLE:
            offset = part.size
            part.restart()
            raise TemporaryError(f"HTTP {response.status_code} is not the rest of the file from byte {offset:,}")
        if kind is _Response.WHOLE_FILE:
            part.restart(_validator(response))
        announced_size = _announced_size(response)
        if announced_size is not None and expected_size not in (None, announced_size):
            raise part.rejected(f"the server's copy has {announced_size:,} bytes, expected {expected_size:,}")
        complete_size = announced_size if expected_size is None else expected_size
        if kind is not _Response.NOTHING_LEFT:
            _require_space_for(part, announced_size)
            if complete_size is not None and complete_size > MAX_FILE_BYTES:
                raise part.rejected(f"it has {complete_size:,} bytes, more than the limit of {MAX_FILE_BYTES:,}")
            _append_body(client, response, part, complete_size, on_progress)
    if complete_size is not None and part.size < complete_size:
        raise TemporaryError(f"the connection ended after {part.size:,} of {complete_size:,} bytes")


def _require_space_for(part: PartialFile, complete_size: int | None) -> None:
    if complete_size is not None:
        require_free_space(part.path.parent, complete_size - part.size, f"downloading {shown(part.url)}")


def _range_headers(part: PartialFile) -> dict[str, str]:
    """Return the headers that request the bytes after those received."""
    if not part.size:
        return {}
    headers = {"Range": f"bytes={part.size}-"}
    if part.validator and not part.validator.startswith("W/"):  # If-Range allows strong validators only
        headers["If-Range"] = part.validator
    return headers


class _Response(Enum):
    WHOLE_FILE = auto()
    """200: the file from byte 0. The server ignores ranges, or the file has changed, or nothing was received yet."""
    REST = auto()
    """206: the requested range of the same file."""
    NOTHING_LEFT = auto()
    """416: the range is empty, because the part holds the whole file."""
    UNUSABLE = auto()
    """206 or 416 about another range or another file."""


def _classify(response: httpx.Response, part: PartialFile) -> _Response:
    content_range = response.headers.get("Content-Range", "")
    if response.status_code == httpx.codes.OK:
        return _Response.WHOLE_FILE
    if part.validator and _validator(response) not in (None, part.validator):
        return _Response.UNUSABLE
    if response.status_code == httpx.codes.PARTIAL_CONTENT and content_range.startswith(f"bytes {part.size}-"):
        return _Response.REST
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and content_range == f"bytes */{part.size}":
        return _Response.NOTHING_LEFT
    return _Response.UNUSABLE


def _announced_size(response: httpx.Response) -> int | None:
    """Return the size of the complete file in bytes, if the response states it."""
    if response.status_code == httpx.codes.OK:
        text = response.headers.get("Content-Length", "")
    else:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _validator(response: httpx.Response) -> str | None:
    validator: str | None = response.headers.get("ETag") or response.headers.get("Last-Modified")
    return validator if validator and len(validator) <= _MAX_VALIDATOR_CHARACTERS else None


def _append_body(
    client: Client,
    response: httpx.Response,
    part: PartialFile,
    complete_size: int | None,
    on_progress: OnProgress | None,
) -> None:
    try:
        for chunk in body_of(client, response):
            if part.size + len(chunk) > (MAX_FILE_BYTES if complete_size is None else complete_size):
                raise part.rejected(
                    f"it is longer than the limit of {MAX_FILE_BYTES:,} bytes"
                    if complete_size is None
                    else f"it is longer than the expected {complete_size:,} bytes"
                )
            part.append(chunk)
            if on_progress:
                on_progress(part.size, complete_size)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(
                f"{part.path}: the disk is full. What was downloaded is kept; free some space, then run the same "
                "command again and it resumes from there."
            ) from error
        raise
