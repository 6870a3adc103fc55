"""From CC-100 to documents: one pass over one compressed stream, dealt to the shards in turn.

Form of the source (https://data.statmt.org/cc-100/): xz, a paragraph a line, an empty line ends a document. What is
done to the text of a document is not settled here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from jgpt_dagster.corpus.fetch.decompress import xz_chunks
from jgpt_dagster.corpus.web.rejected_documents import Rejected
from jgpt_dagster.storage.parquet import RowWriter

# The longest Japanese books have some 3 MB of text.
DOCUMENT_LIMIT = 8 << 20

DocumentRow = tuple[int, list[str]]


def read_documents(
    path: Path,
    rejected: Rejected,
    *,
    limit_bytes: int = DOCUMENT_LIMIT,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[DocumentRow]:
    """Yield (document id, lines) of each document of an xz file, holding no more than one of them.

    The id is the document's position in the source, counted from 0 with those that are refused: one that is larger than
    `limit_bytes` or not UTF-8 goes to `rejected` as {document_id, reason}. Line ends are `\\n` or `\\r\\n`. Only lines
    that are truly empty part documents, as in the corpus's definition; one of spaces is a line like others, so that
    ids do not depend on what counts as a space. Documents without lines do not exist and are not counted.

    `on_read` is told how many bytes of the file were read, each time that some were.

    Raises DamagedFileError where the file is cut or corrupt.
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
    """Return the number of the shard that holds a document. Dealt in turn, the shards are of one size and kind."""
    return document_id % shards


def distribute_to_shards(documents: Iterable[DocumentRow], shards: int, writers: Mapping[int, RowWriter]) -> None:
    """Append each document to the writer of its shard, in the source's order; shards without a writer are passed over.

    One pass over the source fills all shards at once.
    """
    for document in documents:
        writer = writers.get(shard_of(document[0], shards))
        if writer is not None:
            writer.append(document)


def _contents(chunks: Iterator[bytes], limit_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    """Yield each document's bytes without the line ends around it, None if over the limit, and how many there are."""
    pending, dropped = b"", 0  # the beginning of a document; how much of it was let go
    for chunk in _unix_lines(chunks):
        *contents, pending = (pending + chunk).split(b"\n\n")
        for content in contents:
            yield from _content(content, dropped, limit_bytes)
            dropped = 0
        if not dropped:
            pending = pending.lstrip(b"\n")
        if len(pending) > limit_bytes + 1:  # its last byte may be a line end that will not count
            dropped += len(pending) - 1
            pending = pending[-1:]
    yield from _content(pending, dropped, limit_bytes)


def _content(content: bytes, dropped: int, limit_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    content = content.rstrip(b"\n") if dropped else content.strip(b"\n")
    size = dropped + len(content)
    if size:
        yield (None if size > limit_bytes else content), size


def _unix_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Turn `\\r\\n` into `\\n`, also across chunks."""
    held = b""
    for chunk in chunks:
        whole = held + chunk
        held = whole[-1:] if whole.endswith(b"\r") else b""
        yield whole.removesuffix(held).replace(b"\r\n", b"\n")
    yield held
