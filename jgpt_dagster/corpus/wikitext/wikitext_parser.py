"""Templates and links of a page: a tokenizer, and a stack that replaces them with their visible text.

`visible_text` also takes out comments and extension tags (see `extension_tags`), then tables and hidden elements (see
`dropped_elements`), and leaves headings, list markers, HTML tags and entities in place. The order is MediaWiki's: a
table may begin in one template and end in another. Each pass reads the page once, so the time is linear in its length
whatever it holds.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from jgpt_dagster.corpus.left_out.account import Account
from jgpt_dagster.corpus.wikitext.dropped_elements import without_dropped_elements
from jgpt_dagster.corpus.wikitext.extension_tags import without_extension_tags
from jgpt_dagster.corpus.wikitext.extraction_limits import MAX_NESTING, WikitextError
from jgpt_dagster.corpus.wikitext.placeholders import DROPPED_BLOCK, DROPPED_INLINE, ESCAPED_EQUALS, ESCAPED_STOP
from jgpt_dagster.corpus.wikitext.template_rendering import render
from jgpt_dagster.corpus.wikitext.template_rules import TemplateRules

# `{{a}}}` is a whole template and a brace, `{{{a}}` a brace and a template; `{{{a}}}` is neither.
_EVEN = r"(?=(?:\}\})*+(?!\}))"
# A template or link with no other inside is one token. Each alternative begins with a different character, which
# makes the search several times as fast.
_TOKEN = re.compile(rf"(\{{\{{(?:[^{{}}\[\]]*+\}}\}}{_EVEN})?|\}}\}}|\[\[(?:[^{{}}\[\]]*+\]\])?|\]\](?:\](?!\]))?|\|)")
# Most links contain plain text only: replacing those first saves two thirds of the tokens.
_PLAIN_LINK = re.compile(r"\[\[(?:[^\[\]{}|:=\n]++\|)? *+([^\[\]{}|:=\n]*[^\[\]{}|:=\s]) *+\]\]")
# A parameter has no value in an article, so its default shows.
_PARAMETER = re.compile(r"\{\{\{[^{}|\n]*+(?:\|([^{}]*+))?\}\}\}")
_LANGUAGE_PREFIX = re.compile(r"(?!(?:mw|voy|doi):)(?:[a-z]{2,3}(?:-[a-z]{1,10}){0,2}|simple):")
# The options of a file that does not stand within a line.
_FLOATING = re.compile(
    r"(?:^|\|)\s*+(?:thumb(?:nail)?|frame(?:d|less)?|left|right|center|none|サムネイル|フレーム|左|右|中央|なし)\s*+(?:[|=]|$)"
)


_TokenKind = Literal[
    "text",
    "pipe",
    "template",  # a whole `{{…}}` with no other construct inside
    "template start",
    "template end",
    "link",  # a whole `[[…]]` with no other construct inside
    "link start",
    "link end",  # `]]` or `]]]`
]
_DELIMITERS: dict[str, _TokenKind] = {
    "|": "pipe",
    "{{": "template start",
    "}}": "template end",
    "[[": "link start",
    "]]": "link end",
    "]]]": "link end",
}


def _tokens(text: str) -> Iterator[tuple[_TokenKind, str]]:
    """Yield the kind and the characters of each token."""
    *pieces, rest = _TOKEN.split(text)
    for before, token in zip(pieces[::2], pieces[1::2], strict=True):
        if before:
            yield "text", before
        yield _DELIMITERS.get(token) or ("template" if token[0] == "{" else "link"), token
    yield "text", rest


# What is no caption of a file: its size, and options with a value.
_FILE_OPTION = re.compile(r"\s*(?:[0-9x]+ ?px|(?:alt|link|class|lang|page|upright|border|baseline)\b.*)\s*", re.DOTALL)
_CATEGORY_NAMES = ("category", "カテゴリ")


def link_text(parts: list[str], hidden_namespaces: Collection[str], account: Account) -> str:
    """Return what `[[target|label]]` shows: nothing for files, categories and links to the page in other languages."""
    target, label = parts[0].strip(), "|".join(parts[1:]).strip()
    if target.startswith(":"):
        target = target[1:]
    elif ":" in target:
        namespace = target.partition(":")[0].strip().replace("_", " ").lower()
        if namespace in hidden_namespaces:
            if label and namespace not in _CATEGORY_NAMES and _is_caption(parts[-1]):
                account.drop("picture", parts[-1])
            return DROPPED_BLOCK if label and _FLOATING.search(label) else DROPPED_INLINE
        if not label and _LANGUAGE_PREFIX.match(target):
            return DROPPED_INLINE
    return label or target


def _is_caption(option: str) -> bool:
    return not (_FLOATING.fullmatch(option) or _FILE_OPTION.fullmatch(option))


class _Construct:
    """An open template or link, or the page itself, with the text of its parts so far."""

    __slots__ = ("kind", "parts")

    def __init__(self, kind: _TokenKind) -> None:
        self.kind = kind
        self.parts: list[list[str]] = [[]]

    def texts(self) -> list[str]:
        return ["".join(part) for part in self.parts]


class _OpenConstructs:
    """The stack of open constructs: the page at the bottom, the innermost construct on top."""

    def __init__(self, hidden_namespaces: Collection[str], rules: TemplateRules, account: Account) -> None:
        self._hidden_namespaces, self._rules, self._account = hidden_namespaces, rules, account
        self._stack = [_Construct("text")]
        self.innermost = self._stack[0]

    def append(self, text: str) -> None:
        """Add text to the innermost construct."""
        self.innermost.parts[-1].append(text)

    def next_part(self) -> None:
        """Start the next part of the innermost construct."""
        self.innermost.parts.append([])

    def whole(self, kind: _TokenKind, token: str) -> None:
        """Add the visible text of a template or link that is a single token."""
        self._check_nesting()
        self._append_visible(kind, token[2:-2].split("|"))

    def open(self, kind: _TokenKind) -> None:
        self._check_nesting()
        self.innermost = _Construct(kind)
        self._stack.append(self.innermost)

    def close(self) -> None:
        """Replace the innermost template or link with its visible text."""
        construct = self._pop()
        self._append_visible(construct.kind, construct.texts())

    def close_template(self) -> None:
        """Close the innermost template and abandon what is open inside it; a stray end of a template is dropped."""
        if any(construct.kind == "template start" for construct in self._stack):
            while self.innermost.kind != "template start":
                self.abandon()
            self.close()

    def close_link(self, end: str) -> None:
        """Close the innermost link at `]]` or `]]]`; the third bracket belongs to the label if it closes one there."""
        third = end[2:]
        if self.innermost.kind == "link start":
            if third and "[" in "".join(self.innermost.parts[-1]).rpartition("]")[2]:
                self.append(third)
                third = ""
            self.close()
        self.append(third)

    def abandon(self) -> None:
        """Keep the text of the innermost construct, which has no end."""
        self.append("|".join(self._pop().texts()))

    def finish(self) -> str:
        """Abandon all that is still open and return the text of the page."""
        while len(self._stack) > 1:
            self.abandon()
        return "".join(self.innermost.parts[0])

    def _check_nesting(self) -> None:
        if len(self._stack) > MAX_NESTING:
            raise WikitextError(f"more than {MAX_NESTING} templates and links nested or left open")

    def _append_visible(self, kind: _TokenKind, parts: list[str]) -> None:
        if kind == "link" or kind == "link start":
            text = link_text(parts, self._hidden_namespaces, self._account)
        else:
            text = render(parts, self._rules, self._account)
        self.append(text.replace("=", ESCAPED_EQUALS))

    def _pop(self) -> _Construct:
        construct = self._stack.pop()
        self.innermost = self._stack[-1]
        return construct


_BOLD_NAME = re.compile(r"''++([^'\n]*+)''++")
_NAME_LENGTH = 40


def _with_escaped_stops(text: str) -> str:
    """Return `text` with the 。 escaped that ends a link or a short text in bold or italics, such as モーニング娘。"""
    text = text.replace("。]]", f"{ESCAPED_STOP}]]")
    if "。''" not in text:
        return text

    def escaped(quoted: re.Match[str]) -> str:
        is_name = quoted[1].find("。") == len(quoted[1]) - 1 < _NAME_LENGTH
        return quoted[0].replace("。", ESCAPED_STOP) if is_name else quoted[0]

    return _BOLD_NAME.sub(escaped, text)


def without_structure(text: str, hidden_namespaces: Collection[str], rules: TemplateRules, account: Account) -> str:
    """Return `text` with templates and links replaced by their visible text, innermost first.

    Raises WikitextError if more than MAX_NESTING of them are open at once.
    """
    if "{{{" in text:
        text = _PARAMETER.sub(lambda parameter: parameter[1] or "", text).replace("{{{!}}", "{{(!}}")
    text = _with_escaped_stops(text)
    text = "".join(_PLAIN_LINK.split(text))  # a split at links yields their labels too
    constructs = _OpenConstructs(hidden_namespaces, rules, account)
    for kind, token in _tokens(text):
        if kind == "text":
            constructs.append(token)
        elif kind == "template" or kind == "link":
            constructs.whole(kind, token)
        elif kind == "pipe":
            if constructs.innermost.kind in ("template start", "link start"):
                constructs.next_part()
            else:
                constructs.append(token)
        elif kind == "template end":
            constructs.close_template()
        elif kind == "link end":
            constructs.close_link(token)
        else:
            constructs.open(kind)
    return constructs.finish().replace(ESCAPED_EQUALS, "=")


# The names that every wiki accepts, and the Japanese ones.
_NAMESPACES = ("File", "Image", "ファイル", "画像", "Category", "カテゴリ")


def hidden_namespaces(names: Iterable[str]) -> frozenset[str]:
    """Return the namespaces whose links show nothing in place, given the wiki's own names for them."""
    return frozenset(name.lower() for name in (*names, *_NAMESPACES))


def visible_text(text: str, hidden: Collection[str], rules: TemplateRules, account: Account) -> str:
    """Return `text` without comments, extension tags, templates, links and tables, but with their visible text."""
    text = without_structure(without_extension_tags(text, account), hidden, rules, account)
    return without_dropped_elements(text, account)
