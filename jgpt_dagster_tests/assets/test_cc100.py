"""`cc100_documents` under both profiles: what it drops, how it accounts for it, and that shards have no part in it."""

import json
import lzma
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from jgpt_dagster.runtime.worker_pool import map_in_worker_pool
from jgpt_dagster.storage import object_store
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.corpus.web.test_document_selection import documents
from jgpt_dagster_tests.support.deployments import Deployment
from jgpt_dagster_tests.support.tables import rows_of


@pytest.fixture
def planted(tmp_path: Path) -> Deployment:
    """A deployment whose archive has documents of every kind, one of them not UTF-8."""
    texts = ["\n".join(lines).encode() for _, lines in documents()]
    archive = tmp_path / "ja.txt.xz"
    archive.write_bytes(lzma.compress(b"\n\n".join([*texts, b"\xff"]), preset=0))
    settings = {"CC100_URL": archive.as_uri(), "SHARDS": "2", "TEXT": "clean", "MODEL": "tiny"}
    return Deployment(tmp_path / "data", settings)


def kept(deployment: Deployment, shards: int, **config: Any) -> list[tuple[Any, ...]]:
    assert deployment.materialize("cc100_dump").error is None
    rows: list[tuple[Any, ...]] = []
    for number in range(shards):
        made = deployment.materialize("cc100_documents", f"{number:03d}", **config)
        assert made.error is None
        assert made.checks["no_document_missing"]
        rows += read_rows(deployment.root.parquet("cc100_documents", shard=f"{number:03d}").path)
    return sorted(rows)


def test_what_is_dropped_is_counted_sampled_and_shown(planted: Deployment) -> None:
    kept(planted, 1)
    shard = planted.root.parquet("cc100_documents", shard="000")
    counts = shard.verified().counts
    dropped = {name: value for name, value in counts.items() if name.startswith("dropped_")}
    paragraphs = dropped.pop("dropped_paragraphs")
    assert (counts["archive_documents"], counts["documents"], counts["rejected"]) == (401, 201, 1)
    assert counts["rows"] + counts["rejected"] + sum(dropped.values()) == counts["documents"]
    assert paragraphs
    samples = [json.loads(line) for line in shard.dropped_path.read_text().splitlines()]
    assert {f"dropped_{sample['reason']}" for sample in samples} - {"dropped_duplicate_paragraph"} == {
        name for name, value in dropped.items() if value
    }
    made = planted.materialize("cc100_documents", "000")
    assert made.metadata["dropped_repetitive"].value == counts["dropped_repetitive"]
    assert any(str(reason).startswith("repetitive ") for reason, _ in rows_of(made.metadata["dropped_samples"]))
    shard.dropped_path.write_text("")
    manifest = shard.manifest()
    assert manifest and shard.find_mismatch(manifest)
    assert planted.materialize("cc100_documents", "000").metadata["status"].text == "made"


def test_the_same_is_kept_in_two_shards_as_in_one(planted: Deployment, tmp_path: Path) -> None:
    one = Deployment(tmp_path / "one", {**planted.settings, "SHARDS": "1"})
    assert kept(planted, 2) == kept(one, 1)


