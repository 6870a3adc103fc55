"""A release: the directory that `AutoModelForCausalLM` and `AutoTokenizer` open offline, with its model card."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.atomic_write import write_json

CARD = "README.md"

_MODEL_FILES = ("model.safetensors", "config.json", "generation_config.json")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "segmentation.json")

# What the publishers of the texts ask of those who use them: of a Wikimedia wiki (Wikinews is the one whose licence
# has no share-alike) that the authors be named, for which a link to the pages and their histories will do.
_CC_BY_SA = "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)"
_CC_BY = "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)"
_CC100_TERMS = "[Common Crawl terms of use](https://commoncrawl.org/terms-of-use)"
_WIKI = re.compile(
    r"(?P<language>[a-z]{2,3}(_[a-z_]+)?|simple)(?P<project>wiki(books|news|quote|source|versity|voyage)?|wiktionary)"
)

_SEGMENTERS = {"mecab": "MeCab with JumanDIC", "jumanpp": "Juman++ 2"}
_SEGMENT = {
    "mecab": """
import fugashi, jumandic  # pip install fugashi jumandic
tagger = fugashi.GenericTagger(f"-r /dev/null -d {jumandic.DICDIR}")
words = " ".join(word.surface for word in tagger(text))""",
    "jumanpp": """
import subprocess  # needs the jumanpp program
words = subprocess.run(["jumanpp", "--segment"], input=text + "\\n", capture_output=True, text=True).stdout.strip()""",
}
_SEGMENT_ELSEWHERE = """
from jgpt_dagster.corpus.segmenters import open_segmenter  # needs the package that adds {name}
with open_segmenter("{name}") as segmenter:
    words = " ".join(segmenter.segment([text])[0])"""
_GENERATE = """
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
directory = "."  # this directory
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModelForCausalLM.from_pretrained(directory)
# In training a document follows the `</s>` of another: begin with one.
prompt = [tokenizer.eos_token_id, *tokenizer(words, add_special_tokens=False).input_ids]
output = model.generate(torch.tensor([prompt]), max_new_tokens=50, do_sample=True, top_p=0.95, temperature=0.8)
print(tokenizer.decode(output[0], skip_special_tokens=True){unspaced})"""


class ExportError(JgptError):
    """A model and a tokenizer that do not make a release."""


@dataclass(frozen=True)
class ModelCardFacts:
    """What a model card says. `data` maps a corpus (`wikipedia`, `cc100`) to its source and the terms of its text.

    `settings` and `figures` are tables of names and values; `segmenter` is the engine's name.
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


def write_release(directory: Path, model_dir: Path, tokenizer_dir: Path, card: str) -> None:
    """Fill an empty directory with a model, its tokenizer and a model card.

    Raises ExportError where a file is missing, or the tokenizer has more tokens than the model has embeddings.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for source, names in ((model_dir, _MODEL_FILES), (tokenizer_dir, _TOKENIZER_FILES)):
        for name in names:
            if not (source / name).is_file():
                raise ExportError(f"{source / name} is missing: materialize pretrained_model and tokenizer again")
            shutil.copyfile(source / name, directory / name)
    _require_same_vocabulary(directory)
    _limit_length(directory)
    (directory / CARD).write_text(card, encoding="utf-8")


def wiki_source(wiki: str, dump: str) -> str:
    """Return what a model card says of the text of a wiki (database name) in its dump of a date."""
    source, match = f"{wiki}, dump of {dump}", _WIKI.fullmatch(wiki)
    if match is None:
        return f"{source}; licence of the text: see that wiki"
    project = "wikipedia" if match["project"] == "wiki" else match["project"]
    site = f"https://{match['language'].replace('_', '-')}.{project}.org/"
    licence = _CC_BY if project == "wikinews" else _CC_BY_SA
    return f"{source}, by the authors that {site} names in the history of each page; licence of the text: {licence}"


def cc100_source(sha256: str) -> str:
    """Return what a model card says of CC-100, by the hash of its archive."""
    return f"[CC-100](https://data.statmt.org/cc-100/), ja.txt.xz, sha256 {sha256}; use of the text: {_CC100_TERMS}"


def model_card(facts: ModelCardFacts) -> str:
    """Return the model card of a release in Markdown, with the header that model hubs read."""
    engine = _SEGMENTERS.get(facts.segmenter, facts.segmenter)
    sources = "\n".join(f"* {corpus}: {source}" for corpus, source in facts.data.items())
    return f"""---
language: ja
license: {facts.license}
library_name: transformers
pipeline_tag: text-generation
tags: [gpt2, japanese]
---
# {facts.name}

A Japanese GPT-2 language model with {facts.parameters:,} parameters and a context of {facts.context:,} tokens, trained
from scratch with jgpt-dagster. It continues text. It has not been tuned to follow instructions or to be safe, and it
repeats the errors and biases of its training text.

## Use
The tokenizer expects text that is already cut into words by one half-width space each ({engine},
text profile `{facts.profile}`). Text that is not segmented, or by another word standard, gives much worse results.

```python
{_example(facts)}
```

## Training data
{sources}

A fixed share of the documents, chosen by a hash of their ids, was held out of training for the figures below. Bits per
character and per byte count the unsegmented text and can be compared between models; perplexity per token cannot.

## Figures
{_table(facts.figures)}

## Settings
{_table(facts.settings)}
"""


def _example(facts: ModelCardFacts) -> str:
    # The recipe's tokenizer has no decoder: its tokens come joined by spaces.
    unspaced = '.replace(" ", "")' if facts.profile == "seed" else ""
    text = 'text = "日本で一番高い山は"'
    segment = _SEGMENT.get(facts.segmenter) or _SEGMENT_ELSEWHERE.format(name=facts.segmenter)
    return text + segment + _GENERATE.format(unspaced=unspaced)


def _table(values: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
    return f"| | |\n|---|---|\n{rows}"


def _require_same_vocabulary(directory: Path) -> None:
    tokenizer = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])}
    embeddings = json.loads((directory / "config.json").read_text())["vocab_size"]
    if len(ids) != embeddings:
        raise ExportError(
            f"the tokenizer has {len(ids):,} tokens, the model's vocabulary {embeddings:,}: they do not belong "
            "together. Materialize the tokens, training_set and pretrained_model again."
        )


def _limit_length(directory: Path) -> None:
    """Tell the tokenizer the model's context, so that a text that is too long for it is warned of or can be cut."""
    context = json.loads((directory / "config.json").read_text())["n_positions"]
    path = directory / "tokenizer_config.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "model_max_length": context})
