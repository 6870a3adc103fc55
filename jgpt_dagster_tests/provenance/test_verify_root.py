"""Every file of a data root is checked, and whatever is changed, cut, renamed, exchanged or added is named."""

import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jgpt_dagster.provenance.finding import Finding
from jgpt_dagster.provenance.root_files import ROOT_RECORDS, kept_checkpoints, root_files
from jgpt_dagster.provenance.verify_output import own_files, verify_output, verify_sealed
from jgpt_dagster.provenance.verify_release import verify_release
from jgpt_dagster.provenance.verify_root import bytes_to_hash, verify_checkpoint, verify_root
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster_tests.fixtures import make_root
from jgpt_dagster_tests.support.deployments import DUMP, Deployment

FLIPS = 1000


@pytest.fixture
def copy(finished: Deployment, tmp_path: Path) -> DataRoot:
    """A copy of a data root, file by file, which may be changed."""
    data = tmp_path / "data"
    shutil.copytree(finished.data, data, ignore=shutil.ignore_patterns(".dagster", ".locks"))
    return DataRoot(data)


def found(root: DataRoot) -> list[Finding]:
    return list(verify_root(root, root.path / ".scratch"))


def test_a_finished_root_is_verified_to_the_last_byte(copy: DataRoot) -> None:
    read = 0
    (copy.path / "templates.yaml").write_text("注釈: silent\n")  # the user's own

    def count(size: int) -> None:
        nonlocal read
        read += size

    assert list(verify_root(copy, copy.path / ".scratch", count)) == []
    assert read == pytest.approx(bytes_to_hash(copy, copy.path / ".scratch"), rel=0.01)


def test_a_thousand_random_flips_are_found_and_named(copy: DataRoot) -> None:
    checks: dict[Path, Callable[[], list[Finding]]] = {
        copy.path / name: lambda path=copy.path / name: list(verify_sealed(path, path.name))  # type: ignore[misc]
        for name in ROOT_RECORDS
        if (copy.path / name).is_file()
    }
    for output in root_files(copy).outputs:
        for path in own_files(output, output.manifest()):
            if path.is_file() and path.stat().st_size:
                checks[path] = lambda output=output: list(verify_output(output))  # type: ignore[misc]
    for checkpoint in kept_checkpoints(copy.path / ".scratch"):
        for path in checkpoint.rglob("*"):
            if path.is_file():
                checks[path] = lambda checkpoint=checkpoint: list(verify_checkpoint(copy, checkpoint))  # type: ignore[misc]
    suffixes = {path.suffix for path in checks}
    assert {".json", ".parquet", ".bin", ".bz2", ".xz", ".safetensors", ".pt", ".md", ".jsonl", ".pq"} <= suffixes
    draw = random.Random(1)
    paths = sorted(checks)
    missed = []
    for _ in range(FLIPS):
        path = draw.choice(paths)
        place, mask = draw.randrange(path.stat().st_size), draw.randrange(1, 256)
        with open(path, "r+b") as stream:
            stream.seek(place)
            (byte,) = stream.read(1)
            stream.seek(place)
            stream.write(bytes([byte ^ mask]))
        named = str(path.parent if path.parent.name.startswith("step=") else path)
        if not any(named in finding.problem for finding in checks[path]()):
            missed.append((path, place, mask))
        with open(path, "r+b") as stream:
            stream.seek(place)
            stream.write(bytes([byte]))
    assert missed == []


