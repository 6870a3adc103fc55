"""The rows of rejected documents by shard, while one pass over a corpus fills all shards."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.rejected_rows import RejectedLog


class RejectedDocumentLog:
    """A RejectedLog for each shard. Use it as a context manager, which frees the disk space at its end."""

    def __init__(self, directory: Path, shard_of: Callable[[int], int]) -> None:
        """Start empty, on the disk of `directory`. `shard_of` maps a document id to its shard."""
        self._directory, self._shard_of = directory, shard_of
        self._logs: dict[int, RejectedLog] = {}
        self._open = ExitStack()

    def __enter__(self) -> "RejectedDocumentLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def counts(self) -> Counter[int]:
        """The number of rows of each shard."""
        return Counter({shard: log.count for shard, log in self._logs.items()})

    def append(self, row: dict[str, Any]) -> None:
        """Add a row {document_id, reason}. Raises DiskFullError."""
        shard = self._shard_of(row["document_id"])
        if shard not in self._logs:
            self._logs[shard] = self._open.enter_context(RejectedLog(self._directory))
        self._logs[shard].append(row)

    def rows_of(self, shard: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of a shard in the order they were added. Raises DiskFullError."""
        yield from self._logs.get(shard, ())
