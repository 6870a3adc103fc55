import bz2
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jgpt_dagster.corpus.fetch.decompress import DamagedFileError, bz2_chunks
from jgpt_dagster.corpus.wikipedia import multistream
from jgpt_dagster.corpus.wikipedia.articles import PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.multistream import (
    ByteRange,
    DumpChangedError,
    DumpFormatError,
    IndexMismatchError,
    ShardRanges,
    read_range,
    read_siteinfo,
    split_dump,
)
from jgpt_dagster.corpus.wikipedia.page_xml import PageXmlError, parse_pages
from jgpt_dagster.errors import JgptError
from jgpt_dagster.sample.dump_writer import Page, write_dump

# Pages of very different sizes, one of them with a bz2 stream's magic in it, and a title with colons.
PAGES = [
    Page(title=f"Help:頁:{n}", id=n * 3, revision_id=n + 900, ns=0, text=f"BZh91AY&SY {n} " + "漢字" * (n * n % 977))
    for n in range(1, 58)
]


def dump_of(root: Path, pages: list[Page], pages_per_stream: int) -> tuple[Path, Path]:
    write_dump(root, "testwiki", "20250801", pages, pages_per_stream=pages_per_stream)
    folder = root / "testwiki" / "20250801"
    return next(folder.glob("*.xml.bz2")), next(folder.glob("*index.txt.bz2"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return dump_of(tmp_path_factory.mktemp("mirror"), PAGES, 4)


def titles(dump: Path, part: ByteRange) -> list[str]:
    return [page.title for page in parse_pages(read_range(dump, part))]


def places(plan: ShardRanges) -> list[tuple[int, int, str]]:
    return [(part.offset, part.length, part.sha256) for part in (plan.header, *plan.shards)]


def repacked(path: Path, *streams: bytes) -> Path:
    path.write_bytes(b"".join(bz2.compress(stream) for stream in streams))
    return path


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 15, 16, 64, 99])
def test_the_shards_together_are_the_dump_for_any_number_with_and_without_index(pair, shards):
    dump, index = pair
    plan = split_dump(dump, index, shards)
    assert places(plan) == places(split_dump(dump, None, shards))
    assert len(plan.shards) == shards
    assert [title for part in plan.shards for title in titles(dump, part)] == [page.title for page in PAGES]
    assert [part.pages for part in plan.shards] == [len(titles(dump, part)) for part in plan.shards]
    assert plan.header.end == plan.shards[0].offset
    assert all(before.end == after.offset for before, after in pairwise(plan.shards))
    assert plan.shards[-1].end == dump.stat().st_size


@given(st.integers(0, 12), st.integers(1, 5), st.integers(1, 9))
@settings(deadline=None)
def test_the_shards_together_are_any_dump(tmp_path_factory, pages, pages_per_stream, shards):
    dump, index = dump_of(tmp_path_factory.mktemp("mirror"), PAGES[:pages], pages_per_stream)
    for plan in (split_dump(dump, index, shards), split_dump(dump, None, shards)):
        assert [t for part in plan.shards for t in titles(dump, part)] == [page.title for page in PAGES[:pages]]
        assert read_siteinfo(dump, plan).dbname == "testwiki"


def test_a_border_is_never_further_from_its_place_than_half_a_stream(pair):
    dump, index = pair
    streams = multistream._searched_streams(dump)
    largest = max(after - before for before, after in pairwise(streams))
    plan = split_dump(dump, index, 5)
    span = dump.stat().st_size - plan.header.length
    for number, part in enumerate(plan.shards):
        assert abs(part.offset - plan.header.length - span * number / 5) <= largest / 2


def test_shard_ranges_come_back_from_json(pair):
    dump, index = pair
    ranges = split_dump(dump, index, 5)
    assert ShardRanges.from_dict(json.loads(json.dumps(ranges.to_dict()))) == ranges


def test_the_magic_is_found_across_the_borders_of_reading(pair, monkeypatch):
    expected = multistream._searched_streams(pair[0])
    for size in (11, 64, 1021):
        monkeypatch.setattr(multistream, "_CHUNK", size)
        assert multistream._searched_streams(pair[0]) == expected


def test_the_magic_inside_compressed_data_makes_no_border(pair, tmp_path):
    dump, index = pair
    searched = multistream._searched_streams
    middle = split_dump(dump, index, 2).shards[1].offset
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            multistream, "_searched_streams", lambda path: sorted([*searched(path), middle - 40, middle + 40])
        )
        assert places(split_dump(dump, None, 2)) == places(split_dump(dump, index, 2))


@pytest.mark.parametrize("shards", [1, 4])
def test_a_dump_in_one_stream_is_one_shard(pair, tmp_path, shards):
    dump = repacked(tmp_path / "single.xml.bz2", b"".join(bz2_chunks(pair[0])))
    plan = split_dump(dump, None, shards)
    assert [t for part in plan.shards for t in titles(dump, part)] == [page.title for page in PAGES]
    assert read_siteinfo(dump, plan).dbname == "testwiki"
    assert len([part for part in plan.shards if part.length]) == 1


