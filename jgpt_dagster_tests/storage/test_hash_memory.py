"""A remembered hash is taken only for a file that nothing has touched since."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jgpt_dagster.storage import hash_memory
from jgpt_dagster.storage.hash_memory import HashMemory, hashes_from, read_memory
from jgpt_dagster.storage.hashing import sha256_file


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is large and old enough to be remembered."""
    monkeypatch.setattr(hash_memory, "SMALLEST", 4)
    monkeypatch.setattr(hash_memory, "_SETTLED_SECONDS", -1.0)
    path = tmp_path / "file"
    path.write_bytes(b"some bytes")
    return path


def touched(file: Path) -> None:
    """Other bytes of the same number, with the old time of change."""
    times = file.stat()
    file.write_bytes(b"SOME BYTES")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def replaced(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    copy.rename(file)


def grown(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"!")


@pytest.mark.parametrize("change", [touched, replaced, grown])
def test_a_file_that_was_touched_is_hashed_again(file: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    memory = HashMemory(recall=True)
    with hashes_from(memory):
        before = sha256_file(file)
        assert sha256_file(file) == before
    memory.write(tmp_path / "scratch" / "hashes.json")
    again = read_memory(tmp_path / "scratch" / "hashes.json")
    change(file)
    for known in (memory, again):
        with hashes_from(known):
            found = sha256_file(file)
        assert found == sha256_file(file)
        assert known.learnt  # it was read


def test_a_file_that_was_not_touched_is_not_read_by_a_look_and_is_by_everybody_else(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = HashMemory()
    with hashes_from(stage):
        hashes = [sha256_file(file), sha256_file(file, length=4), sha256_file(file, 4)]
    look = HashMemory(stage.learnt, recall=True)
    look.learn({str(tmp_path / "gone") + ":": [1, 2, 3, 4, "0" * 64]})
    look.write(tmp_path / "hashes.json")
    monkeypatch.setattr("jgpt_dagster.storage.hashing.sha256_stream", lambda stream, length, on_read: f"{length} read")
    remembered = read_memory(tmp_path / "hashes.json")
    with hashes_from(remembered):
        assert [sha256_file(file), sha256_file(file, length=4)] == hashes[:2]
        assert sha256_file(file, 4) == "None read"
    with hashes_from(stage):
        assert sha256_file(file) == "None read"
    assert sha256_file(file) == "None read"
    assert "gone" not in (tmp_path / "hashes.json").read_text()


def test_a_small_or_fresh_file_is_not_remembered_and_a_damaged_memory_is_empty(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SMALLEST", 11), ("_SETTLED_SECONDS", 3600.0)):
        with monkeypatch.context() as patch:
            patch.setattr(hash_memory, name, value)
            memory = HashMemory(recall=True)
            with hashes_from(memory):
                sha256_file(file)
            assert not memory.learnt
    for content in ("", "[]", '{"a": 1}', "{"):
        (tmp_path / "hashes.json").write_text(content)
        with hashes_from(read_memory(tmp_path / "hashes.json")):
            assert len(sha256_file(file)) == 64
