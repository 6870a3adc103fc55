import ast
from dataclasses import replace
from typing import cast, get_args

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from jgpt_dagster.lm.release.licences import ModelLicence
from jgpt_dagster.lm.release.model_card import CorpusFacts, ModelCardFacts, Score, model_card
from jgpt_dagster.lm.tokenizer.text_tokenizer import Encodes
from jgpt_dagster_tests.support.hostile_text import MARKUP
from jgpt_dagster_tests.support.markdown import active, tokens

FACTS = ModelCardFacts(
    name="jgpt tiny",
    parameters=1_000_000,
    context=128,
    segmenter="mecab",
    profile="clean",
    encodes="words",
    licence=ModelLicence("cc-by-sa-4.0"),
    corpora={
        "wikipedia": CorpusFacts("jawiki, dump of 20250801", "20250801", 1_000, 2_000_000, 900_000),
        "cc100": CorpusFacts("ja.txt.xz, sha256 a1b2"),
    },
    settings={"steps": 10},
    figures={"bits per character": 4.2},
    scores=[Score("wikipedia", "wikipedia, held out", "bits_per_character", "bits per character", 4.2)],
    sample=("吾輩は", "吾輩は猫である。"),
)


def examples(card: str) -> list[str]:
    return [block.split("```")[0] for block in card.split("```python\n")[1:]]


@pytest.mark.parametrize("encodes", get_args(Encodes))
def test_the_examples_are_programs_for_every_engine_and_profile(encodes: Encodes) -> None:
    for facts in (FACTS, replace(FACTS, segmenter="jumanpp", profile="seed")):
        found = examples(model_card(replace(facts, encodes=encodes)))
        for example in found:
            compile(example, "card", "exec")
        assert 'pipeline("text-generation"' in found[0]
        assert ("prompt_text" in found[1]) == (encodes == "words")
        assert ('.replace(" ", "")' in found[1]) == (encodes == "words" and facts.profile == "seed")


def test_the_card_has_what_model_hubs_read_and_what_people_ask() -> None:
    card = ModelCard(model_card(FACTS))
    data = cast(ModelCardData, card.data)
    assert data.license == "cc-by-sa-4.0" and data.library_name == "transformers"
    (result,) = data.eval_results or []
    assert (result.dataset_type, result.metric_type, result.metric_value) == ("wikipedia", "bits_per_character", 4.2)
    assert "* wikipedia: jawiki, dump of 20250801\n* cc100: ja.txt.xz, sha256 a1b2\n" in card.text
    assert "| wikipedia | 20250801 | 1,000 | 2,000,000 | 900,000 |\n| cc100 | – | – | – | – |" in card.text
    assert "| bits per character | 4.2 |" in card.text and "| steps | 10 |" in card.text
    assert "![Loss over the steps of the training](loss_curve.svg)" in card.text
    assert "The model continued `吾輩は` with\n\n```\n猫である。\n```" in card.text


def test_a_licence_that_no_identifier_has_is_named_as_hubs_want_it() -> None:
    card = ModelCard(model_card(replace(FACTS, licence=ModelLicence("other", "mit-and-not-stated"))))
    assert card.data["license"] == "other" and card.data["license_name"] == "mit-and-not-stated"
    assert "Of some text no licence is stated." in card.text


@pytest.mark.parametrize("encodes", get_args(Encodes))
@pytest.mark.parametrize(
    "text", [*MARKUP, 'x")\nimport os\nos.system("touch x")  # "', "mit\ntags: [x]\n---\n# x", "a: b", "[x, y]"]
)
def test_no_fact_breaks_out_of_its_place(text: str, encodes: Encodes) -> None:
    card = model_card(
        ModelCardFacts(
            name=text,
            parameters=1,
            context=128,
            segmenter=text,
            profile=text,
            encodes=encodes,
            licence=ModelLicence("other", text),
            corpora={text: CorpusFacts("jawiki\n\n# Another section", text)},
            settings={text: text, "betas": [0.9, 0.95]},
            figures={text: text},
            scores=[Score(text, text, text, text, 1.0)],
            sample=(text, text + text),
        )
    )
    # The first line `---` ends the header for every reader of model cards.
    header, _, body = card.removeprefix("---\n").partition("\n---\n")
    metadata = yaml.safe_load(header)
    assert {*metadata} == {
        *("language", "license", "license_name", "license_link", "library_name", "pipeline_tag", "tags"),
        *("transformers_version", "model-index"),
    }
    assert metadata["license_name"] == metadata["model-index"][0]["name"] == text
    assert [token.tag for token in tokens(body) if token.type == "heading_open"] == ["h1", *["h2"] * 6]
    assert [source for source in active(body) if "loss_curve.svg" not in source] == []
    found = list(tokens(body))
    assert [token.type for token in found].count("td_open") == 5 + 2 + 4
    code = [token.content for token in found if token.type == "fence" and token.info == "python"]
    imports = [node for example in code for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Import)]
    assert [name.name for node in imports for name in node.names] == ["torch"]
    assert "| betas | [0.9, 0.95] |" in body
