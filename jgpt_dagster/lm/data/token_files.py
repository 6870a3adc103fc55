"""Token files: the documents of a shard as one flat file of token ids, with a table of their offsets."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.integer_tables import IntegerTableWriter, read_columns
from jgpt_dagster.lm.tokenizer.text_tokenizer import SegmentedDocument, TextTokenizer, document_text, segmented_length
from jgpt_dagster.runtime.batching import batches

TOKENS = "tokens.bin"
DOCUMENTS = "documents.parquet"
TOKEN_DTYPE = np.dtype("<u2")
T = TypeVar("T")

DOCUMENTS_SCHEMA = pa.schema([(name, pa.int64()) for name in ("key", "offset", "length", "characters", "bytes")])

# What is encoded at once: enough to keep all cores busy, in encodings of some 200 MB at most.
_BATCH_DOCUMENTS = 1024
_BATCH_CHARACTERS = 1 << 20


class TokenFileError(JgptError):
    """A token file that is missing or of the wrong size."""


class EncodedDocument(NamedTuple):
    """A document of a token file."""

    key: int
    """Page id or document id."""
    ids: np.ndarray
    """Its token ids (uint16), `</s>` included."""
    characters: int
    """Characters of the text that its tokens stand for (see `text_tokenizer.document_text`), without `</s>`."""
    bytes: int
    """The same in bytes of UTF-8."""


def write_tokens(
    documents: Iterable[tuple[int, SegmentedDocument]],
    tokenizer: TextTokenizer,
    directory: Path,
    batch_documents: int = _BATCH_DOCUMENTS,
) -> dict[str, int | float]:
    """Encode documents, each with its key, to a token file; return its counts. See `write_encoded`.

    `batch_documents` changes speed and memory, but not the files.
    """
    batched = document_batches(documents, lambda keyed: segmented_length(keyed[1]), batch_documents)
    return write_encoded((encode_documents(batch, tokenizer) for batch in batched), tokenizer.unk_id, directory)


def document_batches(
    documents: Iterable[T], size: Callable[[T], int], batch_documents: int = _BATCH_DOCUMENTS
) -> Iterator[list[T]]:
    """Yield the documents that are encoded at once; `size` returns the characters of one."""
    return batches(documents, max_items=batch_documents, max_size=_BATCH_CHARACTERS, size=size)


def encode_documents(
    documents: Sequence[tuple[int, SegmentedDocument]], tokenizer: TextTokenizer
) -> list[EncodedDocument]:
    """Encode documents, each with its key."""
    encoded = tokenizer.encode_documents([document for _, document in documents])
    texts = (document_text(document, tokenizer.profile) for _, document in documents)
    return [
        EncodedDocument(key, ids, len(text), len(text.encode()))
        for (key, _), ids, text in zip(documents, encoded, texts, strict=True)
    ]


def write_encoded(
    document_lists: Iterable[Sequence[EncodedDocument]], unk_id: int, directory: Path
) -> dict[str, int | float]:
    """Write documents to `tokens.bin` and `documents.parquet`, as they come; return their counts.

    `tokens.bin` is little-endian uint16. The table has a row per document: its key, its offset and length in tokens,
    its characters and bytes. How the documents are divided into lists changes nothing.
    """
    rows = tokens = unknown = characters = utf8_bytes = 0
    with open(directory / TOKENS, "wb") as stream, IntegerTableWriter(directory / DOCUMENTS, DOCUMENTS_SCHEMA) as table:
        for documents in document_lists:
            lengths = np.array([len(document.ids) for document in documents], dtype=np.int64)
            columns = {
                "key": np.array([document.key for document in documents], dtype=np.int64),
                "offset": tokens + np.cumsum(lengths) - lengths,
                "length": lengths,
                "characters": np.array([document.characters for document in documents], dtype=np.int64),
                "bytes": np.array([document.bytes for document in documents], dtype=np.int64),
            }
            table.append(columns)
            ids = np.concatenate([document.ids for document in documents])
            stream.write(ids.astype(TOKEN_DTYPE, copy=False).tobytes())
            rows += len(documents)
            tokens += len(ids)
            unknown += int(np.count_nonzero(ids == unk_id))
            characters += int(columns["characters"].sum())
            utf8_bytes += int(columns["bytes"].sum())
    return {
        "documents": rows,
        "tokens": tokens,
        "unknown_tokens": unknown,
        "characters": characters,
        "bytes": utf8_bytes,
        "tokens_per_character": round(tokens / characters, 4) if characters else 0.0,
    }


class TokenFile:
    """The token file of a shard, memory-mapped. Raises TokenFileError if its size does not match its table."""

    def __init__(self, directory: Path) -> None:
        self.documents = read_columns(directory / DOCUMENTS, DOCUMENTS_SCHEMA.names)
        self.tokens = map_tokens(directory / TOKENS, int(self.documents["length"].sum()))

    def __len__(self) -> int:
        return len(self.documents["key"])

    def __iter__(self) -> Iterator[EncodedDocument]:
        names = ("key", "offset", "length", "characters", "bytes")
        for key, offset, length, *sizes in zip(*(self.documents[name].tolist() for name in names), strict=True):
            yield EncodedDocument(key, self.tokens[offset : offset + length], *sizes)

    def document(self, index: int) -> np.ndarray:
        """Return the ids (uint16) of the document in row `index`, `</s>` included."""
        offset = self.documents["offset"][index]
        return self.tokens[offset : offset + self.documents["length"][index]]


def map_tokens(path: Path, tokens: int) -> np.ndarray:
    """Memory-map a file of `tokens` uint16 ids for reading. Raises TokenFileError if it has another size."""
    expected = tokens * TOKEN_DTYPE.itemsize
    size = path.stat().st_size if path.is_file() else None
    if size != expected:
        found = "is missing" if size is None else f"has {size:,} bytes"
        raise TokenFileError(
            f"{path} {found}, expected {tokens:,} tokens in {expected:,} bytes. "
            "Materialize the tokens of this shard again."
        )
    # An empty file cannot be mapped.
    return np.memmap(path, dtype=TOKEN_DTYPE, mode="r") if tokens else np.empty(0, TOKEN_DTYPE)
