"""How much memory the text stages take, whatever the size of dump, archive, article or paragraph.

Makes a dump of a given size of XML in one shard and an archive of the same size of text, runs each stage on them in a
process of its own, with the functions that the assets call, and prints the peak of its resident set. The pages are the
embedded sample's, compressed once and repeated; its documents are written each time in other characters, so that the
deduplication has to remember all of them. An article and a paragraph of 50 MB are among them. The figures and what they
mean are in benchmarks/README.md.
"""

import argparse
import lzma
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from filters import select_archive
from text import DATE, WIKI, measure, repeated, sample, segmented

from jgpt_dagster.corpus.left_out.ledger import LedgerWriter
from jgpt_dagster.corpus.schemas import ARTICLES, ARTICLES_SEGMENTED, DOCUMENTS_SEGMENTED
from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.segment import SegmentCounts
from jgpt_dagster.corpus.wikipedia.articles import ArticleTotals, PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.multistream import read_range, read_siteinfo, split_dump
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.lm.data.token_files import write_tokens
from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, train_tokenizer
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer, save_tokenizer
from jgpt_dagster.lm.tokenizer.word_counts import count_words
from jgpt_dagster.sample.dump_writer import Page, write_dump
from jgpt_dagster.storage.manifest import ACCOUNT, Recipe
from jgpt_dagster.storage.parquet import read_rows, sidecar_path, write_rows

GOAL = 600e6
HUGE = 50e6
_RECIPE = Recipe(stage="benchmark", code_version="1")
_DUMP, _ARCHIVE = "dump.xml.bz2", "ja.txt.xz"
_ARTICLES, _TOKENIZER = "articles.parquet", "tokenizer"


# ---- input -------------------------------------------------------------------------------------------------------


def make_inputs(folder: Path, size: float) -> None:
    """Write a dump and an archive that hold `size` bytes each when decompressed, and a huge article and paragraph."""
    pages, text = sample(folder, None)
    write_dump(folder, WIKI, DATE, repeated(pages, min(size, 4e6)))
    huge = Page("長い記事", 1, 1, "長い段落が続く。" * int(HUGE / len("長い段落が続く。".encode())))
    write_dump(folder, "huge", DATE, [huge])
    header, streams, end = _streams(next((folder / WIKI / DATE).glob("*multistream.xml.bz2")))
    with open(folder / _DUMP, "wb") as out:
        out.write(header + _streams(next((folder / "huge" / DATE).glob("*multistream.xml.bz2")))[1])
        for _ in range(max(1, round(size / 4e6))):
            out.write(streams)
        out.write(end)
    with open(folder / _ARCHIVE, "wb") as out:
        out.write(lzma.compress(("長い段落が続く。" * int(HUGE / 24) + "\n\n").encode(), preset=0))
        for number in range(max(1, round(size / len(text)))):
            out.write(lzma.compress(f"{_disguised(text.decode(), number)}\n".encode(), preset=0))


def _disguised(text: str, number: int) -> str:
    """Return `text` with its kana and kanji exchanged among each other, in another way for each number."""
    signs = sorted(set(re.findall("[ぁ-ヺ一-鿿]", text)))
    return text.translate(str.maketrans("".join(signs), "".join(random.Random(number).sample(signs, len(signs)))))


def _streams(dump: Path) -> tuple[bytes, bytes, bytes]:
    """Return the header's stream of a dump, those of its pages, and the last one."""
    header = split_dump(dump, next(dump.parent.glob("*index.txt.bz2")), 1).header
    data = dump.read_bytes()
    end = data.rindex(b"BZh91AY&SY")
    return data[: header.length], data[header.length : end], data[end:]


# ---- stages ------------------------------------------------------------------------------------------------------


