"""What the filters and the deduplication of `cc100_documents` cost, and how well they find what was planted.

Speed: the pass from xz to Parquet over made documents, in processes of their own: without the selection of `clean`,
with it, and with a worker process for it. A document is some lines of the source with a character in fifty changed, so
that few are alike. Quality: pairs of documents of a known Jaccard similarity, and unrelated ones.
"""

import argparse
import lzma
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.schemas import DOCUMENTS
from jgpt_dagster.corpus.web.cc100 import read_documents
from jgpt_dagster.corpus.web.deduplication import DeduplicationSettings, Deduplicator
from jgpt_dagster.corpus.web.document_selection import SelectionSettings, ShardCounts, select_documents
from jgpt_dagster.runtime.worker_pool import map_in_process, map_in_worker_pool
from jgpt_dagster.sample.pack import write_mirror
from jgpt_dagster.storage.disk_hash_set import DiskHashSet
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import write_rows

# CC-100 ja has 75 GB in 66 million documents.
_DOCUMENT_BYTES = 1_140
_RECIPE = Recipe(stage="benchmark", code_version="1")


def source_documents(folder: Path, data: Path | None) -> list[list[str]]:
    """Return the documents of the real excerpt, or of the embedded sample."""
    if data is None:
        write_mirror(folder / "sample")
        return [lines for _, lines in read_documents(folder / "sample/cc-100/ja.txt.xz", [])]
    return [lines for _, lines in read_documents(data / "cc100/ja-cc100sample.txt.xz", [])]


