import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.storage.disk_hash_set import DiskHashSet
from jgpt_dagster.storage.disk_space import DiskFullError

HASHES = st.lists(st.integers(-(1 << 63), (1 << 63) - 1))


@given(added=HASHES, others=HASHES)
def test_what_was_added_is_found_and_nothing_else(tmp_path_factory, added, others):
    with DiskHashSet(tmp_path_factory.getbasetemp()) as seen:
        assert seen.intersection([*added, *others]) == set()
        seen.add(added)
        seen.add(added)
        assert seen.intersection([*added, *others]) == set(added)


def test_many_are_asked_for_at_once(tmp_path):
    with DiskHashSet(tmp_path) as seen:
        seen.add(range(0, 100_000, 2))
        assert seen.intersection(range(100_000)) == {*range(0, 100_000, 2)}


def test_its_file_has_no_name_and_what_was_seen_ends_with_it(tmp_path):
    scratch = tmp_path / "made" / "when missing"
    with DiskHashSet(scratch) as seen:
        seen.add([1])
        assert list(scratch.iterdir()) == []
    with DiskHashSet(scratch) as seen:
        assert seen.intersection([1]) == set()


def test_a_full_disk_is_a_clear_error(small_disk: Path, monkeypatch):
    monkeypatch.setattr("jgpt_dagster.storage.disk_hash_set._CACHE_KIB", 64)
    with DiskHashSet(small_disk) as seen, pytest.raises(DiskFullError, match=r"disk: the index .* JGPT_SCRATCH"):
        for start in range(0, 1_000_000, 1000):
            seen.add([hash_ * 9_176_237_517 for hash_ in range(start, start + 1000)])


def test_a_killed_process_leaves_nothing_behind(tmp_path):
    program = (
        "import os, pathlib, signal, sys\n"
        "from jgpt_dagster.storage.disk_hash_set import DiskHashSet\n"
        "DiskHashSet(pathlib.Path(sys.argv[1])).add(range(100_000))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run([sys.executable, "-c", program, str(tmp_path)])
    assert process.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
