"""What tracing costs on made-up corpora: steps, documents and texts, the index by which texts are found, and its size.

    python benchmarks/provenance.py                           # 10^6, 10^7 and 10^8 tokens: some minutes, 0.7 GB
    python benchmarks/provenance.py --tables 1000000000       # steps and documents alone, on tables of 10^9 tokens
    python benchmarks/provenance.py --hidden DATA_ROOT        # characters that token borders hide; the root has indexes

Tokens are drawn from a Zipf distribution, in documents of 700 tokens on average, in 64 shards. A text to find is 150
tokens of a document in the middle of 50 others. Tables alone need no tokens: their file is sparse.
"""

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from jgpt_dagster.lm.data.integer_tables import IntegerTableWriter
from jgpt_dagster.lm.data.span_index import SpanIndex, maximal_matches, part_ends, write_span_index
from jgpt_dagster.lm.data.token_files import DOCUMENTS, DOCUMENTS_SCHEMA, TOKENS, map_tokens
from jgpt_dagster.lm.data.training_set import TokenShard
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
from jgpt_dagster.provenance.trace import trace_document, trace_samples
from jgpt_dagster.provenance.trace_text import trace_text
from jgpt_dagster.provenance.training_run import TrainingRun, open_run
from jgpt_dagster.storage.data_root import DataRoot

SHARDS, EOS, VOCABULARY, MEAN = 64, 2, 32000, 700
DUMP = "20260101"
QUERIES = 20


