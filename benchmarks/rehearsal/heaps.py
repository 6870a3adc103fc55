"""Fit Heaps' law, V(N) = K N^beta, to segmented articles: how distinct words V grow with words N.

python benchmarks/rehearsal/heaps.py DATA_ROOT/wikipedia_segmented/dump=20250801/*.parquet
"""

import random
import sys
from pathlib import Path

import numpy as np

from jgpt_dagster.storage.parquet import read_rows

_FIRST = 20_000
"""Words from which on the law is fitted; few words are nearly all distinct."""


def main(paths: list[str]) -> None:
    """Print words, distinct words, beta and K. Documents are read in random order, since a dump is sorted by age."""
    documents = [lines for path in paths for (lines,) in read_rows(Path(path), ["lines"])]
    random.Random(1).shuffle(documents)
    seen, words, points = set[str](), 0, []
    for lines in documents:
        for line in lines:
            for sentence in line:
                found = sentence.split(" ")
                seen.update(found)
                words += len(found)
        points.append((words, len(seen)))
    beta, log_k = np.polyfit(*np.log([point for point in points if point[0] > _FIRST]).T, 1)
    print(f"{words:,} words, {len(seen):,} distinct: beta {beta:.3f}, K {np.exp(log_k):.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