def test_of_each_shard_all_bytes_are_told_as_they_are_read(pair):
    for part in split_dump(pair[0], pair[1], 3).shards:
        told: list[int] = []
        list(read_range(pair[0], part, told.append))
        assert sum(told) == part.length


def test_a_dump_packed_in_pieces_of_any_place_is_one_shard(pair, tmp_path):
    xml = b"".join(bz2_chunks(pair[0]))
    pieces = [xml[start : start + 9000] for start in range(0, len(xml), 9000)]
    dump = repacked(tmp_path / "parallel.xml.bz2", *pieces)
    plan = split_dump(dump, None, 4)
    assert [t for part in plan.shards for t in titles(dump, part)] == [page.title for page in PAGES]


def test_an_empty_wiki_has_empty_shards(tmp_path):
    dump, index = dump_of(tmp_path, [], 10)
    for plan, pages in ((split_dump(dump, index, 3), 0), (split_dump(dump, None, 3), None)):
        assert [titles(dump, part) for part in plan.shards] == [[], [], []]
        assert [part.pages for part in plan.shards] == [pages] * 3
        assert read_siteinfo(dump, plan).dbname == "testwiki"


@given(st.data())
def test_a_dump_cut_at_any_byte_is_an_error(pair, tmp_path_factory, data):
    whole = pair[0].read_bytes()
    end = data.draw(st.integers(0, len(whole) - 1))
    dump = tmp_path_factory.mktemp("cut") / "dump.xml.bz2"
    dump.write_bytes(whole[:end])
    found: list[str] = []
    with pytest.raises(JgptError, match=r"dump\.xml\.bz2"):
        for part in split_dump(dump, None, 3).shards:
            found += titles(dump, part)
    assert found == [page.title for page in PAGES][: len(found)]


@given(st.data())
def test_a_dump_changed_after_planning_is_not_read(pair, tmp_path_factory, data):
    plan = split_dump(pair[0], pair[1], 3)
    content = bytearray(pair[0].read_bytes())
    place = data.draw(st.integers(plan.header.end, len(content) - 1))
    content[place] ^= 1
    dump = tmp_path_factory.mktemp("changed") / "dump.xml.bz2"
    dump.write_bytes(content)
    hit = next(part for part in plan.shards if part.offset <= place < part.end)
    with pytest.raises(DumpChangedError, match=r"dump\.xml\.bz2: bytes .* sha256 .* expected .*wikipedia_dump"):
        next(read_range(dump, hit))


@given(st.data())
def test_a_dump_damaged_before_planning_gives_its_pages_or_an_error(pair, tmp_path_factory, data):
    content = bytearray(pair[0].read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    dump = tmp_path_factory.mktemp("damaged") / "dump.xml.bz2"
    dump.write_bytes(content)
    found: list[str] = []
    try:
        for part in split_dump(dump, None, 3).shards:
            found += titles(dump, part)
    except JgptError:
        return
    assert found == [page.title for page in PAGES]


def test_a_damaged_stream_is_named_with_its_place(pair, tmp_path):
    dump = tmp_path / "dump.xml.bz2"
    content = bytearray(pair[0].read_bytes())
    first = multistream._searched_streams(pair[0])[1]
    content[first + 11] ^= 255  # in the checksum of its block
    dump.write_bytes(content)
    plan = split_dump(dump, None, 1)
    with pytest.raises(DamagedFileError, match=rf"stream at byte {first:,}"):
        list(read_range(dump, plan.shards[0]))


@pytest.mark.parametrize("content", [b"", b"<mediawiki/>", b"BZh9\x17rE8P\x90\0\0\0\0", b"PK\x03\x04" * 100])
def test_what_is_no_bz2_dump_is_a_clear_error(tmp_path, content):
    (tmp_path / "dump.xml.bz2").write_bytes(content)
    with pytest.raises(DumpFormatError, match="not a bz2 file with content"):
        split_dump(tmp_path / "dump.xml.bz2", None, 2)


def test_a_dump_without_siteinfo_is_a_clear_error(tmp_path):
    dump = repacked(tmp_path / "dump.xml.bz2", b"<mediawiki>\n", b"<page></page>", b"</mediawiki>")
    with pytest.raises(PageXmlError, match=r"dump\.xml\.bz2: no whole <siteinfo>"):
        read_siteinfo(dump, split_dump(dump, None, 1))


def lines_of(index: Path) -> list[str]:
    return bz2.decompress(index.read_bytes()).decode().splitlines()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: [lines[0], "nonsense", *lines[1:]], "line 2: b'nonsense' is not"),
        (lambda lines: [*lines[:8], lines[0]], "line 9: the offset .* is below"),
        (
            lambda lines: [*lines[:4], f"{int(lines[0].split(':')[0]) + 1}:5:x"],
            "line 5: at byte .* no bz2 stream begins",
        ),
        (lambda lines: [*lines, "99999999:5:x"], "line 58: at byte 99,999,999 .* no bz2 stream begins"),
        (lambda lines: ["0:1:x", *lines], "line 1: the offset 0"),
        (lambda lines: [*lines, f"{lines[-1].split(':')[0]}:-5:x"], "line 58"),
        (lambda lines: ["x" * 5000], "more than 4,096 bytes|is not `offset"),
    ],
)
def test_an_index_that_does_not_fit_is_named_with_line_and_offset(pair, tmp_path, change, reason):
    index = tmp_path / "index.txt.bz2"
    index.write_bytes(bz2.compress("\n".join(change(lines_of(pair[1]))).encode()))
    with pytest.raises(IndexMismatchError, match=reason):
        split_dump(pair[0], index, 3)


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data + b"more", lambda data: b"no" + data])
def test_a_damaged_index_is_a_clear_error(pair, tmp_path, damage):
    index = tmp_path / "index.txt.bz2"
    index.write_bytes(damage(pair[1].read_bytes()))
    with pytest.raises(IndexMismatchError, match=r"index\.txt\.bz2"):
        split_dump(pair[0], index, 3)


