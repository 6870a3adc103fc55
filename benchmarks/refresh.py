"""What a refresh costs, as a share of a full rebuild: CPU time of the text stages on two dumps that differ in 5 %.

    python benchmarks/refresh.py --articles 20000

Makes a wiki from the paragraphs of the embedded sample and a later dump of it, runs the stages on the first dump, and
then on the later one twice: as a refresh of the first, and from nothing in another data root. Each of these runs in a
process of its own, whose start-up is not counted. The figures and what they mean are in benchmarks/README.md.
"""

import argparse
import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from jgpt_dagster.corpus.segmenters.base import Segmenter
from jgpt_dagster.corpus.segmenters.mecab import MecabSegmenter
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.orchestration.resources import SegmenterResource
from jgpt_dagster.runtime.progress import add_listener
from jgpt_dagster.sample.pack import DATES, Page, read_pages, write_dump
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.data_root import shard_names

WIKI = "benchmarkwiki"
DUMP, LATER_DUMP = "20260101", "20260120"
TEXT_STAGES = ("wikipedia_articles", "wikipedia_segmented", "wikipedia_tokens")
# Sentences a second of Juman++ 2 on one core, near the lower end of what was measured on real sentences.
JUMANPP_RATE = 3500
GOALS = {"mecab": 0.35, "as slow as Juman++": 0.15}

_PAGE_BYTES = 3000
# Not in character references, hexadecimal colours and names.
_NUMBER = re.compile(r"(?<![#&\w])[0-9]+")


class PacedMecab(MecabSegmenter):
    """MeCab's words, in as much CPU time as an engine of a given speed takes."""

    def __init__(self, sentences_a_second: float) -> None:
        super().__init__()
        self._rate = sentences_a_second

    @property
    def fingerprint(self) -> str:
        return f"{super().fingerprint} at {self._rate:g} sentences/s"

    def segment_joined(self, lines: Sequence[str]) -> list[str]:
        until = time.process_time() + len(lines) / self._rate
        words = super().segment_joined(lines)
        while time.process_time() < until:
            pass
        return words


class PacedEngine(SegmenterResource):
    """The resource that opens a `PacedMecab`."""

    sentences_a_second: float

    def open(self) -> Segmenter:
        return PacedMecab(self.sentences_a_second)


def pages(articles: int, paragraphs: Sequence[str]) -> Iterator[Page]:
    """Yield articles of some 3 KB each: paragraphs drawn for each page, with numbers of its own."""
    for number in range(1, articles + 1):
        text = _text(f"{number}", paragraphs)
        yield Page(f"第{number}の記事", number, 10 * number, f"'''第{number}の記事'''は記事である。\n\n{text}")


def later_pages(articles: int, paragraphs: Sequence[str]) -> Iterator[Page]:
    """Yield the same wiki with a paragraph added to every 20th article; of every 500, one is deleted and one is new."""
    deleted = articles // 500
    for page in pages(articles + deleted, paragraphs):
        if page.id % 500 == 0 and page.id <= articles:
            continue
        if page.id % 20 == 0:
            added = _NUMBER.sub("2026", paragraphs[page.id % len(paragraphs)])
            page = replace(page, revision_id=page.revision_id + 1, text=f"{page.text}\n\n{added}")
        yield page


def sample_paragraphs() -> list[str]:
    """Return the paragraphs of all articles of the embedded sample."""
    articles = [page for page in read_pages(DATES[-1]) if page.ns == 0 and not page.redirect]
    return [part for page in articles for part in page.text.split("\n\n") if len(part) > 40]


def _text(seed: str, paragraphs: Sequence[str]) -> str:
    draw = random.Random(seed)
    parts: list[str] = []
    while sum(len(part.encode()) for part in parts) < _PAGE_BYTES:
        parts.append(draw.choice(paragraphs))
    return _NUMBER.sub(lambda number: str(draw.randrange(10 ** len(number[0]))), "\n\n".join(parts))


