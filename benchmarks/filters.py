"""What the filters and the deduplication of `cc100_documents` cost, and how well they find what was planted.

Speed: the way from xz to Parquet of made documents, in processes of their own: without the selection of `clean`, with
it, and with two worker processes for it. A document is some lines of the source with a character in fifty changed, so
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
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jgpt_dagster.corpus.duplicates.decisions import decide
from jgpt_dagster.corpus.duplicates.explanations import EXPLANATIONS
from jgpt_dagster.corpus.duplicates.signatures import SIGNATURES, signature_row
from jgpt_dagster.corpus.duplicates.similarity import KeptTexts
from jgpt_dagster.corpus.duplicates.sketches import DeduplicationSettings
from jgpt_dagster.corpus.schemas import DOCUMENTS
from jgpt_dagster.corpus.web.cc100 import DocumentRow, read_documents, shard_of
from jgpt_dagster.corpus.web.document_selection import (
    SelectionSettings,
    ShardCounts,
    document_batches,
    select_documents,
    sign_documents,
)
from jgpt_dagster.runtime.read_ahead import read_ahead
from jgpt_dagster.runtime.worker_pool import map_in_process, map_in_worker_pool
from jgpt_dagster.sample.pack import write_mirror
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import RowWriter, write_rows
from jgpt_dagster.storage.scratch_directory import scratch_directory

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


PASSES = {"seed: all kept": None, "clean": 0, "clean, two processes": 2}
"""How many workers select the documents; None: nobody does."""

_SHARDS = 8


def select_archive(archive: Path, folder: Path, shards: int, workers: int) -> tuple[dict[int, ShardCounts], int]:
    """Write the selected documents of an archive to shards in a folder, as the asset does.

    Return the counts of the shards, and how many documents were rejected.
    """
    rejected: list[dict[str, Any]] = []
    counts = {number: ShardCounts() for number in range(shards)}

    def write_all(name: str, schema: Any, rows: Iterator[Any], **options: Any) -> list[Path]:
        paths = [folder / name / f"{number:03d}.parquet" for number in range(shards)]
        with ExitStack() as files:
            writers = [files.enter_context(RowWriter.open(path, schema, _RECIPE, dict, **options)) for path in paths]
            for row in rows:
                writers[shard_of(row[0], shards)].append(row)
        return paths

    def counted(rows: Iterator[DocumentRow]) -> Iterator[DocumentRow]:
        for row in rows:
            counts[shard_of(row[0], shards)].keep(row[1])
            yield row

    with ExitStack() as steps:
        ordered_map = steps.enter_context(map_in_worker_pool(workers)) if workers else map_in_process
        scratch = steps.enter_context(scratch_directory(folder, "the benchmark"))
        signed = sign_documents(read_documents(archive, rejected), SelectionSettings(), ordered_map)
        tables = write_all("signatures", SIGNATURES, signed, dictionaries=False)
        keys = sum(pq.read_metadata(table).num_rows for table in tables) + len(rejected)
        decisions = decide(tables, scratch, keys=keys, bands=14, minimum_characters=50, ordered_map=ordered_map)
        again: Iterator[DocumentRow] = read_documents(archive, [])
        if workers:
            again = chain.from_iterable(steps.enter_context(closing(read_ahead(document_batches(again), 8))))
        explanations = RowWriter.open(folder / "explanations.parquet", EXPLANATIONS, _RECIPE, dict)
        explain = steps.enter_context(explanations).append
        texts = steps.enter_context(KeptTexts(scratch, decisions.wanted))
        write_all("documents", DOCUMENTS, counted(select_documents(again, decisions, texts, counts, shards, explain)))
    return counts, len(rejected)


def run_pass(archive: Path, folder: Path, workers: int | None) -> None:
    """Write the archive's documents, as the asset does; print how many were kept, and its own CPU time."""
    if workers is None:
        manifest = write_rows(folder / "documents.parquet", DOCUMENTS, read_documents(archive, []), _RECIPE, dict)
        print(manifest.counts["rows"], 0, time.process_time())
        return
    select_archive(archive, folder, _SHARDS, workers)
    documents, signatures = ([*(folder / name).iterdir()] for name in ("documents", "signatures"))
    kept = sum(pq.read_metadata(path).num_rows for path in documents)
    print(kept, sum(path.stat().st_size for path in signatures), time.process_time())