def made_documents(source: Sequence[Sequence[str]], size: float, chooser: random.Random) -> Iterator[list[str]]:
    """Yield documents of CC-100's mean size until they have `size` bytes."""
    lines = [line for document in source for line in document]
    letters = "".join(lines)
    written = 0
    while written < size:
        document: list[str] = []
        length = chooser.expovariate(1 / _DOCUMENT_BYTES)
        while sum(map(len, document)) * 3 < length:
            line = list(chooser.choice(lines))
            for place in chooser.sample(range(len(line)), -(-len(line) // 50)):
                line[place] = chooser.choice(letters)
            document.append("".join(line))
        if document:
            written += len("\n".join(document).encode())
            yield document


# ---- speed -------------------------------------------------------------------------------------------------------


PASSES = {"seed: all kept": None, "clean": 0, "clean, one worker": 1}
"""How many workers select the documents; None: nobody does."""


def run_pass(archive: Path, folder: Path, workers: int | None) -> None:
    """Write one shard of the archive's documents, as the asset does; print how many were kept, and its own CPU time."""
    rejected: list[dict[str, Any]] = []
    rows = read_documents(archive, rejected)
    with (
        DiskHashSet(folder) as seen,
        map_in_worker_pool(workers) if workers else nullcontext(map_in_process) as ordered_map,
    ):
        if workers is not None:
            rows = select_documents(rows, SelectionSettings(), seen, {0: ShardCounts()}, 1, ordered_map)
        manifest = write_rows(folder / "documents.parquet", DOCUMENTS, rows, _RECIPE, dict)
        print(manifest.counts["rows"], seen.disk_bytes, time.process_time())


@dataclass(frozen=True)
class Pass:
    """What one pass took."""

    cpu: float
    own_cpu: float
    seconds: float
    resident: int
    kept: int
    index_bytes: int


def measured_pass(archive: Path, work: Path, name: str) -> Pass:
    with tempfile.TemporaryDirectory(dir=work) as folder:
        command = [sys.executable, __file__, "--pass", str(archive), folder, name]
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"the pass failed with {process.returncode}")
        kept, index_bytes, own_cpu = output.split()
        cpu, seconds = usage.ru_utime + usage.ru_stime, time.monotonic() - started
        return Pass(cpu, float(own_cpu), seconds, usage.ru_maxrss * 1024, int(kept), int(index_bytes))


def compare_passes(source: Sequence[Sequence[str]], work: Path, megabytes: float, rounds: int) -> None:
    archive, documents, size = work / "made.txt.xz", 0, 0
    with lzma.open(archive, "wb", preset=1) as out:
        for document in made_documents(source, megabytes * 1e6, random.Random(1)):
            text = ("\n".join(document) + "\n\n").encode()
            out.write(text)
            documents += 1
            size += len(text)
    print(f"{documents:,} documents, {size / 1e6:,.0f} MB")
    print("| pass | CPU s | of the one process | s | documents/CPU s | resident MB | index MB | kept |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    passes: dict[str, list[Pass]] = {name: [] for name in PASSES}
    for _ in range(rounds):
        for name, taken in passes.items():
            taken.append(measured_pass(archive, work, name))
    for name, taken in passes.items():
        best = min(taken, key=lambda one: one.cpu)
        figures = (
            f"{best.cpu:.1f}",
            f"{best.own_cpu:.1f}",
            f"{best.seconds:.1f}",
            f"{documents / best.cpu:,.0f}",
            f"{best.resident / 1e6:.0f}",
            f"{best.index_bytes / 1e6:.0f}",
            f"{best.kept:,}",
        )
        print(f"| {name} | {' | '.join(figures)} |")


def time_parts(source: Sequence[Sequence[str]], work: Path, megabytes: float) -> None:
    """Print what the parts of the selection take of a document, one after the other in this process."""
    documents = list(enumerate(made_documents(source, megabytes * 1e6, random.Random(2))))
    settings = {
        "filters": SelectionSettings(near_duplicates=False, duplicate_paragraphs=False),
        "filters, near duplicates": SelectionSettings(duplicate_paragraphs=False),
        "filters, near duplicates, paragraphs": SelectionSettings(),
    }
    print("| selection | µs a document |\n|---|---:|")
    for name, selection in settings.items():
        with DiskHashSet(work) as seen:
            started = time.process_time()
            for _ in select_documents(documents, selection, seen, {}, 1):
                pass
        print(f"| {name} | {(time.process_time() - started) / len(documents) * 1e6:.0f} |")


# ---- quality -----------------------------------------------------------------------------------------------------


def likeness(first: str, second: str) -> float:
    """Return the Jaccard similarity of the sets of character 5-grams."""
    one, other = ({text[start : start + 5] for start in range(len(text) - 4)} for text in (first, second))
    return len(one & other) / len(one | other)


def find_planted(source: Sequence[Sequence[str]], work: Path) -> None:
    """Print how many near duplicates of each likeness are found, beside what the formula says."""
    texts = [text for text in ("\n".join(lines) for lines in source) if 300 <= len(text) <= 2000][:200]
    chooser = random.Random(3)
    print("| Jaccard similarity | pairs | found | by the formula |\n|---|---:|---:|---:|")
    for low in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        pairs, found, expected = 0, 0, 0.0
        with DiskHashSet(work) as seen:
            deduplicator = Deduplicator(DeduplicationSettings(duplicate_paragraphs=False), seen)
            for text in texts:
                deduplicator.deduplicate([text], 0)
            for text in texts:
                copy, alike = text, 1.0
                width = len(text) // 40  # what one edit replaces: less than a tenth of the likeness
                while alike >= low + 0.1:
                    place = chooser.randrange(len(copy) - width)
                    copy = copy[:place] + chooser.choice(texts)[:width] + copy[place + width :]
                    alike = likeness(text, copy)
                if alike < low:
                    continue
                pairs += 1
                found += deduplicator.deduplicate([copy], 0)[2] is not None
                expected += 1 - (1 - alike**8) ** 14
        print(f"| {low:.1f} to {low + 0.1:.1f} | {pairs} | {found / pairs:.3f} | {expected / pairs:.3f} |")
    with DiskHashSet(work) as seen:
        deduplicator = Deduplicator(DeduplicationSettings(duplicate_paragraphs=False), seen)
        wrong = sum(deduplicator.deduplicate(lines, 0)[2] is not None for lines in source)
    print(f"{wrong} of {len(source)} different documents of the source taken for near duplicates")


def account(source: Sequence[Sequence[str]], work: Path) -> None:
    """Print what goes of the source for which reason."""
    tally = ShardCounts()
    with DiskHashSet(work) as seen:
        for _, lines in select_documents(enumerate(map(list, source)), SelectionSettings(), seen, {0: tally}, 1):
            tally.keep(lines)
    print({"documents": len(source), **tally.counts()})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=60, help="size of the made archive, uncompressed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder of a real excerpt (default: the embedded sample)")
    parser.add_argument("--pass", nargs=3, dest="one_pass", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_pass:
        archive, folder, name = options.one_pass
        run_pass(Path(archive), Path(folder), PASSES[name])
        return 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source = source_documents(work, options.data)
        account(source, work)
        find_planted(source, work)
        time_parts(source, work, options.megabytes / 6)
        compare_passes(source, work, options.megabytes, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
