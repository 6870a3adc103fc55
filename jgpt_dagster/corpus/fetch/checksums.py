"""Verification of a downloaded file: its size and hashes, as announced and as received."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from jgpt_dagster.storage.manifest import FileEntry

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes that are done and, if known, their total."""

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ExpectedDigests:
    """What is known about a file before it is downloaded; None for what is not. Hashes are hex, in lower case."""

    size: int | None = None
    sha1: str | None = None
    sha256: str | None = None

    @property
    def has_hash(self) -> bool:
        """Whether a hash is known, so that the complete file can be verified."""
        return bool(self.sha1 or self.sha256)


class FileDigests:
    """Size, sha1 and sha256 of the bytes so far."""

    def __init__(self) -> None:
        self.size = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    @classmethod
    def of(cls, path: Path, on_progress: OnProgress | None = None) -> "FileDigests":
        """Return the digests of a whole file."""
        digests, total = cls(), path.stat().st_size
        with open(path, "rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digests.update(chunk)
                if on_progress:
                    on_progress(digests.size, total)
        return digests

    def update(self, data: bytes) -> None:
        """Append bytes."""
        self._sha1.update(data)
        self._sha256.update(data)
        self.size += len(data)

    def mismatch(self, expected: ExpectedDigests) -> str | None:
        """Return the first digest that is not the expected one, in words, or None."""
        found = {"size": self.size, "sha1": self._sha1.hexdigest(), "sha256": self._sha256.hexdigest()}
        for name, value in asdict(expected).items():
            if value is not None and value != found[name]:
                return f"its {name} is {found[name]}, expected {value}"
        return None

    def entry(self) -> FileEntry:
        """Return size and sha256 as manifests list them."""
        return FileEntry(self.size, self._sha256.hexdigest())
