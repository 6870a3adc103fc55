"""Resource limits of this process: the cores and the memory that it may use.

Containers, batch systems and systemd give a process less than the machine has, by CPU affinity and by the limits of its
control group and all groups above it. A process that exceeds its cores is throttled, one that exceeds its memory is
killed. Both versions of control groups are supported (kernel documentation, admin-guide/cgroup-v1 and cgroup-v2); what
cannot be read is no limit.
"""

import os
from collections.abc import Iterator
from pathlib import Path


def available_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use: its CPU affinity, at most its quota rounded up."""
    quotas = [quota / period for quota, period in _quotas(root) if quota > 0 and period > 0]
    return max(1, min([len(os.sched_getaffinity(0)), *(-int(-quota // 1) for quota in quotas)]))


def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may use, together with all others in its control groups."""
    limits = [
        *(_number(group / "memory.max") for group in _groups("", root)),
        *(_number(group / "memory.limit_in_bytes") for group in _groups("memory", root)),
    ]
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *(limit for limit in limits if limit > 0)])


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Yield the CPU quota per period and the period, in microseconds; negative numbers are no limit."""
    for group in _groups("", root):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        yield _integer(quota), _integer(period)
    for group in _groups("cpu", root):
        yield _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the directories of this process's control group and of those above it; version 2 has no controller name.

    In a container the path may be that of the host, which does not exist there: its own group is the topmost then.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controller
            group = top / path.lstrip("/")
            yield from (place for place in (group, *group.parents) if place == top or top in place.parents)


def _number(path: Path) -> int:
    return _integer(_text(path))


def _integer(text: str) -> int:
    return int(text) if text.lstrip("-").isdigit() else -1


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
