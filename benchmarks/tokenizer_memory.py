"""The effect of sampling on a tokenizer: memory of its training, vocabulary, tokens per character.

Segments the documents of an xz file in the format of CC-100, holds out every tenth, and trains on samples of the others
with the function that the asset calls, each in a new process. Heaps' exponent relates distinct words to all words.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from math import log
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.corpus.web.cc100 import read_documents
from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, in_tokenizer_sample, train_tokenizer
from jgpt_dagster.lm.tokenizer.word_counts import WordCounts, count_words

_FIRST_CHARACTER, _FILES = 0x4E00, 128
SHARES = (1.0, 0.5, 0.25, 0.125)


def measure(path: Path, share: float, settings: TokenizerSettings) -> dict[str, object]:
    """Train on a sample and return its figures. `memory` is what training adds to the peak of the process, in bytes."""
    with open_segmenter("mecab") as engine:
        documents = list(segment_documents((lines for _, lines in read_documents(path, [])), "clean", engine))
    held_out = [sentence for document in documents[::10] for line in document for sentence in line]
    sample = [
        document
        for key, document in enumerate(documents)
        if key % 10 and in_tokenizer_sample("cc100_segmented", key, share)
    ]
    words = [word for document in sample for line in document for sentence in line for word in sentence.split(" ")]
    figures: dict[str, object] = {"words": len(words), "distinct": len(set(words))}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(count_words(sample, Path(folder) / "words"), "clean", settings).tokenizer
    tokens = sum(len(tokenizer.encode(sentence, add_special_tokens=False).ids) for sentence in held_out)
    return figures | {
        "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10,
        "tokens_per_character": tokens / sum(len(sentence.replace(" ", "")) for sentence in held_out),
        "vocabulary": sorted(tokenizer.get_vocab()),
    }


def learn_made_up(words: int, settings: TokenizerSettings) -> None:
    """Train on so many words that are made up, some of them equal; print CPU seconds and peak of that process.

    Lengths are geometric, and characters follow Zipf's law independently of each other. The words lie in as many files
    as a run with two corpora of 64 shards has.
    """
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            files = process.submit(_write_made_up, words, settings.limit_alphabet, Path(folder)).result()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            distinct, seconds, peak = process.submit(_train_on, files, settings).result()
    print(f"{distinct:,} distinct words in {len(files)} files: {seconds:.0f} s, {peak >> 20} MB")


def _write_made_up(words: int, alphabet: int, folder: Path) -> list[Path]:
    random = np.random.default_rng(0)
    files = [folder / f"{number}.parquet" for number in range(_FILES)]
    for file in files:
        count = words // _FILES
        lengths = np.minimum(random.geometric(0.25, count) + 1, 12)
        codes = np.minimum(random.zipf(1.25, int(lengths.sum())), alphabet - 1) + _FIRST_CHARACTER
        text, ends = codes.astype("<u4").tobytes().decode("utf-32-le"), np.cumsum(lengths).tolist()
        made = (text[first:end] for first, end in pairwise([0, *ends]))
        count_words([[[word]] for word in made], file)
    return files


def _train_on(files: list[Path], settings: TokenizerSettings) -> tuple[int, float, int]:
    words = WordCounts(0, tuple(files))
    train_tokenizer(words, "clean", settings)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return sum(map(len, words.batches())), used.ru_utime + used.ru_stime, used.ru_maxrss << 10


def main() -> None:
    """Print a line per share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--made-up-words", type=int, help="train on so many words instead")
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--limit-alphabet", type=int, default=2500)
    parser.add_argument("--share", type=float)
    arguments = parser.parse_args()
    settings = TokenizerSettings(arguments.vocab_size, 1, arguments.limit_alphabet)
    if arguments.made_up_words:
        learn_made_up(arguments.made_up_words, TokenizerSettings())
        return
    if arguments.share:
        print(json.dumps(measure(arguments.path, arguments.share, settings)))
        return
    results = []
    for share in SHARES:
        command = [sys.executable, __file__, *sys.argv[1:], "--share", str(share)]
        results.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    whole, smallest = results[0], results[-1]
    print("share  words  distinct  memory MB  of the whole's vocabulary  tokens/character")
    for share, result in zip(SHARES, results, strict=True):
        kept = len({*result["vocabulary"]} & {*whole["vocabulary"]}) / len(whole["vocabulary"])
        print(
            f"{share:<5g}  {result['words']:,}  {result['distinct']:,}  {result['memory'] / 1e6:.1f}  {kept:.3f}  "
            f"{result['tokens_per_character']:.4f}"
        )
    exponent = log(whole["distinct"] / smallest["distinct"]) / log(whole["words"] / smallest["words"])
    print(f"Heaps' exponent {exponent:.3f}")


if __name__ == "__main__":
    main()
