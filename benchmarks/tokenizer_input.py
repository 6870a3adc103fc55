"""Words or text: what a tokenizer's `encodes` does to the bits per character of held-out documents.

    python benchmarks/tokenizer_input.py DIR             # DIR: a folder with a real excerpt of jawiki and CC-100

On each corpus two tokenizers are trained on the same segmented documents; they have the same vocabulary. Two models are
trained a seed: on words, and on as many tokens of text; the second is scored at its end and when it has seen as much
text as the first. All are scored on the same held-out documents. Differences are of each document between models of the
same seed, averaged over seeds; their intervals are bootstrapped over documents. Beside them stands what bigrams, which
are counted in seconds, make of the same text. What was measured is in docs/tokenizer.md.
"""

import argparse
import json
import lzma
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from jgpt_dagster.lm.launch.environment import training_environment

# torch reads it when it is imported.
os.environ.update(training_environment(processes=1))

import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from jgpt_dagster.corpus.fetch.decompress import bz2_chunks
from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.corpus.wikipedia.articles import PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.page_xml import parse_siteinfo
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.lm.data.data_loader import PackedDataset, samples_of_step
from jgpt_dagster.lm.data.token_files import TOKEN_DTYPE, TOKENS, write_tokens
from jgpt_dagster.lm.data.training_set import TokenShard, TrainingSet
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster.lm.evaluation.bootstrap import bootstrap_interval
from jgpt_dagster.lm.evaluation.ngram_baselines import count_baselines
from jgpt_dagster.lm.evaluation.sliding_window_scores import model_bits
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
from jgpt_dagster.lm.training.optimizer import parameter_groups

SHARE = 0.08
SETTINGS = [TokenizerSettings(vocab_size=size, limit_alphabet=size // 4 + 1000) for size in (4000, 8000, 16_000)]
TRAINING_SET = "training_set"
ENCODES: tuple[Encodes, ...] = ("words", "text")
WORDS, TEXT_WAYS = "words", ("equal tokens", "equal text")
# Small, so that it learns much of what it can in minutes on one core.
MODEL = {"n_layer": 2, "n_embd": 64, "n_head": 2, "n_positions": 64}
BATCH = 16
PEAK_RATE = 6e-3
HELD_OUT_CHARACTERS = 1000


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

    def sequences(self, documents: Sequence[SegmentedDocument]) -> list[np.ndarray]:
        """Return the ids of documents after `</s>`, without their own."""
        encoded = self.tokenizer.encode_documents(documents)
        return [np.array([self.tokenizer.eos_id, *ids[:-1]]) for ids in encoded]

    def held_out_keys(self) -> set[int]:
        """Return the numbers of the held-out documents."""
        return {*TrainingSet.open(self.root / TRAINING_SET).held_out_documents()["key"].tolist()}


def encode(
    documents: Mapping[int, SegmentedDocument], encodes: Encodes, settings: TokenizerSettings, root: Path
) -> Side:
    """Train a tokenizer on documents and build a training set of them; their keys decide which ones are held out."""
    root.mkdir(parents=True)
    words = count_words(documents.values(), root / "words.parquet")
    trained = train_tokenizer(words, "clean", settings, encodes)
    save_tokenizer(trained.tokenizer, root / "tokenizer", "clean", "mecab", "benchmark", encodes)
    tokenizer = load_tokenizer(root / "tokenizer")
    (root / "tokens").mkdir()
    counts = write_tokens(documents.items(), tokenizer, root / "tokens")
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


def trained_bits(
    side: Side, steps: int, seed: int, held_out: Sequence[SegmentedDocument], after: Sequence[int]
) -> list[list[float]]:
    """Train a model and return, after each of some steps, the bits of each held-out document without its `</s>`."""
    torch.manual_seed(seed)
    tokenizer = side.tokenizer
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=tokenizer.vocab_size,
            **MODEL,
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
            bos_token_id=tokenizer.eos_id,
            eos_token_id=tokenizer.eos_id,
        )
    )
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), betas=(0.9, 0.95), fused=True)
    data = PackedDataset(side.root / TRAINING_SET, side.root, MODEL["n_positions"])
    sequences = side.sequences(held_out)
    scored = {}
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step + 1, steps)
        tokens = torch.from_numpy(data.batch(samples_of_step(step, BATCH), seed))
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step + 1 in after:
            scored[step + 1] = model_bits(model.eval(), tokenizer.eos_id, sequences, 64, MODEL["n_positions"])
            model.train()
    return [scored[step] for step in after]


