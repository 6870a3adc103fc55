"""Where in a multistream dump its pages are, by its index."""

from collections.abc import Container, Mapping
from pathlib import Path

from jgpt_dagster.corpus.fetch.decompress import bz2_chunks


def streams_of_pages(index: Path, end: int, pages: Container[int]) -> Mapping[int, tuple[int, int]]:
    """Return the bz2 stream of each page that the index lists: its offset and length in the dump, in bytes.

    `end` is where the last stream ends. The index is streamed once.
    """
    found: dict[int, int] = {}
    ends: dict[int, int] = {}
    wanted, last, rest = False, 0, b""  # whether the stream at `last` holds one of the pages
    for chunk in bz2_chunks(index):
        *entries, rest = (rest + chunk).split(b"\n")
        for entry in entries:
            offset, page = map(int, entry.split(b":", 2)[:2])
            if offset != last:
                if wanted:
                    ends[last] = offset
                wanted, last = False, offset
            if page in pages:
                found[page], wanted = offset, True
    ends[last] = end
    return {page: (offset, ends[offset] - offset) for page, offset in found.items()}
