"""The pattern for plain pages reads what the XML parser reads, in pages of MediaWiki and in changed ones."""

import bz2
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.wikipedia import page_xml
from jgpt_dagster.corpus.wikipedia.page_xml import MAX_TEXT_BYTES, Page, PageXmlError, parse_pages
from jgpt_dagster.corpus.wikipedia.plain_pages import read_plain_page

PAGE = """  <page>
    <title>題 &amp;amp; &quot;x&quot;</title>
    <ns>0</ns>
    <id>5</id>
    <redirect title="先 &amp; 題" />
    <revision>
      <id>104087938</id>
      <parentid>80312300</parentid>
      <timestamp>2025-02-01T05:49:35Z</timestamp>
      <contributor>
        <username>誰</username>
        <id>99</id>
      </contributor>
      <minor />
      <comment>「[[題]]」 &lt;small&gt;</comment>
      <origin>80312300</origin>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text bytes="9" sha1="dqwa" xml:space="preserve">  &lt;ref&gt; a ]] &gt;
\t&amp;nbsp; &amp;lt; 𠮷 &apos;&apos;</text>
      <sha1>dqwa</sha1>
    </revision>
  </page>
"""
BY_ADDRESS = PAGE.replace("<username>誰</username>\n        <id>99</id>", "<ip>192.0.2.7</ip>")
WITHOUT_REDIRECT = PAGE.replace('<redirect title="先 &amp; 題" />', "").replace("<id>5<", "<id>6<")
PAGES = (PAGE, BY_ADDRESS, WITHOUT_REDIRECT)
PUT_BETWEEN = [
    *("<", ">", "&", "&#65;", "&#x3042;", "&lt", "&nosuch;", "]]>", "<!--", "-->", "<![CDATA[", "<?x?>", "</page>"),
    *("</page >", "<page>", "\r\n", "\r", "\0", "\x0b", "\x0c", "\x7f", "\ufffe", "\uffff", "\u0085", "</revision>"),
    *("<revision>", "<text>", "</text>", "<text />", ' deleted="deleted"', ' bytes="1"', "</mediawiki>", "<ns>1</ns>"),
    *("<!DOCTYPE x>", "<title>", "</title>", "999999999999999999999", "-", "<content>", "\xa0", "\u3000"),
]


def read_both_ways(xml: bytes, sizes: int = 1 << 20, limit_bytes: int = MAX_TEXT_BYTES) -> None:
    """Require that pages and error are those of the parser alone, which yields fewer pages before an error."""
    chunks = [xml[start : start + sizes] for start in range(0, len(xml), sizes)]
    (pages, error), (plain, plain_error) = (_read(chunks, patch, limit_bytes) for patch in (True, False))
    assert (plain_error, plain[: len(pages)]) == (error, pages)
    assert error or plain == pages


def _read(chunks: list[bytes], without_pattern: bool, limit_bytes: int) -> tuple[list[Page], str]:
    pages: list[Page] = []
    with pytest.MonkeyPatch.context() as patch:
        if without_pattern:
            patch.setattr(page_xml, "read_plain_page", lambda xml, limit: None)
        try:
            pages.extend(parse_pages(chunks, limit_bytes=limit_bytes))
        except PageXmlError as error:
            return pages, str(error)
    return pages, ""


def test_pages_of_mediawiki_are_plain() -> None:
    assert all(read_plain_page(page.rstrip().encode(), 1000) for page in PAGES)


@given(st.lists(st.sampled_from(PAGES), max_size=4), st.booleans(), st.integers(1, 3000))
def test_plain_pages_are_read_as_the_parser_reads_them(pages: list[str], whole: bool, size: int) -> None:
    opening, closing = ("<mediawiki>\n  <siteinfo></siteinfo>\n", "</mediawiki>\n") if whole else ("", "")
    read_both_ways((opening + "".join(pages) + closing).encode(), size)


@st.composite
def changed_pages(draw: st.DrawFn) -> bytes:
    """Some pages of which some bytes are gone, doubled, or have something put between them."""
    xml = "".join(draw(st.lists(st.sampled_from(PAGES), min_size=1, max_size=3))).encode()
    for _ in range(draw(st.integers(1, 4))):
        start, length = draw(st.integers(0, len(xml))), draw(st.integers(0, 12))
        put = draw(st.sampled_from(PUT_BETWEEN).map(str.encode) | st.binary(max_size=4))
        xml = xml[:start] + put + xml[start + length * draw(st.booleans()) :]
    return xml


@given(changed_pages(), st.booleans())
def test_whatever_is_changed_in_a_page_it_is_read_as_the_parser_reads_it(xml: bytes, whole: bool) -> None:
    read_both_ways(b"<mediawiki>" + xml + b"</mediawiki>" if whole else xml)


def test_a_comment_around_pages_hides_them() -> None:
    hidden = f"<!-- <page></page>{PAGE}{PAGE} -->{WITHOUT_REDIRECT}"
    read_both_ways(f"<mediawiki>{PAGE}{hidden}</mediawiki>".encode())
    read_both_ways(f"<mediawiki>{PAGE.replace('</page>', '</page ><!-- </page>')}{PAGE} --></mediawiki>".encode())


def test_the_limit_of_a_text_counts_the_bytes_that_it_stands_for() -> None:
    for limit in range(20, 60):
        read_both_ways((PAGE + WITHOUT_REDIRECT).encode(), limit_bytes=limit)


def test_the_pages_of_a_real_dump_are_read_as_the_parser_reads_them() -> None:
    root = os.environ.get("JGPT_TEST_DATA")
    if not root:
        pytest.skip("JGPT_TEST_DATA does not name the directory of real data")
    xml = bz2.decompress((Path(root) / "wiki/jawiki-20250801-excerpt-single-stream.xml.bz2").read_bytes())
    read_both_ways(xml)
    blocks = [block.lstrip() + b"</page>" for block in xml[xml.index(b"<page>") :].split(b"</page>")[:-1]]
    assert sum(read_plain_page(block, 4 << 20) is not None for block in blocks) > 0.95 * len(blocks)