def make_shard(directory: Path, shard: int, tokens: int, *, filled: bool) -> TokenShard:
    """Write a shard of about this many tokens: its table and, if `filled`, its tokens."""
    directory.mkdir(parents=True)
    draw = np.random.default_rng(shard)
    lengths = np.maximum(draw.geometric(1 / MEAN, max(1, tokens // MEAN)), 2)
    size, ends = int(lengths.sum()), np.cumsum(lengths)
    with IntegerTableWriter(directory / DOCUMENTS, DOCUMENTS_SCHEMA) as table:
        keys = shard + SHARDS * np.arange(len(lengths))
        columns = {"key": keys, "offset": ends - lengths, "length": lengths, "characters": lengths, "bytes": lengths}
        table.append(columns)
    with open(directory / TOKENS, "wb") as stream:
        if filled:
            ids = (3 + np.minimum(draw.zipf(1.3, size), VOCABULARY - 4)).astype("<u2")
            ids[ends - 1] = EOS
            stream.write(ids.tobytes())
        else:
            stream.truncate(2 * size)
    return TokenShard("web", f"web_tokens {shard:03d}", f"web_tokens/shard={shard:03d}", size, len(lengths), "", "made")


def make_run(root: Path, tokens: int, *, filled: bool) -> TrainingRun:
    """Make a corpus and its training set in a root, and return a made-up run of an epoch over it."""
    shards = [
        make_shard(root / "web_tokens" / f"shard={shard:03d}", shard, tokens // SHARDS, filled=filled)
        for shard in range(SHARDS)
    ]
    directory = root / "training_set" / f"dump={DUMP}"
    directory.mkdir(parents=True)
    made = build_training_set(
        shards,
        {"web": 1.0},
        0.005,
        vocab_size=VOCABULARY,
        eos_id=EOS,
        tokenizer_sha256="made",
        data_root=root,
        directory=directory,
    )
    context, batch = 1024, 512
    steps = max(1, (made.counts.train_tokens - 1) // context // batch)
    return TrainingRun(DataRoot(root), made, DUMP, "made", context, batch, 0, steps, True, (steps // 2,))


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def trace_tables(run: TrainingRun) -> None:
    draw = random.Random(0)
    samples = min(run.global_batch, run.samples)
    steps = [seconds(lambda: trace_samples(run.root, run, range(samples))) for _ in range(2)]
    keys = [draw.randrange(SHARDS * 10) for _ in range(5)]
    documents = [seconds(lambda key=key: trace_document(run.root, run, "web", key)) for key in keys]  # type: ignore[misc]
    print(f"  a step of {samples} samples {median(steps):.2f} s, a document {median(documents):.3f} s", flush=True)


def find_texts(run: TrainingRun) -> None:
    """Index every shard, and look for texts that are there in part."""
    opened, size, started, cpu = [], 0, time.perf_counter(), time.process_time()
    for file in run.training_set.token_files:
        source, target = run.root.path / file.path, run.root.path / file.path.replace("_tokens", "_span_index")
        target.mkdir(parents=True)
        tokens = map_tokens(source / TOKENS, file.tokens)
        for _ in write_span_index(tokens, part_ends(source), target):
            pass
        size += sum(path.stat().st_size for path in target.iterdir())
        opened.append(SpanIndex.open(target, tokens))
    total = sum(file.tokens for file in run.training_set.token_files)
    print(
        f"  index: {size / total:.3f} bytes a token, {time.perf_counter() - started:.1f} s "
        f"({time.process_time() - cpu:.1f} s of CPU), peak memory "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB",
        flush=True,
    )
    draw, times, cpu_times = np.random.default_rng(1), [], []
    for _ in range(QUERIES):
        index = opened[int(draw.integers(len(opened)))]
        place = int(draw.integers(0, max(1, len(index.tokens) - 200)))
        copied = np.array(index.tokens[place : place + 150])
        query = np.concatenate(
            [draw.integers(3, VOCABULARY, 25), copied[copied != EOS], draw.integers(3, VOCABULARY, 25)]
        )
        query = query.astype(np.uint16)
        started, cpu = time.perf_counter(), time.process_time()
        lengths = np.maximum.reduce([each.longest_matches(query) for each in opened])
        matches = maximal_matches(lengths, 8)
        for match in matches:
            span = query[match.start : match.start + match.length]
            assert sum(each.count(span) for each in opened) >= 1
        times.append(time.perf_counter() - started)
        cpu_times.append(time.process_time() - cpu)
        assert matches
    print(
        f"  a text of 200 tokens: {median(times):.2f} s, at most {max(times):.2f} s; of CPU {median(cpu_times):.2f} s, "
        f"at most {max(cpu_times):.2f} s",
        flush=True,
    )


def hidden_share(data: Path, model: str, characters: int = 60, samples: int = 200) -> None:
    """Print the share of characters of passages that stand in the data which the longest span leaves out."""
    root = DataRoot(data)
    run = open_run(root, data / ".scratch", root.dumps("training_set")[-1], model)
    tokenizer, draw = load_tokenizer(run.root.directory("tokenizer").path), random.Random(0)
    hidden = []
    from jgpt_dagster.lm.data.token_files import TokenFile

    files = [TokenFile(run.root.path / file.path) for file in run.training_set.token_files]
    while len(hidden) < samples:
        file = draw.choice(files)
        lines = tokenizer.decode(file.document(draw.randrange(len(file)))).split("\n")
        line = draw.choice(lines)
        if len(line) <= characters:
            continue
        start = draw.randrange(len(line) - characters)
        passage = line[start : start + characters]
        spans = trace_text(root, run, tokenizer, passage, minimum=1, documents=0).spans
        hidden.append(1 - max((len(span.text) for span in spans), default=0) / characters)
    print(
        f"{samples} passages of {characters} characters: the longest span leaves out {np.mean(hidden):.1%} of them, "
        f"{sum(share > 0 for share in hidden) / samples:.0%} of the passages lose some"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="*", default=[10**6, 10**7, 10**8])
    parser.add_argument("--tables", type=int, nargs="*", default=[])
    parser.add_argument("--hidden", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    if options.hidden:
        hidden_share(options.hidden, options.model)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    for tokens, filled in [*((size, False) for size in options.tables), *((size, True) for size in options.tokens)]:
        if options.tables and filled:
            continue
        with tempfile.TemporaryDirectory(dir=options.directory) as folder:
            print(f"{tokens:,} tokens", flush=True)
            run = make_run(Path(folder), tokens, filled=filled)
            trace_tables(run)
            if filled:
                find_texts(run)


if __name__ == "__main__":
    main()
