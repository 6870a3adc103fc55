"""Comments and extension tags (`<ref>`, `<math>`, `<nowiki>`…) of a page: what each shows in running text."""

import html
import re

from jgpt_dagster.corpus.wikitext.placeholders import escape_literal
from jgpt_dagster.corpus.wikitext.tex_formulas import formula_text


def without_comments(text: str) -> str:
    """Return `text` without `<!-- … -->`; an unclosed comment hides the rest of the page, as in MediaWiki."""
    kept = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        kept.append(text[position:start])
        end = text.find("-->", start + 4)
        if end < 0:
            return "".join(kept)
        position = end + 3
    kept.append(text[position:])
    return "".join(kept)


_INVISIBLE_TAGS = """
ref references gallery pre timeline imagemap score graph mapframe maplink templatedata inputbox categorytree hiero
includeonly indicator table syntaxhighlight source
"""
_FORMULA_TAGS = ("math", "chem", "ce")
_EXTENSION_TAG_NAMES = [*_INVISIBLE_TAGS.split(), *_FORMULA_TAGS, "nowiki", "code"]
_EXTENSION_TAG = re.compile(rf"<(/?)({'|'.join(_EXTENSION_TAG_NAMES)})\b([^<>]*)>", re.IGNORECASE)
_CLOSING = {name: re.compile(rf"</{name}\s*+>", re.IGNORECASE) for name in _EXTENSION_TAG_NAMES}

_MARKUP = re.compile(r"\[\[|\{\{|<|''")


def _visible_content(name: str, attributes: str, content: str) -> str:
    if name in ("nowiki", "code") or (name in ("syntaxhighlight", "source") and "inline" in attributes):
        return escape_literal(html.unescape(content).replace("\n", " "))
    if name in _FORMULA_TAGS:
        return formula_text(content)
    return ""


def without_extension_tags(text: str) -> str:
    """Return `text` with each extension tag and its content replaced by what they show in running text.

    Most show nothing. Blocks of program code are dropped; `inline` code stays. An unpaired tag is dropped alone.
    """
    kept = []
    position = 0
    closings: dict[str, re.Match[str] | None] = {}  # the next closing tag by name; many opening tags may share it
    while tag := _EXTENSION_TAG.search(text, position):
        kept.append(text[position : tag.start()])
        position = tag.end()
        closing, name, attributes = tag[1], tag[2].lower(), tag[3]
        if closing or attributes.endswith("/"):
            continue
        end = closings.get(name)
        if name not in closings or (end is not None and end.start() < position):
            end = closings[name] = _CLOSING[name].search(text, position)
        if end is None:
            continue
        if name == "code" and _MARKUP.search(text, position, end.start()):
            continue  # MediaWiki parses the content of <code> as wikitext, most authors expect code
        kept.append(_visible_content(name, attributes, text[position : end.start()]))
        position = end.end()
    kept.append(text[position:])
    return "".join(kept)
