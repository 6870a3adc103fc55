"""Whatever a wiki or a web page says, no metadata and no check of any asset shows it as markup."""

import json
import lzma
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from jgpt_dagster.corpus.schemas import ARTICLES
from jgpt_dagster.corpus.wikipedia.articles import ArticleTotals
from jgpt_dagster.sample.pack import Page
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.assets.test_checks import rewrite_directory, rewrite_shard
from jgpt_dagster_tests.support.deployments import (
    DUMP,
    SMALL_RUN,
    Deployment,
    Materialized,
    mini_deployment,
    mini_pages,
)
from jgpt_dagster_tests.support.hostile_text import MARKER, MARKUP
from jgpt_dagster_tests.support.markdown import active
from jgpt_dagster_tests.support.tables import rows_of

# Values that the UI shows literally: as text, in a `<pre>`, or in the cells of a table.
LITERAL = (
    dg.TextMetadataValue,
    dg.IntMetadataValue,
    dg.FloatMetadataValue,
    dg.BoolMetadataValue,
    dg.JsonMetadataValue,
    dg.PathMetadataValue,
    dg.TableMetadataValue,
)
# Where a model card links to, and pictures of curves.
TRUSTED = (
    "https://creativecommons.org/",
    "https://commoncrawl.org/",
    "https://data.statmt.org/",
    "data:image/svg+xml,",
)

# XML knows no other controls than these.
IN_XML = str.maketrans({code: None for code in range(32) if chr(code) not in "\t\n\r"})


def shown(results: Iterable[Materialized]) -> list[str]:
    """Assert that the results show nothing hostile as markup; return the text in the cells of their tables."""
    cells = []
    for result in results:
        assert result.error is None
        for metadata in (result.metadata, *result.check_metadata.values()):
            for name, value in metadata.items():
                if isinstance(value, dg.TableMetadataValue):
                    cells += [str(cell) for row in rows_of(value) for cell in row]
                if not isinstance(value, LITERAL):
                    assert isinstance(value, dg.MarkdownMetadataValue), name
                    require_harmless(value.value or "", name)
        for check, description in result.descriptions.items():
            require_harmless(description or "", check)
    return cells


def require_harmless(markdown: str, name: str) -> None:
    assert [target for target in active(markdown) if not target.startswith(TRUSTED)] == [], name


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A wiki and web documents whose titles and lines would be markup. Nothing of it is made yet."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = [text.translate(IN_XML) for text in MARKUP]
    pages = [
        Page(
            " ".join(text.split()), 100 + number, 900 + number, f"{text}は本文である。\n\n<nowiki>{text}</nowiki>を[[見"
        )
        for number, text in enumerate(texts)
    ]
    documents = [f"{text}\n海に近い町である。{number}人が住む。" for number, text in enumerate(MARKUP)]
    archive = folder / "ja.txt.xz"
    archive.write_bytes(lzma.compress("\n\n".join(documents).encode()))
    deployment = mini_deployment(folder, [*pages, *mini_pages()])
    return deployment.with_settings(CC100_URL=archive.as_uri())


def test_text_of_wikis_and_web_pages_is_never_markup(hostile: Deployment) -> None:
    config: dict[str, dict[str, Any]] = {
        "cc100_documents": {"minimum_characters": 1},
        "tokenizer": {"vocab_size": 2000, "limit_alphabet": 1500},
        "training_set": {"validation_share": 0.3},
    }
    stages: list[tuple[str, str | None]] = [
        ("wikipedia_dump", DUMP),
        ("wikipedia_articles", f"{DUMP}|000"),
        ("wikipedia_segmented", f"{DUMP}|000"),
        ("cc100_dump", None),
        ("cc100_documents", "000"),
        ("cc100_segmented", "000"),
        ("tokenizer", None),
        ("wikipedia_tokens", f"{DUMP}|000"),
        ("cc100_tokens", "000"),
        ("training_set", DUMP),
    ]
    results = [hostile.materialize(asset, partition, **config.get(asset, {})) for asset, partition in stages]
    cells = shown(results)
    assert sum(MARKER in cell for cell in cells) > 5
    hostile.invoke("config", "set", "cc100_documents.minimum_characters=500", "--yes")
    dropped = hostile.materialize("cc100_documents", "000")
    assert any(MARKER in cell for cell in shown([dropped]))

    articles, totals = hostile.root.parquet("wikipedia_articles", DUMP, "000"), ArticleTotals()
    rows = [(*key, [*lines, f"[[{lines[0]} {MARKUP[0]}"]) for *key, lines in read_rows(articles.path)]
    rewrite_shard(articles, ARTICLES, lambda _: totals.count(rows), faults=totals.faults)
    spoiled = hostile.materialize("wikipedia_articles", f"{DUMP}|000")
    shown([spoiled])
    assert spoiled.checks["no_markup_left"] is False
    assert MARKER in spoiled.check_metadata["no_markup_left"]["line"].value


@pytest.mark.slow
def test_prompts_and_samples_of_a_model_are_never_markup(finished: Deployment, tmp_path: Path) -> None:
    deployment = finished.copy(tmp_path / "data")
    samples = [{"prompt": text, "text": f"{text} {text}"} for text in MARKUP]
    evaluation = deployment.root.directory("evaluation", DUMP, model="tiny")
    rewrite_directory(evaluation, lambda path: (path / "samples.json").write_text(json.dumps(samples)))
    assets = ("plan", "evaluation", "pretrained_model")
    results = [deployment.materialize(asset, f"{DUMP}|tiny", **SMALL_RUN.get(asset, {})) for asset in assets]
    cells = shown(results)
    assert sum(MARKER in cell for cell in cells) > 5
    assert shown([deployment.materialize("release", f"{DUMP}|tiny")]) == []