def exchange(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


ARTICLES = f"wikipedia_articles/dump={DUMP}"
TOKENS = f"wikipedia_tokens/dump={DUMP}"
CHANGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a truncated shard": (
        lambda data: (data / ARTICLES / "shard=000.parquet").write_bytes(
            (data / ARTICLES / "shard=000.parquet").read_bytes()[:-1]
        ),
        "damaged",
        f"wikipedia_articles {DUMP}|000",
    ),
    "a truncated file of tokens": (
        lambda data: (data / TOKENS / "shard=000/tokens.bin").write_bytes(b"12"),
        "damaged",
        "tokens.bin has 2 bytes",
    ),
    "a removed sidecar": (
        lambda data: (data / ARTICLES / "shard=000.rejected.jsonl").unlink(),
        "damaged",
        "rejected.jsonl is missing",
    ),
    "a shard under another name": (
        lambda data: (data / ARTICLES / "shard=001.parquet").rename(data / ARTICLES / "shard=001.old.parquet"),
        "unlisted",
        "shard=001.old.parquet",
    ),
    "a shard under the name of none": (
        lambda data: (data / "cc100_segmented/shard=001.parquet").rename(data / "cc100_segmented/shard=007.parquet"),
        "misplaced",
        "is none of the 2 shards",
    ),
    "a dump of another date": (
        lambda data: (data / f"wikipedia_dump/dump={DUMP}").rename(data / "wikipedia_dump/dump=20250101"),
        "misplaced",
        f"is that of {DUMP}",
    ),
    "exchanged articles": (
        lambda data: exchange(data / ARTICLES / "shard=000.parquet", data / ARTICLES / "shard=001.parquet"),
        "misplaced",
        "was read from the pages of",
    ),
    "exchanged segmented shards": (
        lambda data: exchange(data / "cc100_segmented/shard=000.parquet", data / "cc100_segmented/shard=001.parquet"),
        "misplaced",
        "was made of cc100_documents 001",
    ),
    "exchanged documents": (
        lambda data: exchange(data / "cc100_documents/shard=000.parquet", data / "cc100_documents/shard=001.parquet"),
        "misplaced",
        "belongs into shard 001",
    ),
    "exchanged tokens": (
        lambda data: exchange(data / TOKENS / "shard=000", data / TOKENS / "shard=001"),
        "misplaced",
        f"was made of wikipedia_segmented {DUMP}|001",
    ),
    "an output of another asset": (
        lambda data: exchange(data / f"evaluation/dump={DUMP}/model=tiny", data / f"release/dump={DUMP}/model=tiny"),
        "misplaced",
        "is an output of evaluation",
    ),
    "an added file in a directory": (
        lambda data: (data / "tokenizer/extra.json").write_text("{}"),
        "unlisted",
        "extra.json is not listed",
    ),
    "an added file beside shards": (
        lambda data: (data / ARTICLES / "shard=000.notes.jsonl").write_text(""),
        "unlisted",
        "shard=000.notes.jsonl belongs to no output",
    ),
    "an added file in the root": (
        lambda data: (data / "notes").write_text(""),
        "unlisted",
        "notes belongs to no output",
    ),
    "a directory without its manifest": (
        lambda data: (data / "tokenizer/manifest.json").unlink(),
        "unlisted",
        "tokenizer.json belongs to no output",
    ),
    "an added file in a checkpoint": (
        lambda data: (next((data / ".scratch").rglob("step=00000008")) / "engine/more.pt").write_text(""),
        "damaged",
        "more.pt is not listed",
    ),
    "a damaged file of a model's own training data": (
        lambda data: next((data / "trained_on").rglob("tokens.bin")).write_bytes(b""),
        "damaged",
        "trained_on",
    ),
}


@pytest.mark.parametrize(("change", "kind", "named"), CHANGES.values(), ids=CHANGES)
def test_what_is_changed_is_named(copy: DataRoot, change: Callable[[Path], object], kind: str, named: str) -> None:
    change(copy.path)
    findings = found(copy)
    assert any(finding.kind == kind and named in finding.line() for finding in findings), findings


def test_what_was_made_of_something_made_again_since_is_stale_and_no_fault(copy: DataRoot) -> None:
    with copy.directory("tokenizer").writing(copy.directory("tokenizer").verified().recipe) as out:
        (out.path / "tokenizer.json").write_text("another")
    findings = found(copy)
    assert {finding.kind for finding in findings} == {"stale"}
    assert "cc100_tokens 000" in {finding.output for finding in findings}


def test_a_root_of_an_earlier_version_is_valid(tmp_path: Path) -> None:
    with tarfile.open(make_root.ARCHIVE) as packed:
        packed.extractall(tmp_path / "data", filter="data")
    root = DataRoot(tmp_path / "data")
    assert [finding for finding in found(root) if finding.is_fault] == []
    report = verify_release(next(root.path.glob("release/*/*")))
    assert report.findings == [] and "nothing says what it was made of" in "\n".join(report.lines())


def test_the_command_verifies_a_root_and_ends_with_1_for_a_fault(finished: Deployment, copy: DataRoot) -> None:
    assert "verified" in finished.invoke("verify", "--root", copy.path)
    (copy.path / "cc100_dump" / "ja.txt.xz").write_bytes(b"")
    refused = finished.try_invoke("verify", "--root", copy.path)
    assert refused.code == 1 and "damaged: cc100_dump: " in refused.output and "1 fault was found" in refused.output
