"""The model card of a release: metadata that model hubs read, facts, and examples that run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jgpt_dagster.literal_text import code_block, code_span, markdown_cell, markdown_text, one_line
from jgpt_dagster.lm.release.licences import NOT_STATED, ModelLicence
from jgpt_dagster.lm.release.release_tokenizer import OLDEST_TRANSFORMERS
from jgpt_dagster.lm.tokenizer.text_tokenizer import Encodes

LOSS_CURVE = "loss_curve.svg"
"""The picture beside the card."""

LOSS_PICTURE = f"![Loss over the steps of the training]({LOSS_CURVE})"
"""How the card shows it."""

_TRANSFORMERS = f">={OLDEST_TRANSFORMERS}"

_ENGINE_NAMES = {"mecab": "MeCab with JumanDIC", "jumanpp": "Juman++ 2"}

_PIPELINE = """from transformers import pipeline
directory = "."  # this directory, or the name of its repository on the hub
generate = pipeline("text-generation", model=directory)
# `hole` cuts the beginning of a prompt that leaves no room for new tokens.
print(generate({prompt}, max_new_tokens=50, handle_long_generation="hole")[0]["generated_text"])"""

_STEPS_OF_TEXT = """import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
directory = "."
text = "日本で一番高い山は"
tokenizer = AutoTokenizer.from_pretrained(directory)
# The tokenizer puts `</s>` in front, as in training. Such a token in the text is text.
prompt = tokenizer(text, split_special_tokens=True).input_ids"""

_STEPS_OF_WORDS = """from pathlib import Path
import torch
from jgpt_dagster.lm.release.generation import prompt_text
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer
directory = "."
text = "日本で一番高い山は"
words = prompt_text(load_tokenizer(Path(directory)), text)
tokenizer = AutoTokenizer.from_pretrained(directory)
# The tokenizer puts `</s>` in front, as in training. Such a token in the text is text.
prompt = tokenizer(words, split_special_tokens=True).input_ids"""

_GENERATION = """
model = AutoModelForCausalLM.from_pretrained(directory)
output = model.generate(torch.tensor([prompt]), max_new_tokens=50, do_sample=True, top_p=0.95, temperature=0.8)
print(tokenizer.decode(output[0], skip_special_tokens=True){unspaced})"""


@dataclass(frozen=True)
class CorpusFacts:
    """What a card says of a corpus.

    `source` is its source and the terms of its text as one line of Markdown. `date` is that of its dump; the counts are
    None if they are not known any more.
    """

    source: str
    date: str = ""
    documents: int | None = None
    characters: int | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Score:
    """One result of an evaluation, as the index of a model hub has it: types are identifiers, names are for readers."""

    dataset_type: str
    dataset_name: str
    metric_type: str
    metric_name: str
    value: float


@dataclass(frozen=True)
class ModelCardFacts:
    """The facts that a model card states.

    `corpora` are what the model was trained on, by name. `settings` and `figures` are tables of names and values.
    `segmenter` is the name of an engine. `sample` is a prompt and the text that continues it. `failed_checks` say what
    the model does not hold, though it is released. `papers` are files beside the card, with what each is. All but these
    and the sources of corpora is shown literally.
    """

    name: str
    parameters: int
    context: int
    segmenter: str
    profile: str
    encodes: Encodes
    licence: ModelLicence
    corpora: Mapping[str, CorpusFacts]
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]
    scores: Sequence[Score] = ()
    sample: tuple[str, str] | None = None
    failed_checks: Sequence[str] = field(default_factory=list)
    papers: Mapping[str, str] = field(default_factory=dict)


def model_card(facts: ModelCardFacts) -> str:
    """Return the model card in Markdown, with the header that model hubs read."""
    from huggingface_hub import ModelCard

    sections = {
        "Use": _use(facts),
        "Sample": _sample(facts),
        "Intended use and limits": _limits(facts),
        "Training data": _training_data(facts),
        "Training": f"{LOSS_PICTURE}\n\n{_table(facts.settings)}",
        "Evaluation": _evaluation(facts),
        "Papers": _papers(facts.papers),
    }
    body = "\n\n".join(f"## {title}\n{text}" for title, text in sections.items() if text)
    card = f"""---
{_metadata(facts)}
---
# {markdown_text(facts.name)}

