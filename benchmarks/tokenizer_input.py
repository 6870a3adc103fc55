"""Words or text: what a tokenizer's `encodes` does to the bits per character of held-out documents.

    python benchmarks/tokenizer_input.py DIR             # DIR: a folder with a real excerpt of jawiki and CC-100

On each corpus two tokenizers are trained on the same segmented documents; they have the same vocabulary. Three models
are trained a seed: on words, on as many tokens of text, and on as much text as the words were. All are scored on the
same held-out documents. Differences are of each document between models of the same seed, averaged over seeds; their
intervals are bootstrapped over documents. What was measured is in docs/tokenizer.md.
"""

import argparse
import json
import lzma
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jgpt_dagster.lm.launch.environment import training_environment

# DeepSpeed and torch read it when they are imported.
os.environ.update(training_environment(processes=1))

import torch

from jgpt_dagster.corpus.fetch.decompress import bz2_chunks
from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.corpus.wikipedia.articles import PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.page_xml import parse_siteinfo
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.lm.data.token_files import write_tokens
from jgpt_dagster.lm.data.training_set import TokenShard, TrainingSet
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster.lm.evaluation.bootstrap import bootstrap_interval
from jgpt_dagster.lm.evaluation.sliding_window_scores import model_bits
from jgpt_dagster.lm.model.gpt2 import load_model
from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, train_tokenizer
from jgpt_dagster.lm.tokenizer.text_tokenizer import (
    Encodes,
    SegmentedDocument,
    TextTokenizer,
    document_text,
    load_tokenizer,
    save_tokenizer,
)
from jgpt_dagster.lm.tokenizer.word_counts import count_words
from jgpt_dagster.lm.training.distributed import init_distributed
from jgpt_dagster.lm.training.stop_request import StopRequest
from jgpt_dagster.lm.training.train_config import validate_config
from jgpt_dagster.lm.training.trainer import MODEL, train_distributed

SHARE = 0.08
SETTINGS = TokenizerSettings(vocab_size=6000, limit_alphabet=2500)
TRAINING_SET = "training_set"
ENCODES: tuple[Encodes, ...] = ("words", "text")
CONTEXT_AND_BATCH = {"context": 128, "global_batch": 8, "micro_batch": 8}
HELD_OUT_CHARACTERS = 2000


# ---- corpora -----------------------------------------------------------------------------------------------------


def articles(data: Path) -> Iterator[list[str]]:
    """Yield the lines of the articles of the excerpt of jawiki."""
    (dump,) = (data / "wiki").glob("jawiki-*-excerpt-single-stream.xml.bz2")
    clean = article_cleaner("clean", parse_siteinfo(bz2_chunks(dump), str(dump)), None)
    for *_, lines in read_articles(bz2_chunks(dump), clean, PageCounts(), []):
        yield lines


def web_documents(archive: Path) -> Iterator[list[str]]:
    """Yield the lines of the documents of an archive in the format of CC-100."""
    for text in lzma.decompress(archive.read_bytes()).decode().split("\n\n"):
        yield text.splitlines()


def annotated_sentences(data: Path, together: int = 20) -> Iterator[list[str]]:
    """Yield the sentences of the annotated corpus, some that follow each other as one document."""
    lines = (data / "gold" / "jumanstandard-words.tsv").read_text().splitlines()
    sentences = [line.partition("\t")[0] for line in lines]
    for start in range(0, len(sentences), together):
        yield sentences[start : start + together]


def corpora(data: Path) -> dict[str, list[list[str]]]:
    """Return the documents of each corpus: the excerpt with CC-100's sample, and that with all other real text."""
    archives = {path: [*web_documents(path)] for path in sorted((data / "cc100").glob("*.txt.xz"))}
    excerpt = [*articles(data)]
    for path, documents in archives.items():
        if "cc100" in path.name:
            excerpt += documents
    others = [document for path, found in archives.items() if "cc100" not in path.name for document in found]
    return {"excerpt": excerpt, "all": [*excerpt, *others, *annotated_sentences(data)]}


# ---- one corpus --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """A corpus encoded in one of the two ways, in a folder of its own."""

    root: Path
    tokenizer: TextTokenizer
    tokens: int

    def held_out_keys(self) -> set[int]:
        """Return the numbers of the held-out documents."""
        return {*TrainingSet.open(self.root / TRAINING_SET).held_out_documents()["key"].tolist()}


def encode(documents: Sequence[SegmentedDocument], encodes: Encodes, root: Path) -> Side:
    """Train a tokenizer on documents and build a training set of them."""
    (root / "words").mkdir(parents=True)
    trained = train_tokenizer(count_words(documents, root / "words"), "clean", SETTINGS, encodes)
    save_tokenizer(trained.tokenizer, root / "tokenizer", "clean", "mecab", "benchmark", encodes)
    tokenizer = load_tokenizer(root / "tokenizer")
    (root / "tokens").mkdir()
    counts = write_tokens(enumerate(documents), tokenizer, root / "tokens")
    tokens = int(counts["tokens"])
    (root / TRAINING_SET).mkdir()
    built = build_training_set(
        [TokenShard("real", "tokens", "tokens", tokens, len(documents), sha256="", tokenizer_sha256=tokenizer.sha256)],
        {"real": 1.0},
        SHARE,
        vocab_size=tokenizer.vocab_size,
        eos_id=tokenizer.eos_id,
        tokenizer_sha256=tokenizer.sha256,
        data_root=root,
        directory=root / TRAINING_SET,
    )
    return Side(root, tokenizer, built.counts.train_tokens)


def beginning(document: SegmentedDocument, characters: int) -> SegmentedDocument:
    """Return the first lines of a document, about so many characters."""
    lines: list[list[str]] = []
    for line in document:
        if characters <= 0:
            break
        lines.append(line)
        characters -= len("".join(line))
    return lines


