"""The visible prose of a page as an independent parser sees it: letters and digits of everything that is no markup.

`mwparserfromhell` finds the nodes. Counted are texts, labels of links, headings, captions of pictures, values of
arguments of templates, and what elements hold; not names, targets, attributes, comments and addresses.
"""

import html
import re
from collections.abc import Iterator

import mwparserfromhell
from mwparserfromhell import nodes
from mwparserfromhell.wikicode import Wikicode

# Elements whose content is no wikitext of the page.
_LITERAL_NAMES = """
math chem ce gallery imagemap pre syntaxhighlight source indicator templatedata maplink section timeline score graph
mapframe inputbox categorytree hiero
"""
_LITERAL = frozenset(_LITERAL_NAMES.split())
_SHOWN_LITERALLY = frozenset(["nowiki", "code"])
_FILES = re.compile(r":?\s*(?:File|Image|ファイル|画像)\s*:", re.IGNORECASE)
_CATEGORIES = re.compile(r"(?:Category|カテゴリ)\s*:", re.IGNORECASE)
_OTHER_LANGUAGE = re.compile(r"(?!(?:mw|voy|doi):)(?:[a-z]{2,3}(?:-[a-z]{1,10}){0,2}|simple):")
_OPTION = re.compile(
    r"\s*(?:[0-9x]+ ?px|(?:alt|link|class|lang|page|upright|border|baseline)\b.*|thumb(?:nail)?|frame(?:d|less)?|left|"
    r"right|center|none|サムネイル|フレーム|左|右|中央|なし)\s*",
    re.DOTALL,
)
_FUNCTIONS = ("formatnum:", "lc:", "uc:", "lcfirst:", "ucfirst:")
# A longer text in front of a "=" is no name of an argument.
_NAME_LIMIT = 60
_SWITCH = re.compile("__(?:[A-Z]{3,30}|[ぁ-んァ-ヶー一-龠]{2,20})__")
_TAG = re.compile(r"<[/!A-Za-z][^<>]*>")


def letters(text: str) -> int:
    """Return the number of letters and digits of a text."""
    return sum(map(str.isalnum, text))


def visible_prose(wikitext: str) -> str:
    """Return the text of a page with everything that a reader may see, in the order of the page."""
    return "".join(_texts(mwparserfromhell.parse(wikitext, skip_style_tags=True)))


def _texts(code: Wikicode | None) -> Iterator[str]:
    for node in code.nodes if code else ():
        yield from _shown(node)


def _shown(node: nodes.Node) -> Iterator[str]:
    match node:
        case nodes.Text():
            yield _TAG.sub("", _SWITCH.sub("", str(node)))
        case nodes.HTMLEntity():
            yield html.unescape(str(node))
        case nodes.Heading():
            yield from ("\n", *_texts(node.title), "\n")
        case nodes.ExternalLink():
            if not node.brackets:
                yield from _texts(node.url)
            else:  # an ideographic space ends the address too
                yield str(node.url).partition("\u3000")[2]
                yield from _texts(node.title)
        case nodes.Wikilink():
            yield from _link(node)
        case nodes.Template():
            name = str(node.name).strip()
            if name.lower().startswith(_FUNCTIONS):
                yield "".join(_texts(node.name)).partition(":")[2]
            else:
                yield from _templates(node.name)
            for parameter in node.params:
                name = str(parameter.name)
                if parameter.showkey and (len(name.strip()) >= _NAME_LIMIT or "[[" in name):
                    yield from _texts(parameter.name)
                yield from (" ", *_texts(parameter.value))
        case nodes.Argument():
            yield from _texts(node.default)
        case nodes.Tag():
            yield from _tag(node)


def _templates(code: Wikicode) -> Iterator[str]:
    """Yield what templates hold that stand within a name or an attribute."""
    for node in code.nodes:
        if isinstance(node, nodes.Template):
            yield from _shown(node)


def _link(node: nodes.Wikilink) -> Iterator[str]:
    title = str(node.title).strip()
    label = "".join(_texts(node.text)) if node.text is not None else ""
    if _FILES.match(title) and not title.startswith(":"):
        caption = label.rpartition("|")[2]
        if not _OPTION.fullmatch(caption):
            yield caption
    elif _CATEGORIES.match(title) or (not label.strip() and _OTHER_LANGUAGE.match(title)):
        return
    elif label.strip():
        yield label
    else:
        yield from (text.removeprefix(":") for text in _texts(node.title))


def _tag(node: nodes.Tag) -> Iterator[str]:
    name = str(node.tag).strip().lower()
    for attribute in node.attributes:
        if attribute.value is not None:
            yield from _templates(attribute.value)
    if node.self_closing or node.contents is None:
        yield "\n"
    elif name in _LITERAL:
        yield str(node.contents)
    elif name in _SHOWN_LITERALLY:
        yield html.unescape(str(node.contents))
    else:
        yield from ("\n" if name in ("table", "tr", "td", "th", "li") else "", *_texts(node.contents))
