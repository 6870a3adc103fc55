"""A file or directory appears under its name whole, or not at all."""

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jgpt_dagster.storage.atomic_write import atomic_directory, atomic_file, link_or_copy, temporary_path, write_json
from jgpt_dagster.storage.disk_space import DiskFullError


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def killed(code: str, *arguments: Path) -> None:
    """Run python code that kills its own process in the middle."""
    script = (
        f"import os, signal, sys\nfrom pathlib import Path\nfrom jgpt_dagster.storage.atomic_write import *\n{code}"
    )
    process = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=False)
    assert process.returncode == -signal.SIGKILL


def test_a_file_is_whole_under_its_name(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    with atomic_file(target) as stream:
        stream.write(b"half")
        assert not target.exists()
        stream.write(b" and half")
    assert target.read_bytes() == b"half and half"
    assert names(target.parent) == ["file"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_file(target) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_overwrites_what_it_left(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    killed(
        "with atomic_file(Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'a half that is long'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)",
        target,
    )
    assert target.read_bytes() == b"old"
    assert temporary_path(target).read_bytes() == b"a half that is long"
    with atomic_file(target) as stream:
        stream.write(b"new")
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with (
        pytest.raises(DiskFullError, match=r"file: the disk is full.*run the same command again"),
        atomic_file(target),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("to", ["file", "folder", "nothing"])
def test_a_link_that_waits_at_a_temporary_name_is_replaced_and_what_it_leads_to_is_left_alone(
    tmp_path: Path, to: str
) -> None:
    victims = tmp_path / "victims"
    (victims / "folder").mkdir(parents=True)
    (victims / "file").write_text("theirs")
    (victims / "folder" / "file").write_text("theirs")
    root = tmp_path / "root"
    root.mkdir()
    for name in ("file", "directory"):
        temporary_path(root / name).symlink_to(victims / to)
        (root / f".{name}.old").symlink_to(victims / to)
    with atomic_file(root / "file") as stream:
        stream.write(b"ours")
    for content in ("first", "second"):
        with atomic_directory(root / "directory") as directory:
            (directory / content).write_text("ours")
    assert (root / "file").read_bytes() == b"ours" and not (root / "file").is_symlink()
    assert names(root / "directory") == ["second"]
    assert sorted(path.relative_to(victims).as_posix() for path in victims.rglob("*")) == [
        "file",
        "folder",
        "folder/file",
    ]
    assert {path.read_text() for path in victims.rglob("file")} == {"theirs"}


def test_a_disk_that_fills_up_loses_nothing_whole(small_disk: Path) -> None:
    write_json(small_disk / "first", {"kept": True})
    with pytest.raises(DiskFullError, match="second"), atomic_file(small_disk / "second") as stream:
        stream.write(bytes(2 << 20))
    with pytest.raises(DiskFullError, match="third"), atomic_directory(small_disk / "third") as directory:
        (directory / "file").write_bytes(bytes(2 << 20))
    assert names(small_disk) == ["first"]
    with atomic_file(small_disk / "second") as stream:
        stream.write(bytes(1 << 10))


def test_a_directory_replaces_another_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    for content in ("old", "new"):
        with atomic_directory(target) as directory:
            (directory / content).write_text(content)
    assert names(target) == ["new"]
    assert names(tmp_path) == ["directory"]


def test_a_failure_leaves_the_old_directory_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    with atomic_directory(target) as directory:
        (directory / "old").touch()
    with pytest.raises(RuntimeError), atomic_directory(target) as directory:
        (directory / "new").touch()
        raise RuntimeError
    assert names(target) == ["old"]
    assert names(tmp_path) == ["directory"]


def test_a_writer_killed_in_the_middle_leaves_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    with atomic_directory(target) as directory:
        (directory / "old").touch()
    killed(
        "with atomic_directory(Path(sys.argv[1])) as directory:\n"
        "    (directory / 'new').touch(); os.kill(os.getpid(), signal.SIGKILL)",
        target,
    )
    assert names(target) == ["old"]
    with atomic_directory(target) as directory:
        assert names(directory) == []
    assert names(tmp_path) == ["directory"]


def test_a_kill_while_a_directory_is_replaced_leaves_one_of_the_two_in_its_place(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    with atomic_directory(target) as directory:
        (directory / "old").touch()
    killed(
        "def dying(function):\n"
        "    def call(*paths):\n        function(*paths); os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return call\n"
        "from jgpt_dagster.storage import atomic_write\n"
        "os.rename, atomic_write._swap = dying(os.rename), dying(atomic_write._swap)\n"
        "with atomic_directory(Path(sys.argv[1])) as directory: (directory / 'new').touch()",
        target,
    )
    assert names(target) == ["new"]
    with atomic_directory(target) as directory:
        (directory / "newer").touch()
    assert names(target) == ["newer"]
    assert names(tmp_path) == ["directory"]


def test_where_directories_cannot_swap_a_kill_between_renames_leaves_no_mixture_and_a_rerun_mends_it(
    tmp_path: Path,
) -> None:
    target = tmp_path / "directory"
    with atomic_directory(target) as directory:
        (directory / "old").touch()
    killed(
        "from jgpt_dagster.storage import atomic_write\n"
        "atomic_write._swap = lambda *_: False\n"
        "rename = os.rename\n"
        "def rename_and_die(*paths):\n    rename(*paths); os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.rename = rename_and_die\n"
        "with atomic_directory(Path(sys.argv[1])) as directory: (directory / 'new').touch()",
        target,
    )
    assert not target.exists()
    with atomic_directory(target) as directory:
        (directory / "new").touch()
    assert names(target) == ["new"]
    assert names(tmp_path) == ["directory"]


def test_equal_values_give_equal_json(tmp_path: Path) -> None:
    write_json(tmp_path / "one", {"a": 1, "b": "町"})
    write_json(tmp_path / "other", {"b": "町", "a": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "one", float("nan"))
    assert names(tmp_path) == ["one", "other"]


def test_a_second_name_costs_no_disk_and_where_there_are_no_hard_links_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"large")
    (tmp_path / "symbolic").symlink_to("file")
    link_or_copy(source, tmp_path / "linked")
    assert (tmp_path / "linked").samefile(source)
    monkeypatch.setattr(os, "link", _refusing(errno.EPERM))
    link_or_copy(source, tmp_path / "copied")
    assert (tmp_path / "copied").read_bytes() == b"large" and not (tmp_path / "copied").samefile(source)
    link_or_copy(tmp_path / "symbolic", tmp_path / "symbolic too")
    assert (tmp_path / "symbolic too").readlink() == Path("file")


def test_a_file_system_that_cannot_flush_directories_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = os.fsync

    def files_alone(descriptor: int) -> None:
        return _refusing(errno.EINVAL)() if stat.S_ISDIR(os.fstat(descriptor).st_mode) else flush(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    write_json(tmp_path / "file", {})
    with atomic_directory(tmp_path / "directory") as directory:
        (directory / "file").touch()
    assert names(tmp_path) == ["directory", "file"]
    monkeypatch.setattr(os, "fsync", _refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        write_json(tmp_path / "file", {})


def _refusing(code: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse
