"""An error that a person can mend has a cause that says what happened, where, and what to do; a bug has none."""

import errno
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy

from jgpt_dagster.causes import cause_of, cause_of_text
from jgpt_dagster.errors import JgptError


def cause_of_failing(action: Callable[[], object]) -> str:
    """Return the cause of what an action really raises."""
    with pytest.raises(BaseException) as error:
        action()
    cause = cause_of(error.value)
    assert cause, repr(error.value)
    return cause


def fill(disk: Path) -> None:
    with (disk / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(b"0" * 4096)


def remount_read_only(disk: Path) -> None:
    subprocess.check_call(["mount", "-o", "remount,ro", disk])


@pytest.fixture
def full_disk(small_disk: Path) -> Path:
    with pytest.raises(OSError, match="No space left"):
        fill(small_disk)
    return small_disk


@pytest.fixture
def database(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> sqlalchemy.Engine:
    """A database like Dagster's on a small disk."""
    monkeypatch.setenv("DAGSTER_HOME", str(small_disk))
    engine = sqlalchemy.create_engine(f"sqlite:///{small_disk / 'runs.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE runs (body TEXT)")
    return engine


def insert(engine: sqlalchemy.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO runs VALUES (?)", ("0" * 2_000_000,))


def test_a_full_disk_is_told_with_the_place_whichever_write_meets_it(
    full_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = full_disk / "copy"
    assert cause_of_failing(lambda: shutil.copyfile(__file__, copy)).startswith(f"{copy}: the disk is full. Free some")
    # A write to an open file does not know its name.
    monkeypatch.setenv("JGPT_SCRATCH", str(full_disk))
    assert cause_of_failing(lambda: fill(full_disk)).startswith(f"the disk of JGPT_SCRATCH={full_disk} is full.")


def test_a_full_disk_of_dagsters_database_is_told_whatever_the_database_calls_it(database: sqlalchemy.Engine) -> None:
    home = os.environ["DAGSTER_HOME"]
    told = f"Dagster's database (DAGSTER_HOME={home}): the disk is full. Free some space"
    assert cause_of_failing(lambda: insert(database)).startswith(told)
    with pytest.raises(OSError, match="No space left"):
        fill(Path(home))
    assert (
        cause_of_text("sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) disk I/O error") or ""
    ).startswith(told)


def test_a_read_only_disk_is_told_for_files_and_for_dagsters_database(database: sqlalchemy.Engine) -> None:
    home = Path(os.environ["DAGSTER_HOME"])
    database.dispose()
    remount_read_only(home)
    assert "DAGSTER_HOME" in (cause := cause_of_failing(lambda: insert(database))) and "read-only" in cause
    cause = cause_of_failing((home / "file").touch)
    assert cause.startswith(f"{home / 'file'}: its file system is mounted read-only. Mount it for writing")


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "file"
    assert cause_of_failing(missing.touch).startswith(f"{missing}: it is missing. Create, mount or restore it")
    assert cause_of_failing(lambda: sqlite3.connect(missing)).startswith("Dagster's database")


def test_memory_that_cannot_be_had_is_told() -> None:
    assert cause_of_failing(lambda: bytearray(1 << 62)).startswith("out of memory.")
    torch = "RuntimeError: [enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"
    assert (cause_of_text(torch) or "").startswith("out of memory.")


def test_a_port_that_is_taken_and_a_side_that_does_not_answer_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "port is taken" in cause_of_failing(lambda: socket.create_server(("127.0.0.1", port)))
    assert "the connection failed" in cause_of_failing(lambda: socket.create_connection(("127.0.0.1", port)))
    unreachable = cause_of_failing(lambda: psycopg2.connect(host="127.0.0.1", port=port, dbname="dagster"))
    assert unreachable.startswith("Dagster's PostgreSQL database cannot be reached.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", "the GPU is out of memory. Use a"),
        ("torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered", "a GPU has failed. Look at"),
        ("RuntimeError: Unable to determine the device handle for GPU 0000:41:00.0: GPU is lost.", "a GPU has failed."),
        ("RuntimeError: No CUDA GPUs are available", "a GPU has failed."),
        (
            "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to "
            "connect to (10.0.0.1, 29500).",
            "the training processes did not find each other. Start all hosts",
        ),
        (
            "torch.distributed.DistStoreError: Timed out after 61 seconds waiting for clients. 1/2 clients joined.",
            "the training processes did not find each other.",
        ),
        (
            "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. "
            "port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
            "the training processes cannot meet: this port is taken",
        ),
        (
            "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Connection closed by peer",
            "the connection to another training process broke.",
        ),
        ("RuntimeError: PytorchStreamWriter failed writing file data/0: file write failed", "is full. Free some space"),
        ('psycopg2.errors.DiskFull: could not extend file "base/1/2": No space left on device', "has a full disk."),
        ("psycopg2.OperationalError: FATAL:  the database system is shutting down", "cannot be reached."),
        ('psycopg2.OperationalError: FATAL:  password authentication failed for user "dagster"', "refuses access."),
        ("sqlite3.OperationalError: database is locked", "is held by another process for too long."),
        ("sqlite3.DatabaseError: database disk image is malformed", "is damaged. Restore a copy"),
    ],
)
def test_what_libraries_report_is_told_in_words(text: str, told: str) -> None:
    assert told in (cause_of_text(text) or "")


def test_an_error_of_this_package_is_its_own_cause_and_wrapping_hides_no_cause() -> None:
    assert cause_of(JgptError("shard 003 is damaged\nMake it again")) == "shard 003 is damaged\nMake it again"
    wrapped = ValueError("step failed")
    wrapped.__cause__ = OSError(errno.EACCES, "Permission denied", "/data/root.json")
    assert (cause_of(wrapped) or "").startswith("/data/root.json: this user may not do that.")


@pytest.mark.parametrize(
    "bug", [ValueError("x"), KeyError("y"), RuntimeError("CUDA error: device-side assert triggered"), AssertionError()]
)
def test_a_bug_has_no_cause(bug: Exception) -> None:
    assert cause_of(bug) is None


def test_errors_that_were_raised_from_each_other_in_a_circle_come_to_an_end() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    assert cause_of(first) is None


def test_a_file_without_a_name_is_told_too() -> None:
    with tempfile.TemporaryFile() as file:
        os.close(file.fileno())
        descriptor = file.fileno()
        assert "Bad file descriptor: see the kernel's log" in cause_of_failing(lambda: os.write(descriptor, b"0"))
        os.dup2(os.open(os.devnull, os.O_RDONLY), descriptor)
