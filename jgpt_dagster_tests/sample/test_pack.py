"""The embedded sample is a true mirror, holds enough text to train on, and shows every trait that a cleaner meets."""

import bz2
import hashlib
import lzma
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jgpt_dagster.sample import pack
from jgpt_dagster.sample.pack import Page, SampleError, read_pages, write_mirror

FIRST, LATER = pack.DATES
SOURCE = Path(pack.__file__).parent

FEATURES = {
    "infobox": r"\{\{Infobox 楽器\n\|",
    "interlanguage link template": r"\{\{仮リンク\|[^}|]+\|en\|",
    "lang": r"\{\{lang\|la\|",
    "lang-en": r"\{\{lang-en\|",
    "reading": r"\{\{読み仮名\|",
    "ruby": r"\{\{ルビ\|",
    "convert": r"\{\{convert\|",
    "IPA": r"\{\{IPA\|",
    "nowrap": r"\{\{nowrap\|",
    "template in a template": r"\{\{[^{}]*\{\{[^{}]*\}\}[^{}]*\}\}",
    "table": r"(?m)^\{\| class=\"wikitable",
    "table in a table": r"(?ms)^\{\|(?:(?!^\|\}).)*^\{\|",
    "row and column spans": r"rowspan=.*\n! colspan=",
    "named reference": r"<ref name=\"\w+\">",
    "reused reference": r"<ref name=\"\w+\" ?/>",
    "Cite web": r"\{\{Cite web ?\|",
    "Sfn": r"\{\{Sfn\|",
    "gallery": r"<gallery",
    "math": r"<math>[^<]*</math>",
    "nowiki": r"<nowiki>",
    "code": r"<code>",
    "source listing": r"<syntaxhighlight lang=",
    "poem": r"<poem>",
    "links nested in a caption": r"\[\[ファイル:[^\]\n]*\[\[",
    "range of years": r"1970年代〜1980年代",
    "Latin words with spaces": r"Generative Pre-trained Transformer",
    "kanji outside the basic plane": r"[\U00020000-\U0003ffff]",
    "variant kanji": r"髙﨑",
    "emoji": r"🌈",
    "emoji of several code points": "👨\u200d👩\u200d👧\u200d👦",
    "bulleted list": r"(?m)^\* ",
    "nested list": r"(?m)^\*\* |^#\* |^\*: ",
    "numbered list": r"(?m)^# ",
    "definition list": r"(?m)^; .*\n: ",
    "quotes": r"「[^」]*『[^』]*』",
    "non-breaking space entity": r"\d&nbsp;m",
    "dash entity": r"年&ndash;\d",
    "numeric entity": r"&#x3099;",
    "comment": r"<!--.*-->",
    "magic word": r"__NOTOC__",
    "category": r"\[\[Category:",
    "interwiki link": r"(?m)^\[\[en:",
    "sort key": r"\{\{(?:DEFAULTSORT|デフォルトソート):",
    "inequalities": r"a<b かつ c>d",
    "sentences that end in a full-width full stop": r"である．[\s\S]*，",
    "unclosed table": r"(?s)\A(?!.*\|\}).*\{\|",
    "unclosed template": r"\{\{閉じていない",
    "external link": r"\[https?://\S+ [^\]]+\]",
    "half-width katakana": r"[ｱ-ﾝ]{3}",
    "parser function": r"\{\{#if",
}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    write_mirror(root)
    return root


def hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def articles(date: str) -> list[Page]:
    return [page for page in read_pages(date) if page.ns == 0 and not page.redirect]


def test_the_mirror_is_laid_out_as_the_download_sites_are(mirror: Path) -> None:
    dumps = [
        f"samplewiki/{date}/{name}"
        for date in ("20260101", "20260120")
        for name in (
            "dumpstatus.json",
            f"samplewiki-{date}-pages-articles-multistream-index.txt.bz2",
            f"samplewiki-{date}-pages-articles-multistream.xml.bz2",
            f"samplewiki-{date}-sha1sums.txt",
        )
    ]
    assert sorted(hashes(mirror)) == sorted(["cc-100/ja.txt.xz", *dumps])


def test_packing_again_gives_the_same_bytes(mirror: Path, tmp_path: Path) -> None:
    before = hashes(mirror)
    write_mirror(tmp_path)
    write_mirror(mirror)

    assert hashes(tmp_path) == before == hashes(mirror)


@pytest.mark.parametrize("date", pack.DATES)
def test_a_dump_lists_every_page_of_its_date(mirror: Path, date: str) -> None:
    index = mirror / "samplewiki" / date / f"samplewiki-{date}-pages-articles-multistream-index.txt.bz2"

    listed = [int(line.split(":")[1]) for line in bz2.decompress(index.read_bytes()).decode().splitlines()]
    assert listed == [page.id for page in read_pages(date)]


