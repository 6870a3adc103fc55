"""Rows of rejected pages and documents, kept on disk until the output that lists them is written.

On disk, because a hostile or badly encoded source has millions of them: 181 bytes of bz2 can hold 400,000 pages.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from jgpt_dagster.storage.disk_space import as_disk_full_error
from jgpt_dagster.storage.file_creation import make_directory

MAX_FIELD = 1000
"""Characters that are kept of each text of a row; a title has 255 bytes at most, a reason rarely as many."""


class RejectedRows(Protocol):
    """Receives a row for each rejected page or document; a list will do."""

    def append(self, row: dict[str, Any], /) -> None: ...


class RejectedLog:
    """Rows in an unnamed temporary file, in the order they were added, with their texts cut to MAX_FIELD characters.

    Use it as a context manager, which frees the disk space at its end. `count` is the number of rows.
    """

    def __init__(self, directory: Path) -> None:
        """Start empty. The file is on the disk of `directory`; both are made when the first row is added."""
        self.count = 0
        self._directory = directory
        self._file: IO[str] | None = None
        self._open = ExitStack()

    def __enter__(self) -> "RejectedLog":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # closing flushes, which fails on a full disk; the rows are no longer needed
            self._open.close()

    def append(self, row: dict[str, Any]) -> None:
        """Add a row. Raises DiskFullError."""
        if self._file is None:
            make_directory(self._directory, internal=True)
            file = TemporaryFile("w+", dir=self._directory, encoding="utf-8")  # noqa: SIM115
            self._file = self._open.enter_context(file)
        short = {name: value[:MAX_FIELD] if isinstance(value, str) else value for name, value in row.items()}
        self.count += 1
        with as_disk_full_error(self._directory):
            self._file.write(json.dumps(short) + "\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, one in memory at a time. Raises DiskFullError."""
        if self._file is not None:
            with as_disk_full_error(self._directory):
                self._file.seek(0)  # flushes the buffer
            yield from map(json.loads, self._file)
