"""SHA-256 of files, byte ranges and plain values. Every hash in a manifest comes from here."""

import hashlib
import json
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, Protocol

_CHUNK = 1 << 20


class Hashes(Protocol):
    """What knows hashes of files, such as `hash_memory.HashMemory`."""

    def sha256(self, path: Path, length: int | None, compute: Callable[[], str]) -> str:
        """Return the hash of the first `length` bytes of a file, by default of all; `compute` reads it."""
        ...


hashes_in_use: ContextVar[Hashes | None] = ContextVar("hashes_in_use", default=None)
"""What answers for hashes of files from their beginning; None: every file is hashed."""


def sha256_file(
    path: Path, offset: int = 0, length: int | None = None, on_read: Callable[[int], None] = lambda size: None
) -> str:
    """Return the hex sha256 of `length` bytes of `path` from `offset`; by default of the whole file.

    `on_read` is called with the number of bytes after each read.

    Raises OSError if the file cannot be read; a range beyond the end of the file is hashed up to the end.
    """

    def compute() -> str:
        with open(path, "rb") as stream:
            stream.seek(offset)
            return sha256_stream(stream, length, on_read)

    return compute() if offset else known_or_computed(path, length, compute)


def known_or_computed(path: Path, length: int | None, compute: Callable[[], str]) -> str:
    """Return the hash of a file from its beginning: from `hashes_in_use`, or as `compute` finds it."""
    hashes = hashes_in_use.get()
    return compute() if hashes is None else hashes.sha256(path, length, compute)


def sha256_stream(
    stream: BinaryIO, length: int | None = None, on_read: Callable[[int], None] = lambda size: None
) -> str:
    """Return the hex sha256 of the next `length` bytes of a stream, or of the rest of it."""
    digest = hashlib.sha256()
    remaining = length
    while chunk := stream.read(_CHUNK if remaining is None else min(_CHUNK, remaining)):
        digest.update(chunk)
        on_read(len(chunk))
        if remaining is not None:
            remaining -= len(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of a value: sorted keys, no spaces. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def sha256_value(value: Any) -> str:
    """Return the hex sha256 of a JSON-like value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
