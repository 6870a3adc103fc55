"""What is found as a leftover: here, the parts of downloads; `jgpt prune` as a whole is in `cli/test_prune.py`."""

import os
import time
from pathlib import Path

from jgpt_dagster.catalog.leftovers import find_leftovers
from jgpt_dagster.corpus.fetch.checksums import ExpectedDigests
from jgpt_dagster.corpus.fetch.download_parts import DownloadParts
from jgpt_dagster.storage.data_root import DataRoot

_DAY = 24 * 3600


def leave_parts(target: Path, days: float) -> int:
    """Leave two parts of one download, last written some days ago; return the bytes of all their files."""
    target.parent.mkdir(parents=True)
    with DownloadParts("http://mirror.example/x", target, ExpectedDigests()) as parts:
        parts.active.begin_response(None, None)
        parts.append(b"half")
        parts.begin_changed(2, None, None)
        parts.append(b"other")
    then = time.time() - days * _DAY
    files = list(target.parent.iterdir())
    for path in (*files, target.parent):
        os.utime(path, (then, then))
    assert {f"{target.name}.part", f"{target.name}.part.2"} < {path.name for path in files}
    return sum(path.stat().st_size for path in files)


def test_all_parts_of_a_download_that_nobody_continues_are_found(tmp_path: Path) -> None:
    incoming = tmp_path / ".incoming"
    size = leave_parts(incoming / "jawiki-20250801" / "dump.bz2", days=31)
    leave_parts(incoming / "jawiki-20250820" / "dump.bz2", days=29)
    archive = leave_parts(incoming / "cc100" / "ja.txt.xz", days=31)
    found = {leftover.path: leftover for leftover in find_leftovers(DataRoot(tmp_path), tmp_path / ".scratch")}
    assert {path: leftover.size for path, leftover in found.items()} == {
        incoming / "cc100": archive,
        incoming / "jawiki-20250801": size,
    }
    for leftover in found.values():
        assert leftover.delete(DataRoot(tmp_path))
    assert [path.name for path in incoming.iterdir()] == ["jawiki-20250820"]