def _write_articles(folder: Path) -> None:
    dump = folder / _DUMP
    plan = split_dump(dump, None, 1)
    counts, totals, rejected = PageCounts(), ArticleTotals(), list[dict[str, Any]]()
    account = sidecar_path(folder / _ARTICLES, ACCOUNT)
    with LedgerWriter.open(account, _RECIPE) as ledger:
        clean = article_cleaner("clean", read_siteinfo(dump, plan), report=ledger.report)
        rows = totals.count(read_articles(read_range(dump, plan.shards[0]), clean, counts, rejected))
        write_rows(
            folder / _ARTICLES,
            ARTICLES,
            rows,
            _RECIPE,
            lambda: {**asdict(counts), **asdict(totals), "account": ledger.counts()},
            account=ledger.finish,
        )
    assert [row["title"] for row in rejected if "bytes" in row["reason"]] == ["長い記事"]


def _write_documents(folder: Path, shards: int, workers: int = 0) -> None:
    """All shards, filtered and deduplicated, as the asset does under `clean`."""
    place = _documents(folder, shards)
    place.mkdir()
    _, rejected = select_archive(folder / _ARCHIVE, place, shards, workers)
    assert rejected == 1


def _documents(folder: Path, shards: int) -> Path:
    return folder / f"documents-{shards}"


def _whole(folder: Path) -> Iterator[tuple[Any, ...]]:
    """The rows of all shards of the archive: a shard as large as the archive."""
    for path in sorted((_documents(folder, 64) / "documents").glob("*.parquet")):
        yield from read_rows(path)


def _segment_articles(folder: Path) -> None:
    _segment(read_rows(folder / _ARTICLES), ARTICLES_SEGMENTED, folder / "articles_segmented.parquet")


def _segment_documents(folder: Path) -> None:
    _segment(_whole(folder), DOCUMENTS_SEGMENTED, folder / "documents_segmented.parquet")


def _segment(rows: Iterator[tuple[Any, ...]], schema: Any, path: Path) -> None:
    counts = SegmentCounts()
    with open_segmenter("mecab") as engine:
        write_rows(path, schema, segmented(rows, "clean", engine, counts), _RECIPE, lambda: asdict(counts))


def _train_tokenizer(folder: Path) -> None:
    documents = [row[-1] for row, _ in zip(read_rows(folder / "articles_segmented.parquet"), range(500), strict=False)]
    words = count_words(documents, folder / "words.parquet")
    trained = train_tokenizer(words, "clean", TokenizerSettings(4000, 1, 2000))
    (folder / _TOKENIZER).mkdir()
    save_tokenizer(trained.tokenizer, folder / _TOKENIZER, "clean", "mecab", "benchmark")


def _write_tokens(folder: Path) -> None:
    rows = read_rows(folder / "articles_segmented.parquet", ["page_id", "lines"])
    (folder / "tokens").mkdir()
    write_tokens(((key, lines) for key, lines in rows), load_tokenizer(folder / _TOKENIZER), folder / "tokens")


def _peak() -> int:
    """The peak resident set of this process in bytes. (That of `wait4` starts with the parent's.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


STAGES: dict[str, Callable[[Path], None]] = {
    "wikipedia_articles": _write_articles,
    "cc100_documents, 64 shards": partial(_write_documents, shards=64),
    "cc100_documents, 99 shards": partial(_write_documents, shards=99),
    "wikipedia_segmented": _segment_articles,
    "tokenizer, of 500 articles": _train_tokenizer,
    "wikipedia_tokens": _write_tokens,
    "cc100_segmented": _segment_documents,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the memory of the text stages.")
    parser.add_argument("--megabytes", type=float, default=2000, help="size of dump and archive, uncompressed")
    parser.add_argument("--directory", type=Path, help="where to work (default: the system's temporary directory)")
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        STAGES[options.stage[0]](Path(options.stage[1]))
        print(_peak())
        return 0
    met = True
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        folder = Path(name)
        make_inputs(folder, options.megabytes * 1e6)
        print("| stage | CPU s | peak resident set, MB |\n|---|---:|---:|", flush=True)
        for number, stage in enumerate(STAGES):
            place = folder / f"stage-{number}"
            seconds = measure([sys.executable, __file__, "--stage", stage, name], place)
            peak = int((place / "log").read_text().split()[-1])
            met &= peak < GOAL
            print(f"| {stage} | {seconds:.0f} | {peak / 1e6:.0f} |", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
