"""A process takes no more of a machine than its control groups grant; their files are laid out as the kernel does."""

import os
from pathlib import Path

import pytest

from jgpt_dagster.runtime import resource_limits

GIB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 cores and 256 GiB."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 256 * GIB // 4096, "SC_PAGE_SIZE": 4096}[name])


def lay_out(root: Path, groups: str, files: dict[str, str]) -> Path:
    placed = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {"proc/self/cgroup": groups, **placed}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    for root in (tmp_path / "no groups", lay_out(tmp_path, "0::/", {"cpu.max": "max 100000", "memory.max": "max"})):
        assert (resource_limits.available_cores(root), resource_limits.available_memory(root)) == (64, 256 * GIB)


def test_a_service_has_its_own_limit_and_those_of_the_groups_above_it(tmp_path: Path) -> None:
    service = "system.slice/jgpt.service"
    root = lay_out(
        tmp_path,
        f"0::/{service}",
        {
            f"{service}/cpu.max": "max 100000",
            f"{service}/memory.max": str(32 * GIB),
            "system.slice/cpu.max": "350000 100000",
            "system.slice/memory.max": str(48 * GIB),
        },
    )
    assert (resource_limits.available_cores(root), resource_limits.available_memory(root)) == (4, 32 * GIB)


def test_a_container_finds_its_limits_at_the_top(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "0::/../../host/path", {"cpu.max": "50000 100000", "memory.max": str(GIB)})
    assert (resource_limits.available_cores(root), resource_limits.available_memory(root)) == (1, GIB)


def test_the_first_version_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    root = lay_out(
        tmp_path,
        "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/",
        {
            "cpu/cpu.cfs_quota_us": "800000",  # seen from inside: the path of the host is not there
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": str(2**63 - 4096),
            "memory/docker/memory.limit_in_bytes": str(16 * GIB),
        },
    )
    assert (resource_limits.available_cores(root), resource_limits.available_memory(root)) == (8, 16 * GIB)
