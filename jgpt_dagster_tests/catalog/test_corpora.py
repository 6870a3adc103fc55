"""A corpus is described in one place, and everything that is built from it follows."""

from pathlib import Path

import pytest

from jgpt_dagster.catalog.corpora import Corpus, configured_corpora, corpus_named
from jgpt_dagster.catalog.output_catalog import OutputCatalog, text_assets
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.errors import JgptError
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.data_root import DataRoot

CORPORA = configured_corpora("jawiki", "https://example.org/ja.txt.xz", {"news": Path("/data/news")})


@pytest.mark.parametrize(
    ("name", "dated", "key_column", "assets"),
    [
        (
            "wikipedia",
            True,
            "page_id",
            ("wikipedia_dump", "wikipedia_articles", "wikipedia_segmented", "wikipedia_tokens"),
        ),
        ("cc100", False, "document_id", ("cc100_dump", "cc100_documents", "cc100_segmented", "cc100_tokens")),
        ("news", False, "document_id", ("news_documents", "news_segmented", "news_tokens")),
    ],
)
def test_a_corpus_names_its_stages_and_its_key(
    name: str, dated: bool, key_column: str, assets: tuple[str, ...]
) -> None:
    corpus = corpus_named(CORPORA, name)
    assert (corpus.dated, corpus.key_column, corpus.assets) == (dated, key_column, assets)
    assert key_column in corpus.text_schema.names and key_column in corpus.segmented_schema.names


def test_an_unknown_corpus_is_refused_with_the_names_of_those_that_exist() -> None:
    with pytest.raises(JgptError, match=r"'books'.*wikipedia, cc100, news"):
        corpus_named(CORPORA, "books")


def test_without_a_url_there_is_no_cc100() -> None:
    assert [corpus.name for corpus in configured_corpora("jawiki", "", {})] == ["wikipedia"]


def test_the_definitions_hold_exactly_the_assets_of_the_corpora(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, scratch=None, folders={"news": tmp_path / "news"})
    graph = build_definitions(settings).resolve_asset_graph()
    found = {key.to_user_string() for key in graph.get_all_asset_keys()}
    models = {"plan", "pretrained_model", "evaluation", "release", "foreign_evaluation", "task_evaluation"}
    on_demand = {f"{corpus.name}_{made}" for corpus in settings.corpora for made in ("span_index", "word_counts")}
    assert found == {*text_assets(settings.corpora), *models, *on_demand}
    assert {"news_documents", "news_segmented", "news_tokens"} <= found


def test_every_output_has_its_own_place_on_disk(tmp_path: Path) -> None:
    catalog = OutputCatalog(DataRoot(tmp_path), CORPORA, ("000", "001"), "tiny")
    outputs = [*catalog.shared_outputs(), *catalog.dump_outputs("20250801"), *catalog.dump_outputs("20250820")]
    paths = [output.path for output in outputs]
    assert len(set(paths)) == len(paths)
    assert tmp_path / "wikipedia_tokens" / "dump=20250801" / "shard=001" in paths
    assert tmp_path / "news_segmented" / "shard=000.parquet" in paths
    assert tmp_path / "release" / "dump=20250820" / "model=tiny" in paths


def test_a_corpus_without_dumps_has_one_output_for_all_dumps(tmp_path: Path) -> None:
    catalog = OutputCatalog(DataRoot(tmp_path), CORPORA, ("000",), "tiny")
    news: Corpus = corpus_named(CORPORA, "news")
    shards = {catalog.shard(news, news.tokens_asset, dump, "000") for dump in ("20250801", "20250820", None)}
    assert len(shards) == 1 and catalog.source(news, "20250801") is None
