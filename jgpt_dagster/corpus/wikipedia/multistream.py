"""Multistream dumps: splitting one into shards of whole bz2 streams, and reading a single shard.

A multistream dump is a sequence of bz2 streams: the XML header, 100 pages a stream, the closing tag. Its index has a
line `offset:page_id:title` for each page. A dump in one stream, or in streams that do not begin with a page, works too:
it becomes one shard.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.fetch.decompress import DamagedFileError, bz2_chunks
from jgpt_dagster.corpus.wikipedia.page_xml import parse_siteinfo
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.hashing import sha256_file

# The first bytes of a non-empty bz2 stream: `BZh`, block size, then the magic number of a block (pi).
_MAGIC = re.compile(rb"BZh[1-9]1AY&SY")
_MAGIC_SIZE = 10
_CHUNK = 1 << 20
# Titles have at most 255 bytes; XML escapes can make them 6 times as long.
_LINE_LIMIT = 4096
# The English Wikipedia has about 250,000 streams. A million of them take 150 MB here.
_STREAM_LIMIT = 1 << 20
# The English Wikipedia has about 60 million pages.
_PAGE_LIMIT = 1 << 29
# Streams of a dump that begin with something else than a page: that of the closing tag, and hardly ever another.
_ODD_STREAM_LIMIT = 1000
# A header has some kilobytes; `parse_siteinfo` has the same limit.
_HEADER_LIMIT = 4 << 20
_LINE = re.compile(rb"(\d{1,19}):(\d{1,19}):.+", re.DOTALL)


class IndexMismatchError(JgptError):
    """The index and the dump do not belong together, or one of them is damaged."""


class DumpFormatError(JgptError):
    """The file is not a complete bz2 dump."""


class DumpChangedError(JgptError):
    """The file is no longer the one that was split into shards."""


@dataclass(frozen=True)
class ByteRange:
    """A range of whole bz2 streams: offset and length in bytes, sha256, and the number of pages in the index."""

    offset: int
    length: int
    sha256: str
    pages: int | None = None

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True)
class ShardRanges:
    """The byte ranges of the header and of each shard of a dump.

    The shards are contiguous and extend from the first stream with pages to the end of the file; some may be empty. If
    the first stream holds header and pages, one shard is the whole file, and so is `header`.
    """

    header: ByteRange
    shards: tuple[ByteRange, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the ranges as JSON-like values."""
        return {"header": asdict(self.header), "shards": [asdict(shard) for shard in self.shards]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "ShardRanges":
        """Return the ranges that `to_dict` wrote. Raises KeyError or TypeError if the value is malformed."""
        return cls(ByteRange(**value["header"]), tuple(ByteRange(**shard) for shard in value["shards"]))


def split_dump(dump: Path, index: Path | None, shards: int) -> ShardRanges:
    """Split a dump into `shards` ranges of about equal size, and hash them.

    A shard begins at the stream nearest to its ideal offset. Stream offsets come from the index, if there is one, and
    otherwise from a search for the magic number; both give the same shards.

    Raises IndexMismatchError if the index does not fit the dump, DumpFormatError or DamagedFileError if the dump is
    incomplete or corrupt, or has more streams or pages than any wiki.
    """
    size = dump.stat().st_size
    counts = None if index is None else _indexed_streams(dump, index, size)
    streams = [0, *counts] if counts else _searched_streams(dump)
    header_end = streams[1] if len(streams) > 1 else size
    if _holds_page(dump, header_end):
        # Header and pages share a stream, so other streams need not begin with a page either.
        start, streams = 0, []
    else:
        start, streams = header_end, streams[1:]
        _require_closing_tag(dump, streams[-1] if streams else 0)
    borders = _borders(dump, [start, *streams, size], shards)
    ranges = tuple(_range(dump, begin, end, counts) for begin, end in pairwise(borders))
    header = _range(dump, 0, start, None) if start else next(part for part in ranges if part.length)
    return ShardRanges(header, ranges)


def read_range(dump: Path, part: ByteRange, on_read: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Yield the XML in one range of a dump, at most 1 MiB a time, after verifying the sha256 of the range.

    `on_read` is called with the number of bytes after each read.

    Raises DumpChangedError if the bytes have another hash, DamagedFileError if they are not bz2 streams.
    """
    found = sha256_file(dump, part.offset, part.length)
    if found != part.sha256:
        raise DumpChangedError(
            f"{dump}: bytes {part.offset:,} to {part.end:,} have sha256 {found}, expected {part.sha256}: this is "
            "not the file that was planned for. Materialize wikipedia_dump again."
        )
    yield from bz2_chunks(dump, part.offset, part.length, on_read)


def read_siteinfo(dump: Path, ranges: ShardRanges) -> SiteInfo:
    """Return the `<siteinfo>` of a dump. Raises PageXmlError if there is none, and what `read_range` raises."""
    return parse_siteinfo(read_range(dump, ranges.header), str(dump))


def _borders(dump: Path, candidates: list[int], shards: int) -> list[int]:
    """Return the `shards` + 1 borders, offsets out of `candidates`, that come nearest to equal parts."""
    start, size = candidates[0], candidates[-1]
    fewest = len(candidates) - _ODD_STREAM_LIMIT

    def nearest(target: int) -> int:
        while True:
            place = bisect_left(candidates, target)
            border = min(candidates[max(place - 1, 0) : place + 1], key=lambda border: abs(border - target))
            if border in (start, size) or _begins_with_page(dump, border):
                return border
            # The stream of the closing tag, or a chance magic number in compressed data, about once in 10^14 dumps.
            candidates.remove(border)
            if len(candidates) < fewest:
                raise DumpFormatError(
                    f"{dump}: more than {_ODD_STREAM_LIMIT:,} bz2 streams do not begin with a <page>, among them the "
                    f"one at byte {border:,}. A multistream dump has one such stream, at its end."
                )

    return [start, *(nearest(start + (size - start) * shard // shards) for shard in range(1, shards)), size]


def _range(dump: Path, begin: int, end: int, counts: dict[int, int] | None) -> ByteRange:
    pages = None if counts is None else sum(count for offset, count in counts.items() if begin <= offset < end)
    return ByteRange(begin, end - begin, sha256_file(dump, begin, end - begin), pages)


def _indexed_streams(dump: Path, index: Path, size: int) -> dict[int, int]:
    """Return the number of pages in each stream by offset. Checks that a stream begins at each offset of the dump."""
    counts: dict[int, int] = {}
    last = 1  # the header comes first
    with open(dump, "rb") as file:
        for number, line in enumerate(_lines(index), 1):
            match = _LINE.fullmatch(line)
            if not match:
                raise IndexMismatchError(f"{index}, line {number:,}: {line[:80]!r} is not `offset:page_id:title`")
            offset = int(match[1])
            if offset < last:
                raise IndexMismatchError(f"{index}, line {number:,}: the offset {offset:,} is below {last:,}")
            if number > _PAGE_LIMIT or len(counts) > _STREAM_LIMIT:
                raise IndexMismatchError(
                    f"{index} lists more than {_PAGE_LIMIT:,} pages or {_STREAM_LIMIT:,} bz2 streams: no index of a "
                    "wiki does."
                )
            if offset not in counts:
                file.seek(min(offset, size))
                if not _MAGIC.fullmatch(file.read(_MAGIC_SIZE)):
                    raise IndexMismatchError(
                        f"{index}, line {number:,}: at byte {offset:,} of {dump} ({size:,} bytes) no bz2 stream "
                        "begins. Index and dump must be of one date and whole."
                    )
                counts[offset] = 0
            counts[offset] += 1
            last = offset
    return counts


def _lines(index: Path) -> Iterator[bytes]:
    rest = b""
    try:
        for chunk in bz2_chunks(index):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
            if len(rest) > _LINE_LIMIT:
                raise IndexMismatchError(f"{index} has a line of more than {_LINE_LIMIT:,} bytes: it is not an index")
    except DamagedFileError as error:
        raise IndexMismatchError(str(error)) from error
    if rest:
        yield rest


def _searched_streams(dump: Path) -> list[int]:
    """Return the offset of every bz2 stream of a dump, found by magic number in one pass; the first is 0."""
    streams: list[int] = []
    with open(dump, "rb") as file:
        rest, position = b"", 0  # of the buffer's first byte in the file
        while chunk := file.read(_CHUNK):
            buffer = rest + chunk
            streams.extend(position + match.start() for match in _MAGIC.finditer(buffer))
            rest = buffer[1 - _MAGIC_SIZE :]
            position += len(buffer) - len(rest)
            if len(streams) > _STREAM_LIMIT:
                raise DumpFormatError(f"{dump} has more than {_STREAM_LIMIT:,} bz2 streams: no dump of a wiki has.")
    if not streams or streams[0] != 0:
        raise DumpFormatError(f"{dump} is not a bz2 file with content.")
    return streams


def _holds_page(dump: Path, end: int) -> bool:
    """Return whether a page begins in the streams before `end`. Raises DumpFormatError if they are no header."""
    rest, size = b"", 0
    for chunk in bz2_chunks(dump, 0, end):
        if b"<page" in rest + chunk:
            return True
        rest = chunk[-8:]
        size += len(chunk)
        if size > _HEADER_LIMIT:
            raise DumpFormatError(f"{dump}: no <page> in the first {_HEADER_LIMIT:,} bytes of its XML: it is no dump.")
    return False


def _begins_with_page(dump: Path, offset: int) -> bool:
    try:
        return next(bz2_chunks(dump, offset), b"").lstrip().startswith(b"<page")
    except DamagedFileError:
        return False


def _require_closing_tag(dump: Path, offset: int) -> None:
    """Raise DumpFormatError unless the streams from `offset` end with the closing tag."""
    tail = b""
    for chunk in bz2_chunks(dump, offset):
        tail = (tail + chunk)[-64:]
    if not tail.rstrip().endswith(b"</mediawiki>"):
        raise DumpFormatError(f"{dump} ends with {tail[-20:]!r}, expected </mediawiki>: it is cut short.")
