"""Pages in the form that MediaWiki writes them, read by one pattern: the same as the XML parser gives, in less time.

Whatever differs from that form in the least is left to the parser: other elements or attributes, another order, numbers
of characters, white space that XML changes, bytes that XML forbids.
"""

import re
from dataclasses import dataclass

OPENING, CLOSING = b"<page>", b"</page>"

_PLAIN = re.compile(
    rb"""
    \s*<page>
    \s*<title>(?P<title>[^<]{0,1024})</title>
    \s*<ns>(?P<namespace>-?[0-9]{1,4})</ns>
    \s*<id>(?P<page_id>[0-9]{1,18})</id>
    (?P<redirect>\s*<redirect[ ]title="[^"<]*"[ ]/>)?
    (?:\s*<restrictions>[^<]*</restrictions>)?
    \s*<revision>
    \s*<id>(?P<revision_id>[0-9]{1,18})</id>
    (?:\s*<parentid>[^<]*</parentid>)?
    \s*<timestamp>[^<]*</timestamp>
    \s*<contributor(?:[ ]deleted="deleted"[ ]/>|>
        (?:\s*<ip>[^<]*</ip>|\s*<username>[^<]*</username>\s*<id>[^<]*</id>)\s*</contributor>)
    (?:\s*<minor[ ]/>)?
    (?:\s*<comment>[^<]*</comment>|\s*<comment[ ]deleted="deleted"[ ]/>)?
    (?:\s*<origin>[^<]*</origin>)?
    \s*<model>(?P<model>[a-z-]{1,64})</model>
    \s*<format>[^<]*</format>
    \s*<text(?:[ ]bytes="[0-9]*")?(?:[ ]sha1="[0-9a-z]*")?(?:[ ]xml:space="preserve")?>(?P<text>[^<]*)</text>
    \s*<sha1>[^<]*</sha1>
    \s*</revision>
    \s*</page>
    """,
    re.VERBOSE,
)

# Of the characters below the space, XML allows tab, line feed and carriage return, and changes the last of them.
_FORBIDDEN = bytes({*range(0x20)} - {*b"\t\n"})
# The references that XML names, but for that of `&`, which begins them.
_REFERENCES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}


@dataclass(frozen=True, slots=True)
class PlainPage:
    """What a page of the plain form says; `text` has at most `limit` bytes of UTF-8."""

    title: str
    namespace: int
    page_id: int
    redirect: bool
    revision_id: int
    model: str
    text: str


def read_plain_page(xml: bytes, limit: int) -> PlainPage | None:
    """Return the page in the XML of one whole `<page>`, white space before it included; None if it is not plain."""
    match = _PLAIN.fullmatch(xml)
    if not match or len(match["text"]) > limit or len(xml.translate(None, _FORBIDDEN)) < len(xml):
        return None
    start, end = match.span("text")
    try:
        parts = [_unescaped(part) for part in (match["title"], xml[start:end], xml[:start] + xml[end:])]
    except ValueError:
        return None
    return PlainPage(
        parts[0],
        int(match["namespace"]),
        int(match["page_id"]),
        match["redirect"] is not None,
        int(match["revision_id"]),
        match["model"].decode(),
        parts[1],
    )


def _unescaped(escaped: bytes) -> str:
    """Return what a part of the XML says. Raises ValueError for what a parser would refuse, or takes another step."""
    text = escaped.decode()
    if "]]>" in text or "\ufffe" in text or "\uffff" in text:
        raise ValueError("XML does not allow this")
    if "&" in text:
        for reference, character in _REFERENCES.items():
            text = text.replace(reference, character)
        if text.count("&") != text.count("&amp;"):
            raise ValueError("a reference that XML does not name")
        text = text.replace("&amp;", "&")
    return text
