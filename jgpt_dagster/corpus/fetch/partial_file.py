"""An unfinished download on disk: its bytes in `<target>.part`, which file they belong to in `<target>.part.json`."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.fetch.checksums import CHUNK_BYTES, ExpectedDigests, FileDigests
from jgpt_dagster.corpus.fetch.errors import DownloadError
from jgpt_dagster.corpus.fetch.http_client import shown
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.file_creation import open_own_file
from jgpt_dagster.storage.manifest import FileEntry


def partial_path(target: Path) -> Path:
    """Return the path of the unfinished download of `target`."""
    return target.with_name(f"{target.name}.part")


class PartialFile:
    """The first bytes of one download, with their digests; a context manager, which keeps a part that is not empty.

    `validator` is the ETag or Last-Modified of the source that the bytes came from. `peak_size` is the largest size
    since opening, which restarts do not lower.
    """

    def __init__(self, url: str, target: Path, expected: ExpectedDigests) -> None:
        """Open the part of an earlier call if it belongs to this very file, else begin an empty one."""
        self.url, self.target, self.expected = url, target, expected
        self.path = partial_path(target)
        self.validator: str | None = None
        self.peak_size = 0
        self._digests = FileDigests()
        # Unbuffered: what did not fit on the disk must not be written again when the file is closed.
        self._stream = open_own_file(self.path)
        if not self._is_resumable():
            self.restart()
        self._stream.seek(0)
        while chunk := self._stream.read(CHUNK_BYTES):
            self._digests.update(chunk)

    def __enter__(self) -> "PartialFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        if not self.size:
            self._delete()

    @property
    def size(self) -> int:
        """The number of bytes received."""
        return self._digests.size

    @property
    def detects_other_file(self) -> bool:
        """Whether it would be noticed that the rest comes from another file, by its validator or by the final hash."""
        return bool(self.validator) or self.expected.has_hash

    def restart(self, validator: str | None = None) -> None:
        """Discard all bytes and record the validator of the source.

        With a known hash no validator is kept: the hash decides, and the hosts of a mirror may each send another
        validator for the same file.
        """
        self._stream.truncate(0)
        self._digests = FileDigests()
        self.validator = None if self.expected.has_hash else validator
        write_json(self._record_path, self._record(), internal=True)

    def append(self, data: bytes) -> None:
        """Write bytes. Raises DownloadError if they exceed the expected size, OSError if the disk is full."""
        if self.expected.size is not None and self.size + len(data) > self.expected.size:
            raise self.rejected(f"it is longer than the expected {self.expected.size:,} bytes")
        view = memoryview(data)
        while view:
            view = view[self._stream.write(view) :]
        self._digests.update(data)
        self.peak_size = max(self.peak_size, self.size)

    def rejected(self, reason: str) -> DownloadError:
        """Delete the part and return the error to raise."""
        self._delete()
        return DownloadError(
            f"{shown(self.url)}: {reason}. What was downloaded is deleted; run the same command again, and if this "
            "comes back the mirror's copy is damaged or being replaced: use another mirror or date."
        )

    def finish(self) -> FileEntry:
        """Verify the complete file and rename it to the target. Raises DownloadError if a digest does not match."""
        if mismatch := self._digests.mismatch(self.expected):
            raise self.rejected(mismatch)
        os.fsync(self._stream.fileno())
        os.replace(self.path, self.target)
        self._record_path.unlink(missing_ok=True)
        return self._digests.entry()

    def _delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self._record_path.unlink(missing_ok=True)

    @property
    def _record_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def _record(self) -> dict[str, Any]:
        """Return which file the bytes belong to: with a known hash, the same file at any mirror."""
        expected = asdict(self.expected)
        return expected if self.expected.has_hash else {"url": self.url, **expected, "validator": self.validator}

    def _is_resumable(self) -> bool:
        """Read the record; return whether the bytes on disk may be the beginning of this very file."""
        try:
            record = json.loads(self._record_path.read_text())
            self.validator = record.get("validator")
        except (OSError, ValueError, AttributeError):
            return False
        size = self.path.stat().st_size
        return self.detects_other_file and bool(record == self._record()) and size <= (self.expected.size or size)
