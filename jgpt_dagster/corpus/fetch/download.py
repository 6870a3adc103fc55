"""Downloading large files: resumed after an interruption, verified, and renamed to their target only when complete.

What is done with an answer is decided in `response_decision`; here are the requests and the bytes.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from jgpt_dagster.corpus.fetch.checksums import ExpectedDigests, FileDigests, OnProgress
from jgpt_dagster.corpus.fetch.download_parts import DownloadParts, part_paths
from jgpt_dagster.corpus.fetch.errors import DownloadError, TemporaryError
from jgpt_dagster.corpus.fetch.http_client import Client, body_of, local_path, open_client, open_url, shown
from jgpt_dagster.corpus.fetch.partial_file import PartialFile, delete_part
from jgpt_dagster.corpus.fetch.response_decision import (
    HEAD_BYTES,
    Action,
    Decision,
    decide,
    range_end,
    range_headers,
    validator_of,
    wrong_type,
)
from jgpt_dagster.corpus.fetch.retry import attempts
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.disk_space import DiskFullError, is_disk_full, require_free_space
from jgpt_dagster.storage.file_creation import make_own_directory, remove
from jgpt_dagster.storage.manifest import FileEntry

MAX_FILE_BYTES = 256 << 30
"""The largest file that is downloaded: ten times the largest dump of a Wikipedia."""

Verify = Callable[[Path], None]
"""Raises JgptError if a complete file is not of the type that it should be."""


def download_file(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha1: str | None = None,
    sha256: str | None = None,
    magic: bytes = b"",
    verify: Verify | None = None,
    on_progress: OnProgress | None = None,
) -> FileEntry:
    """Make `target` the verified content of an http, https or file URL; return its size and sha256.

    An unfinished download stays in `<target>.part` and the next call resumes it, with a known hash also from another
    URL. Where it has to be begun anew, that is done in `<target>.part.2` and so on, and nothing is deleted before the
    file is whole. Its directory is an internal one and must not be a link. A file URL is not copied: `target` becomes a
    hard link to the file or, where that is impossible, a symbolic link. An existing `target` with the expected hash is
    not downloaded again, unless it is a link.

    `magic` is what the file begins with: another answer is not stored. `verify` is called with the complete file.

    Raises DownloadError (URL, what was expected and found, what to do) and DiskFullError. A complete file that is not
    the expected one is requested once more before that.
    """
    expected = ExpectedDigests(size, sha1 and sha1.lower(), sha256 and sha256.lower())
    make_own_directory(target.parent)
    if (source := local_path(url)) is not None:
        return _link(url, source, target, expected, verify, on_progress)
    if expected.has_hash and target.is_file() and not target.is_symlink():
        found = FileDigests.of(target, on_progress)
        if not found.mismatch(expected):
            return found.entry()
    with DownloadParts(url, target, expected) as parts, open_client() as client:
        for attempt in attempts(shown(url), lambda: parts.received):
            with attempt:
                _request_rest(client, parts, magic, on_progress)
                mismatch, cause = _mismatch(parts.active.path, parts.active.digests, expected, verify)
                if mismatch is not None:
                    raise parts.reject(mismatch) from cause
        return parts.finish()


def _link(
    url: str,
    source: Path,
    target: Path,
    expected: ExpectedDigests,
    verify: Verify | None,
    on_progress: OnProgress | None,
) -> FileEntry:
    source = source.resolve()
    digests = FileDigests.of(source, on_progress)
    mismatch, cause = _mismatch(source, digests, expected, verify)
    if mismatch is not None:
        raise DownloadError(
            f"{shown(url)}: {mismatch}. The file is damaged or not the one announced; replace it."
        ) from cause
    temporary = target.with_name(f".{target.name}.link")
    remove(temporary)
    try:
        os.link(source, temporary)
    except OSError:  # another device, a file of another user, a file system without hard links
        os.symlink(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # rename does nothing between two names of one file
    for path in part_paths(target):
        delete_part(path)
    return digests.entry()


def _request_rest(client: Client, parts: DownloadParts, magic: bytes, on_progress: OnProgress | None) -> None:
    """Request the missing bytes once and append them.

    Raises TemporaryError if the file is still incomplete, DownloadError if it cannot be downloaded from there.
    """
    held, expected_size = parts.active.held, parts.expected.size
    if held.size == expected_size and not parts.ask_whole:
        return
    _require_space(parts, expected_size, held.size)
    resumed = held.size and not parts.ask_whole and (held.validator or parts.expected.has_hash)
    with open_url(client, parts.url, range_headers(held) if resumed else {}) as response:
        decision = decide(response.status_code, response.headers, held, expected_size)
        parts.ask_whole = decision.action is Action.ASK_WHOLE
        if decision.action in (Action.RETRY, Action.ASK_WHOLE):
            raise TemporaryError(decision.reason)
        if decision.action is not Action.KEEP:
            _receive(client, response, decision, parts, magic, on_progress)


def _require_space(parts: DownloadParts, total: int | None, held: int, purpose: str = "downloading") -> None:
    if total is not None:
        require_free_space(parts.target.parent, total - held, f"{purpose} {shown(parts.url)}")


def _receive(
    client: Client,
    response: httpx.Response,
    decision: Decision,
    parts: DownloadParts,
    magic: bytes,
    on_progress: OnProgress | None,
) -> None:
    """Append what the body of a 200 or 206 adds to what is on disk.

    Raises TemporaryError if the file is still incomplete, or if the body is not the file.
    """
    total, former, received = decision.total, parts.active, parts.received
    _require_space(parts, total, former.size)
    if total is not None and total > MAX_FILE_BYTES:
        raise DownloadError(f"{shown(parts.url)}: it has {total:,} bytes, more than the limit of {MAX_FILE_BYTES:,}.")
    limit = MAX_FILE_BYTES if total is None else total
    chunks = body_of(client, response)
    if decision.action is Action.COMPARE:
        chunks = _beyond_held(_of_type(chunks, response, magic), response, total, parts)
    else:
        former.begin_response(validator_of(response.headers), total)
        limit = min(limit, range_end(response.headers) or limit)
    try:
        for chunk in chunks:
            if parts.active.size + len(chunk) > limit:
                raise _too_long(parts, former, total, limit)
            parts.append(chunk)
            if on_progress:
                on_progress(parts.active.size, total)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(
                f"{parts.active.path}: the disk is full. What was downloaded is kept; free some space, then run the "
                "same command again and it resumes from there."
            ) from error
        raise
    size = parts.active.size
    if total is not None and size < total:
        if parts.active is not former:
            parts.withdraw()  # it ended as it should, and has another size than the file
        raise TemporaryError(f"the connection ended after {size:,} of {total:,} bytes")
    is_end_known = total is not None or (response.status_code == 200 and "transfer-encoding" in response.headers)
    if not is_end_known and parts.received > received:
        raise TemporaryError(f"the connection ended after {size:,} bytes, and the server does not say of how many")


def _too_long(parts: DownloadParts, former: PartialFile, total: int | None, limit: int) -> Exception:
    """Give up the bytes of an answer that is too long; return the error to raise."""
    if parts.active is former:
        parts.drop_response()
    else:
        parts.withdraw()
    if total is None:
        return DownloadError(f"{shown(parts.url)}: it is longer than the limit of {limit:,} bytes.")
    return TemporaryError(f"the answer is longer than the expected {limit:,} bytes")


def _of_type(chunks: Iterator[bytes], response: httpx.Response, magic: bytes) -> Iterator[bytes]:
    """Pass on a body that begins as the file does. Raises TemporaryError for another."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    if reason := wrong_type(response.headers, head, magic):
        raise TemporaryError(reason)
    yield head
    yield from chunks


