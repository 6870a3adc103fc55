"""Comments and extension tags (`<ref>`, `<math>`, `<nowiki>`…) of a page: what each shows in running text.

Whichever opens first holds the others, as in MediaWiki's preprocessor: a comment within `<nowiki>` is text, a `<ref>`
within a comment is none.
"""

import html
import re

from jgpt_dagster.corpus.left_out.account import Account, Form
from jgpt_dagster.corpus.left_out.figures import Reason
from jgpt_dagster.corpus.wikitext.invisible_characters import normalize_characters
from jgpt_dagster.corpus.wikitext.placeholders import DISPLAYED_FORMULA, DROPPED_BLOCK, DROPPED_INLINE, escape_literal
from jgpt_dagster.corpus.wikitext.tex_formulas import formula_text

_INLINE_NAMES = "ref includeonly indicator templatedata maplink section"
_BLOCK_NAMES = """
references gallery pre timeline imagemap score graph mapframe inputbox categorytree hiero syntaxhighlight source
"""
# What a dropped element leaves in its place, by name.
_TRACES = dict.fromkeys(_INLINE_NAMES.split(), DROPPED_INLINE) | dict.fromkeys(_BLOCK_NAMES.split(), DROPPED_BLOCK)
# Why an element is left out and what its content is; others hold data of an extension.
_CONTENTS: dict[str, tuple[Reason, Form]] = {
    **dict.fromkeys(["ref", "references"], ("note", "wikitext")),
    "includeonly": ("hidden", "wikitext"),
    **dict.fromkeys(["gallery", "imagemap"], ("picture", "literal")),
    **dict.fromkeys(["pre", "syntaxhighlight", "source"], ("code", "literal")),
}
_FORMULA_NAMES = ("math", "chem", "ce")
_NAMES = [*_TRACES, *_FORMULA_NAMES, "nowiki", "code", "poem"]
_OPENING = re.compile(rf"<(?:!--|(/?)({'|'.join(_NAMES)})(?=[\s/>])([^>]*)>)", re.IGNORECASE)
_CLOSING = {name: re.compile(rf"</{name}\s*+>", re.IGNORECASE) for name in _NAMES}

_MARKUP = re.compile(r"\[\[|\{\{|<|''")
_BLANKS = re.compile(r"[ \t]*+")
# Characters in front of a formula on a line of its own. A longer indent is not looked for.
_INDENT_LIMIT = 16


def _is_at_line_start(text: str, position: int) -> bool:
    """Return whether only blanks, or an indent that ends in a colon, stand between a line's start and `position`."""
    start = max(position - _INDENT_LIMIT, 0)
    newline = text.rfind("\n", start, position)
    if newline < 0 < start:
        return False
    indent = text[max(newline + 1, start) : position].rstrip(" \t")
    return not indent or (indent[-1] == ":" and not indent.strip("*#:"))


def _visible_content(name: str, attributes: str, content: str, account: Account) -> str:
    if name in ("nowiki", "code") or (name in ("syntaxhighlight", "source") and "inline" in attributes):
        return escape_literal(normalize_characters(html.unescape(content)).replace("\n", " "))
    if name in _FORMULA_NAMES:
        shown = formula_text(content)
        account.drop("formula", content, "literal", shown)
        return shown
    if name == "poem":  # a line end is a line break; the content is wikitext, without a poem
        return without_extension_tags(content, account).replace("\n", "<br>\n")
    reason, form = _CONTENTS.get(name, ("element", "literal"))
    account.drop(reason, content, form)
    return _TRACES[name]


def without_extension_tags(text: str, account: Account) -> str:
    """Return `text` with comments and extension tags, and their content, replaced by what they show in running text.

    Most show nothing. Blocks of program code are dropped; `inline` code stays. An unpaired tag is dropped alone; an
    unclosed comment hides the rest of the text. A line that holds comments only is dropped with its line end.
    """
    kept = []
    position = 0
    line = -1  # if the line so far holds comments and blanks only: the index in `kept` where it begins
    closings: dict[str, re.Match[str] | None] = {}  # the next closing tag by name; many opening tags may share it
    last = text.rfind(">") + 1  # no tag ends after it, so a search up to there scans nothing in vain
    while tag := _OPENING.search(text, position, last):
        before = text[position : tag.start()]
        if tag[2] is None:
            end = text.find("-->", tag.end())
            if end < 0:
                account.drop("hidden", text[tag.end() :], "wikitext")
                kept.append(before)
                return "".join(kept)
            position = end + 3
            if bare := before.rstrip(" \t"):
                line = len(kept) + 1 if bare[-1] == "\n" else -1
            kept += (bare, before[len(bare) :])
            if line >= 0:
                blanks = _BLANKS.match(text, position)
                if blanks and text.startswith("\n", blanks.end()):
                    del kept[line:]
                    position = blanks.end() + 1
            continue
        kept.append(before)
        line = -1
        position = tag.end()
        closing, name, attributes = tag[1], tag[2].lower(), tag[3]
        if closing or attributes.endswith("/"):
            kept.append(_TRACES.get(name, ""))
            continue
        found = closings.get(name)
        if name not in closings or (found is not None and found.start() < position):
            found = closings[name] = _CLOSING[name].search(text, position)
        if found is None:
            if name == "includeonly":  # an unclosed one holds the rest, as in MediaWiki
                account.drop("hidden", text[position:], "wikitext")
                return "".join(kept)
            continue
        if name == "code" and _MARKUP.search(text, position, found.start()):
            continue  # MediaWiki parses the content of <code> as wikitext, most authors expect code
        shown = _visible_content(name, attributes, text[position : found.start()], account)
        if name in _FORMULA_NAMES and _is_at_line_start(text, tag.start()):
            shown = f"{DISPLAYED_FORMULA}{shown}{DISPLAYED_FORMULA}"
        kept.append(shown)
        position = found.end()
    start = text.find("<!--", max(position, last))
    if start >= 0:
        account.drop("hidden", text[start + 4 :], "wikitext")
    kept.append(text[position:start] if start >= 0 else text[position:])
    return "".join(kept)
