"""A text is traced to the documents that have it word for word, through an index that is made on demand."""

import json
from pathlib import Path

import numpy as np
import pytest

from jgpt_dagster.assets.evaluation import SAMPLES
from jgpt_dagster.assets.traced_samples import marked_text, traced_samples
from jgpt_dagster.lm.data.token_files import TokenFile
from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer, load_tokenizer
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.provenance.sources import SourceDocument
from jgpt_dagster.provenance.trace_text import TracedSpan, trace_text
from jgpt_dagster.provenance.training_run import TraceError, TrainingRun, open_run
from jgpt_dagster.settings import Settings
from jgpt_dagster_tests.support.deployments import DUMP, Deployment, text_partitions

pytest.importorskip("pydivsufsort")


@pytest.fixture(scope="module")
def indexed(finished: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The finished deployment with an index of every token file. Read only."""
    deployment = finished.copy(tmp_path_factory.mktemp("indexed") / "data")
    for asset, partitions in text_partitions(DUMP, ["000", "001"], cc100=True).items():
        for partition in partitions if asset.endswith("_tokens") else ():
            made = deployment.materialize(asset.replace("_tokens", "_span_index"), partition)
            assert made.error is None
    return deployment


@pytest.fixture(scope="module")
def run(indexed: Deployment) -> TrainingRun:
    return open_run(indexed.root, indexed.data / ".scratch", DUMP, "tiny")


@pytest.fixture(scope="module")
def tokenizer(indexed: Deployment) -> TextTokenizer:
    return load_tokenizer(indexed.root.directory("tokenizer").path)


def passage(run: TrainingRun, tokenizer: TextTokenizer, shard: int, row: int) -> tuple[int, str]:
    """Return the key of a document and its second and third line."""
    file = TokenFile(run.root.path / run.training_set.token_files[shard].path)
    lines = tokenizer.decode(file.document(row)).split("\n")
    return int(file.documents["key"][row]), "\n".join(lines[1:3])


@pytest.mark.parametrize("shard", range(4))
def test_a_passage_is_found_in_its_document(
    indexed: Deployment, run: TrainingRun, tokenizer: TextTokenizer, shard: int
) -> None:
    key, text = passage(run, tokenizer, shard, 5)
    traced = trace_text(indexed.root, run, tokenizer, f"{text}\n実は別の話だが。", minimum=5, documents=3)
    longest = max(traced.spans, key=lambda span: span.stop - span.start)
    assert longest.text.strip() in text and len(longest.text) > 0.8 * len(text)
    assert (longest.count >= 1, key in [source.key for source in longest.documents]) == (True, True)
    assert 0 < traced.covered < traced.tokens


def test_counts_and_documents_are_those_of_brute_force(
    indexed: Deployment, run: TrainingRun, tokenizer: TextTokenizer
) -> None:
    _, text = passage(run, tokenizer, 0, 9)
    files = [TokenFile(run.root.path / file.path) for file in run.training_set.token_files]
    traced = trace_text(indexed.root, run, tokenizer, text[3:40], minimum=2, documents=10_000)
    assert len(traced.spans) >= 1
    for span in traced.spans:
        ids = tokenizer.encode(span.text)
        found = {
            int(file.documents["key"][row])
            for file in files
            for row in range(len(file))
            if ids.tobytes() in file.document(row).tobytes()
        }
        assert {source.key for source in span.documents} <= found
        assert span.count >= len({source.key for source in span.documents})


def test_what_is_in_no_document_has_no_span(indexed: Deployment, run: TrainingRun, tokenizer: TextTokenizer) -> None:
    traced = trace_text(indexed.root, run, tokenizer, "qzxqzxqzxqzx", minimum=4, documents=3)
    assert traced.spans == () or list(traced.spans) == []
    assert trace_text(indexed.root, run, tokenizer, "", minimum=1, documents=3).tokens == 0


def test_without_an_index_the_commands_that_make_it_are_named(
    finished: Deployment, run: TrainingRun, tokenizer: TextTokenizer
) -> None:
    with pytest.raises(
        TraceError, match=rf"has no index.*\n  jgpt run --dump {DUMP} --to wikipedia_span_index\n  jgpt run"
    ):
        trace_text(finished.root, run, tokenizer, "text", minimum=1, documents=1)


def test_an_index_of_other_tokens_is_refused(indexed: Deployment, tokenizer: TextTokenizer, tmp_path: Path) -> None:
    copy = indexed.copy(tmp_path / "data")
    index = copy.root.directory("cc100_span_index", shard="000")
    from dataclasses import replace

    recipe = index.verified().recipe
    with index.writing(replace(recipe, inputs={"cc100_tokens 000": "0" * 64})) as out:
        np.empty(0, "<u4").tofile(out.path / "suffixes.bin")
    run = open_run(copy.root, copy.data / ".scratch", DUMP, "tiny")
    with pytest.raises(TraceError, match="cc100_tokens 000 has an index of other tokens"):
        trace_text(copy.root, run, tokenizer, "text", minimum=1, documents=1)


def test_the_command_names_span_count_and_document(
    indexed: Deployment, run: TrainingRun, tokenizer: TextTokenizer
) -> None:
    key, text = passage(run, tokenizer, 2, 4)
    output = indexed.invoke("trace", "--text", text, "--min-tokens", "5")
    assert "spans of the training data" in output
    assert f"cc100 document {key}" in output
    assert output.startswith(f"{len(tokenizer.encode(text)):,} of") or " of " in output


def test_a_release_shows_its_samples_with_their_spans_marked(
    indexed: Deployment, run: TrainingRun, tokenizer: TextTokenizer, finished: Deployment, tmp_path: Path
) -> None:
    """The samples of so small a model have no spans, so one is put in."""
    key, text = passage(run, tokenizer, 2, 4)
    copy = indexed.copy(tmp_path / "data")
    samples = copy.root.directory("evaluation", DUMP, model="tiny").path / SAMPLES
    samples.unlink()
    samples.write_text(json.dumps([{"prompt": "", "text": f"{text}zzqzz"}]))
    store = CorpusStore.of(Settings(**{"data": copy.data, "scratch": None}))  # type: ignore[arg-type]
    scores = copy.root.directory("evaluation", DUMP, model="tiny")
    page = traced_samples(store, DUMP, "tiny", scores)["traced_samples"].value
    assert f"cc100 document {key}" in page and "**`" in page and "zzqzz" in page
    store = CorpusStore.of(Settings(**{"data": finished.data, "scratch": None}))  # type: ignore[arg-type]
    assert traced_samples(store, DUMP, "tiny", scores) == {}


def test_marked_text_is_shown_literally() -> None:
    source = SourceDocument("wikipedia", 5, "a](javascript:x) `b`", 7, "https://w.example/x?oldid=7)(")
    span = TracedSpan("危険`<b>", 0, 3, 2, [source, SourceDocument("news", 1, link="javascript:alert(1)")])
    marked = marked_text("前の**文**\n危険`<b>後", [span])
    assert "**``危険`<b>``** (2 ×: " in marked
    assert "(<https://w.example/x?oldid=7%29%28>)" in marked
    assert "](javascript" not in marked.replace("`", "") or "a](javascript:x)" in marked
    assert "alert" not in marked and "news document 1" in marked