def test_an_index_that_lacks_pages_is_found_out_while_reading(pair, tmp_path):
    index = tmp_path / "index.txt.bz2"
    index.write_bytes(bz2.compress("\n".join(lines_of(pair[1])[:-3]).encode()))
    part = split_dump(pair[0], index, 1).shards[0]
    rows = read_articles(
        read_range(pair[0], part), lambda *_: [], PageCounts(), [], source="000", expected_pages=part.pages
    )
    with pytest.raises(IndexMismatchError, match="000 holds 57 pages, but its index lists 54"):
        list(rows)


@pytest.mark.parametrize(("limit", "value"), [("_PAGE_LIMIT", 50), ("_STREAM_LIMIT", 10)])
def test_an_index_of_more_pages_or_streams_than_any_wiki_has_is_refused(pair, monkeypatch, limit, value):
    monkeypatch.setattr(multistream, limit, value)
    with pytest.raises(IndexMismatchError, match=f"more than .*{value}.* no index of a wiki does"):
        split_dump(pair[0], pair[1], 3)


def test_a_dump_whose_streams_hold_no_pages_is_refused_without_trying_all_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(multistream, "_ODD_STREAM_LIMIT", 5)
    dump = repacked(tmp_path / "d.xml.bz2", b"<mediawiki>", *[b"<!-- -->"] * 50, b"</mediawiki>")
    with pytest.raises(DumpFormatError, match="more than 5 bz2 streams do not begin with a <page>"):
        split_dump(dump, None, 3)


def test_a_header_without_end_is_refused(tmp_path):
    dump = repacked(tmp_path / "d.xml.bz2", b"<mediawiki>" + bytes(6 << 20), b"<page></page></mediawiki>")
    with pytest.raises(DumpFormatError, match="no <page> in the first 4,194,304 bytes"):
        split_dump(dump, None, 3)


def test_memory_does_not_grow_with_what_a_stream_unpacks_to(tmp_path):
    path = tmp_path / "bomb.bz2"
    path.write_bytes(bz2.compress(bytes(40 << 20)))
    assert path.stat().st_size < 1000
    assert max(len(chunk) for chunk in bz2_chunks(path)) <= 1 << 20


def real(name: str) -> Path:
    root = os.environ.get("JGPT_TEST_DATA")
    if not root:
        pytest.skip("JGPT_TEST_DATA is not set: it names the directory with real dumps")
    return Path(root) / name


@pytest.mark.parametrize(("date", "pages", "articles"), [("20250801", 234, 186), ("20250820", 237, 189)])
def test_real_dumps_are_read_to_the_last_page(date, pages, articles):
    folder = real(f"mirror/jawiki/{date}")
    dump = folder / f"jawiki-{date}-pages-articles-multistream.xml.bz2"
    index = folder / f"jawiki-{date}-pages-articles-multistream-index.txt.bz2"
    plan = split_dump(dump, index, 5)
    assert places(plan) == places(split_dump(dump, None, 5))
    assert read_siteinfo(dump, plan).namespaces[6] == "ファイル"
    counts = PageCounts()
    for part in plan.shards:
        list(read_articles(read_range(dump, part), lambda *_: [], counts, [], expected_pages=part.pages))
    assert (counts.pages, counts.articles, counts.redirects, counts.rejected) == (pages, articles, 16, 0)


def test_a_real_dump_cut_in_a_page_gives_its_whole_pages_and_an_error():
    dump = real("wiki/jawiki-20220501-truncated.xml.bz2")
    plan = split_dump(dump, None, 1)
    assert read_siteinfo(dump, plan).dbname == "jawiki"
    counts = PageCounts()
    with pytest.raises(PageXmlError, match="cut short, after page 57 '生物学'"):
        list(read_articles(read_range(dump, plan.shards[0]), lambda *_: [], counts, []))
    assert counts.pages == 25
