"""The documents that one pass over a corpus refuses.

They are kept on disk, by shard: an archive in another encoding has millions of them.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from jgpt_dagster.storage.disk_space import as_disk_full_error


class Rejected(Protocol):
    """Takes what is refused, a row {document_id, reason} a document; a list is one."""

    def append(self, row: dict[str, Any], /) -> None: ...


class RejectedDocumentLog:
    """Keeps rows in files without a name. Use it as a context manager: the disk is given back at its end.

    `counts` tells how many there are of each shard.
    """

    def __init__(self, directory: Path, shard_of: Callable[[int], int]) -> None:
        """Begin with none, on the disk of `directory`, which is made where it is missing.

        `shard_of` gives the shard of a document by its id.
        """
        self.counts: Counter[int] = Counter()
        self._directory, self._shard_of = directory, shard_of
        self._files: dict[int, IO[str]] = {}
        self._open = ExitStack()

    def __enter__(self) -> "RejectedDocumentLog":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of a full disk, to which nothing has to be written any more
            self._open.close()

    def append(self, row: dict[str, Any]) -> None:
        """Keep a row {document_id, reason}. Raises DiskFullError."""
        shard = self._shard_of(row["document_id"])
        if shard not in self._files:
            self._directory.mkdir(parents=True, exist_ok=True)
            file = self._open.enter_context(TemporaryFile("w+", dir=self._directory, encoding="utf-8"))  # noqa: SIM115
            self._files[shard] = file
        self.counts[shard] += 1
        with as_disk_full_error(self._directory):
            self._files[shard].write(json.dumps(row) + "\n")

    def of(self, shard: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of a shard in the order in which they came. Raises DiskFullError."""
        if file := self._files.get(shard):
            with as_disk_full_error(self._directory):
                file.seek(0)  # writes what is left in memory
            yield from map(json.loads, file)
