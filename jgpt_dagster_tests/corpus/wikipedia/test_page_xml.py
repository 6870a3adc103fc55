import resource
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.wikipedia.page_xml import Page, PageXmlError, parse_pages, parse_siteinfo

HEADER = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-{v}/" version="{v}" xml:lang="ja">\n  <siteinfo>\n'
    "    <sitename>W</sitename>\n    <dbname>testwiki</dbname>\n    <base>https://x.example/wiki/%E3%83%A1</base>\n"
    '    <namespaces>\n      <namespace key="-2" case="first-letter">メディア</namespace>\n'
    '      <namespace key="0" case="first-letter" />\n      <namespace key="6">ファイル</namespace>\n'
    "    </namespaces>\n  </siteinfo>\n"
)


def page_xml(text: str = "<text>本文</text>", *, title: str = "題", page_id: object = 7, extra: str = "") -> str:
    return (
        f"  <page>\n    <title>{title}</title>\n    <ns>0</ns>\n    <id>{page_id}</id>\n{extra}    <revision>\n"
        "      <id>70</id>\n      <parentid>69</parentid>\n"
        "      <contributor><username>誰</username><id>99</id></contributor>\n"
        f"      <model>wikitext</model>\n      {text}\n      <sha1>x</sha1>\n    </revision>\n  </page>\n"
    )


def one(xml: str, **limits: Any) -> Page:
    (page,) = parse_pages([xml.encode()], **limits)
    return page


def pages_until_error(chunks: list[bytes]) -> tuple[list[Page], PageXmlError | None]:
    pages: list[Page] = []
    try:
        pages.extend(parse_pages(chunks))
    except PageXmlError as error:
        return pages, error
    return pages, None


@pytest.mark.parametrize("export", ["0.10", "0.11"])
def test_both_export_versions_are_read(export):
    xml = HEADER.format(v=export) + page_xml() + "</mediawiki>\n"
    assert one(xml) == Page(7, 70, "題", 0, False, "wikitext", "本文")


def test_a_prefix_on_the_names_makes_no_difference():
    xml = "<m:mediawiki xmlns:m='x'><m:page><m:title>a</m:title><m:ns>0</m:ns><m:id>1</m:id></m:page></m:mediawiki>"
    assert one(xml) == Page(1, None, "a", 0)


@pytest.mark.parametrize("end", ["", "</mediawiki>\n", "\n \n", "</mediawiki> \n\n"])
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_a_part_without_the_root_is_read_in_chunks_of_any_size(end, size):
    xml = (page_xml(title="一") + page_xml(title="二") + end).encode()
    pages = list(parse_pages([xml[start : start + size] for start in range(0, len(xml), size)]))
    assert [page.title for page in pages] == ["一", "二"]


def test_the_end_of_a_dump_and_nothing_at_all_hold_no_pages():
    assert list(parse_pages([b"</mediawiki>\n"])) == []
    assert list(parse_pages([b"  ", b"\n"])) == []
    assert list(parse_pages([])) == []


def test_only_the_element_makes_a_redirect():
    assert one(page_xml(extra='    <redirect title="先" />\n')).redirect
    assert not one(page_xml("<text>#REDIRECT [[先]] &lt;redirect title='x' /&gt;</text>")).redirect


def test_the_text_is_what_the_wiki_stored():
    text = '<text bytes="1" xml:space="preserve">  &lt;ref&gt; a\n\n b &amp;nbsp; &#13;&#10;𠮷\r\n c </text>'
    assert one(page_xml(text)).text == "  <ref> a\n\n b &nbsp; \r\n𠮷\n c "


def test_an_empty_text_is_a_text_and_a_deleted_one_is_none():
    assert one(page_xml('<text bytes="0" sha1="x" xml:space="preserve" />')).text == ""
    assert one(page_xml('<text bytes="9" deleted="deleted" />')).text is None
    assert one(page_xml("")).text is None


def test_of_several_revisions_the_last_counts():
    later = (
        "<revision><id>71</id><model>json</model><text deleted='deleted'/></revision>"
        "<revision><id>72</id><text>新</text></revision>"
    )
    page = one(page_xml().replace("  </page>", f"{later}</page>"))
    assert (page.revision_id, page.model, page.text) == (72, "wikitext", "新")


def test_further_slots_of_a_revision_are_not_its_text():
    slot = "<content><role>media</role><model>json</model><text>{}</text></content>"
    page = one(page_xml(f"<text>本文</text>{slot}"))
    assert (page.model, page.text) == ("wikitext", "本文")


@pytest.mark.parametrize("number", ["", "x", "1_0", "１", " 1", "99999999999999999999", 1 << 63, "1.0", "+1"])
def test_an_id_that_is_no_int64_is_none(number):
    assert one(page_xml(page_id=number)).page_id is None
    assert one(page_xml(page_id=(1 << 63) - 1)).page_id == (1 << 63) - 1


def test_a_text_over_the_limit_is_dropped_and_said_so():
    at_limit, over = (one(page_xml(f"<text>{'あ' * count}</text>"), limit_bytes=300) for count in (100, 101))
    assert (at_limit.oversized, at_limit.text) == (False, "あ" * 100)
    assert (over.oversized, over.text, over.page_id, over.revision_id) == (True, None, 7, 70)


