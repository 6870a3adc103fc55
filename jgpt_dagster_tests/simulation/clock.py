"""Fast time: a clock that the package, Dagster's records and the files on disk share, and that only moves when told."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

HOUR = 3600.0
DAY = 24 * HOUR

# The year lies in the past, so that a file that was just written can be told from one that has its time already.
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)


class Clock:
    """The time of a simulation, in seconds since the epoch."""

    def __init__(self) -> None:
        self._begun = time.time() - 1
        self.now = FIRST_DAY.timestamp()

    @property
    def date(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    @property
    def day(self) -> float:
        """Days since the first day."""
        return (self.now - FIRST_DAY.timestamp()) / DAY

    @contextmanager
    def in_charge(self) -> Iterator[None]:
        """Let this clock be the one that everybody reads while the block runs."""
        with (
            patch("time.time", lambda: self.now),
            patch("dagster._time._mockable_get_current_datetime", lambda: self.date),
            patch("dagster._time._mockable_get_current_timestamp", lambda: self.now),
        ):
            yield

    def date_files(self, folder: Path) -> None:
        """Give what was written below a folder since the last call this clock's time in place of the machine's."""
        for directory, folders, files in os.walk(folder, topdown=False):
            for path in (*(f"{directory}/{name}" for name in (*folders, *files)), directory):
                if os.lstat(path).st_mtime >= self._begun:
                    os.utime(path, (self.now, self.now), follow_symlinks=False)
