"""Comments and extension tags (`<ref>`, `<math>`, `<nowiki>`…) of a page: what each shows in running text."""

import html
import re

from jgpt_dagster.corpus.wikitext.placeholders import literal
from jgpt_dagster.corpus.wikitext.tex_formulas import formula


def without_comments(text: str) -> str:
    """`text` without `<!-- … -->`; an unclosed comment hides the rest of the page, as in MediaWiki."""
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


_DROPPED_ELEMENTS = """
ref references gallery pre timeline imagemap score graph mapframe maplink templatedata inputbox categorytree hiero
includeonly indicator table syntaxhighlight source
"""
_FORMULAS = ("math", "chem", "ce")
_ELEMENT_NAMES = [*_DROPPED_ELEMENTS.split(), *_FORMULAS, "nowiki", "code"]
_ELEMENT = re.compile(rf"<(/?)({'|'.join(_ELEMENT_NAMES)})\b([^<>]*)>", re.IGNORECASE)
_CLOSING = {name: re.compile(rf"</{name}\s*+>", re.IGNORECASE) for name in _ELEMENT_NAMES}

_MARKUP = re.compile(r"\[\[|\{\{|<|''")


def _shown(name: str, attributes: str, content: str) -> str:
    if name in ("nowiki", "code") or (name in ("syntaxhighlight", "source") and "inline" in attributes):
        return literal(html.unescape(content).replace("\n", " "))
    if name in _FORMULAS:
        return formula(content)
    return ""


def without_elements(text: str) -> str:
    """`text` with each extension element replaced by what it shows in running text, which is mostly nothing.

    Blocks of program code are no prose and go; `inline` code stays. A tag without its partner goes alone.
    """
    kept = []
    position = 0
    closings: dict[str, re.Match[str] | None] = {}  # by name, the next one: many opening tags may share it
    while tag := _ELEMENT.search(text, position):
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
            continue  # MediaWiki takes the content of <code> for wikitext, most authors do not
        kept.append(_shown(name, attributes, text[position : end.start()]))
        position = end.end()
    kept.append(text[position:])
    return "".join(kept)
