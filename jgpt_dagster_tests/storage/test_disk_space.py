"""A full disk becomes an error that names the file and says what to do."""

import errno
import os
from pathlib import Path

import pytest

from jgpt_dagster.storage.disk_space import DiskFullError, as_disk_full_error, require_free_space


def test_too_little_free_space_is_found_before_it_is_used(tmp_path: Path) -> None:
    require_free_space(tmp_path / "not" / "yet", 1, "nothing")
    with pytest.raises(DiskFullError, match=r"a download needs 1,000,000,000,000,000,000 bytes and [\d,]+ are free"):
        require_free_space(tmp_path / "not" / "yet", 10**18, "a download")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_and_an_exceeded_quota_name_the_file(code: int) -> None:
    with pytest.raises(DiskFullError, match=r"/data/file: the disk is full"), as_disk_full_error(Path("/data/file")):
        raise OSError(code, os.strerror(code))


def test_another_error_of_the_disk_passes_unchanged() -> None:
    with pytest.raises(PermissionError), as_disk_full_error(Path("/data/file")):
        raise PermissionError(errno.EACCES, "Permission denied")
