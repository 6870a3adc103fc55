"""The library that `from jgpt_dagster import corpus, lm` gives: text and models without Dagster."""

import doctest
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster import corpus, lm
from jgpt_dagster.corpus import public
from jgpt_dagster.corpus.fetch.decompress import DamagedFileError
from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster.lm.tokenizer.text_tokenizer import TokenizerError
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


@pytest.mark.parametrize("wrong", [None, 5, b"abc", Path("x"), ["abc", 5]])
def test_what_is_no_text_is_refused_by_its_type(wrong: Any) -> None:
    for function in (corpus.clean_wikitext, corpus.sentences, corpus.segment):
        with pytest.raises(TypeError, match="expected a text as str"):
            function(wrong)


def test_a_profile_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    calls: list[Callable[..., object]] = [
        partial(corpus.clean_wikitext, "海"),
        partial(corpus.sentences, "海"),
        partial(corpus.segment, "海"),
        lambda profile: list(corpus.read_dump(tmp_path / "dump", profile=profile)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="no text profile is called 'raw', only seed and clean"):
            call(profile="raw")


def test_lines_may_come_from_a_generator() -> None:
    assert corpus.sentences(line for line in ["今日は晴れ。", "明日"]) == ["今日は晴れ。", "明日"]


def test_a_dump_that_was_decompressed_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "dump.xml").write_text("<mediawiki/>")
    with pytest.raises(DamagedFileError, match=r"dump\.xml is no bz2 file"):
        next(corpus.read_dump(tmp_path / "dump.xml"))


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
        assert tokenizer.decode(number for number in ids) == text
        with pytest.raises(ValueError, match="-1 is no token id"):
            tokenizer.decode([-1])
        with pytest.raises(TypeError):
            tokenizer.decode([1.5])  # type: ignore[list-item]
    with lm.Release.open(path) as release:
        first, again = (release.generate("海に近い町で", max_new_tokens=5, seed=3) for _ in range(2))
        assert first == again and first.startswith("海に近い町で")
        assert 0 < release.score(text) < release.score("鑿$鬱%")
        with pytest.raises(ValueError, match="has no tokens"):
            release.score("")
        for method in (release.score, release.generate):
            with pytest.raises(TypeError, match="expected a text as str, got list"):
                method([text])  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        lm.Release.open(path.parent)
    with pytest.raises(ModelError, match="torch has no device 'gpu' here"):
        lm.Release.open(path, device="gpu")
    with pytest.raises(TokenizerError, match=r"tokenizer.json is missing\. Materialize tokenizer, or name a release"):
        lm.Tokenizer.open(path.parent)
