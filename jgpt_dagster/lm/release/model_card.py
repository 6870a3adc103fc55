"""The model card of a release: its facts and an example that runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from jgpt_dagster.literal_text import code_block, code_span, markdown_cell, markdown_text, one_line

_ENGINE_NAMES = {"mecab": "MeCab with JumanDIC", "jumanpp": "Juman++ 2"}
_SEGMENTATION_EXAMPLES = {
    "mecab": """
import fugashi, jumandic  # pip install fugashi jumandic
tagger = fugashi.GenericTagger(f"-r /dev/null -d {jumandic.DICDIR}")
words = " ".join(word.surface for word in tagger(text))""",
    "jumanpp": """
import subprocess  # needs the jumanpp program
words = subprocess.run(["jumanpp", "--segment"], input=text + "\\n", capture_output=True, text=True).stdout.strip()""",
}
_OTHER_ENGINE_EXAMPLE = """
from jgpt_dagster.corpus.segmenters import open_segmenter  # needs the package that adds {name}
with open_segmenter({literal}) as segmenter:
    words = " ".join(segmenter.segment([text])[0])"""
_GENERATION_EXAMPLE = """
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
directory = "."  # this directory
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModelForCausalLM.from_pretrained(directory)
# In training a document follows the `</s>` of another: begin with one.
prompt = [tokenizer.eos_token_id, *tokenizer(words, add_special_tokens=False).input_ids]
output = model.generate(torch.tensor([prompt]), max_new_tokens=50, do_sample=True, top_p=0.95, temperature=0.8)
print(tokenizer.decode(output[0], skip_special_tokens=True){unspaced})"""


@dataclass(frozen=True)
class ModelCardFacts:
    """The facts that a model card states.

    `data` maps a corpus (`wikipedia`, `cc100`) to its source and the terms of its text, in Markdown. `settings` and
    `figures` are tables of names and values. `segmenter` is the name of an engine. `failed_checks` say what the model
    does not hold, though it is released. All but `data` is shown literally.
    """

    name: str
    parameters: int
    context: int
    segmenter: str
    profile: str
    data: Mapping[str, str]
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]
    license: str = "cc-by-sa-4.0"
    failed_checks: Sequence[str] = ()


def model_card(facts: ModelCardFacts) -> str:
    """Return the model card in Markdown, with the header that model hubs read."""
    engine = _ENGINE_NAMES.get(facts.segmenter) or markdown_text(facts.segmenter)
    sources = "\n".join(f"* {markdown_text(corpus)}: {one_line(source)}" for corpus, source in facts.data.items())
    profile = code_span(facts.profile)
    header = {
        "language": "ja",
        "license": facts.license,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["gpt2", "japanese"],
    }
    return f"""---
{yaml.safe_dump(header, sort_keys=False, default_flow_style=None, allow_unicode=True)}---
# {markdown_text(facts.name)}

A Japanese GPT-2 language model with {facts.parameters:,} parameters and a context of {facts.context:,} tokens, trained
from scratch with jgpt-dagster. It continues text. It has not been tuned to follow instructions or to be safe, and it
repeats the errors and biases of its training text.
{_warning(facts.failed_checks)}
## Use
The tokenizer expects text that is already cut into words by one half-width space each ({engine},
text profile {profile}). Text that is not segmented, or by another word standard, gives much worse results.

{code_block(_example(facts), "python")}

## Training data
{sources}

A fixed share of the documents, chosen by a hash of their ids, was held out of training for the figures below. Bits per
character and per byte count the unsegmented text and can be compared between models; perplexity per token cannot.

## Figures
{_table(facts.figures)}

## Settings
{_table(facts.settings)}
"""


def _warning(failed_checks: Sequence[str]) -> str:
    if not failed_checks:
        return ""
    listed = "\n".join(f"* {markdown_text(check)}" for check in failed_checks)
    return f"\n**Released unchecked.** These checks failed:\n\n{listed}\n"


def _example(facts: ModelCardFacts) -> str:
    # The tokenizer of the published recipe has no decoder, so its tokens come back joined by spaces.
    unspaced = '.replace(" ", "")' if facts.profile == "seed" else ""
    text = 'text = "日本で一番高い山は"'
    segment = _SEGMENTATION_EXAMPLES.get(facts.segmenter) or _other_engine_example(facts.segmenter)
    return text + segment + _GENERATION_EXAMPLE.format(unspaced=unspaced)


def _other_engine_example(name: str) -> str:
    return _OTHER_ENGINE_EXAMPLE.format(name=one_line(name), literal=json.dumps(name))


def _table(values: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {markdown_cell(name)} | {_cell(value)} |" for name, value in values.items())
    return f"| | |\n|---|---|\n{rows}"


def _cell(value: Any) -> str:
    """Return a value of a table. Numbers, and lists of them, cannot hold markup."""
    numbers = value if isinstance(value, list | tuple) else [value]
    return str(value) if all(isinstance(number, int | float) for number in numbers) else markdown_cell(str(value))
