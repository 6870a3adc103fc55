"""The library that `from jgpt_dagster import corpus, lm` gives: text and models without Dagster."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

from jgpt_dagster import corpus, lm
from jgpt_dagster.corpus import public
from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster_tests.support.deployments import DUMP, Deployment, mini_deployment


def test_the_examples_of_the_docstrings_are_true() -> None:
    result = doctest.testmod(public)
    assert result.failed == 0 and result.attempted >= 4


def test_what_is_public_is_there_and_nothing_else_is() -> None:
    assert all(getattr(corpus, name) for name in corpus.__all__)
    assert all(getattr(lm, name) for name in lm.__all__)
    for module in (corpus, lm):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            module.nothing  # noqa: B018


def test_importing_it_imports_neither_dagster_nor_torch() -> None:
    program = (
        "import sys; from jgpt_dagster import corpus, lm; corpus.segment; print({'dagster', 'torch'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"


def test_a_string_is_a_document_and_a_list_its_lines() -> None:
    assert corpus.segment("今日は晴れ。\n明日も") == corpus.segment(["今日は晴れ。", "明日も"])
    assert corpus.segment("") == [] and corpus.sentences("\n\n") == []
    words = corpus.segment("Visit New York today。")
    assert "".join(map(corpus.join_words, words)) == "Visit New York today。"


@pytest.mark.parametrize("kind", [str, Path])
def test_a_dump_is_read_article_by_article(tmp_path: Path, kind: type) -> None:
    deployment = mini_deployment(tmp_path)
    path = next((tmp_path / "mirror" / deployment.settings["WIKI"] / DUMP).glob("*multistream.xml.bz2"))
    rejected = list[dict]()
    articles = list(corpus.read_dump(kind(path), rejected=rejected))
    assert [article.page_id for article in articles] == list(range(1, 11)) and not rejected
    assert articles[0].title == "第1の町"
    assert articles[0].text == "第1の町は海に近い町である。\n人口は1万人。\n"


def test_a_release_generates_and_scores(finished: Deployment) -> None:
    path = finished.root.directory("release", DUMP, model="tiny").path
    text = "海に近い町である。\n"
    with lm.Tokenizer.open(str(path)) as tokenizer:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and tokenizer.encode_all([text, ""]) == [ids, []]
    with lm.Release.open(path) as release:
        first, again = (release.generate("海に近い町で", max_new_tokens=5, seed=3) for _ in range(2))
        assert first == again and first.startswith("海に近い町で")
        assert 0 < release.score(text) < release.score("鑿$鬱%")
        with pytest.raises(ValueError, match="has no tokens"):
            release.score("")
    with pytest.raises(ModelError):
        lm.Release.open(path.parent)
