"""The effect of sampling on a tokenizer: memory of its training, vocabulary, tokens per character.

Segments the documents of an xz file in the format of CC-100, holds out every tenth, and trains on samples of the others
with the function that the asset calls, each in a new process. Heaps' exponent relates distinct words to all words.
"""

import argparse
import json
import resource
import subprocess
import sys
from math import log
from pathlib import Path

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.corpus.web.cc100 import read_documents
from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, in_tokenizer_sample, train_tokenizer

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
    tokenizer = train_tokenizer(lambda: sample, "clean", settings, lambda line: None).tokenizer
    tokens = sum(len(tokenizer.encode(sentence, add_special_tokens=False).ids) for sentence in held_out)
    return figures | {
        "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10,
        "tokens_per_character": tokens / sum(len(sentence.replace(" ", "")) for sentence in held_out),
        "vocabulary": sorted(tokenizer.get_vocab()),
    }


def main() -> None:
    """Print a line per share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--limit-alphabet", type=int, default=2500)
    parser.add_argument("--share", type=float)
    arguments = parser.parse_args()
    settings = TokenizerSettings(arguments.vocab_size, 1, arguments.limit_alphabet)
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
