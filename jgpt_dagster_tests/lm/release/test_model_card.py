from dataclasses import replace

from jgpt_dagster.lm.release.model_card import ModelCardFacts, model_card

FACTS = ModelCardFacts(
    name="jgpt tiny",
    parameters=1_000_000,
    context=128,
    segmenter="mecab",
    profile="clean",
    data={"wikipedia": "jawiki, dump of 20250801", "cc100": "ja.txt.xz, sha256 a1b2"},
    settings={"steps": 10},
    figures={"bits per character": 4.2},
)


def test_the_examples_for_the_other_engine_and_profile_are_programs_too() -> None:
    card = model_card(replace(FACTS, segmenter="jumanpp", profile="seed"))
    example = card.split("```python\n")[1].split("```")[0]
    compile(example, "card", "exec")
    assert "jumanpp" in example and '.replace(" ", "")' in example


def test_the_model_card_lists_sources_figures_and_settings_below_the_header_of_model_hubs() -> None:
    card = model_card(FACTS)
    assert "* wikipedia: jawiki, dump of 20250801\n* cc100: ja.txt.xz, sha256 a1b2\n" in card
    assert "| bits per character | 4.2 |" in card and "| steps | 10 |" in card
    assert card.startswith("---\nlanguage: ja\n")
