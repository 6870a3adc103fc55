"""What the wrapper of Juman++ costs: its throughput beside that of the bare program behind pipes.

Juman++ is not on the package registry, so a stand-in takes its place: a program with its command line that answers each
line at once, or after as much CPU time as Juman++ takes (3,500 sentences a second). The CPU time of the wrapper's own
process tells its ceiling: how many sentences a second it could pass to an engine that takes no time. The figures are in
benchmarks/README.md.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from text import sample

from jgpt_dagster.corpus.segmenters.base import Segmenter
from jgpt_dagster.corpus.segmenters.jumanpp import JumanppSegmenter
from jgpt_dagster.corpus.text.segment import segment_documents

JUMANPP_RATE = 3500.0

# Words of two characters; a known sentence is answered as the real program does. With a rate, each sentence costs the
# CPU time that the real program needs for it.
_STAND_IN = """#!{python}
import sys, time
if sys.argv[1:] == ["--version"]:
    print("Juman++ Version: 2.0.0-rc4 / stand-in")
    sys.exit()
known = "魅力 が たっぷり と 詰まって いる"
for line in sys.stdin.buffer:
    text = line.decode()[:-1]
    words = known if text == known.replace(" ", "") else " ".join(text[i : i + 2] for i in range(0, len(text), 2))
    until = time.process_time() + {pause}
    while time.process_time() < until:
        pass
    sys.stdout.buffer.write(words.encode() + b"\\n")
    sys.stdout.buffer.flush()
"""


def stand_in(folder: Path, rate: float | None) -> Path:
    """Write a program that answers `rate` sentences a second, or as many as it can."""
    path = folder / ("jumanpp-paced" if rate else "jumanpp-unpaced")
    path.write_text(_STAND_IN.format(python=sys.executable, pause=1 / rate if rate else 0))
    path.chmod(0o755)
    return path


class WholeSentences:
    """In the place of an engine: leaves each sentence whole."""

    fingerprint, fallbacks = "none", 0

    def segment_joined(self, lines: list[str]) -> list[str]:
        return [*lines]


def sentences(folder: Path, count: int) -> list[str]:
    """Return sentences of the embedded sample, repeated."""
    _, text = sample(folder, None)
    engine: Segmenter = WholeSentences()  # type: ignore[assignment]
    documents = segment_documents([text.decode().split("\n")], "clean", engine)
    found = [sentence for document in documents for line in document for sentence in line]
    return (found * (count // len(found) + 1))[:count]


def bare_seconds(program: Path, lines: list[str]) -> float:
    """Return how long the program takes for the lines once it has answered a first one."""
    with subprocess.Popen([program, "--segment"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        text = "".join(f"{line}\n" for line in lines).encode()
        started = time.monotonic()
        process.communicate(text)
        return time.monotonic() - started


def measure(program: Path, lines: list[str]) -> tuple[float, float, float]:
    """Return sentences a second: of the program behind pipes, of the wrapper around it, and the wrapper's ceiling.

    Start-up is left out of all three.
    """
    bare = bare_seconds(program, lines)
    with JumanppSegmenter(str(program)) as segmenter:
        started, own = time.monotonic(), time.process_time()
        segmenter.segment_joined(lines)
        wrapped, own = time.monotonic() - started, time.process_time() - own
        if segmenter.fallbacks:
            sys.exit(f"{segmenter.fallbacks} pieces fell back")
    return len(lines) / bare, len(lines) / wrapped, len(lines) / own


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the wrapper of Juman++ beside the bare program.")
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    met = True
    print("| stand-in | bare, sentences/s | wrapped | ratio | ceiling |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = sentences(folder, options.sentences)
        for engine, rate in (("as fast as Juman++", JUMANPP_RATE), ("as fast as it can", None)):
            rounds = [measure(stand_in(folder, rate), lines) for _ in range(options.rounds)]
            bare, wrapped, ceiling = (statistics.median(column) for column in zip(*rounds, strict=True))
            ratio = statistics.median(ours / theirs for theirs, ours, _ in rounds)
            met &= rate is None or ratio >= 0.95
            print(f"| {engine} | {bare:,.0f} | {wrapped:,.0f} | {ratio:.2f} | {ceiling:,.0f} |", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