def learning_rate(step: int, steps: int) -> float:
    """Return the rate of a step: a linear warm-up, then a cosine to a tenth."""
    warm_up = max(1, steps // 20)
    cosine = 0.55 + 0.45 * math.cos(math.pi * min(1.0, max(0, step - warm_up) / max(1, steps - warm_up)))
    return PEAK_RATE * min(step / warm_up, cosine)


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
    """Both sides of a corpus, and the bits that models gave: an array (seeds, documents) for each way."""

    name: str
    held_out: list[SegmentedDocument]
    words: Side
    text: Side
    bits: dict[str, list[list[float]]]

    def characters(self) -> np.ndarray:
        """Return the characters of each held-out document."""
        return np.array([len(document_text(document, "clean")) for document in self.held_out])

    def rows(self) -> Iterator[str]:
        """Yield the rows of the table."""
        words = np.array(self.bits[WORDS])
        for way in TEXT_WAYS:
            yield f"| {self.name} | {way} | {Comparison(words, np.array(self.bits[way]), self.characters()).row()} |"


def prepare(
    name: str, found: Sequence[SegmentedDocument], split: int, settings: TokenizerSettings, root: Path, record: Path
) -> Task:
    """Train the tokenizers of a corpus and encode it with both; each `split` holds out other documents."""
    documents = dict(enumerate(found, start=split * 1_000_000))
    sides: dict[Encodes, Side] = {}
    for encodes in ENCODES:
        (root / encodes).mkdir(parents=True)
        sides[encodes] = encode(documents, encodes, settings, root / encodes)
    words, text = sides["words"], sides["text"]
    keys = words.held_out_keys()
    if keys != text.held_out_keys():
        raise RuntimeError("words and text hold out other documents")
    held_out = [beginning(documents[key], HELD_OUT_CHARACTERS) for key in sorted(keys)]
    task = Task(name, held_out, words, text, {way: [] for way in (WORDS, *TEXT_WAYS)})
    facts = {"documents": len(documents), "characters": sum(len(document_text(d, "clean")) for d in found)}
    scored = {"held_out": len(held_out), "held_out_characters": int(task.characters().sum())}
    say(record, {"corpus": name, **facts, **scored, "tokens_words": words.tokens, "tokens_text": text.tokens})
    return task


def train(task: Task, steps: int, seed: int, record: Path) -> None:
    """Train and score the models of a corpus and a seed: what text is at equal text, it is a little before its end."""
    equal_text = min(steps, round(steps * task.text.tokens / task.words.tokens))
    found = trained_bits(task.words, steps, seed, task.held_out, [steps])
    found += trained_bits(task.text, steps, seed, task.held_out, [steps, equal_text])
    for (way, of_seeds), bits in zip(task.bits.items(), found, strict=True):
        of_seeds.append(bits)
        mean = sum(bits) / int(task.characters().sum())
        say(record, {"corpus": task.name, "seed": seed, "way": way, "bits_per_character": mean, "bits": bits})


def bigram_bits(side: Side, held_out: Sequence[SegmentedDocument]) -> list[float]:
    """Count the bigrams of the training documents, as `evaluation` does, and return the bits of each document."""
    files = [np.fromfile(side.root / "tokens" / TOKENS, dtype=TOKEN_DTYPE)]
    counted = count_baselines(TrainingSet.open(side.root / TRAINING_SET), files, side.tokens)
    return [counted.bigrams.bits(sequence) for sequence in side.sequences(held_out)]


def bigram_row(name: str, documents: Sequence[SegmentedDocument], settings: TokenizerSettings, record: Path) -> str:
    """Return the row of a corpus and a size of vocabulary; three splits hold out other documents."""
    splits = []
    for split in range(3):
        with tempfile.TemporaryDirectory() as folder:
            task = prepare(name, documents, split, settings, Path(folder), record)
            bits = [np.array([bigram_bits(side, task.held_out)]) for side in (task.words, task.text)]
            splits.append(Comparison(*bits, task.characters()))
    parts = ("words", "text", "characters")
    pooled = Comparison(*(np.concatenate([getattr(each, part) for each in splits], axis=-1) for part in parts))
    by_split = ", ".join(each.row().rpartition("| ")[2] for each in splits)
    row = f"| {name} | {settings.vocab_size:,} | {pooled.row().rpartition('| ')[0]}| {by_split} |"
    say(record, {"row": row})
    return row


def say(record: Path, facts: Mapping[str, object]) -> None:
    """Append a line to the record, and print it."""
    with open(record, "a") as stream:
        stream.write(json.dumps(facts) + "\n")
    print({name: value for name, value in facts.items() if name != "bits"}, flush=True)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=600, help="of a model, each of 1,024 tokens")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--corpora", nargs="*", default=["excerpt", "all"])
    parser.add_argument("--record", type=Path, default=Path("tokenizer_input.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with open_segmenter("mecab") as segmenter, tempfile.TemporaryDirectory() as folder:
        documents = {
            name: [lines for lines in segment_documents(found, "clean", segmenter) if lines]
            for name, found in corpora(options.data).items()
            if name in options.corpora
        }
        bigrams = [bigram_row(*found, settings, options.record) for found in documents.items() for settings in SETTINGS]
        tasks = [
            prepare(name, found, 0, SETTINGS[0], Path(folder) / name, options.record)
            for name, found in documents.items()
        ]
        for seed, task in product(range(options.seeds), tasks):
            train(task, options.steps, seed, options.record)
    figures = "words | text | difference | 95 % |"
    print(f"| corpus | vocabulary | {figures} by split |\n|---|---:|---:|---:|---:|---:|---|", *bigrams, sep="\n")
    print(f"\n| corpus | measure | {figures} by seed |\n|---|---|---:|---:|---:|---:|---|")
    for task in tasks:
        print("\n".join(task.rows()))


if __name__ == "__main__":
    main()
