"""What a takedown costs, as a share of a full rebuild: CPU time of the text stages with one page excluded.

    python benchmarks/takedown.py --articles 20000
    python benchmarks/takedown.py --mirror DIRECTORY --wiki jawiki --dump 20250801

Runs the text stages on a dump, of a made-up wiki or of a mirror that is here, and excludes a page; or, with
`--every-shard`, one of every shard, the worst case. Then it asks which shards are stale and runs the stages on these,
and from nothing in another data root with the same tokenizer and list. It ends with an error where the files differ.
Each of these runs in a process of its own, whose start-up is not counted. The figures are in benchmarks/README.md.
"""

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from refresh import DUMP, TEXT_STAGES, WIKI, Bench, pages, sample_paragraphs

from jgpt_dagster.catalog.status import DeploymentStatus
from jgpt_dagster.cli.code_versions import installed_code_versions
from jgpt_dagster.corpus.exclusions.exclusion_list import FILE, Kind, read_list, write_list
from jgpt_dagster.sample.pack import write_dump
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.parquet import read_rows

GOAL = 0.25


@dataclass(frozen=True)
class TakedownBench(Bench):
    """A data root for the dumps of any wiki."""

    wiki: str = WIKI
    dump: str = DUMP
    text: str = "clean"

    def settings(self) -> Settings:
        """Return the settings of the data root."""
        return super().settings().model_copy(update={"wiki": self.wiki, "text": self.text})


def first_pages(bench: TakedownBench, phrase: bool) -> list[tuple[Kind, str]]:
    """Return an entry for the first page of each shard: its id, or the beginning of its longest line."""
    catalog = bench.settings().catalog
    (wikipedia,) = catalog.corpora
    entries: list[tuple[Kind, str]] = []
    for shard in catalog.all_shards(wikipedia, TEXT_STAGES[0], bench.dump):
        page, lines = next(read_rows(shard.path, ["page_id", "lines"]), (None, []))
        if page is not None:
            entries.append(("phrase", max(lines, key=len)[:80]) if phrase else ("page", str(page)))
    return entries


def stale_shards(bench: TakedownBench) -> list[str]:
    """Return the shards whose text holds what is excluded, as `jgpt status` finds them."""
    settings = bench.settings()
    status = DeploymentStatus(settings.catalog, installed_code_versions(settings.corpora), settings.segmenter)
    reasons = status.reasons(bench.dump)
    return [each.partition.partition("|")[2] for each, why in reasons.items() if why and each.asset == TEXT_STAGES[0]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what a takedown costs beside a full rebuild.")
    parser.add_argument("--articles", type=int, default=20_000)
    parser.add_argument("--mirror", type=Path, help="a mirror that is here, in place of a made-up wiki")
    parser.add_argument("--wiki", default=WIKI)
    parser.add_argument("--dump", default=DUMP)
    parser.add_argument("--text", default="clean", choices=["clean", "seed"])
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--every-shard", action="store_true", help="exclude a page of every shard")
    parser.add_argument("--phrases", action="store_true", help="exclude passages in place of page ids")
    parser.add_argument("--directory", type=Path, help="where to work; by default a temporary directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        work = Path(folder)
        mirror = options.mirror or work / "mirror"
        if options.mirror is None:
            write_dump(mirror, options.wiki, options.dump, pages(options.articles, sample_paragraphs()))
        taken, rebuilt = (
            TakedownBench(work / name, mirror, options.shards, 0, options.wiki, options.dump, options.text)
            for name in ("taken", "rebuilt")
        )
        taken.run(options.dump, "wikipedia_dump")
        taken.run(options.dump, *TEXT_STAGES[:2])
        taken.run(options.dump, "tokenizer", vocab_size=8000)
        taken.run(options.dump, TEXT_STAGES[2])
        entries = first_pages(taken, options.phrases)
        chosen = entries if options.every_shard else entries[:1]
        exclusions = read_list(taken.data).with_added(chosen, "measured", "2026-01-01")
        write_list(taken.settings().root, exclusions)
        for shared in (f"wikipedia_dump/dump={options.dump}", "tokenizer"):
            shutil.copytree(taken.data / shared, rebuilt.data / shared)
        shutil.copy(taken.data / FILE, rebuilt.data / FILE)
        full = rebuilt.run(options.dump, *TEXT_STAGES)
        before = time.process_time()
        shards = stale_shards(taken)
        looked = time.process_time() - before
        takedown = taken.run(options.dump, *TEXT_STAGES, shards=shards)
        found, expected = (bench.outputs(options.dump) for bench in (taken, rebuilt))
        if differing := sorted(name for name in found | expected if found.get(name) != expected.get(name)):
            sys.exit(f"the files are not those of the rebuild: {', '.join(differing)}")
    print(f"{'stage':<20} {'full s':>9} {'takedown s':>11} {'ratio':>7}")
    for stage in TEXT_STAGES:
        print(f"{stage:<20} {full[stage]:>9.2f} {takedown[stage]:>11.2f} {takedown[stage] / full[stage]:>7.3f}")
    print(f"{'looking for them':<20} {'':>9} {looked:>11.2f}")
    ratio = (looked + sum(takedown.values())) / sum(full.values())
    hit = f"{len(shards)} of {options.shards} shards"
    print(f"{hit}: takedown / full = {ratio:.3f} (goal: at most {GOAL})")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
