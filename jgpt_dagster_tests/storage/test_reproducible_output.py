"""Two runs over the same input write the same bytes: nothing volatile is in a manifest or in a Parquet footer."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

# Makes one output of either kind, as another process, at another time, of another user on another host would.
MAKE = """
import socket, sys, time
from pathlib import Path
import pyarrow as pa
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Recipe, library_versions

hostname, now = sys.argv[2], float(sys.argv[3])
socket.gethostname = lambda: hostname
time.time = lambda: now

root = DataRoot(Path(sys.argv[1]))
recipe = Recipe("stage", "1", {"text": "clean"}, {"input": "00ff"}, library_versions("pyarrow"))
schema = pa.schema([("page_id", pa.int64()), ("lines", pa.list_(pa.string()))])
rows = ((number, ["海に近い町", str(number)]) for number in range(10_000))
root.parquet("wikipedia_articles", "20260101", "000").write(
    schema, rows, recipe, lambda: {"pages": 10_001}, lambda: [{"page_id": 7, "reason": "too large"}]
)
with root.directory("wikipedia_tokens", "20260101", "000").writing(recipe) as out:
    for name in sorted({"tokens.bin", "documents.npy"}, key=hash):
        (out.path / name).write_bytes(name.encode())
    out.counts = {"tokens": 5}
"""

VOLATILE = re.compile(r"time|date|seconds|host|user|run|pid|process|path|cwd", re.IGNORECASE)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = []
    for host, now, seed, zone in (("one", 0, "1", "UTC"), ("another", 2_000_000_000, "2", "Asia/Tokyo")):
        root = tmp_path_factory.mktemp(host)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "USER": host, "HOSTNAME": host}
        subprocess.run(
            [sys.executable, "-c", MAKE, str(root), host, str(now)], check=True, cwd=root, env=environment, timeout=120
        )
        made.append(root)
    return made[0], made[1]


def keys_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for below in value.values():
            yield from keys_in(below)


def test_another_process_time_and_host_write_the_same_bytes(roots: tuple[Path, Path]) -> None:
    contents = [{str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")} for root in roots]
    assert len(contents[0]) == 5
    assert contents[0] == contents[1]


def test_a_parquet_footer_holds_the_manifest_and_its_hash_and_nothing_volatile(roots: tuple[Path, Path]) -> None:
    one, another = (pq.read_metadata(root / "wikipedia_articles/dump=20260101/shard=000.parquet") for root in roots)
    assert one.metadata == another.metadata
    assert one.created_by == another.created_by
    assert set(one.metadata) == {b"jgpt", b"jgpt.footer_sha256"}
    manifest = json.loads(one.metadata[b"jgpt"])
    assert set(manifest) == {"recipe", "counts", "files"}
    assert [key for key in keys_in(manifest) if VOLATILE.search(key)] == []


def test_the_manifest_of_a_directory_holds_nothing_volatile(roots: tuple[Path, Path]) -> None:
    manifest = json.loads((roots[0] / "wikipedia_tokens/dump=20260101/shard=000/manifest.json").read_text())
    assert set(manifest) == {"recipe", "counts", "files", "seal"}
    assert [key for key in keys_in(manifest) if VOLATILE.search(key)] == []
