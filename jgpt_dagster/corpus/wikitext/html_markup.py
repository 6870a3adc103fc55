"""HTML tags and entities of an article as text: ruby, superscripts, line breaks, character references."""

import html
import re

from jgpt_dagster.corpus.wikitext.invisible_characters import normalize_characters
from jgpt_dagster.corpus.wikitext.placeholders import escape_markup

_BLOCK_TAG_NAMES = """
br hr p div center blockquote poem ul ol li dl dt dd tr td th caption h1 h2 h3 h4 h5 h6 section
"""
_INLINE_TAG_NAMES = """
a abbr b bdi bdo big cite code data del dfn em font i ins kbd mark noinclude nobr onlyinclude q rb rp rt rtc ruby s samp
small span strike strong sub sup templatestyles time translate tt tvar u var wbr references nowiki ref pre table tbody
thead tfoot includeonly gallery math
"""
_BLOCK_TAGS = frozenset(_BLOCK_TAG_NAMES.split())
_TAG_NAMES = "|".join([*_BLOCK_TAG_NAMES.split(), *_INLINE_TAG_NAMES.split()])
_TAG = re.compile(rf"<(/?)\s*+({_TAG_NAMES})\b([^<>]*)>", re.IGNORECASE)
_ATTRIBUTES = re.compile(r"[\s/\w]*+", re.ASCII)
_RUBY_TEXT = re.compile(r"<(?<!<rp>[（(]<)(?<!</rp><)rt(?:\s[^<>]*+)?>([^<>]*+)</rt\s*+>", re.IGNORECASE)
# 2<sup>e</sup> and 1<sup>o</sup> are ordinal numbers.
_SUPERSCRIPT = re.compile(
    r"<sup(?:\s[^<>]*+)?>\s*+((?:[-−+]|&minus;)?[0-9]++|(?![eo])[a-z])\s*+</sup\s*+>", re.IGNORECASE
)


def _exponent(raised: re.Match[str]) -> str:
    """Return `^10` after a digit or bracket, since 2<sup>10</sup> is not 210, but `2` in m<sup>2</sup>."""
    before = raised.string[max(raised.start() - 1, 0) : raised.start()]
    return f"^{raised[1]}" if before.isdecimal() or before == ")" else raised[1]


def without_html_tags(text: str) -> str:
    """Return `text` without HTML tags, with a line break for block tags; `a<b かつ c>d` is not a tag and stays."""
    if "<" not in text:
        return text
    text = _SUPERSCRIPT.sub(_exponent, _RUBY_TEXT.sub(r"（\1）", text))

    def replacement(tag: re.Match[str]) -> str:
        attributes = tag[3]
        if "=" not in attributes and not _ATTRIBUTES.fullmatch(attributes):
            return tag[0]
        return "\n" if tag[2].lower() in _BLOCK_TAGS else ""

    for _ in range(3):  # tags inside broken tags
        text = _TAG.sub(replacement, text)
    return text.replace("<", escape_markup("<")).replace(">", escape_markup(">"))


_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#38|#[xX]26);)++")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def decode_entities(text: str) -> str:
    """Return `text` with character references, even doubly escaped ones (`&amp;nbsp;`), as literal characters."""
    if "&" not in text:
        return text
    for _ in range(2):
        text = _AMPERSAND.sub("&", text)
        text = _ENTITY.sub(lambda entity: escape_markup(normalize_characters(html.unescape(entity[0]))), text)
    return text
