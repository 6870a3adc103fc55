"""Decompression of bz2 and xz in chunks of limited size: byte ranges, concatenated streams, padding, damaged files.

The file objects of the standard library read beyond a byte range, take a truncation between two streams for the end,
and let an xz file determine how much memory is used.
"""

import bz2
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from jgpt_dagster.errors import JgptError

BZ2_MAGIC, XZ_MAGIC = b"BZh", b"\xfd7zXZ\0"
"""What files of these formats begin with."""

_INPUT_BYTES = 1 << 18
_OUTPUT_BYTES = 1 << 20
# `xz -9` needs 65 MiB to decompress; a header may ask for 4 GiB.
_XZ_MEMORY_LIMIT = 256 << 20


class DamagedFileError(JgptError):
    """A compressed file is truncated or corrupt."""


def bz2_chunks(
    path: Path, offset: int = 0, length: int | None = None, on_read: Callable[[int], None] | None = None
) -> Iterator[bytes]:
    """Yield the content of the bz2 streams in `length` bytes of `path` from `offset` (by default, all of them).

    Chunks have at most 1 MiB. `on_read` is called with the number of bytes after each read. The range must begin and
    end between two streams. Raises DamagedFileError with the byte offset of the damaged stream.
    """
    return _chunks(path, bz2.BZ2Decompressor, offset, length, b"", on_read)


def xz_chunks(path: Path, on_read: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Yield the content of an xz file of one or more streams, at most 1 MiB a time; `on_read` as for `bz2_chunks`.

    Raises DamagedFileError with the byte offset of the damaged stream, also for one that needs more than 256 MiB of
    memory and for an empty file.
    """
    if not path.stat().st_size:
        raise _damaged(path, 0, 0, "the file is empty")
    # Zero bytes may follow an xz stream as padding (section 2.2 of the format), before the next stream.
    return _chunks(path, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_LIMIT), 0, None, b"\0", on_read)


def require_xz(path: Path) -> None:
    """Raise DamagedFileError unless a file begins and ends like xz, without decompressing it.

    This detects an error page in place of the file, and a truncated file (sections 2.1.1.1 and 2.1.2.4 of the format;
    zero bytes may follow).
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(16)
        file.seek(max(0, size - _INPUT_BYTES))
        tail = file.read()
    if not head.startswith(XZ_MAGIC):
        raise DamagedFileError(f"{path} is no xz file: its {size:,} bytes do not begin as one does")
    if not tail.rstrip(b"\0").endswith(b"YZ"):
        raise DamagedFileError(f"{path} is cut short: its {size:,} bytes do not end as an xz file does")


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _chunks(
    path: Path,
    new: Callable[[], _Decompressor],
    offset: int,
    length: int | None,
    padding: bytes,
    on_read: Callable[[int], None] | None,
) -> Iterator[bytes]:
    produced = 0
    with open(path, "rb") as file:
        file.seek(offset)
        end = path.stat().st_size if length is None else offset + length

        def read() -> bytes:
            data = file.read(min(_INPUT_BYTES, end - file.tell()))
            if on_read is not None:
                on_read(len(data))
            return data

        def past_padding(data: bytes) -> bytes:
            while not (data := data.lstrip(padding)):
                if not (data := read()):
                    break
            return data

        data = past_padding(b"")
        while data:
            start, stream = file.tell() - len(data), new()
            while not stream.eof:
                if stream.needs_input and not (data := data or read()):
                    raise _damaged(path, start, produced, "the file ends inside this stream")
                try:
                    chunk = stream.decompress(data, _OUTPUT_BYTES)
                except (OSError, EOFError, lzma.LZMAError) as error:
                    raise _damaged(path, start, produced, str(error)) from error
                data = b""
                produced += len(chunk)
                if chunk:
                    yield chunk
            data = past_padding(stream.unused_data)


def _damaged(path: Path, start: int, produced: int, reason: str) -> DamagedFileError:
    return DamagedFileError(
        f"{path}: damaged in the compressed stream at byte {start:,}, after {produced:,} decompressed bytes: {reason}"
    )
