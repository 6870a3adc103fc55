"""A set of hashes that is too large for memory, in an unnamed SQLite database on disk.

The process holds a cache of fixed size and otherwise relies on the page cache of the operating system. The file is
unlinked before the first hash enters, so it is gone when the process ends, however it ends.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.storage.disk_space import DiskFullError
from jgpt_dagster.storage.file_creation import make_directory

_CACHE_KIB = 64 << 10
# Below the 999 variables that every SQLite version allows in a statement.
_QUERY_HASHES = 500


class DiskHashSet:
    """A set of 64-bit hashes. Use it as a context manager, which frees the disk space at its end.

    A hash takes 15 to 16 bytes on disk. Raises DiskFullError if the disk of `directory` is full.
    """

    def __init__(self, directory: Path) -> None:
        """Start empty, on the disk of `directory`, which is created if missing."""
        make_directory(directory, internal=True)
        self._directory = directory
        # SQLite follows links, so it gets a folder of its own, where nobody else can put one.
        folder = mkdtemp(dir=directory)
        path = os.path.join(folder, "seen")
        self._database = sqlite3.connect(path, isolation_level=None)
        # Nothing outlives the process, so no journal, no flush and no other reader is needed.
        for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY)")
        self._database.execute("BEGIN")
        os.unlink(path)
        os.rmdir(folder)

    def __enter__(self) -> "DiskHashSet":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    @property
    def disk_bytes(self) -> int:
        """The size of the database in bytes."""
        (pages,), (page_bytes,) = (
            self._database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
        return int(pages * page_bytes)

    def intersection(self, hashes: Sequence[int]) -> set[int]:
        """Return the hashes (signed, 64 bits) that are in the set."""
        found: set[int] = set()
        with self._as_disk_full_error():
            for asked in batches(hashes, max_items=_QUERY_HASHES):
                places = ",".join("?" * len(asked))
                query = f"SELECT hash FROM seen WHERE hash IN ({places})"  # noqa: S608  # nothing but question marks
                rows = self._database.execute(query, asked)
                found.update(hash_ for (hash_,) in rows)
        return found

    def add(self, hashes: Sequence[int]) -> None:
        """Add hashes (signed, 64 bits). Many at once take less time for each."""
        with self._as_disk_full_error():
            self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?)", zip(sorted(hashes), strict=True))

    @contextmanager
    def _as_disk_full_error(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            # SQLite reads back what it spilled, so any operational error here is one of the disk.
            raise DiskFullError(
                f"{self._directory}: the index of what was seen has no room or cannot be read: {error}. "
                "Free some space or point JGPT_SCRATCH at another disk, then run the same command again."
            ) from error
