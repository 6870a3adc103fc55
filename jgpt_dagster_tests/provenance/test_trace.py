"""Tracing agrees with what training reads: every token of every step, and every step of every document."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from jgpt_dagster.lm.data.data_loader import PackedDataset
from jgpt_dagster.lm.data.token_files import TokenFile
from jgpt_dagster.provenance.document_table import DocumentTable
from jgpt_dagster.provenance.trace import documents_with_title, trace_document, trace_samples
from jgpt_dagster.provenance.training_run import TraceError, TrainingRun, open_run
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.support.deployments import DUMP, Deployment


@pytest.fixture(scope="module")
def run(finished: Deployment) -> TrainingRun:
    """The run of the finished deployment, told to go on for two epochs."""
    found = open_run(finished.root, finished.data / ".scratch", DUMP, "tiny")
    assert (found.steps, found.global_batch, found.context) == (8, 8, 64)
    from dataclasses import replace

    return replace(found, steps=2 * found.blocks // found.global_batch + 3)


@pytest.fixture(scope="module")
def loader(run: TrainingRun) -> PackedDataset:
    return PackedDataset(run.training_set.directory, run.root.path, run.context)


@pytest.fixture(scope="module")
def readings(run: TrainingRun, loader: PackedDataset) -> dict[tuple[int, int], set[tuple[int, int, int]]]:
    """For each (shard, key) each (sample, first token, last + 1) that was read, by walking through every token."""
    owner = []
    spans = loader.training_set.train_spans()
    tables = [TokenFile(run.root.path / file.path).documents for file in run.training_set.token_files]
    for shard, offset, length in zip(spans["shard"], spans["offset"], spans["length"], strict=True):
        keys, offsets = tables[shard]["key"], tables[shard]["offset"]
        for token in range(offset, offset + length):
            row = int(np.searchsorted(offsets, token, side="right")) - 1
            owner.append((int(shard), int(keys[row]), token - int(offsets[row])))
    found: dict[tuple[int, int], set[tuple[int, int, int]]] = defaultdict(set)
    for sample in range(run.samples):
        block = run.block_of(sample)
        tokens: dict[tuple[int, int], list[int]] = defaultdict(list)
        for shard, key, token in owner[block * run.context : (block + 1) * run.context + 1]:
            tokens[shard, key].append(token)
        for document, places in tokens.items():
            found[document].add((sample, min(places), max(places) + 1))
    return found


def test_a_step_is_traced_to_exactly_the_tokens_that_training_read(
    finished: Deployment, run: TrainingRun, loader: PackedDataset
) -> None:
    tables = {file.label: DocumentTable(run.root.path / file.path) for file in run.training_set.token_files}
    for step in (1, 2, run.blocks // run.global_batch + 1, run.steps):
        samples = run.samples_of(step)
        read = loader.batch(samples, run.seed)
        for sample, ids in zip(trace_samples(finished.root, run, samples), read, strict=True):
            assert (sample.step, np.array_equal(sample.ids, ids)) == (step, True)
            rebuilt = []
            for part in sample.parts:
                document = tables[part.file.label].with_key(part.source.key)
                assert document is not None and document.length == part.length
                file = TokenFile(run.root.path / part.file.path)
                rebuilt.append(file.tokens[document.offset + part.start : document.offset + part.stop])
            assert np.array_equal(np.concatenate(rebuilt), ids)


def test_a_document_is_traced_to_exactly_the_samples_that_held_it(
    finished: Deployment, run: TrainingRun, readings: dict[tuple[int, int], set[tuple[int, int, int]]]
) -> None:
    fates = set()
    for shard, file in enumerate(run.training_set.token_files):
        for key in TokenFile(run.root.path / file.path).documents["key"].tolist()[::7]:
            traced = trace_document(finished.root, run, file.corpus, key)
            fates.add(traced.fate)
            assert (traced.source.key, traced.file) == (key, file)
            assert {(use.sample, use.start, use.stop) for use in traced.uses} == readings.get((shard, key), set())
            assert (traced.fate == "trained on") == ((shard, key) in readings)
            assert all(use.step == use.sample // run.global_batch + 1 for use in traced.uses)
    assert fates == {"trained on", "held out"}


def test_a_page_is_named_as_its_wiki_names_it(finished: Deployment, run: TrainingRun) -> None:
    rows = list(
        read_rows(finished.root.parquet("wikipedia_articles", DUMP, "000").path, ["page_id", "revision_id", "title"])
    )
    page, revision, title = rows[3]
    assert list(documents_with_title(finished.root, run, title)) == [("wikipedia", page)]
    traced = trace_document(finished.root, run, "wikipedia", page)
    assert (traced.source.title, traced.source.revision) == (title, revision)
    assert traced.source.link.endswith(f"/w/index.php?oldid={revision}")
    name, offset, length = traced.stream or ("", 0, 0)
    dump = finished.root.directory("wikipedia_dump", DUMP).path / name
    import bz2

    stream = dump.read_bytes()[offset : offset + length]
    assert f"<id>{page}</id>" in bz2.decompress(stream).decode()


def test_a_web_document_is_named_by_its_place(finished: Deployment, run: TrainingRun) -> None:
    assert trace_document(finished.root, run, "cc100", 17).source.place == "document 17 of ja.txt.xz"


def test_what_is_not_there_is_an_error_that_says_so(finished: Deployment, run: TrainingRun, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="there is no step 0"):
        run.samples_of(0)
    with pytest.raises(TraceError, match="no document 999999 of cc100"):
        trace_document(finished.root, run, "cc100", 999_999)
    with pytest.raises(TraceError, match="was not trained here"):
        open_run(DataRoot(tmp_path), tmp_path, DUMP, "tiny")


def test_a_model_is_traced_to_what_it_was_trained_on_after_that_was_made_again(
    finished: Deployment, tmp_path: Path
) -> None:
    copy = finished.copy(tmp_path / "data")
    before = trace_samples(copy.root, open_run(copy.root, copy.data / ".scratch", DUMP, "tiny"), range(3))
    copy.root.directory("training_set", DUMP).remove()
    for shard in ("000", "001"):
        copy.root.directory("wikipedia_tokens", DUMP, shard).remove()
        copy.root.parquet("wikipedia_segmented", DUMP, shard).remove()
    run = open_run(copy.root, copy.data / ".scratch", DUMP, "tiny")
    after = trace_samples(copy.root, run, range(3))
    assert "trained_on" in str(run.root.path)
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert [part.source.key for part in one.parts] == [part.source.key for part in other.parts]


def test_the_command_prints_steps_documents_and_text(finished: Deployment) -> None:
    step = finished.invoke("trace", "--step", "3", "--text")
    assert "step 3, sample 16 (epoch 1, block " in step and "  | " in step
    token = finished.invoke("trace", "--token", str(17 * 64 + 5))
    assert token.startswith("step 3, sample 17 ")
    document = finished.invoke("trace", "--document", "cc100:17")
    assert "in cc100_tokens 001: tokens" in document
    assert "Give one of" in finished.try_invoke("trace").output
    assert "such as cc100:17" in finished.try_invoke("trace", "--document", "17").output
    assert "no page with the title 'nothing'" in finished.try_invoke("trace", "--title", "nothing").output
