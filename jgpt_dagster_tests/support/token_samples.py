"""Generated segmented documents and token shards, the same in every run."""

import atexit
import random
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jgpt_dagster.lm.data.integer_tables import IntegerTableWriter
from jgpt_dagster.lm.data.token_files import DOCUMENTS, DOCUMENTS_SCHEMA, TOKENS
from jgpt_dagster.lm.data.training_set import TokenShard
from jgpt_dagster.lm.tokenizer.text_tokenizer import SegmentedDocument
from jgpt_dagster.lm.tokenizer.word_counts import WordCounts, count_words

TEXT = (
    "吾輩 は 猫 で ある 。 名前 まだ 無い どこ 生れた か とんと 見当 が つか ぬ 「 東京 大学 」 2025 年 に ▁York を 、"
)
WORDS = TEXT.split()


def segmented_documents(count: int, seed: int = 0, words: Sequence[str] = WORDS) -> list[SegmentedDocument]:
    """Return documents of one to six lines with one to three sentences each."""
    generator = random.Random(seed)
    return [
        [
            [" ".join(generator.choices(words, k=generator.randint(1, 20))) for _ in range(generator.randint(1, 3))]
            for _ in range(generator.randint(1, 6))
        ]
        for _ in range(count)
    ]


def write_shard(
    root: Path, corpus: str, name: str, lengths: Sequence[int], first_token: int = 3, first_key: int = 0
) -> TokenShard:
    """Write a token shard of documents of these lengths; its tokens count up, except for the 2 that ends a document."""
    path = root / f"{corpus}_tokens" / f"shard={name}"
    path.mkdir(parents=True)
    sizes = np.array(lengths, dtype=np.int64)
    ends = np.cumsum(sizes)
    tokens = (first_token + np.arange(ends[-1] if len(ends) else 0)).astype("<u2")
    tokens[ends - 1] = 2
    tokens.tofile(path / TOKENS)
    with IntegerTableWriter(path / DOCUMENTS, DOCUMENTS_SCHEMA) as table:
        table.append(
            {
                "key": first_key + np.arange(len(sizes)),
                "offset": ends - sizes,
                "length": sizes,
                "characters": (sizes - 1) * 2,
                "bytes": (sizes - 1) * 6,
            }
        )
    return TokenShard(
        corpus=corpus,
        label=f"{corpus}_tokens {name}",
        path=str(path.relative_to(root)),
        tokens=len(tokens),
        documents=len(sizes),
        sha256="0" * 64,
        tokenizer_sha256="t" * 64,
    )


def counted_words(documents: Iterable[SegmentedDocument]) -> WordCounts:
    """Return the words of documents; their files are deleted when the interpreter ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return count_words(documents, Path(folder.name) / "words.parquet")
