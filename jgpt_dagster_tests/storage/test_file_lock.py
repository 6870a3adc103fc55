"""A lock that the file system refuses is told in words."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from jgpt_dagster.storage.file_lock import LockRefusedError, file_lock, locked, try_acquire


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOLCK, "local disk"),
        (errno.EOPNOTSUPP, "local disk"),
        (errno.ENOSYS, "local disk"),
        (errno.EROFS, "mounted read-only"),
    ],
)
def test_a_refused_lock_names_its_file_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / ".locks" / "output.lock"
    with pytest.raises(LockRefusedError, match=advice) as error, locked(file_lock(path)):
        pass
    assert str(path) in str(error.value) and "JGPT_DATA" in str(error.value)


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    with locked(file_lock(tmp_path / "lock")):
        assert not try_acquire(file_lock(tmp_path / "lock"))
    assert try_acquire(file_lock(tmp_path / "lock"))