def test_the_command_packs_and_prints_the_settings_to_use(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jgpt_dagster.sample.pack", str(tmp_path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert printed.splitlines() == [
        "export JGPT_WIKI=samplewiki",
        f"export JGPT_DUMPS_URL={tmp_path.as_uri()}",
        f"export JGPT_CC100_URL={tmp_path.as_uri()}/cc-100/ja.txt.xz",
    ]
    assert (tmp_path / "cc-100" / "ja.txt.xz").exists()


def test_there_is_enough_to_train_a_tiny_model_on() -> None:
    assert len(articles(FIRST)) >= 80
    assert sum(len(page.text.encode()) for page in articles(FIRST)) >= 230_000


def test_documents_are_packed_as_they_are_written(mirror: Path) -> None:
    written = (SOURCE / "documents.txt").read_bytes()

    assert lzma.decompress((mirror / "cc-100" / "ja.txt.xz").read_bytes()) == written
    documents = written.decode().removesuffix("\n\n").split("\n\n")
    assert len(documents) >= 100
    assert all(document.strip() == document and document.count("\n") >= 1 for document in documents)
    assert len(set(documents)) == len(documents)


@pytest.mark.parametrize("feature", FEATURES)
def test_markup_occurs(feature: str) -> None:
    assert any(re.search(FEATURES[feature], page.text) for page in read_pages(FIRST))


def test_pages_a_cleaner_must_drop_or_keep_occur() -> None:
    pages = read_pages(FIRST)

    assert {0, 4, 6, 8, 10, 12, 14, 100, 828} <= {page.ns for page in pages}
    assert any(page.ns == 0 and ":" in page.title for page in pages)
    assert any(page.text == "" for page in pages)
    assert any(re.fullmatch(r"(\{\{[^{}]*\}\}\s*)+", page.text) for page in pages)
    assert {"#REDIRECT", "#転送", "#redirect:"} <= {page.text.split()[0] for page in pages if page.redirect}


def test_titles_ids_and_revisions_name_one_page_each() -> None:
    for date in pack.DATES:
        pages = read_pages(date)
        for key in ("title", "id", "revision_id"):
            assert len({getattr(page, key) for page in pages}) == len(pages)


def test_a_file_is_named_after_the_page_it_holds() -> None:
    files = list((SOURCE / "pages").rglob("*.wiki"))

    assert files
    for file in files:
        assert f"\nid: {int(file.name.split('-')[0])}\n" in file.read_text(encoding="utf-8")


def test_the_later_dump_differs_in_every_way_a_refresh_must_handle() -> None:
    before = {page.id: page for page in read_pages(FIRST)}
    after = {page.id: page for page in read_pages(LATER)}
    new_revisions = [
        (before[page_id], after[page_id])
        for page_id in before.keys() & after.keys()
        if before[page_id].revision_id != after[page_id].revision_id
    ]

    assert len(after.keys() - before.keys()) == 4
    assert len(before.keys() - after.keys()) == 2
    assert sum(old.text != new.text for old, new in new_revisions) == 8
    assert sum(old.text == new.text and old.title == new.title for old, new in new_revisions) == 2
    assert sum(old.text == new.text and old.title != new.title for old, new in new_revisions) == 1
    assert sum(not old.redirect and bool(new.redirect) for old, new in new_revisions) == 1
    assert all(new.parent_id == old.revision_id for old, new in new_revisions)
    assert all(new.timestamp > old.timestamp for old, new in new_revisions)
    unchanged = before.keys() & after.keys() - {new.id for _, new in new_revisions}
    assert all(after[page_id] == before[page_id] for page_id in unchanged)


def test_no_line_of_prose_is_repeated_between_articles() -> None:
    lines = [line for page in articles(FIRST) for line in page.text.splitlines() if "。" in line]

    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("header", ["title: 題\nid: 1", "title: 題\nns: 0\nid: 一\nrevision: 2\ntimestamp: 2026"])
def test_a_page_file_with_another_header_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    folder = tmp_path / "pages" / FIRST
    folder.mkdir(parents=True)
    (folder / "0001-bad.wiki").write_text(f"{header}\n\n本文\n", encoding="utf-8")
    monkeypatch.setattr(pack, "_HERE", tmp_path)

    with pytest.raises(SampleError, match=r"0001-bad\.wiki.*expected the lines title, ns, id, revision"):
        read_pages(FIRST)


def test_a_page_keeps_what_its_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page("C++: 雑記", 7, 70, "一行目\n\n三行目", ns=12, timestamp="2025-05-06T07:08:09Z")
    header = f"title: {page.title}\nns: 12\nid: 7\nrevision: 70\ntimestamp: {page.timestamp}\n\n"
    for date, text in ((FIRST, page.text), (LATER, "改めた")):
        (tmp_path / "pages" / date).mkdir(parents=True)
        revised = header if date == FIRST else header.replace("revision: 70", "revision: 71")
        (tmp_path / "pages" / date / "0007-notes.wiki").write_text(f"{revised}{text}\n\n", encoding="utf-8")
    monkeypatch.setattr(pack, "_HERE", tmp_path)

    assert read_pages(FIRST) == [page]
    assert read_pages(LATER) == [replace(page, text="改めた", revision_id=71, parent_id=70)]
