"""SHA-256 of files, byte ranges and plain values. Every hash in a manifest comes from here."""

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK = 1 << 20


def sha256_file(path: Path, offset: int = 0, length: int | None = None) -> str:
    """Return the hex sha256 of `length` bytes of `path` from `offset`; by default of the whole file.

    Raises OSError if the file cannot be read; a range beyond the end of the file is hashed up to the end.
    """
    with open(path, "rb") as stream:
        stream.seek(offset)
        return sha256_stream(stream, length)


def sha256_stream(stream: BinaryIO, length: int | None = None) -> str:
    """Return the hex sha256 of the next `length` bytes of a stream, or of the rest of it."""
    digest = hashlib.sha256()
    remaining = length
    while chunk := stream.read(_CHUNK if remaining is None else min(_CHUNK, remaining)):
        digest.update(chunk)
        if remaining is not None:
            remaining -= len(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of a value: sorted keys, no spaces. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def sha256_value(value: Any) -> str:
    """Return the hex sha256 of a JSON-like value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
