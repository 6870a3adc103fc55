import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.corpus.rejected_rows import RejectedLog
from jgpt_dagster.corpus.wikipedia.articles import PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.multistream import IndexMismatchError


def page(
    page_id: object, text: str = "<text>本文</text>", *, ns: object = 0, redirect: str = "", model: str = "wikitext"
):
    return (
        f"<page><title>題{page_id}</title><ns>{ns}</ns><id>{page_id}</id>{redirect}"
        f"<revision><id>9{page_id}</id><model>{model}</model>{text}</revision></page>"
    )


def clean(page_id: int, revision_id: int, title: str, text: str) -> list[str]:
    if text == "悪":
        raise ValueError("悪い文" * 1000)
    return [title, f"{page_id} {revision_id} {text}"]


def read(*pages: str, **options: Any) -> tuple[list[Any], PageCounts, list[dict[str, Any]]]:
    counts, rejected = PageCounts(), list[dict[str, Any]]()
    rows = list(read_articles(["".join(pages).encode()], clean, counts, rejected, **options))
    assert counts.articles + counts.redirects + counts.other_namespaces + counts.rejected == counts.pages
    assert (counts.articles, counts.rejected) == (len(rows), len(rejected))
    return rows, counts, rejected


def test_articles_are_rows_in_the_order_of_the_dump():
    rows, counts, _ = read(page(5), page(3))
    assert rows == [(5, 95, "題5", ["題5", "5 95 本文"]), (3, 93, "題3", ["題3", "3 93 本文"])]
    assert counts == PageCounts(pages=2, articles=2)


def test_every_page_is_accounted_for():
    _, counts, _ = read(
        page(1),
        page(2, redirect="<redirect title='x'/>"),
        page(3, ns=4, redirect="<redirect title='x'/>"),
        page(4, ns=-1),
        page(5, "<text deleted='deleted'/>"),
    )
    assert counts == PageCounts(pages=5, articles=1, redirects=1, other_namespaces=2, rejected=1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (page(7, "<text>悪</text>"), "ValueError: 悪い文"),
        (page(7, "<text deleted='deleted'/>"), "deleted or missing"),
        (page(7, ""), "deleted or missing"),
        (page(7, f"<text>{'長' * 400}</text>"), "more than 1,000 bytes"),
        (page(7, model="json"), "content model is json"),
        (page(7).replace("題7", ""), "missing or malformed"),
        (page(0), "missing or malformed"),
        (page(-7), "missing or malformed"),
        (page("七"), "missing or malformed"),
        (page(7).replace("題7", "題" * 86), "its title has more than 255 bytes"),
        (page(7, model="x" * 5000), "content model is xxx"),
        (page(7, ns="x"), "missing or malformed"),
        (page(1 << 63), "missing or malformed"),
    ],
)
def test_a_bad_page_is_kept_aside_with_its_reason_and_harms_no_other(bad, reason):
    rows, _, rejected = read(page(1), bad, page(2), limit_bytes=1000)
    assert [row[0] for row in rows] == [1, 2]
    (entry,) = rejected
    assert set(entry) == {"page_id", "revision_id", "title", "reason"}
    assert reason in entry["reason"]
    assert len(entry["reason"]) <= 500 and len(entry["title"]) <= 255


def test_an_empty_article_is_an_article():
    rows, _, _ = read(page(1, "<text bytes='0'/>"))
    assert rows == [(1, 91, "題1", ["題1", "1 91 "])]


@pytest.mark.parametrize("error", [MemoryError(), TimeoutError()])
def test_trouble_of_the_machine_drops_no_page(error):
    def fail(*_: object) -> list[str]:
        raise error

    with pytest.raises(type(error)) as raised:
        list(read_articles([page(5).encode()], fail, PageCounts(), [], source="shard 3"))
    assert raised.value.__notes__ == ["while cleaning page 5 '題5' of shard 3"]


def test_another_number_of_pages_than_the_index_lists_is_an_error():
    read(page(1), page(2), expected_pages=2)
    with pytest.raises(IndexMismatchError, match="shard 3 holds 1 pages, but its index lists 2"):
        read(page(1), source="shard 3", expected_pages=2)


def test_refused_pages_go_to_disk_and_not_to_memory(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(8):
            yield b"<page/>" * 1000

    counts = PageCounts()
    with RejectedLog(tmp_path) as rejected:
        tracemalloc.start()
        assert list(read_articles(chunks(), clean, counts, rejected)) == []
        assert sum(1 for row in rejected if "missing or malformed" in row["reason"]) == 8_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert counts.rejected == rejected.count == 8_000
    assert peak < 1 << 20
