"""Token files: the documents of a shard as one flat file of token ids, and a table that says where each one lies."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.integer_tables import ColumnWriter, read_columns
from jgpt_dagster.lm.tokenizer.text_tokenizer import SegmentedDocument, TextTokenizer, document_text

TOKENS = "tokens.bin"
DOCUMENTS = "documents.parquet"
TOKEN_TYPE = np.dtype("<u2")
KeyedDocuments = list[tuple[int, SegmentedDocument]]
SCHEMA = pa.schema([(name, pa.int64()) for name in ("key", "offset", "length", "characters", "bytes")])

# What is encoded at once: enough to keep all cores busy, and at most some 200 MB of the library's encodings.
_BATCH_DOCUMENTS = 1024
_BATCH_CHARACTERS = 1 << 20


class TokenFileError(JgptError):
    """A token file that is missing or is not as long as it should be."""


def write_tokens(
    documents: Iterable[tuple[int, SegmentedDocument]],
    tokenizer: TextTokenizer,
    directory: Path,
    batch_documents: int = _BATCH_DOCUMENTS,
    encode: Callable[[KeyedDocuments], list[np.ndarray]] | None = None,
) -> dict[str, int | float]:
    """Encode documents, given with their keys, to `tokens.bin` and `documents.parquet`; return what was counted.

    `tokens.bin` is little-endian uint16. A row of the table is a document: its key, offset and length in tokens (with
    `</s>`), and the characters and UTF-8 bytes of the text that the tokens stand for, without `</s>`: see
    `tokenizer.document_text`. `batch_documents` changes speed and memory, never the files. `encode` may take the ids
    of documents that this tokenizer has encoded before from elsewhere.
    """
    encode = encode or (lambda batch: tokenizer.encode_documents([document for _, document in batch]))
    tokens = unknown = characters = size = rows = 0
    with open(directory / TOKENS, "wb") as stream, ColumnWriter(directory / DOCUMENTS, SCHEMA) as table:
        for batch in _batches(documents, batch_documents):
            encoded = encode(batch)
            texts = [document_text(document, tokenizer.profile) for _, document in batch]
            lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
            columns = {
                "key": np.array([key for key, _ in batch], dtype=np.int64),
                "offset": tokens + np.cumsum(lengths) - lengths,
                "length": lengths,
                "characters": np.array([len(text) for text in texts], dtype=np.int64),
                "bytes": np.array([len(text.encode()) for text in texts], dtype=np.int64),
            }
            table.append(columns)
            ids = np.concatenate(encoded)
            stream.write(ids.astype(TOKEN_TYPE, copy=False).tobytes())
            rows += len(batch)
            tokens += len(ids)
            unknown += int(np.count_nonzero(ids == tokenizer.unk_id))
            characters += int(columns["characters"].sum())
            size += int(columns["bytes"].sum())
    return {
        "documents": rows,
        "tokens": tokens,
        "unknown_tokens": unknown,
        "characters": characters,
        "bytes": size,
        "tokens_per_character": round(tokens / characters, 4) if characters else 0.0,
    }


class TokenFile:
    """The token file of a shard, memory-mapped. Raises TokenFileError where it is not as long as its table says."""

    def __init__(self, directory: Path) -> None:
        self.documents = read_columns(directory / DOCUMENTS, SCHEMA.names)
        self.tokens = map_tokens(directory / TOKENS, int(self.documents["length"].sum()))

    def __len__(self) -> int:
        return len(self.documents["key"])

    def document(self, index: int) -> np.ndarray:
        """Return the ids (uint16) of the document in row `index`, `</s>` included."""
        offset = self.documents["offset"][index]
        return self.tokens[offset : offset + self.documents["length"][index]]


def map_tokens(path: Path, tokens: int) -> np.ndarray:
    """Memory-map a file of `tokens` uint16 ids for reading. Raises TokenFileError where its size is another."""
    expected = tokens * TOKEN_TYPE.itemsize
    size = path.stat().st_size if path.is_file() else None
    if size != expected:
        found = "is missing" if size is None else f"has {size:,} bytes"
        raise TokenFileError(
            f"{path} {found}, expected {tokens:,} tokens in {expected:,} bytes. "
            "Materialize the tokens of this shard again."
        )
    # An empty file cannot be mapped.
    return np.memmap(path, dtype=TOKEN_TYPE, mode="r") if tokens else np.empty(0, TOKEN_TYPE)


def _batches(documents: Iterable[tuple[int, SegmentedDocument]], most: int) -> Iterator[KeyedDocuments]:
    batch: KeyedDocuments = []
    characters = 0
    for key, document in documents:
        batch.append((key, document))
        characters += sum(len(sentence) for line in document for sentence in line)
        if len(batch) >= most or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
