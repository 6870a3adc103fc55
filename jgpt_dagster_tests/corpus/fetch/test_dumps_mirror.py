import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror, DumpNotReadyError, MirrorError
from jgpt_dagster.sample.dump_writer import Page, write_dump
from jgpt_dagster_tests.support.flaky_server import Server, serving

DUMP = "testwiki-20250801-pages-articles-multistream.xml.bz2"
INDEX = "testwiki-20250801-pages-articles-multistream-index.txt.bz2"
PAGES = [Page(title=f"頁{number}", id=number, revision_id=number, text="本文") for number in range(1, 8)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_dump(tmp_path / "my mirror", "testwiki", "20250801", PAGES, pages_per_stream=3)
    return tmp_path / "my mirror"


@pytest.fixture
def mirror(root: Path) -> DumpMirror:
    return DumpMirror(root.as_uri(), "testwiki")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def entry(size: Any = 5, sha1: Any = "a" * 40) -> dict[str, Any]:
    return {"size": size, "url": "https://elsewhere.example/evil", "md5": "x", "sha1": sha1}


def publish(root: Path, jobs: Any) -> None:
    (root / "testwiki" / "20250801" / "dumpstatus.json").write_text(json.dumps({"version": "0.8", "jobs": jobs}))


def test_a_finished_dump_has_two_files_with_size_and_hash(mirror, root):
    files = mirror.files("20250801")
    assert [file.name for file in files] == [DUMP, INDEX]
    assert files[0].url == f"{root.as_uri()}/testwiki/20250801/{DUMP}"
    assert files[0].size == (root / "testwiki" / "20250801" / DUMP).stat().st_size
    assert len(files[0].sha1) == 40


def test_a_dump_may_have_no_index(mirror, root):
    publish(root, {"articlesmultistreamdump": {"status": "done", "files": {DUMP: entry()}}})
    assert [file.name for file in mirror.files("20250801")] == [DUMP]


def test_of_a_wiki_dumped_in_parts_the_recombined_file_is_taken(mirror, root):
    parts = {"testwiki-20250801-pages-articles-multistream1.xml-p1p41242.bz2": entry()}
    publish(
        root,
        {
            "articlesmultistreamdump": {"status": "done", "files": parts},
            "articlesmultistreamdumprecombine": {"status": "waiting"},
        },
    )
    with pytest.raises(DumpNotReadyError, match="articlesmultistreamdumprecombine is 'waiting'"):
        mirror.files("20250801")
    publish(
        root,
        {
            "articlesmultistreamdump": {"status": "done", "files": parts},
            "articlesmultistreamdumprecombine": {"status": "done", "files": {INDEX: entry(), DUMP: entry()}},
        },
    )
    assert [file.name for file in mirror.files("20250801")] == [DUMP, INDEX]
    publish(root, {"articlesmultistreamdump": {"status": "done", "files": parts}})
    with pytest.raises(MirrorError, match="1 parts such as testwiki-20250801-pages-articles-multistream1"):
        mirror.files("20250801")


def test_files_laid_into_a_folder_are_a_dump_without_a_status(mirror, root):
    folder = root / "testwiki" / "20250801"
    announced = mirror.files("20250801")
    (folder / "dumpstatus.json").unlink()
    assert mirror.dates() == ["20250801"] and mirror.files("20250801") == announced
    (folder / "testwiki-20250801-sha1sums.txt").unlink()
    (folder / INDEX).unlink()
    (dump,) = mirror.files("20250801")
    assert (dump.name, dump.size, dump.sha1) == (DUMP, announced[0].size, None)
    (folder / "testwiki-20250801-sha1sums.txt").write_text(f"not a sum  {DUMP}\n{'g' * 40}  {DUMP}\n")
    with pytest.raises(MirrorError, match=f"gives no size and sha1 for {DUMP}"):
        mirror.files("20250801")
    (folder / DUMP).unlink()
    with pytest.raises(MirrorError, match="no status of the testwiki dump of 20250801"):
        mirror.files("20250801")


@pytest.mark.parametrize("status", ["waiting", "in-progress", "failed", "Done"])
def test_a_dump_that_is_not_done_is_not_ready(mirror, root, status):
    publish(root, {"articlesmultistreamdump": {"status": status, "updated": "2025-08-02", "files": {DUMP: {}}}})
    assert not mirror.status("20250801").done
    with pytest.raises(DumpNotReadyError, match=f"is '{status}' .updated 2025-08-02"):
        mirror.files("20250801")


def test_addresses_come_from_the_mirror_and_not_from_its_documents(mirror, root):
    publish(root, {"articlesmultistreamdump": {"status": "done", "files": {DUMP: entry(), "../../evil": entry()}}})
    assert [file.url for file in mirror.files("20250801")] == [f"{root.as_uri()}/testwiki/20250801/{DUMP}"]


@pytest.mark.parametrize("files", [{DUMP: {}}, {DUMP: entry(size="5")}, {DUMP: entry(sha1="no")}, {DUMP: 3}])
def test_a_file_without_size_or_hash_is_refused(mirror, root, files):
    publish(root, {"articlesmultistreamdump": {"status": "done", "files": files}})
    with pytest.raises(MirrorError, match="no size and sha1"):
        mirror.files("20250801")


@pytest.mark.parametrize(
    "document",
    [
        "<html>Not found</html>",
        "",
        "[]",
        "3",
        '{"jobs": {}}',
        '{"jobs": []}',
        '{"jobs": {"articlesmultistreamdump": "done"}}',
        '{"jobs": {"articlesmultistreamdump": {"status": 1}}}',
        '{"jobs": {"articlesmultistreamdump": {"status": "done", "files": [1]}}}',
    ],
)
def test_a_malformed_status_is_a_clear_error(mirror, root, document):
    (root / "testwiki" / "20250801" / "dumpstatus.json").write_text(document)
    with pytest.raises(MirrorError, match=r"dumpstatus\.json"):
        mirror.files("20250801")


@pytest.mark.parametrize("date", ["latest", "2025-08-01", "../20250801", "2025080", "２０２５０８０１", "20250801\n"])
def test_a_date_that_is_none_is_refused(mirror, date):
    with pytest.raises(MirrorError, match="is not a dump's date"):
        mirror.status(date)


def test_a_date_that_the_mirror_has_not_is_refused_with_those_that_it_has(mirror, server):
    with pytest.raises(MirrorError, match=r"no status of the testwiki dump of 19990101: .* lists 20250801\. One that"):
        mirror.status("19990101")
    server.files["/jawiki/"] = b'<a href="20260901/">20260901/</a> <a href="20261001/">20261001/</a>'
    with pytest.raises(MirrorError, match=r"HTTP 404.* lists 20260901, 20261001\. One that .*FOLDER"):
        DumpMirror(server.url(""), "jawiki").status("20250801")


def test_the_dates_of_a_directory_are_listed(mirror, root):
    for name in ("20250820", "latest", "2025"):
        (root / "testwiki" / name).mkdir()
    (root / "testwiki" / "20250901").write_text("a file")
    assert mirror.dates() == ["20250801", "20250820"]


def test_a_wiki_that_is_not_there_is_a_clear_error(root):
    with pytest.raises(MirrorError, match="JGPT_WIKI"):
        DumpMirror(root.as_uri(), "nowiki").dates()


def test_the_dates_of_a_web_page_are_listed(server):
    server.files["/dumps/jawiki/"] = (
        b'<html><a href="../">../</a>\n<a href="20250820/">20250820/</a> 21-Aug-2025 - \n'
        b'<A HREF=\'/jawiki/20250801/\'>x</A><a href="latest/">latest/</a><a href="20250101.txt">20240101/</a></html>'
    )
    assert DumpMirror(server.url("/dumps/"), "jawiki").dates() == ["20250801", "20250820"]


def test_a_dump_is_found_over_http(server, root):
    for path in (root / "testwiki" / "20250801").iterdir():
        server.files[f"/x/testwiki/20250801/{path.name}"] = path.read_bytes()
    files = DumpMirror(server.url("/x"), "testwiki").files("20250801")
    assert files[0].url == server.url(f"/x/testwiki/20250801/{DUMP}")
