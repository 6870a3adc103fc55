import ast
from dataclasses import replace

import pytest
import yaml

from jgpt_dagster.lm.release.model_card import ModelCardFacts, model_card
from jgpt_dagster_tests.support.hostile_text import MARKUP
from jgpt_dagster_tests.support.markdown import active, tokens

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


@pytest.mark.parametrize(
    "text", [*MARKUP, 'x")\nimport os\nos.system("touch x")  # "', "mit\ntags: [x]\n---\n# x", "a: b", "[x, y]"]
)
def test_no_fact_breaks_out_of_its_place(text: str) -> None:
    card = model_card(
        ModelCardFacts(
            name=text,
            parameters=1,
            context=128,
            segmenter=text,
            profile=text,
            data={text: "jawiki\n\n# Another section"},
            settings={text: text, "betas": [0.9, 0.95]},
            figures={text: text},
            license=text,
        )
    )
    # The first line `---` ends the header for every reader of model cards.
    header, _, body = card.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(header) == {
        **{"language": "ja", "license": text, "library_name": "transformers"},
        **{"pipeline_tag": "text-generation", "tags": ["gpt2", "japanese"]},
    }
    assert active(body) == []
    found = list(tokens(body))
    assert [token.tag for token in found if token.type == "heading_open"] == ["h1", *["h2"] * 4]
    assert [token.type for token in found].count("td_open") == 2 + 4
    (example,) = [token.content for token in found if token.type == "fence"]
    imports = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Import)]
    assert [name.name for node in imports for name in node.names] == ["torch"]
    assert "| betas | [0.9, 0.95] |" in body
