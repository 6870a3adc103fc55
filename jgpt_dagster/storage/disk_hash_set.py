"""A set of hashes too large for memory, in an SQLite database on disk that has no name.

The process holds a cache of fixed size; what else is fast is the page cache of the operating system. The file loses its
name before the first hash enters, so that it is gone when the process ends, however it ends.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.storage.disk_space import DiskFullError

_CACHE_KIB = 64 << 10
# Below the 999 variables that every SQLite allows in a statement.
_QUERY_HASHES = 500


class DiskHashSet:
    """Remembers 64-bit hashes. Use it as a context manager: the disk is given back at its end.

    On disk a hash takes 15 to 16 bytes. Raises DiskFullError where the disk of `directory` has no room left.
    """

    def __init__(self, directory: Path) -> None:
        """Begin with none, on the disk of `directory`, which is made where it is missing."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        handle, path = mkstemp(dir=directory)
        os.close(handle)
        self._database = sqlite3.connect(path, isolation_level=None)
        # Nothing in it outlives the process: no journal, no flush, no other reader.
        for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY)")
        self._database.execute("BEGIN")
        os.unlink(path)

    def __enter__(self) -> "DiskHashSet":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    @property
    def disk_bytes(self) -> int:
        """How large the database is."""
        (pages,), (page_bytes,) = (
            self._database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
        return int(pages * page_bytes)

    def intersection(self, hashes: Sequence[int]) -> set[int]:
        """Return those of the hashes (signed, 64 bits) that were added before."""
        found: set[int] = set()
        with self._as_disk_full_error():
            for asked in batches(hashes, max_items=_QUERY_HASHES):
                places = ",".join("?" * len(asked))
                rows = self._database.execute(f"SELECT hash FROM seen WHERE hash IN ({places})", asked)
                found.update(hash_ for (hash_,) in rows)
        return found

    def add(self, hashes: Sequence[int]) -> None:
        """Remember hashes (signed, 64 bits). Many at once take less time for each."""
        with self._as_disk_full_error():
            self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?)", zip(sorted(hashes), strict=True))

    @contextmanager
    def _as_disk_full_error(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            # SQLite reads back what it spilled, so that any of its errors here is one of the disk.
            raise DiskFullError(
                f"{self._directory}: the index of what was seen has no room or cannot be read: {error}. "
                "Free some space or point JGPT_SCRATCH at another disk, then run the same command again."
            ) from error
