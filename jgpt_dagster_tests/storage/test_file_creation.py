"""Files and folders get the rights that others need and no more, and none is made through a link."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from jgpt_dagster.storage.atomic_write import atomic_directory, atomic_file, write_json
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.file_creation import LinkedPathError, create_file, make_own_directory
from jgpt_dagster.storage.partition_lock import partition_lock
from jgpt_dagster.storage.scratch_directory import scratch_directory


@pytest.fixture(params=[0o022, 0o002, 0o000], ids="{:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def rights(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):03o}"


def fill(root: Path) -> None:
    """Make a file of each kind in a data root."""
    with partition_lock(root, "tokenizer", "a run", print):
        with atomic_file(root / "asset" / "dump=1" / "shard=000.parquet") as stream:
            stream.write(b"text")
        with atomic_directory(root / "tokenizer") as directory:
            (directory / "file").touch()
        write_json(root / "tokenizer" / "run.json", {}, internal=True)
    with scratch_directory(root / ".scratch" / "step", "a test"):
        pass


@pytest.mark.usefixtures("umask")
def test_a_new_root_and_all_below_it_belong_to_the_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk").chmod(0o755)
    root = tmp_path / "disk" / "data"
    DataRoot(root).pin_settings({"wiki": "jawiki"})
    fill(root)
    assert rights(root) == "700"
    made_here = [path for path in root.rglob("*") if path.name != "file"]
    assert {rights(path) for path in made_here} == {"700", "600"}


@pytest.mark.usefixtures("umask")
def test_in_a_root_that_others_may_read_they_read_outputs_and_nothing_internal(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    fill(tmp_path)
    assert rights(tmp_path / "asset" / "dump=1") == rights(tmp_path / "tokenizer") == "755"
    assert rights(tmp_path / "asset" / "dump=1" / "shard=000.parquet") == "644"
    assert rights(tmp_path / ".locks") == rights(tmp_path / ".scratch") == "700"
    assert rights(tmp_path / ".locks" / "tokenizer.lock") == rights(tmp_path / "tokenizer" / "run.json") == "600"


def test_in_a_root_of_a_group_its_members_may_do_what_the_owner_may_and_others_nothing(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        tmp_path.chmod(0o2770)
        fill(tmp_path)
    finally:
        os.umask(before)
    assert rights(tmp_path / "asset" / "dump=1")[-3:] == rights(tmp_path / ".locks")[-3:] == "770"
    assert rights(tmp_path / "asset" / "dump=1" / "shard=000.parquet") == "660"
    assert rights(tmp_path / ".locks" / "tokenizer.lock") == rights(tmp_path / "tokenizer" / "run.json") == "660"


def test_nothing_that_exists_is_opened_as_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(FileExistsError):
            create_file(tmp_path / name)
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_in_the_place_of_a_lock_or_of_the_folder_of_locks_is_refused_by_name(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    (tmp_path / "folder").mkdir()
    one, other = tmp_path / "one", tmp_path / "other"
    make_own_directory(one / ".locks")
    (one / ".locks" / "tokenizer.lock").symlink_to(victim)
    other.mkdir()
    (other / ".locks").symlink_to(tmp_path / "folder")
    for root, name in ((one, "tokenizer.lock"), (other, ".locks")):
        with (
            pytest.raises(LinkedPathError, match=rf"{name} is a link to .*delete it and run the same command"),
            partition_lock(root, "tokenizer", "a run", print),
        ):
            pass
    assert victim.read_text() == "theirs" and list((tmp_path / "folder").iterdir()) == []
