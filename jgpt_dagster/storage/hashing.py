"""Hashing of files, byte ranges and plain values. Every digest in a manifest comes from here."""

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK = 1 << 20


def sha256_file(path: Path, offset: int = 0, length: int | None = None) -> str:
    """Return the hex sha256 of `length` bytes of `path` from `offset`; by default of the whole file.

    Raises OSError where the file cannot be read; a range that ends after the file's end is hashed up to that end.
    """
    with open(path, "rb") as stream:
        stream.seek(offset)
        return sha256_stream(stream, length)


def sha256_stream(stream: BinaryIO, length: int | None = None) -> str:
    """Return the hex sha256 of the next `length` bytes of a stream, or of all that is left of it."""
    digest = hashlib.sha256()
    remaining = length
    while chunk := stream.read(_CHUNK if remaining is None else min(_CHUNK, remaining)):
        digest.update(chunk)
        if remaining is not None:
            remaining -= len(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces. NaN and infinities are refused (ValueError)."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def sha256_value(value: Any) -> str:
    """Return the hex sha256 of a JSON-like value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
