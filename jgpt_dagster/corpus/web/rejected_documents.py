"""The rows of rejected documents, kept on disk by shard while one pass over a corpus fills all shards.

On disk, because an archive in another encoding has millions of them.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from jgpt_dagster.storage.disk_space import as_disk_full_error
from jgpt_dagster.storage.file_creation import make_directory


class RejectedRows(Protocol):
    """Receives a row {document_id, reason} for each rejected document; a list will do."""

    def append(self, row: dict[str, Any], /) -> None: ...


class RejectedDocumentLog:
    """Rows in unnamed temporary files. Use it as a context manager, which frees the disk space at its end.

    `counts` holds the number of rows of each shard.
    """

    def __init__(self, directory: Path, shard_of: Callable[[int], int]) -> None:
        """Start empty, on the disk of `directory`, which is created if missing.

        `shard_of` maps a document id to its shard.
        """
        self.counts: Counter[int] = Counter()
        self._directory, self._shard_of = directory, shard_of
        self._files: dict[int, IO[str]] = {}
        self._open = ExitStack()

    def __enter__(self) -> "RejectedDocumentLog":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # closing flushes, which fails on a full disk; the rows are no longer needed
            self._open.close()

    def append(self, row: dict[str, Any]) -> None:
        """Add a row {document_id, reason}. Raises DiskFullError."""
        shard = self._shard_of(row["document_id"])
        if shard not in self._files:
            make_directory(self._directory, internal=True)
            file = self._open.enter_context(TemporaryFile("w+", dir=self._directory, encoding="utf-8"))  # noqa: SIM115
            self._files[shard] = file
        self.counts[shard] += 1
        with as_disk_full_error(self._directory):
            self._files[shard].write(json.dumps(row) + "\n")

    def rows_of(self, shard: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of a shard in the order they were added. Raises DiskFullError."""
        if file := self._files.get(shard):
            with as_disk_full_error(self._directory):
                file.seek(0)  # flushes the buffer
            yield from map(json.loads, file)
