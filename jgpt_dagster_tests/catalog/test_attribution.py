"""What a model card says of each corpus."""

from pathlib import Path

import pytest

from jgpt_dagster.catalog.attribution import archive_attribution, folder_attribution, licences, wiki_attribution
from jgpt_dagster.catalog.corpora import Archive, configured_corpora
from jgpt_dagster.corpus.web.corpus_description import CorpusDescription
from jgpt_dagster.lm.release.licences import NOT_STATED


def test_wikipedia_is_attributed_to_the_authors_in_the_page_histories() -> None:
    assert wiki_attribution("jawiki", "20250801").startswith(
        "jawiki, dump of 20250801, by the authors that https://ja.wikipedia.org/ names in the history of each page; "
        "licence of the text: [CC BY-SA 4.0]"
    )


@pytest.mark.parametrize(
    ("wiki", "said"),
    [
        ("jawikinews", "https://ja.wikinews.org/ names in the history of each page; licence of the text: [CC BY 4.0]"),
        (
            "jawiktionary",
            "https://ja.wiktionary.org/ names in the history of each page; licence of the text: [CC BY-SA",
        ),
        ("zh_min_nanwiki", "https://zh-min-nan.wikipedia.org/ names"),
        ("samplewiki", "samplewiki, dump of 20250801; licence of the text: see that wiki"),
    ],
)
def test_the_text_of_a_wiki_is_under_the_licence_of_that_wiki(wiki: str, said: str) -> None:
    assert said in wiki_attribution(wiki, "20250801")


def test_cc100_is_attributed_with_the_hash_of_its_archive_and_its_terms_of_use() -> None:
    _, cc100 = configured_corpora("jawiki", "http://example.org/ja.txt.xz", dict[str, Path]())
    assert isinstance(cc100.source, Archive)
    assert archive_attribution(cc100.source, "a1b2") == (
        "[CC-100](https://data.statmt.org/cc-100/), ja.txt.xz, sha256 a1b2; use of the text: "
        "[Common Crawl terms of use](https://commoncrawl.org/terms-of-use)"
    )


NEWS = CorpusDescription("Harbour News", "cc-by-4.0", "https://example.org/news")


def test_a_folder_is_attributed_as_its_description_says() -> None:
    assert folder_attribution(1_200, "a1b2", NEWS) == (
        "Harbour News, from `https://example.org/news`: 1,200 documents of sha256 a1b2; licence of the text: cc-by-4.0"
    )
    assert folder_attribution(2, "a1b2", None) == "2 documents of sha256 a1b2; licence of the text: see its source"


def test_licences_are_those_of_the_corpora_that_there_are(tmp_path: Path) -> None:
    folders = {"news": tmp_path, "books": tmp_path}
    corpora = configured_corpora("jawikinews", "http://example.org/ja.txt.xz", folders)
    assert licences(corpora[:2], {}) == {"cc-by-4.0"}, "the terms of CC-100 are no licence"
    assert licences(corpora, {"news": NEWS}) == {"cc-by-4.0", NOT_STATED}
    assert licences(configured_corpora("jawiki", "", {}), {}) == {"cc-by-sa-4.0"}
    assert licences(configured_corpora("samplewiki", "", {}), {}) == {NOT_STATED}
