from dataclasses import replace

import pytest

from jgpt_dagster.lm.release.model_card import ModelCardFacts, cc100_source, model_card, wiki_source

FACTS = ModelCardFacts(
    name="jgpt tiny",
    parameters=1_000_000,
    context=128,
    segmenter="mecab",
    profile="clean",
    data={"wikipedia": wiki_source("jawiki", "20250801"), "cc100": cc100_source("a1b2")},
    settings={"steps": 10},
    figures={"bits per character": 4.2},
)


def test_the_examples_for_the_other_engine_and_profile_are_programs_too() -> None:
    card = model_card(replace(FACTS, segmenter="jumanpp", profile="seed"))
    example = card.split("```python\n")[1].split("```")[0]
    compile(example, "card", "exec")
    assert "jumanpp" in example and '.replace(" ", "")' in example


def test_the_model_card_says_where_the_text_came_from_and_under_which_licence() -> None:
    card = model_card(FACTS)
    assert (
        "* wikipedia: jawiki, dump of 20250801, by the authors that https://ja.wikipedia.org/ names in the history of "
        "each page; licence of the text: [CC BY-SA 4.0]"
    ) in card
    assert "ja.txt.xz, sha256 a1b2; use of the text: [Common Crawl terms of use]" in card
    assert "| bits per character | 4.2 |" in card and "| steps | 10 |" in card
    assert card.startswith("---\nlanguage: ja\n")


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
    assert said in wiki_source(wiki, "20250801")