@dataclass(frozen=True)
class Pass:
    """What one pass took."""

    cpu: float
    own_cpu: float
    seconds: float
    resident: int
    kept: int
    signature_bytes: int


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
        kept, signature_bytes, own_cpu = output.split()
        cpu, seconds = usage.ru_utime + usage.ru_stime, time.monotonic() - started
        return Pass(cpu, float(own_cpu), seconds, usage.ru_maxrss * 1024, int(kept), int(signature_bytes))


def compare_passes(source: Sequence[Sequence[str]], work: Path, megabytes: float, rounds: int) -> None:
    archive, documents, size = work / "made.txt.xz", 0, 0
    with lzma.open(archive, "wb", preset=1) as out:
        for document in made_documents(source, megabytes * 1e6, random.Random(1)):
            text = ("\n".join(document) + "\n\n").encode()
            out.write(text)
            documents += 1
            size += len(text)
    print(f"{documents:,} documents, {size / 1e6:,.0f} MB")
    print("| pass | CPU s | of the one process | s | documents/CPU s | resident MB | signatures MB | kept |")
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
            f"{best.signature_bytes / 1e6:.0f}",
            f"{best.kept:,}",
        )
        print(f"| {name} | {' | '.join(figures)} |")


def time_parts(source: Sequence[Sequence[str]], megabytes: float) -> None:
    """Print what the signature of a document takes, without and with its parts."""
    documents = list(enumerate(made_documents(source, megabytes * 1e6, random.Random(2))))
    settings = {
        "filters": SelectionSettings(near_duplicates=False, duplicate_paragraphs=False),
        "filters, near duplicates": SelectionSettings(duplicate_paragraphs=False),
        "filters, near duplicates, paragraphs": SelectionSettings(),
    }
    print("| signature | µs a document |\n|---|---:|")
    for name, selection in settings.items():
        started = time.process_time()
        for _ in sign_documents(documents, selection):
            pass
        print(f"| {name} | {(time.process_time() - started) / len(documents) * 1e6:.0f} |")


# ---- quality -----------------------------------------------------------------------------------------------------


def likeness(first: str, second: str) -> float:
    """Return the Jaccard similarity of the sets of character 5-grams."""
    one, other = ({text[start : start + 5] for start in range(len(text) - 4)} for text in (first, second))
    return len(one & other) / len(one | other)


def dropped(documents: Sequence[Sequence[str]], work: Path) -> int:
    """Return how many documents are near duplicates of earlier ones, whatever their quality."""
    tables = [work / "signatures.parquet"]
    sketches = DeduplicationSettings(duplicate_paragraphs=False).sketches(documents)
    write_rows(tables[0], SIGNATURES, map(signature_row, range(len(documents)), sketches), _RECIPE, dict)
    with scratch_directory(work, "the benchmark") as scratch:
        decisions = decide(
            tables, scratch, keys=len(documents), bands=14, minimum_characters=0, ordered_map=map_in_process
        )
        return sum(1 for _ in decisions)


def find_planted(source: Sequence[Sequence[str]], work: Path) -> None:
    """Print how many near duplicates of each likeness are found, beside what the formula says."""
    texts = [text for text in ("\n".join(lines) for lines in source) if 300 <= len(text) <= 2000][:200]
    chooser = random.Random(3)
    print("| Jaccard similarity | pairs | found | by the formula |\n|---|---:|---:|---:|")
    for low in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        copies, expected = list[str](), 0.0
        for text in texts:
            copy, alike = text, 1.0
            width = len(text) // 40  # what one edit replaces: less than a tenth of the likeness
            while alike >= low + 0.1:
                place = chooser.randrange(len(copy) - width)
                copy = copy[:place] + chooser.choice(texts)[:width] + copy[place + width :]
                alike = likeness(text, copy)
            if alike >= low:
                copies.append(copy)
                expected += 1 - (1 - alike**8) ** 14
        found, pairs = dropped([[text] for text in (*texts, *copies)], work), len(copies)
        print(f"| {low:.1f} to {low + 0.1:.1f} | {pairs} | {found / pairs:.3f} | {expected / pairs:.3f} |")
    print(f"{dropped(source, work)} of {len(source)} different documents of the source taken for near duplicates")


def account(source: Sequence[Sequence[str]], work: Path) -> None:
    """Print what goes of the source for which reason."""
    archive = work / "source.txt.xz"
    archive.write_bytes(lzma.compress("\n\n".join("\n".join(lines) for lines in source).encode()))
    counts, _ = select_archive(archive, work / "account", 1, 0)
    print({"documents": len(source), **counts[0].counts()})


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
        time_parts(source, options.megabytes / 6)
        compare_passes(source, work, options.megabytes, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
