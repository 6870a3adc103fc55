"""Hashes of files that are as they were when they were hashed, by size, times and inode.

Only the look that finds out whether anything must be run takes a remembered hash. Whatever reads a file, and whoever
verifies one, hashes it.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.hashing import Hashes, hashes_in_use

# A file that was changed this short a time ago could change again within the same tick of its file system's clock.
_SETTLED_SECONDS = 2.0

SMALLEST = 1 << 20
"""Size in bytes of the smallest file that is remembered: others are hashed sooner than looked up among millions."""

Entries = Mapping[str, list[Any]]


class HashMemory(Hashes):
    """Remembers the hash of each file that is hashed, and answers with it if `recall` and the file is the same."""

    def __init__(self, entries: Entries | None = None, *, recall: bool = False) -> None:
        self._entries, self._recall = dict(entries or {}), recall
        self.learnt = dict[str, list[Any]]()
        """What was hashed since, by path and length."""

    def sha256(self, path: Path, length: int | None, compute: Callable[[], str]) -> str:
        """Return the hex sha256 of the first `length` bytes of a file; `compute` reads it. Raises OSError."""
        key, before, now = f"{path}:{'' if length is None else length}", _state(path), time.time()
        known = self._entries.get(key)
        if self._recall and known and known[:-1] == before:
            return str(known[-1])
        found = compute()
        size, _, changed, _ = before
        if size >= SMALLEST and now - changed / 1e9 > _SETTLED_SECONDS and _state(path) == before:
            self.learn({key: [*before, found]})
        return found

    def learn(self, entries: Entries) -> None:
        """Remember what this or another process has hashed."""
        self._entries.update(entries)
        self.learnt.update(entries)

    def write(self, path: Path) -> None:
        """Write what is remembered of files that are still there, if anything was learnt. A memory may be lost."""
        if not self.learnt:
            return
        self.learnt.clear()
        present = {key: entry for key, entry in self._entries.items() if os.path.exists(key.rpartition(":")[0])}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, present, internal=True)


def read_memory(path: Path) -> HashMemory:
    """Return the memory in a file, which recalls; an empty one if it is missing or damaged."""
    try:
        entries = json.loads(path.read_text())
        return HashMemory({str(key): list(entry) for key, entry in entries.items()}, recall=True)
    except (OSError, ValueError, TypeError, AttributeError):
        return HashMemory(recall=True)


@contextmanager
def hashes_from(memory: HashMemory) -> Iterator[None]:
    """Let a memory see, and answer if it recalls, every hash of a file that this block asks for."""
    token = hashes_in_use.set(memory)
    try:
        yield
    finally:
        hashes_in_use.reset(token)


def _state(path: Path) -> list[Any]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
