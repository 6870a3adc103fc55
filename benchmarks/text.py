"""Speed of the text stages beside the published recipe: CPU time of whole process trees, on the same input.

    python benchmarks/text.py

Every line of the table is a pair: the recipe's commands (`text_recipe.py`) and the stages' own functions with their
Parquet files, manifests and hashes, each in a process of its own, start-up included, one after the other in each round.
The figures and what they mean are in benchmarks/README.md.
"""

import argparse
import bz2
import lzma
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from text_recipe import cc100_commands, sentence_commands, wikipedia_commands

from jgpt_dagster.corpus.left_out.ledger import LedgerWriter
from jgpt_dagster.corpus.schemas import ARTICLES, ARTICLES_SEGMENTED, DOCUMENTS, DOCUMENTS_SEGMENTED
from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.segmenters.base import Segmenter
from jgpt_dagster.corpus.text.segment import SegmentCounts, segment_documents
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.corpus.web.cc100 import read_documents
from jgpt_dagster.corpus.wikipedia.articles import ArticleTotals, PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.multistream import read_range, read_siteinfo, split_dump
from jgpt_dagster.corpus.wikipedia.page_xml import parse_pages
from jgpt_dagster.corpus.wikipedia.xml_cache import cached_xml_name, decompress_and_cache, read_cached_xml
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.corpus.wikitext.template_store import collect_templates, open_templates
from jgpt_dagster.storage.manifest import ACCOUNT, Recipe
from jgpt_dagster.storage.parquet import read_rows, sidecar_path, write_rows

if TYPE_CHECKING:
    from jgpt_dagster.sample.dump_writer import Page

WIKI, DATE = "benchmarkwiki", "20260101"
_RECIPE = Recipe(stage="benchmark", code_version="1")


@dataclass(frozen=True)
class Comparison:
    """One line of the table: what is made, under which profile, and the share of the recipe's time that is the goal."""

    source: Literal["bz2", "xz"]
    words: bool
    profile: TextProfile
    goal: float

    @property
    def name(self) -> str:
        return f"{self.source} to {'words' if self.words else 'sentences'}, {self.profile}"


COMPARISONS = (
    Comparison("bz2", False, "seed", 0.45),
    Comparison("bz2", False, "clean", 0.6),
    Comparison("bz2", True, "seed", 0.55),
    Comparison("bz2", True, "clean", 0.55),
    Comparison("xz", False, "seed", 0.3),
    Comparison("xz", False, "clean", 0.3),
    Comparison("xz", True, "seed", 0.7),
    Comparison("xz", True, "clean", 0.7),
)


@dataclass(frozen=True)
class Inputs:
    """The files that both sides read."""

    dump: Path
    archive: Path


# ---- input -------------------------------------------------------------------------------------------------------


def make_inputs(folder: Path, data: Path | None, megabytes: float) -> Inputs:
    """Write a dump and an archive of about `megabytes` of text each: the source's pages and documents, repeated."""
    from jgpt_dagster.sample.dump_writer import (
        write_dump,  # here, since each process that is measured loads this module
    )

    pages, text = sample(folder, data)
    write_dump(folder, WIKI, DATE, repeated(pages, megabytes * 1e6))
    archive = folder / "ja.txt.xz"
    with lzma.open(archive, "wb", preset=1) as out:
        for _ in range(max(1, round(megabytes * 1e6 / len(text)))):
            out.write(text)
    return Inputs(next((folder / WIKI / DATE).glob("*multistream.xml.bz2")), archive)


