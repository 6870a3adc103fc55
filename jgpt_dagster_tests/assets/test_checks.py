"""A check passes on what a stage made, and fails where its promise is broken, however whole the files are.

Each case breaks one promise in a copy of a finished run and writes the manifest to match, so that nothing but the check
can tell.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jgpt_dagster.assets.checks.corpus_checks import kept_outcome
from jgpt_dagster.corpus.schemas import ARTICLES, ARTICLES_SEGMENTED, DOCUMENTS, DOCUMENTS_SEGMENTED
from jgpt_dagster.corpus.wikipedia.articles import ArticleTotals
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment
from jgpt_dagster_tests.support.tables import rows_of

pytestmark = pytest.mark.slow

Rows = Iterable[tuple[Any, ...]]


def rewrite_shard(
    shard: ParquetArtifact, schema: pa.Schema, change: Callable[[Rows], Rows] = lambda rows: rows, **counts: Any
) -> None:
    """Write a shard again with changed rows and counts, of the same recipe."""
    manifest = shard.verified()
    rejected = None
    if shard.rejected_path.exists():
        lines = [json.loads(line) for line in shard.rejected_path.read_text().splitlines()]
        rejected = lambda: lines  # noqa: E731
    rows = list(read_rows(shard.path))
    others = {name: value for name, value in manifest.counts.items() if name != "rows"}
    shard.write(schema, iter(change(rows)), manifest.recipe, lambda: {**others, **counts}, rejected)


def rewrite_directory(
    directory: DirectoryArtifact, change: Callable[[Path], object] = lambda path: None, **counts: Any
) -> None:
    """Write a directory again with changed files and counts, of the same recipe."""
    manifest = directory.verified()
    contents = {name: (directory.path / name).read_bytes() for name in manifest.files}
    with directory.writing(manifest.recipe) as out:
        for name, content in contents.items():
            (out.path / name).parent.mkdir(parents=True, exist_ok=True)
            (out.path / name).write_bytes(content)
        change(out.path)
        out.counts = {**manifest.counts, **counts}


def swap_first_two(rows: Rows) -> Iterator[tuple[Any, ...]]:
    first, second, *rest = rows
    return iter([second, first, *rest])


def without_second(rows: Rows) -> Iterator[tuple[Any, ...]]:
    first, _, *rest = rows
    return iter([first, *rest])


def other_tokens(directory: Path) -> None:
    tokens = np.fromfile(directory / "tokens.bin", "<u2")
    tokens[1] += 1
    (directory / "tokens.bin").write_bytes(tokens.tobytes())


def forgetful(directory: Path) -> None:
    """Make a tokenizer that decodes without joining its tokens."""
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    tokenizer["decoder"] = None
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))


def one_token_more(directory: Path) -> None:
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    added = {**tokenizer["added_tokens"][0], "id": len(tokenizer["model"]["vocab"]), "content": "<more>"}
    tokenizer["added_tokens"].append(added)
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))


ARTICLES_SHARD = ("wikipedia_articles", f"{DUMP}|000")


def reject_a_million(of: Deployment) -> None:
    """Make the counts of a shard those of one with a million more pages, all of them rejected."""
    shard = of.root.parquet_by_label(" ".join(ARTICLES_SHARD))
    counts = shard.verified().counts
    rewrite_shard(shard, ARTICLES, pages=counts["pages"] + 10**6, rejected=counts["rejected"] + 10**6)


CASES: dict[str, tuple[str, str | None, str, Callable[[Deployment], object]]] = {
    "a page too many": (
        *ARTICLES_SHARD,
        "pages_add_up",
        lambda of: rewrite_shard(of.root.parquet_by_label(" ".join(ARTICLES_SHARD)), ARTICLES, pages=1000),
    ),
    "pages but no rows": (
        *ARTICLES_SHARD,
        "eligible_pages_have_rows",
        lambda of: rewrite_shard(
            of.root.parquet_by_label(" ".join(ARTICLES_SHARD)), ARTICLES, lambda _: [], articles=0
        ),
    ),
    "nearly all pages rejected": (*ARTICLES_SHARD, "articles_kept", reject_a_million),
    "articles in another order": (
        "wikipedia_segmented",
        f"{DUMP}|000",
        "every_article_segmented",
        lambda of: rewrite_shard(
            of.root.parquet("wikipedia_segmented", DUMP, "000"), ARTICLES_SEGMENTED, swap_first_two
        ),
    ),
    "a missing document": (
        "cc100_documents",
        "000",
        "no_document_missing",
        lambda of: rewrite_shard(of.root.parquet("cc100_documents", shard="000"), DOCUMENTS, without_second),
    ),
    "a dropped document too many": (
        "cc100_documents",
        "000",
        "no_document_missing",
        lambda of: rewrite_shard(of.root.parquet("cc100_documents", shard="000"), DOCUMENTS, dropped_too_short=1000),
    ),
    "a missing segmented document": (
        "cc100_segmented",
        "001",
        "every_document_segmented",
        lambda of: rewrite_shard(of.root.parquet("cc100_segmented", shard="001"), DOCUMENTS_SEGMENTED, without_second),
    ),
    "a tokenizer that forgets": (
        "tokenizer",
        None,
        "text_survives_encoding",
        lambda of: rewrite_directory(of.root.directory("tokenizer"), forgetful),
    ),
    "other tokens of an article": (
        "wikipedia_tokens",
        f"{DUMP}|000",
        "article_tokens_decode",
        lambda of: rewrite_directory(of.root.directory("wikipedia_tokens", DUMP, "000"), other_tokens),
    ),
    "other tokens of a document": (
        "cc100_tokens",
        "000",
        "document_tokens_decode",
        lambda of: rewrite_directory(of.root.directory("cc100_tokens", shard="000"), other_tokens),
    ),
    "a document too many": (
        "training_set",
        DUMP,
        "documents_add_up",
        lambda of: rewrite_directory(of.root.directory("training_set", DUMP), train_documents=1000),
    ),
    "a loss that rose": (
        "pretrained_model",
        f"{DUMP}|tiny",
        "loss_fell",
        lambda of: rewrite_directory(of.root.directory("pretrained_model", DUMP, model="tiny"), last_loss=99.0),
    ),
    "nothing scored": (
        "evaluation",
        f"{DUMP}|tiny",
        "scores_are_finite",
        lambda of: rewrite_directory(of.root.directory("evaluation", DUMP, model="tiny"), tokens=0),
    ),
    "a tokenizer that does not fit the model": (
        "release",
        f"{DUMP}|tiny",
        "opens_offline",
        lambda of: rewrite_directory(of.root.directory("release", DUMP, model="tiny"), one_token_more),
    ),
}


@pytest.mark.parametrize(("asset", "partition", "check", "spoil"), CASES.values(), ids=CASES)
def test_a_check_passes_and_fails_where_its_promise_is_broken(
    tmp_path: Path,
    finished: Deployment,
    asset: str,
    partition: str | None,
    check: str,
    spoil: Callable[[Deployment], object],
) -> None:
    deployment = finished.copy(tmp_path / "data")
    config = SMALL_RUN.get(asset, {})
    assert deployment.materialize(asset, partition, **config).checks[check] is True
    spoil(deployment)
    broken = deployment.materialize(asset, partition, **config)
    assert broken.checks[check] is False
    assert broken.descriptions[check]
    # It was the check that saw it: the stage itself found nothing to redo.
    assert broken.metadata["status"].text.startswith("verified")


def test_a_model_no_better_than_bigrams_is_warned_of_and_stops_nothing(tmp_path: Path, finished: Deployment) -> None:
    deployment = finished.copy(tmp_path / "data")
    evaluation = deployment.root.directory("evaluation", DUMP, model="tiny")
    for bits, better in ((3.9, True), (4.0, False), (4.1, False)):
        rewrite_directory(evaluation, bits_per_character=bits, bigram_bits_per_character=4.0)
        made = deployment.materialize("evaluation", f"{DUMP}|tiny", **SMALL_RUN.get("evaluation", {}))
        assert made.error is None
        assert made.checks == {"scores_are_finite": True, "better_than_bigrams": better, "is_current": True}
        assert "bigrams 4.0000" in (made.descriptions["better_than_bigrams"] or "")


def test_markup_left_in_an_article_is_warned_of_with_its_page_and_stops_nothing(
    tmp_path: Path, finished: Deployment
) -> None:
    deployment = finished.copy(tmp_path / "data")
    shard = deployment.root.parquet("wikipedia_articles", DUMP, "000")
    made = deployment.materialize(*ARTICLES_SHARD)
    assert made.checks["no_markup_left"] is True
    assert ("links", "0") in rows_of(made.metadata["faults_per_1000_lines"])
    (page_id, *_), *_ = rows = list(read_rows(shard.path))
    totals = ArticleTotals()
    spoiled = [(*key, [*lines, f"前の文。[[{key[0]}"]) for *key, lines in rows]
    rewrite_shard(shard, ARTICLES, lambda _: totals.count(spoiled), faults=totals.faults)
    made = deployment.materialize(*ARTICLES_SHARD)
    assert made.error is None
    assert {name for name, passed in made.checks.items() if not passed} == {"no_markup_left"}
    assert f"{len(rows)} links in " in (made.descriptions["no_markup_left"] or "")
    shown = made.check_metadata["no_markup_left"]
    assert (shown["first_kind"].value, shown["page_id"].value) == ("links", page_id)
    assert f"前の文。[[{page_id}" in shown["line"].value


@pytest.mark.parametrize(
    ("kept", "documents", "passed"), [(0, 0, False), (0, 9, False), (1, 1000, False), (2, 3, True)]
)
def test_a_corpus_that_its_filters_leave_nearly_nothing_of_is_not_green(
    kept: int, documents: int, passed: bool
) -> None:
    found, words = kept_outcome(kept, documents)
    assert found == passed and f"{kept:,} of {documents:,} documents kept" in words