def test_worker_processes_change_no_byte(planted: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Deployment(tmp_path / "one", {**planted.settings, "SHARDS": "1", "WORKERS": "1"})
    kept(one, 1)
    started: list[int] = []

    def pool(count: int) -> Any:
        started.append(count)
        return map_in_worker_pool(count)

    monkeypatch.setattr("jgpt_dagster.assets.document_signatures._WORKERS_FROM_BYTES", 0)
    monkeypatch.setattr("jgpt_dagster.assets.document_signatures.map_in_worker_pool", pool)
    more = Deployment(tmp_path / "more", {**one.settings, "WORKERS": "2"})
    kept(more, 1)
    assert started == [2]
    for asset in ("cc100_documents", "cc100_source_signatures", "cc100_duplicates"):
        shards = [deployment.root.parquet(asset, shard="000") for deployment in (one, more)]
        assert shards[0].path.read_bytes() == shards[1].path.read_bytes()
    names = [{path.name for path in deployment.data.rglob("*.parquet")} for deployment in (one, more)]
    assert names[0] == names[1]
    dropped = [deployment.root.parquet("cc100_documents", shard="000").dropped_path for deployment in (one, more)]
    assert dropped[0].read_bytes() == dropped[1].read_bytes()


def test_what_was_signed_is_signed_once_for_all_shards_and_again_under_other_settings(planted: Deployment) -> None:
    kept(planted, 2)
    tables = [planted.root.parquet("cc100_source_signatures", shard=shard) for shard in ("000", "001")]
    made = [table.path.stat().st_mtime_ns for table in tables]
    signed = sorted(row for table in tables for row in read_rows(table.path, ["key", "drop_reason", "characters"]))
    assert [key for key, _, _ in signed] == list(range(400))
    assert {reason for _, reason, _ in signed} == {None, "too_short", "not_japanese", "repetitive"}
    planted.root.parquet("cc100_documents", shard="001").remove()
    kept(planted, 2)
    assert [table.path.stat().st_mtime_ns for table in tables] == made
    tables[0].path.write_bytes(tables[0].path.read_bytes()[:-100])
    planted.root.parquet("cc100_documents", shard="001").remove()
    kept(planted, 2)
    assert [table.verified().counts["archive_documents"] for table in tables] == [401, 401]
    planted.invoke("config", "set", "cc100_documents.minimum_characters=60", "--yes")
    before = tables[1].verified().recipe
    kept(planted, 2)
    assert tables[1].verified().recipe != before


def test_every_copy_is_explained_by_what_was_kept(planted: Deployment) -> None:
    rows = dict(kept(planted, 2))
    source: dict[int, list[str]] = dict(documents())
    explained: dict[str, int] = {}
    for shard in ("000", "001"):
        counts = planted.root.parquet("cc100_documents", shard=shard).verified().counts
        table = planted.root.parquet("cc100_duplicates", shard=shard)
        assert (
            table.verified().recipe.inputs
            == planted.root.parquet("cc100_documents", shard=shard).verified().recipe.inputs
        )
        of_shard = list(read_rows(table.path))
        assert [row[0] for row in of_shard] == sorted(row[0] for row in of_shard)
        reasons = Counter(reason for _, _, reason, *_ in of_shard)
        assert reasons["near_duplicate"] == counts["dropped_near_duplicate"]
        assert reasons["nothing_new"] == counts["dropped_nothing_new"]
        of_kept = [row for row in of_shard if row[2] == "duplicate_paragraph" and row[0] in rows]
        assert len(of_kept) == counts["dropped_paragraphs"]
        explained = Counter(explained) + reasons
        for document_id, line, _, kept_id, kept_line, jaccard in of_shard:
            assert kept_id < document_id
            if line is None:
                one, other = ({*ngrams("\n".join(source[number]))} for number in (document_id, kept_id))
                assert jaccard == len(one & other) / len(one | other)
                assert kept_id in rows and document_id not in rows
            else:
                assert source[document_id][line].strip() == source[kept_id][kept_line].strip()
                assert source[kept_id][kept_line] in rows[kept_id]
    assert {*explained} == {"near_duplicate", "nothing_new", "duplicate_paragraph"}
    shown = rows_of(planted.materialize("cc100_documents", "001").metadata["near_duplicates"])
    assert all(" like " in similarity for _, similarity in shown) and len(shown) == 5


def ngrams(text: str) -> list[str]:
    return [text[start : start + 5] for start in range(len(text) - 4)]


def test_a_run_that_is_killed_before_its_uploads_has_published_the_explanations_once_it_is_run_again(
    planted: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(file: Path, location: UPath) -> None:
        if "cc100_duplicates" in str(file):
            raise RuntimeError("killed here")
        upload(file, location)

    url = f"memory://{tmp_path.name}"
    remote = planted.with_settings(DATA=url, SCRATCH=str(tmp_path / "scratch"))
    assert remote.materialize("cc100_dump").error is None
    upload = object_store.upload
    with monkeypatch.context() as patched:
        patched.setattr(object_store, "upload", killed)
        assert "killed here" in str(remote.materialize("cc100_documents", "000").error)
    assert remote.materialize("cc100_documents", "000").error is None
    elsewhere = DataRoot.open(url, tmp_path / "elsewhere")
    for asset in ("cc100_documents", "cc100_duplicates"):
        elsewhere.parquet(asset, shard="000").verified()


def test_seed_keeps_every_document_and_has_no_such_settings(planted: Deployment) -> None:
    seed = planted.with_settings(TEXT="seed", SHARDS="1")
    assert kept(seed, 1) == documents()
    assert not seed.root.parquet("cc100_documents", shard="000").dropped_path.exists()
    error = seed.materialize("cc100_documents", "000", minimum_characters=10).error
    assert error is not None
    assert "minimum_characters cannot be set under JGPT_TEXT=seed" in error


def test_another_setting_makes_the_shard_again(planted: Deployment) -> None:
    everything = {
        "minimum_characters": 0,
        "minimum_japanese": 0.0,
        "minimum_hiragana": 0.0,
        "maximum_repeated_lines": 1.0,
        "maximum_repeated_ngrams": 1.0,
        "near_duplicates": False,
        "duplicate_paragraphs": False,
    }
    one = planted.with_settings(SHARDS="1")
    assert len(kept(one, 1)) < 400
    one.invoke("config", "set", *(f"cc100_documents.{name}={value}" for name, value in everything.items()), "--yes")
    assert kept(one, 1) == documents()


def test_room_for_the_index_is_asked_for_before_the_pass(planted: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jgpt_dagster.assets.document_signatures._SCRATCH_SHARE", 1e12)
    planted.materialize("cc100_dump")
    error = planted.materialize("cc100_documents", "000").error
    assert error is not None
    assert "the index of known documents and paragraphs needs" in error