def sample(folder: Path, data: Path | None) -> tuple[list["Page"], bytes]:
    """Return the pages and the text to repeat: those of a real excerpt in `data`, or else the embedded ones."""
    from jgpt_dagster.sample.dump_writer import Page
    from jgpt_dagster.sample.pack import DATES, read_pages, write_mirror

    if data is None:
        write_mirror(folder / "sample")
        return read_pages(DATES[-1]), lzma.decompress((folder / "sample/cc-100/ja.txt.xz").read_bytes())
    with bz2.open(data / "wiki/jawiki-20250801-excerpt-single-stream.xml.bz2") as stream:
        pages = [
            Page(page.title, page.page_id, page.revision_id, page.text, page.namespace or 0)
            for page in parse_pages(iter(lambda: stream.read(1 << 20), b""))
            if page.page_id and page.revision_id and page.text is not None
        ]
    archives = sorted((data / "cc100").glob("*.txt.xz"))
    return pages, b"\n".join(lzma.decompress(archive.read_bytes()) for archive in archives)


def repeated(pages: Sequence["Page"], size: float) -> Iterator["Page"]:
    """Yield the pages again and again, with ids of their own, until there are `size` bytes of wikitext."""
    written, number = 0, 0
    while written < size:
        for page in pages:
            number += 1
            written += len(page.text.encode())
            yield replace(page, id=number, revision_id=number)


# ---- our side ----------------------------------------------------------------------------------------------------


class WholeSentences:
    """In the place of an engine: leaves each sentence whole."""

    fingerprint, fallbacks = "none", 0

    def segment_joined(self, lines: Sequence[str]) -> list[str]:
        return [*lines]


def run_stages(inputs: Inputs, folder: Path, source: str, words: bool, profile: TextProfile) -> None:
    """Make `segmented.parquet` in `folder`, by way of the file of the stage before, as the assets do."""
    first, second = folder / "first.parquet", folder / "segmented.parquet"
    if source == "bz2":
        _write_articles(inputs.dump, first, profile)
        segmented_schema = ARTICLES_SEGMENTED
    else:
        rejected: list[dict[str, Any]] = []
        write_rows(first, DOCUMENTS, read_documents(inputs.archive, rejected), _RECIPE, dict)
        segmented_schema = DOCUMENTS_SEGMENTED
    engine: Any = open_segmenter("mecab") if words else WholeSentences()
    counts = SegmentCounts()
    rows = segmented(read_rows(first), profile, engine, counts)
    write_rows(second, segmented_schema, rows, _RECIPE, lambda: asdict(counts))


def _write_articles(dump: Path, path: Path, profile: TextProfile) -> None:
    index = next(dump.parent.glob("*index.txt.bz2"))
    plan = split_dump(dump, index, 1)
    site = read_siteinfo(dump, plan)
    library, chunks = None, read_range(dump, plan.shards[0])
    if profile == "seed":
        collect_templates(decompress_and_cache(dump, plan, path.parent), site, path.parent)
        library = open_templates(path.parent, site)
        chunks = read_cached_xml(path.parent / cached_xml_name(0))
    counts, totals, rejected = PageCounts(), ArticleTotals(), list[dict[str, Any]]()
    if profile == "seed":
        rows = read_articles(chunks, article_cleaner(profile, site, library), counts, rejected)
        write_rows(path, ARTICLES, totals.count(rows), _RECIPE, lambda: asdict(counts) | asdict(totals))
        return
    account = sidecar_path(path, ACCOUNT)
    with LedgerWriter.open(account, _RECIPE) as ledger:
        rows = read_articles(chunks, article_cleaner(profile, site, report=ledger.report), counts, rejected)
        write_rows(
            path,
            ARTICLES,
            totals.count(rows),
            _RECIPE,
            lambda: {**asdict(counts), **asdict(totals), "account": ledger.counts()},
            account=ledger.finish,
        )


def segmented(
    rows: Iterator[tuple[Any, ...]], profile: TextProfile, engine: Segmenter, counts: SegmentCounts
) -> Iterator[tuple[Any, ...]]:
    """Yield rows with their lines segmented, and count them."""
    waiting: deque[tuple[Any, ...]] = deque()

    def documents() -> Iterator[list[str]]:
        for row in rows:
            waiting.append(row)
            yield row[-1]

    for result in segment_documents(documents(), profile, engine):
        *key, lines = waiting.popleft()
        counts.add(lines, result)
        yield (*key, result)


