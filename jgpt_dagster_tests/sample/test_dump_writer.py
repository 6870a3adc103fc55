"""A written dump is one that any reader of dumps.wikimedia.org can read."""

import bz2
import hashlib
import json
import tracemalloc
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from jgpt_dagster.sample.dump_writer import Page, write_dump

EXPORT = "{http://www.mediawiki.org/xml/export-0.11/}"
PAGES = [
    Page("蕎麦", 1, 11, "'''蕎麦'''は[[麺]]である。\n\n二行目 <math>a<b</math> & \"c\""),
    Page('C++: "A & B" <1>', 2, 12, "𠮷野家 👩‍🚀"),
    Page("空", 3, 13, ""),
    Page("そば", 5, 14, "#転送 [[蕎麦#歴史|そば]]"),
    Page("Help:目次", 8, 15, "案内", ns=12, timestamp="2025-05-06T07:08:09Z", parent_id=9),
]


def files(root: Path, wiki: str = "testwiki", date: str = "20260101") -> tuple[Path, Path]:
    stem = root / wiki / date / f"{wiki}-{date}-pages-articles-multistream"
    return stem.with_name(stem.name + ".xml.bz2"), stem.with_name(stem.name + "-index.txt.bz2")


def read_back(articles: Path) -> list[dict[str, str | None]]:
    """The pages of a dump, as an XML parser sees the joined streams."""
    root = ElementTree.fromstring(bz2.decompress(articles.read_bytes()))
    found = []
    for page in root.iter(f"{EXPORT}page"):
        redirect = page.find(f"{EXPORT}redirect")
        paths = ("title", "ns", "id", "revision/id", "revision/parentid", "revision/timestamp", "revision/text")
        fields = {path: page.findtext("/".join(EXPORT + part for part in path.split("/"))) for path in paths}
        found.append({**fields, "redirect": None if redirect is None else redirect.get("title")})
    return found


def test_every_field_of_every_page_comes_back(tmp_path: Path) -> None:
    write_dump(tmp_path, "testwiki", "20260101", PAGES, pages_per_stream=2)

    assert read_back(files(tmp_path)[0]) == [
        {
            "title": page.title,
            "ns": str(page.ns),
            "id": str(page.id),
            "revision/id": str(page.revision_id),
            "revision/parentid": None if page.parent_id is None else str(page.parent_id),
            "revision/timestamp": page.timestamp,
            "revision/text": page.text,
            "redirect": page.redirect,
        }
        for page in PAGES
    ]


@pytest.mark.parametrize("pages_per_stream", [1, 2, 5, 100])
def test_an_index_offset_points_at_a_stream_that_holds_the_pages_listed(tmp_path: Path, pages_per_stream: int) -> None:
    write_dump(tmp_path, "testwiki", "20260101", PAGES, pages_per_stream=pages_per_stream)
    articles, index = files(tmp_path)

    listed: dict[int, list[tuple[int, str]]] = {}
    for line in bz2.decompress(index.read_bytes()).decode().splitlines():
        start, page_id, title = line.split(":", 2)
        listed.setdefault(int(start), []).append((int(page_id), unescape(title)))
    assert [entry for entries in listed.values() for entry in entries] == [(page.id, page.title) for page in PAGES]
    data = articles.read_bytes()
    for offset, entries in listed.items():
        stream = bz2.BZ2Decompressor().decompress(data[offset:])
        pages = ElementTree.fromstring(b"<pages>" + stream + b"</pages>").findall("page")
        assert [(int(page.findtext("id", "")), page.findtext("title")) for page in pages] == entries
        assert len(entries) <= pages_per_stream


def test_the_text_element_states_bytes_and_base36_sha1_as_mediawiki_does(tmp_path: Path) -> None:
    write_dump(tmp_path, "testwiki", "20260101", [Page("空", 1, 2, ""), Page("転送", 3, 4, "#REDIRECT [[X]]\n— é")])

    raw = bz2.decompress(files(tmp_path)[0].read_bytes()).decode()
    assert '<text bytes="0" sha1="phoiac9h4m842xq45sp7s6u21eteeq1" xml:space="preserve" />' in raw
    (_, second) = [element.attrib for element in ElementTree.fromstring(raw).iter(f"{EXPORT}text")]
    assert int(second["bytes"]) == len("#REDIRECT [[X]]\n— é".encode())
    assert int(second["sha1"], 36) == int(hashlib.sha1("#REDIRECT [[X]]\n— é".encode()).hexdigest(), 16)


def test_sums_and_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    write_dump(tmp_path, "testwiki", "20260101", PAGES)

    folder = tmp_path / "testwiki" / "20260101"
    job = json.loads((folder / "dumpstatus.json").read_text())["jobs"]["articlesmultistreamdump"]
    assert job["status"] == "done"
    assert set(job["files"]) == {file.name for file in files(tmp_path)}
    lines = (folder / "testwiki-20260101-sha1sums.txt").read_text().splitlines()
    sha1sums = {name: sha1 for sha1, name in (line.split("  ") for line in lines)}
    for name, entry in job["files"].items():
        content = (folder / name).read_bytes()
        assert entry == {
            "size": len(content),
            "url": f"/testwiki/20260101/{name}",
            "md5": hashlib.md5(content).hexdigest(),
            "sha1": sha1sums[name],
        }
        assert sha1sums[name] == hashlib.sha1(content).hexdigest()


def test_a_dump_under_way_says_so(tmp_path: Path) -> None:
    write_dump(tmp_path, "testwiki", "20260101", PAGES, status="in-progress")

    status = json.loads((tmp_path / "testwiki" / "20260101" / "dumpstatus.json").read_text())
    assert status["jobs"]["articlesmultistreamdump"]["status"] == "in-progress"


def test_an_interrupted_writer_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[Page]:
        yield from PAGES
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dump(tmp_path, "testwiki", "20260101", broken())

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_wiki_without_pages_is_still_a_dump(tmp_path: Path) -> None:
    write_dump(tmp_path, "testwiki", "20260101", [])

    assert read_back(files(tmp_path)[0]) == []


def test_memory_does_not_grow_with_the_dump(tmp_path: Path) -> None:
    def pages(count: int) -> Iterator[Page]:
        return (Page(f"項目{number}", number, number, f"{number}番目の文。" * 400) for number in range(1, count + 1))

    def peak(count: int) -> int:
        tracemalloc.start()
        write_dump(tmp_path, "testwiki", "20260101", pages(count), pages_per_stream=10)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(400) < peak(40) * 1.5


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("#REDIRECT [[蕎麦]]", "蕎麦"),
        ("#redirect: [[ 蕎麦 ]]\n[[Category:麺]]", "蕎麦"),
        ("#転送[[Help:目次#節|目次]]", "Help:目次"),
        ("本文のあとの #REDIRECT [[蕎麦]]", None),
        ("# 番号つきの箇条", None),
    ],
)
def test_a_redirect_is_known_by_its_text(text: str, target: str | None) -> None:
    assert Page("題", 1, 1, text).redirect == target
