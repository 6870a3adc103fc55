"""Reading CC-100: one pass over the compressed archive, its documents distributed over the shards round-robin.

Format of the source (https://data.statmt.org/cc-100/): xz, one paragraph a line, an empty line ends a document. What
happens to the text of a document is not decided here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.fetch.decompress import xz_chunks
from jgpt_dagster.corpus.rejected_rows import RejectedRows
from jgpt_dagster.storage.parquet import RowWriter

# The longest Japanese books have about 3 MB of text.
MAX_DOCUMENT_BYTES = 8 << 20

DocumentRow = tuple[Any, ...]
"""A document's id and lines; then what its source says of it, in the order of `schemas.ORIGIN`, if it says anything."""


def read_documents(
    path: Path,
    rejected: RejectedRows,
    *,
    limit_bytes: int = MAX_DOCUMENT_BYTES,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[DocumentRow]:
    """Yield (document id, lines) of each document of an xz file, holding no more than one of them in memory.

    The id is the document's position in the source, counted from 0 and including rejected documents: one that is larger
    than `limit_bytes` or not UTF-8 goes to `rejected` as {document_id, reason}. Lines end in `\\n` or `\\r\\n`. Only
    empty lines separate documents, as the corpus defines it; a line of spaces is a line like any other, so that ids do
    not depend on what counts as a space. Consecutive separators do not make empty documents.

    `on_read` is called with the number of bytes after each read of the file.

    Raises DamagedFileError if the file is truncated or corrupt.
    """
    for document_id, (content, size) in enumerate(_contents(xz_chunks(path, on_read), limit_bytes)):
        if content is None:
            reason = f"it has {size:,} bytes, more than {limit_bytes:,}"
            rejected.append({"document_id": document_id, "reason": reason})
            continue
        try:
            lines = content.decode().split("\n")
        except UnicodeDecodeError as error:
            reason = f"it is not UTF-8: {error.reason} at its byte {error.start:,}"
            rejected.append({"document_id": document_id, "reason": reason})
            continue
        yield document_id, lines


def shard_of(document_id: int, shards: int) -> int:
    """Return the shard of a document. Round-robin makes all shards alike in size and content."""
    return document_id % shards


def distribute_to_shards(documents: Iterable[DocumentRow], shards: int, writers: Mapping[int, RowWriter]) -> None:
    """Append each document to the writer of its shard, in source order; skip shards without a writer.

    One pass over the source fills all shards.
    """
    for document in documents:
        writer = writers.get(shard_of(document[0], shards))
        if writer is not None:
            writer.append(document)


def _contents(chunks: Iterator[bytes], limit_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    """Yield the bytes of each document without surrounding line ends, or None if over the limit, and their number."""
    pending, dropped = b"", 0  # the beginning of a document; how many bytes of it were discarded
    for chunk in _unix_lines(chunks):
        *contents, pending = (pending + chunk).split(b"\n\n")
        for content in contents:
            yield from _content(content, dropped, limit_bytes)
            dropped = 0
        if not dropped:
            pending = pending.lstrip(b"\n")
        if len(pending) > limit_bytes + 1:  # its last byte may be a line end, which does not count
            dropped += len(pending) - 1
            pending = pending[-1:]
    yield from _content(pending, dropped, limit_bytes)


def _content(content: bytes, dropped: int, limit_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    content = content.rstrip(b"\n") if dropped else content.strip(b"\n")
    size = dropped + len(content)
    if size:
        yield (None if size > limit_bytes else content), size


def _unix_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Replace `\\r\\n` by `\\n`, also across chunks."""
    held = b""
    for chunk in chunks:
        whole = held + chunk
        held = whole[-1:] if whole.endswith(b"\r") else b""
        yield whole.removesuffix(held).replace(b"\r\n", b"\n")
    yield held