def hostile(start: bytes) -> Iterator[bytes]:
    yield start
    for _ in range(300):
        yield b"x" * (1 << 20)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"<page><title>", "<title> holds more"),
        (b"<page><!--", "tag or comment"),
        (b"<page a='", "tag or comment"),
        (b"<page><revision><text>", "cut short"),
    ],
)
def test_memory_is_bounded_whatever_is_endless(start, reason):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PageXmlError, match=reason):
        list(parse_pages(hostile(start)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (b'<!DOCTYPE mediawiki [<!ENTITY a "aaaa">]><mediawiki/>', "document type declaration"),
        (b"<page><title>&a;</title></page>", "undefined entity"),
        (b"<page><title>\xff</title></page>", "invalid token"),
        (b"<page>\x00</page>", "UTF-8"),
        ("<mediawiki/>".encode("utf-16"), "not UTF-8"),
        ("<mediawiki/>".encode("utf-16-le"), "not UTF-8"),
        (b"<html><page/></html>", "expected <mediawiki>"),
        (b"not xml at all", "syntax error"),
        (b"<page>" + b"<a>" * 100, "nested more than"),
        (b"<page></page></mediawiki><page></page>", "junk"),
        (b"<mediawiki><page></page>", "ends inside <mediawiki>"),
    ],
)
def test_what_is_no_dump_is_a_clear_error(xml, reason):
    with pytest.raises(PageXmlError, match=reason):
        list(parse_pages([xml], "shard 3"))


def test_an_error_tells_where_and_after_which_page():
    xml = (page_xml(title="一", page_id=41) + page_xml(title="二", page_id=42)).encode()
    with pytest.raises(
        PageXmlError, match=r"^shard 3, byte [\d,]+ of its XML: .*<text>.*cut short, after page 41 '一'"
    ):
        list(parse_pages([xml[: xml.rindex(b"</text>")]], "shard 3"))


PAGES_XML = "".join(page_xml(title=f"題{number}", page_id=number) for number in range(1, 4)).encode()
WHOLE_XML = HEADER.format(v="0.11").encode() + PAGES_XML + b"</mediawiki>\n"
EXPECTED = list(parse_pages([WHOLE_XML]))


@given(st.integers(0, len(WHOLE_XML)))
def test_a_dump_cut_at_any_byte_gives_no_wrong_page(end):
    pages, error = pages_until_error([WHOLE_XML[:end]])
    assert pages == EXPECTED[: len(pages)]
    whole = b"</mediawiki>" in WHOLE_XML[:end]
    assert (error is None) == (whole or not WHOLE_XML[:end].strip())


@given(st.integers(0, len(PAGES_XML)))
def test_a_part_cut_inside_a_page_is_an_error(end):
    pages, error = pages_until_error([PAGES_XML[:end]])
    assert pages == EXPECTED[: len(pages)]
    rest = PAGES_XML[:end].rpartition(b"</page>")[2].strip()
    assert (error is None) == (rest == b"")


@given(st.binary(max_size=300), st.integers(0, len(PAGES_XML)))
def test_no_bytes_make_anything_but_pages_or_its_error(noise, place):
    pages_until_error([noise])
    pages_until_error([PAGES_XML[:place] + noise + PAGES_XML[place:]])


@given(
    st.lists(st.sampled_from(["<page>", "</page>", "<text>", "</mediawiki>", "<id>1</id>", "&lt;", "<![CDATA[", "]]>"]))
)
def test_no_mixture_of_tags_makes_anything_but_pages_or_its_error(tags):
    pages_until_error([tag.encode() for tag in tags])


def test_the_header_tells_of_the_wiki():
    site = parse_siteinfo([WHOLE_XML[:50], WHOLE_XML[50:]])
    assert (site.dbname, site.base) == ("testwiki", "https://x.example/wiki/%E3%83%A1")
    assert site.namespaces == {-2: "メディア", 0: "", 6: "ファイル"}


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (b"", "no whole <siteinfo>"),
        (b"<mediawiki></mediawiki>", "no whole <siteinfo>"),
        (b"<mediawiki><page></page></mediawiki>", "<page> before any <siteinfo>"),
        (WHOLE_XML[:300], "no whole <siteinfo>"),
        (b"<mediawiki><a>" + b"x" * (5 << 20), "no whole <siteinfo>"),
        (b"\x1f\x8b\x08", "not well-formed"),
        (WHOLE_XML.decode().encode("utf-16"), "not UTF-8"),
        (WHOLE_XML.replace(b'key="6"', b'key="six"'), "has no number"),
        (
            b"<mediawiki><siteinfo><namespaces>"
            + b"".join(b'<namespace key="%d">a</namespace>' % number for number in range(1001)),
            "more than 1,000 namespaces",
        ),
    ],
)
def test_a_missing_header_is_a_clear_error(xml, reason):
    with pytest.raises(PageXmlError, match=reason):
        parse_siteinfo([xml])
