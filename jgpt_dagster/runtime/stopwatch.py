"""Time that work takes: of the clock, and of the CPU."""

import resource
import time


class Stopwatch:
    """Counts from when it is made.

    CPU time is that of this process, all threads, and of its children that have ended since.
    """

    def __init__(self) -> None:
        self._started, self._cpu_started = time.monotonic(), _cpu_seconds()

    @property
    def seconds(self) -> float:
        """Seconds of the clock."""
        return time.monotonic() - self._started

    @property
    def cpu_seconds(self) -> float:
        """Seconds of CPU, in user mode and in the kernel."""
        return _cpu_seconds() - self._cpu_started


def _cpu_seconds() -> float:
    # In microseconds, where `os.times` counts ticks of ten milliseconds.
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