def _beyond_held(
    chunks: Iterator[bytes], response: httpx.Response, total: int | None, parts: DownloadParts
) -> Iterator[bytes]:
    """Yield what a whole body has beyond the bytes of the active part, or, where it differs, beyond the common ones.

    In that case another part has been begun with these. Raises TemporaryError if the body ends before the part does.
    """
    held, size, position = parts.active, parts.active.size, 0
    validator = validator_of(response.headers)
    for chunk in chunks:
        known = held.read(position, min(len(chunk), size - position))
        common = len(known) if chunk.startswith(known) else _common_length(chunk, known)
        position += common
        if common < len(known):
            _require_space(parts, total, position, f"beside {held.path}, which has another beginning, downloading")
            parts.begin_changed(position, validator, total)
        elif common < len(chunk):
            held.begin_response(validator, total)
        else:
            continue
        yield chunk[common:]
        yield from chunks
        return
    if position < size:
        raise TemporaryError(f"the server's copy ended after {position:,} bytes, of which {held.path} has {size:,}")


def _common_length(one: bytes, other: bytes) -> int:
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(other))


def _mismatch(
    path: Path, digests: FileDigests, expected: ExpectedDigests, verify: Verify | None
) -> tuple[str | None, JgptError | None]:
    """Return why a complete file is not the expected one, in words, and the error of `verify`; None if it is."""
    if mismatch := digests.mismatch(expected):
        return mismatch, None
    try:
        if verify is not None:
            verify(path)
    except JgptError as error:
        return str(error).rstrip("."), error
    return None, None