# ---- measuring ---------------------------------------------------------------------------------------------------


def measure(command: Sequence[str], folder: Path) -> float:
    """Run a command in a new folder, its output to `log` there; return the CPU seconds of its whole tree.

    Exits with the output where it fails.
    """
    folder.mkdir()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command}: exit code {process.returncode}\n{(folder / 'log').read_text()[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def recipe_command(inputs: Inputs, source: str, words: bool) -> list[str]:
    """Return the recipe's command for one comparison."""
    if source == "bz2":
        script = f"{wikipedia_commands(inputs.dump, 1)}\n{sentence_commands('wiki.txt', words)}"
    else:
        script = f"{cc100_commands(inputs.archive)}\n{sentence_commands('cc100.txt', words)}"
    return ["bash", "-c", script]


def stage_command(inputs: Inputs, source: str, words: bool, profile: str) -> list[str]:
    """Return the command that runs `run_stages`."""
    made = "words" if words else "sentences"
    return [sys.executable, __file__, "--stages", source, made, profile, str(inputs.dump), str(inputs.archive)]


def compare(inputs: Inputs, work: Path, rounds: int) -> bool:
    """Measure all comparisons in turn, round after round; print the table of medians; return whether goals are met."""
    recipe: dict[tuple[str, bool], list[float]] = {}
    ours: dict[Comparison, list[float]] = {}
    number = 0

    def taken(command: list[str]) -> float:
        nonlocal number
        number += 1
        with tempfile.TemporaryDirectory(dir=work) as folder:
            return measure(command, Path(folder) / "run")

    for round_number in range(rounds):
        for comparison in COMPARISONS:
            source, words = comparison.source, comparison.words
            if len(recipe.setdefault((source, words), [])) == round_number:
                recipe[source, words].append(taken(recipe_command(inputs, source, words)))
            ours.setdefault(comparison, []).append(taken(stage_command(inputs, source, words, comparison.profile)))
    print("| from, to, profile | recipe, CPU s | stages, CPU s | ratio | goal |\n|---|---:|---:|---:|---:|")
    met = True
    for comparison, seconds in ours.items():
        theirs = recipe[comparison.source, comparison.words]
        ratio = statistics.median(mine / other for mine, other in zip(seconds, theirs, strict=True))
        met &= ratio <= comparison.goal
        print(
            f"| {comparison.name} | {statistics.median(theirs):.2f} | {statistics.median(seconds):.2f} "
            f"| **{ratio:.2f}** | {comparison.goal} |"
        )
    return met


def compare_processes(inputs: Inputs, work: Path, rounds: int) -> None:
    """Print how much more two processes do in the time of one: each makes words from the same dump."""
    command = stage_command(inputs, "bz2", True, "clean")

    def seconds(processes: int) -> float:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            started = time.monotonic()
            running = []
            for number in range(processes):
                place = Path(folder) / str(number)
                place.mkdir()
                running.append(subprocess.Popen(command, cwd=place))
            codes = [process.wait() for process in running]  # all of them, or the folder goes too early
            if any(codes):
                sys.exit("a process failed")
            return time.monotonic() - started

    rates = [2 * seconds(1) / seconds(2) for _ in range(rounds)]
    print(f"two processes do {statistics.median(rates):.2f} times the work of one in the same time")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the text stages beside the published recipe.")
    parser.add_argument("--megabytes", type=float, default=40, help="size of each input, uncompressed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder of a real excerpt (default: the embedded sample)")
    parser.add_argument("--processes", action="store_true", help="compare two processes with one instead")
    parser.add_argument("--stages", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stages:
        source, made, profile, dump, archive = options.stages
        run_stages(Inputs(Path(dump), Path(archive)), Path.cwd(), source, made == "words", profile)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        inputs = make_inputs(work / "input", options.data, options.megabytes)
        if options.processes:
            compare_processes(inputs, work, options.rounds)
            return 0
        return 0 if compare(inputs, work, options.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