@dataclass(frozen=True)
class Bench:
    """One data root, and the speed of its engine: 0 is as fast as the default engine is."""

    data: Path
    mirror: Path
    shards: int
    sentences_a_second: float = 0

    def settings(self) -> Settings:
        """Return the settings of the data root."""
        return Settings(
            data=self.data,
            scratch=None,
            wiki=WIKI,
            dumps_url=self.mirror.as_uri(),
            cc100_url="",
            shards=self.shards,
            segmenter="mecab",
            text="clean",
        )

    def run(self, dump: str, *assets: str, shards: Sequence[str] | None = None, **config: Any) -> dict[str, float]:
        """Materialize assets of a dump, by default all shards, in a process of its own; return the CPU seconds."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            wanted = shard_names(self.shards) if shards is None else shards
            return process.submit(_materialize, self, dump, assets, wanted, config).result()

    def made_rows(self, dump: str) -> dict[str, int]:
        """Return how many rows each text stage made, and did not reuse."""
        catalog = self.settings().catalog
        (wikipedia,) = catalog.corpora
        return {
            asset: sum(shard.run_record()["made_rows"] for shard in catalog.all_shards(wikipedia, asset, dump))
            for asset in TEXT_STAGES
        }

    def outputs(self, dump: str) -> dict[str, bytes]:
        """Return the content of every file of the text stages but the records of runs and checks, which have times."""
        paths = (path for asset in TEXT_STAGES for path in (self.data / asset / f"dump={dump}").rglob("*"))
        return {
            str(path.relative_to(self.data)): path.read_bytes()
            for path in paths
            if path.is_file() and not path.name.endswith(("run.json", "checks.json"))
        }


def _materialize(
    bench: Bench, dump: str, assets: Sequence[str], shards: Sequence[str], config: Mapping[str, Any]
) -> dict[str, float]:
    add_listener(lambda event: None)  # else the stages' own lines come between those of the table
    settings = bench.settings()
    engine = PacedEngine(engine="mecab", sentences_a_second=bench.sentences_a_second)
    definitions = build_definitions(settings, {"segmenter": engine} if bench.sentences_a_second else None)
    job = definitions.resolve_implicit_global_asset_job_def()
    seconds = {}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("dump", sorted({DUMP, LATER_DUMP, dump}))
        for asset in assets:
            keys: list[str | None] = [f"{dump}|{shard}" for shard in shards]
            if asset not in TEXT_STAGES:
                keys = [None if asset == "tokenizer" else dump]
            before = _cpu_seconds()
            for key in keys:
                job.execute_in_process(
                    instance=instance,
                    asset_selection=[dg.AssetKey(asset)],
                    partition_key=key,
                    run_config={
                        "ops": {asset: {"config": dict(config)}},
                        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                    },
                )
            seconds[asset] = _cpu_seconds() - before
    return seconds


def _cpu_seconds() -> float:
    """Return the user and system time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def compare(engine: str, refreshed: Bench, rebuilt: Bench) -> float:
    """Measure both ways to the later dump, print a line for each stage, and return the ratio of the sums.

    Exits with an error where the outputs differ.
    """
    for asset, partition in (("wikipedia_dump", DUMP), ("wikipedia_dump", LATER_DUMP)):
        refreshed.run(partition, asset)
    refreshed.run(DUMP, *TEXT_STAGES[:2])
    refreshed.run(DUMP, "tokenizer", vocab_size=8000)
    refreshed.run(DUMP, TEXT_STAGES[2])
    for shared in (f"wikipedia_dump/dump={LATER_DUMP}", "tokenizer"):
        shutil.copytree(refreshed.data / shared, rebuilt.data / shared, copy_function=os.link)
    full, refresh = rebuilt.run(LATER_DUMP, *TEXT_STAGES), refreshed.run(LATER_DUMP, *TEXT_STAGES)
    if refreshed.outputs(LATER_DUMP) != rebuilt.outputs(LATER_DUMP):
        sys.exit("the refreshed files are not those of the rebuild")
    made, all_rows = refreshed.made_rows(LATER_DUMP), rebuilt.made_rows(LATER_DUMP)
    for asset in TEXT_STAGES:
        _line(engine, asset, all_rows[asset], made[asset], full[asset], refresh[asset])
    ratio = sum(refresh.values()) / sum(full.values())
    print(f"{engine}: refresh / full = {ratio:.3f} (goal: at most {GOALS[engine]})", flush=True)
    return ratio


def _line(engine: str, asset: str, rows: int, made: int, full: float, refresh: float) -> None:
    print(f"{engine:<20} {asset:<20} {rows:>9,} {made:>7,} {full:>9.2f} {refresh:>9.2f} {refresh / full:>7.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what a refresh costs beside a full rebuild.")
    parser.add_argument("--articles", type=int, default=20_000)
    # Of the 64 of a real jawiki, each has 22,000 articles.
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where to work; by default a temporary directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        work = Path(folder)
        paragraphs = sample_paragraphs()
        write_dump(work / "mirror", WIKI, DUMP, pages(options.articles, paragraphs))
        write_dump(work / "mirror", WIKI, LATER_DUMP, later_pages(options.articles, paragraphs))
        print(f"{'engine':<20} {'stage':<20} {'rows':>9} {'made':>7} {'full s':>9} {'refresh s':>9} {'ratio':>7}")
        met = True
        for engine, rate in zip(GOALS, (0, JUMANPP_RATE), strict=True):
            roots = [Bench(work / f"{name}-{rate}", work / "mirror", options.shards, rate) for name in ("a", "b")]
            met &= compare(engine, *roots) <= GOALS[engine]
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