def trained_bits(side: Side, steps: int, seed: int, held_out: Sequence[SegmentedDocument]) -> list[float]:
    """Train a model and return the bits of each held-out document without its `</s>`."""
    output = Path(tempfile.mkdtemp(dir=side.root))
    config = validate_config(
        {
            **{"training_set": side.root / TRAINING_SET, "data_root": side.root, "output": output},
            **{"model": "tiny", "steps": steps, "seed": seed, "zero_stage": 0, "evaluation_blocks": 1},
            **{"checkpoint_every": steps, "evaluate_every": steps, "log_every": steps},
            **CONTEXT_AND_BATCH,
        }
    )
    train_distributed(config, torch.device("cpu"), StopRequest())
    eos = side.tokenizer.eos_id
    sequences = [np.array([eos, *ids[:-1]]) for ids in side.tokenizer.encode_documents(held_out)]
    return model_bits(load_model(output / MODEL), eos, sequences, 8)


@dataclass(frozen=True)
class Comparison:
    """Bits of each held-out document, by seed, on words and, under some equal measure, on text."""

    words: np.ndarray
    text: np.ndarray
    characters: np.ndarray

    def row(self) -> str:
        """Return bits per character of both, and the difference in per cent with its interval, as cells."""
        total = self.characters.sum()
        words, text = (bits.sum(axis=1) / total for bits in (self.words, self.text))
        difference = (self.text - self.words).mean(axis=0)
        interval = bootstrap_interval(difference, self.characters)
        low, high = (100 * bound / words.mean() for bound in interval or (np.nan, np.nan))
        percent = 100 * (text.mean() / words.mean() - 1)
        seeds = ", ".join(f"{100 * (one / other - 1):+.2f}" for one, other in zip(text, words, strict=True))
        return f"{words.mean():.4f} | {text.mean():.4f} | {percent:+.2f} % | {low:+.2f} to {high:+.2f} | {seeds}"


@dataclass
class Task:
    """What is trained on a corpus, and the bits that it gave: an array (seeds, documents) for each way."""

    name: str
    held_out: list[SegmentedDocument]
    ways: dict[str, tuple[Side, int]]
    bits: dict[str, list[list[float]]]

    def characters(self) -> np.ndarray:
        """Return the characters of each held-out document."""
        return np.array([len(document_text(document, "clean")) for document in self.held_out])

    def rows(self) -> Iterator[str]:
        """Yield the rows of the table."""
        words = np.array(self.bits["words"])
        for name in self.ways:
            if name != "words":
                text = np.array(self.bits[name])
                comparison = Comparison(words[: len(text)], text, self.characters())
                yield f"| {self.name} | {name} | {comparison.row()} |"


def prepare(name: str, documents: Sequence[SegmentedDocument], steps: int, root: Path, record: Path) -> Task:
    """Train the tokenizers of a corpus and encode it with both."""
    sides: dict[Encodes, Side] = {}
    for encodes in ENCODES:
        (root / encodes).mkdir(parents=True)
        sides[encodes] = encode(documents, encodes, root / encodes)
    words, text = sides["words"], sides["text"]
    keys = words.held_out_keys()
    if keys != text.held_out_keys():
        raise RuntimeError("words and text hold out other documents")
    held_out = [beginning(documents[key], HELD_OUT_CHARACTERS) for key in sorted(keys)]
    ways = {
        "words": (words, steps),
        "equal tokens": (text, steps),
        "equal text": (text, round(steps * text.tokens / words.tokens)),
    }
    task = Task(name, held_out, ways, {way: [] for way in ways})
    facts = {"documents": len(documents), "characters": sum(len(document_text(d, "clean")) for d in documents)}
    scored = {"held_out": len(held_out), "held_out_characters": int(task.characters().sum())}
    tokens = {"tokens_words": words.tokens, "tokens_text": text.tokens}
    say(record, {"corpus": name, **facts, **scored, **tokens, "steps": {way: of[1] for way, of in ways.items()}})
    return task


def train(task: Task, seed: int, record: Path) -> None:
    """Train and score the models of a corpus and a seed."""
    for way, (side, steps) in task.ways.items():
        bits = trained_bits(side, steps, seed, task.held_out)
        task.bits[way].append(bits)
        mean = sum(bits) / int(task.characters().sum())
        say(record, {"corpus": task.name, "seed": seed, "way": way, "bits_per_character": mean, "bits": bits})


def say(record: Path, facts: Mapping[str, object]) -> None:
    """Append a line to the record, and print it."""
    with open(record, "a") as stream:
        stream.write(json.dumps(facts) + "\n")
    print({name: value for name, value in facts.items() if name != "bits"}, flush=True)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=1000, help="of the models on words, each of 1,024 tokens")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--corpora", nargs="*", default=["excerpt", "all"])
    parser.add_argument("--record", type=Path, default=Path("tokenizer_input.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    init_distributed(1800)
    with open_segmenter("mecab") as segmenter, tempfile.TemporaryDirectory() as folder:
        tasks = []
        for name, documents in corpora(options.data).items():
            if name in options.corpora:
                segmented = [lines for lines in segment_documents(documents, "clean", segmenter) if lines]
                tasks.append(prepare(name, segmented, options.steps, Path(folder) / name, options.record))
        for seed in range(options.seeds):
            for task in tasks:
                train(task, seed, options.record)
    print("| corpus | measure | words | text | difference | 95 % | by seed |\n|---|---|---:|---:|---:|---:|---|")
    for task in tasks:
        print("\n".join(task.rows()))


if __name__ == "__main__":
    main()