A Japanese GPT-2 language model with {facts.parameters:,} parameters and a context of {facts.context:,} tokens, trained
from scratch with jgpt-dagster. It continues text.
{_warning(facts.failed_checks)}
{body}
"""
    return str(ModelCard(card))


def _metadata(facts: ModelCardFacts) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=score.dataset_type,
            dataset_name=score.dataset_name,
            metric_type=score.metric_type,
            metric_name=score.metric_name,
            metric_value=score.value,
        )
        for score in facts.scores
    ]
    data = ModelCardData(
        language="ja",
        license=facts.licence.license,
        license_name=facts.licence.license_name,
        license_link="README.md" if facts.licence.license_name else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["gpt2", "japanese"],
        model_name=facts.name if results else None,  # it names them
        eval_results=results or None,
        transformers_version=_TRANSFORMERS,
    )
    return str(data.to_yaml())


def _warning(failed_checks: Sequence[str]) -> str:
    if not failed_checks:
        return ""
    listed = "\n".join(f"* {markdown_text(check)}" for check in failed_checks)
    return f"\n**Released unchecked.** These checks failed:\n\n{listed}\n"


def _use(facts: ModelCardFacts) -> str:
    engine = _ENGINE_NAMES.get(facts.segmenter) or markdown_text(facts.segmenter)
    versions = f"transformers {OLDEST_TRANSFORMERS} and later open this directory."
    if facts.encodes == "text":
        return f"""Text goes in as it is. {versions}

{code_block(_PIPELINE.format(prompt='"早稲田大学で"'), "python")}

The same in single steps, with the token ids of the training pipeline:

{code_block(_STEPS_OF_TEXT + _GENERATION.format(unspaced=""), "python")}

`model.gguf` is the same model in half precision, with its tokenizer, for llama.cpp and what is built on it:

{code_block('llama-cli -m model.gguf -p "早稲田大学で" -n 50', "shell")}

The model knows text without the variants that its normalization removed, such as wide Latin letters: `tokenizer.json`
normalizes as the training pipeline did, llama.cpp does not."""
    # The tokenizer of the published recipe has no decoder, so its tokens come back joined by spaces.
    unspaced = '.replace(" ", "")' if facts.profile == "seed" else ""
    return f"""The tokenizer expects text that is already cut into words by one half-width space each ({engine},
text profile {code_span(facts.profile)}). Text that is not segmented, or by another word standard, gives much worse
results. {versions}

{code_block(_PIPELINE.format(prompt='"早稲田 大学 で"'), "python")}

From text as a person types it, with the normalization, words and token ids of the training pipeline (needs
jgpt-dagster with the same engine):

{code_block(_STEPS_OF_WORDS + _GENERATION.format(unspaced=unspaced), "python")}

There is no `model.gguf`: llama.cpp cannot cut text into words."""


def _sample(facts: ModelCardFacts) -> str:
    if facts.sample is None:
        return ""
    prompt, text = facts.sample
    continued = text.removeprefix(prompt).strip()
    return f"The model continued {code_span(prompt) if prompt.strip() else 'nothing'} with\n\n{code_block(continued)}"


def _limits(facts: ModelCardFacts) -> str:
    return f"""The model is meant for research on language models, for fine-tuning, and for comparison with models of
the same text. It has not been tuned to follow instructions or to be safe: it repeats the errors and biases of its
training text, states untrue things fluently, and may repeat passages of that text word for word. Do not let it decide
anything about people, and do not show what it writes as facts.

It reads at most {facts.context:,} tokens, knows nothing of what happened after its training data was collected, and
little of any language but Japanese."""


def _training_data(facts: ModelCardFacts) -> str:
    rows = "\n".join(
        f"| {markdown_cell(name)} | {markdown_cell(corpus.date) or '–'} | {_count(corpus.documents)} "
        f"| {_count(corpus.characters)} | {_count(corpus.tokens)} |"
        for name, corpus in facts.corpora.items()
    )
    sources = "\n".join(f"* {markdown_text(name)}: {one_line(corpus.source)}" for name, corpus in facts.corpora.items())
    return f"""| corpus | dump | documents | characters | tokens |
|---|---|---|---|---|
{rows}

{sources}

Counts are of the normalized text, held-out documents included. {_licence(facts.licence)}"""


def _licence(licence: ModelLicence) -> str:
    if licence.license_name is None:
        return f"The licence of this model, {code_span(licence.license)}, follows from the licences of the text."
    missing = " Of some text no licence is stated." if NOT_STATED in licence.license_name else ""
    return (
        "The licences of the text, listed above, leave no single licence to this model: they all have to be kept."
        f"{missing}"
    )


def _evaluation(facts: ModelCardFacts) -> str:
    return f"""A fixed share of the documents, chosen by a hash of their ids, was held out of training for these
figures. Bits per character and per byte count the unsegmented text and can be compared between models; perplexity per
token cannot.

{_table(facts.figures)}"""


def _papers(papers: Mapping[str, str]) -> str:
    return "\n".join(f"* [{name}]({name}): {what}" for name, what in papers.items())


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _table(values: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {markdown_cell(name)} | {_cell(value)} |" for name, value in values.items())
    return f"| | |\n|---|---|\n{rows}"


def _cell(value: Any) -> str:
    """Return a value of a table. Numbers, and lists of them, cannot hold markup."""
    numbers = value if isinstance(value, list | tuple) else [value]
    return str(value) if all(isinstance(number, int | float) for number in numbers) else markdown_cell(str(value))
