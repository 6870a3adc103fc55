"""An unfinished download on disk: its bytes in a part file, and which file they belong to in a record beside it."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.fetch.checksums import CHUNK_BYTES, ExpectedDigests, FileDigests
from jgpt_dagster.corpus.fetch.response_decision import Held
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.file_creation import open_own_file, remove
from jgpt_dagster.storage.manifest import FileEntry

_HASHES = ("sha1", "sha256")


class PartialFile:
    """The first bytes of one download, with their digests.

    `validator` is the ETag or Last-Modified of the answer that the bytes came from, `total` the size of the whole file
    if it is known. With a known hash no validator is kept: the hash decides, and the hosts of a mirror may each send
    another validator for the same file.
    """

    def __init__(self, path: Path, url: str, expected: ExpectedDigests) -> None:
        """Open the part at `path` if it belongs to this very file, else begin an empty one."""
        self.path, self.url, self.expected = path, url, expected
        self._record = (_record_at(path) or {}) if belongs_to(path, url, expected) else {}
        # Unbuffered: what did not fit on the disk must not be written again when the file is closed.
        self._stream = open_own_file(path)
        if not self._record:
            self._stream.truncate(0)
        self.digests = self._digests_on_disk()
        self.was_empty = not self.size
        """Whether everything in it was received since it was opened."""

    def close(self) -> None:
        """Close it, and keep it if it holds anything."""
        self._stream.close()
        if not self.size:
            self.delete()

    def delete(self) -> None:
        """Delete it with its record."""
        delete_part(self.path)

    @property
    def size(self) -> int:
        """The number of bytes received."""
        return self.digests.size

    @property
    def held(self) -> Held:
        """What decisions depend on."""
        validator = None if self.expected.has_hash else self._record.get("validator")
        total = self._record.get("total") if self.expected.size is None else self.expected.size
        return Held(self.size, total, validator)

    def begin_response(self, validator: str | None, total: int | None) -> None:
        """Note what is known about the answer whose bytes are appended next."""
        identity = asdict(self.expected) if self.expected.has_hash else {"url": self.url, **asdict(self.expected)}
        kept = {} if self.expected.has_hash else {"validator": validator or self._record.get("validator")}
        self._record = {**identity, **kept, "total": total, "response_at": self.size}
        write_json(_record_path(self.path), self._record, internal=True)

    def append(self, data: bytes) -> None:
        """Write bytes. Raises OSError if the disk is full."""
        view = memoryview(data)
        while view:
            view = view[self._stream.write(view) :]
        self.digests.update(data)

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`."""
        return os.pread(self._stream.fileno(), count, offset)

    def drop_response(self) -> int:
        """Give up the bytes of the last answer; return how many they are. What other answers brought stays."""
        size = self.size
        self._stream.truncate(min(self._record.get("response_at", size), size))
        self.digests = self._digests_on_disk()
        return size - self.size

    def move_to(self, target: Path) -> FileEntry:
        """Rename the complete file to the target."""
        os.fsync(self._stream.fileno())
        os.replace(self.path, target)
        self.delete()
        return self.digests.entry()

    def _digests_on_disk(self) -> FileDigests:
        digests, offset = FileDigests(), 0
        while chunk := self.read(offset, CHUNK_BYTES):
            digests.update(chunk)
            offset += len(chunk)
        return digests


def belongs_to(path: Path, url: str, expected: ExpectedDigests) -> bool:
    """Return whether the part at `path` may be the beginning of this file.

    What is known about both must be equal, and a hash or the URL must connect them: with a known hash, it is the same
    file at any mirror.
    """
    record, wanted = _record_at(path), asdict(expected)
    if record is None or (expected.size is not None and path.stat().st_size > expected.size):
        return False
    known = [name for name, value in wanted.items() if value is not None and record.get(name) is not None]
    connected = record.get("url") == url or any(name in known for name in _HASHES)
    return connected and all(record[name] == wanted[name] for name in known)


def delete_part(path: Path) -> None:
    """Delete a part with its record."""
    remove(path)
    remove(_record_path(path))


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _record_at(path: Path) -> dict[str, Any] | None:
    """Return the record of a part; None if it has none."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        record = json.loads(_record_path(path).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
