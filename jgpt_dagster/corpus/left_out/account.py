"""The account of one page: every step of cleaning that drops text reports it here.

A report costs an entry of a list; all are counted together when the page is done. Counted are the letters and digits
that a reader of the page would see, so the markup of a dropped text does not count: tags with their attributes, names
of templates and arguments, targets of links, addresses of labelled links.
"""

import html
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Literal, NamedTuple

from jgpt_dagster.corpus.left_out.figures import FORMULA, OTHER_TEMPLATES, Figures, Kind, Reason, TemplateFigures
from jgpt_dagster.corpus.left_out.letters import count_letters

MAX_SOURCES = 62
"""How many templates of one page are told apart as sources of holes."""

SAMPLE = 120
"""Characters of a sample."""

Form = Literal["rendered", "wikitext", "table", "arguments", "literal"]
"""What a text is: with templates and links replaced by what they show; as written; a table or the arguments of a
template, with templates and links replaced; no wikitext at all, such as code."""

# Entries are counted when so many characters have come together: nested templates hold the same text again and again.
_PENDING_CHARACTERS = 1 << 20

# The private characters of cleaning; see `wikitext.placeholders`.
_PLACEHOLDER = re.compile("[\x1c-\x1f\U00100000-\U0010007f]")
_NOTHING = frozenset(["", "\x1d", "\x1f"])
_END = "\0"  # between two texts, which contain none
_TAG = re.compile(r"<(?=[/!A-Za-z])[^<>\0]*+>")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ADDRESS = re.compile(r"\[(?:[A-Za-z]{3,9}:)?//[^\s\]\0]*")
_ARGUMENT_NAME = re.compile(r"\|[^|=<>\[\]{}\"'\0]{0,60}+=(?!=)")
_TEMPLATE_NAME = re.compile(r"\{\{[^{}|\0]*+")
_LINK_TARGET = re.compile(r"\[\[[^\[\]{}|\0]*+\|")
# Each begins with a literal, which makes the search fast.
_ROW_ATTRIBUTES = re.compile(r"\n[ \t:*#;]*+(?:\{\||\|-)[^\n\0]*+")
_FIRST_CELL_ATTRIBUTES = re.compile(r"\n[ \t]*+(?:\|\+?|!)(?:[^|!\n\0]++|!(?!!))*+\|(?!\|)")
_CELL_ATTRIBUTES = re.compile(r"\|\|[^|\n\0]*+\|(?!\|)")
_HEADER_ATTRIBUTES = re.compile(r"!![^|!\n\0]*+\|(?!\|)")


class _Drops:
    """Dropped texts of one kind: their number, and their parts."""

    __slots__ = ("parts", "texts")

    def __init__(self) -> None:
        self.texts = 0
        self.parts: list[str] = []


class _Key(NamedTuple):
    """What is counted together: a reason, the form of the texts, and the template that they are charged to, if any."""

    reason: Reason
    form: Form
    template: str = ""
    kind: Kind = "shown"


_ARGUMENTS = _Key("argument", "arguments")


class Account:
    """What is left out of one page. `figures` ends it."""

    def __init__(self) -> None:
        self._figures = Figures()
        self._drops: dict[_Key, _Drops] = defaultdict(_Drops)
        self._shown: dict[Reason, list[str]] = defaultdict(list)
        self._kept: list[str] = []
        self._pending = 0
        self._sources: list[tuple[str, Kind]] = []

    def drop(self, reason: Reason, text: str, form: Form = "rendered", shown: str = "") -> None:
        """Count a dropped text, apart from what is shown in its place."""
        self._drops[_Key(reason, form)].parts.append(text)
        if shown:
            self._shown[reason].append(shown)

    def show(self, text: str) -> None:
        """Count a text that is shown and that the page does not hold at this place."""
        self._shown["argument"].append(text)

    def keep(self, lines: Sequence[str]) -> None:
        """Count the lines that stay."""
        self._kept.append("\n".join(lines))

    def call(self, template: str, kind: Kind, arguments: Sequence[str], shown: str) -> None:
        """Count the arguments of a template apart from what is shown of it, which may be more than they hold."""
        if kind == "shown":
            if arguments:
                self._drops[_ARGUMENTS].parts += arguments
        else:
            reason: Reason = "silent_template" if kind == "silent" else "unknown_template"
            drops = self._drops[_Key(reason, "arguments", template, kind)]
            drops.texts += 1
            drops.parts += arguments
        if shown not in _NOTHING:
            self._shown["argument"].append(shown)
            self._pending += len(shown)
            if self._pending > _PENDING_CHARACTERS:
                self._count()

    def source(self, template: str, kind: Kind) -> int:
        """Return a number, below MAX_SOURCES, for a template that may leave a hole in a sentence of this page."""
        known = [name for name, _ in self._sources]
        if template not in known and len(known) >= MAX_SOURCES - 1:
            template, kind = OTHER_TEMPLATES, "unknown"
        if template not in known:
            self._sources.append((template, kind))
            return len(known)
        return known.index(template)

    def shown_source(self, number: int | None) -> str:
        """Return how samples show the hole of the template with a number; None stands for a formula."""
        return FORMULA if number is None else "{{" + self._sources[number][0] + "}}"

    def drop_sentence(self, sentence: str, source: int | None, sample: str) -> None:
        """Count a sentence that is dropped because of a hole; `sample` is how a reader is shown it."""
        formula: tuple[str, Kind] = (FORMULA, "hole")
        name, kind = formula if source is None else self._sources[source]
        drops = self._drops[_Key("sentence", "rendered", name, kind)]
        drops.texts += 1
        drops.parts.append(sentence)
        self._template(name, kind).add(TemplateFigures(kind, sentences=1, sample=sample))

    def figures(self) -> Figures:
        """Count what has been reported and return all figures."""
        self._count()
        return self._figures

    def _count(self) -> None:
        """Add what has been reported to the figures."""
        keys = sorted(self._drops, key=lambda key: key.form)
        texts: list[str] = []
        for form, of_form in groupby(keys, key=lambda key: key.form):
            separator = "|" if form == "arguments" else "\n"
            joined = [separator.join(("", *self._drops[key].parts)) for key in of_form]
            texts += _without_markup(joined, form)
        texts += _without_markup(["\n".join(shown) for shown in self._shown.values()], "rendered")
        *counts, kept = count_letters([*texts, "\n".join(self._kept)])
        self._figures.kept += kept
        balance: dict[Reason, int] = defaultdict(int)
        for key, text, characters in zip(keys, texts, counts, strict=False):
            balance[key.reason] += characters
            if key.template:
                self._charge(key, self._drops[key].texts, text, characters)
        for reason, characters in zip(self._shown, counts[len(keys) :], strict=True):
            balance[reason] -= characters
        for reason, characters in balance.items():
            self._figures.characters[reason] += max(characters, 0)
            self._figures.added += max(-characters, 0)
        self._drops.clear()
        self._shown.clear()
        self._kept.clear()
        self._pending = 0

    def _charge(self, key: _Key, texts: int, text: str, characters: int) -> None:
        if key.kind == "silent" and not characters:
            return
        template = self._template(key.template, key.kind)
        if key.reason == "sentence":
            template.sentence_characters += characters
            return
        template.uses += texts
        template.characters += characters
        if key.kind == "unknown" and not template.sample:
            template.sample = " ".join(_PLACEHOLDER.sub("", text[: 4 * SAMPLE]).split())[:SAMPLE].strip(" |")

    def _template(self, name: str, kind: Kind) -> TemplateFigures:
        return self._figures.templates.setdefault(name, TemplateFigures(kind))


def _without_markup(texts: list[str], form: Form) -> list[str]:
    """Return texts of one form without the markup that no reader sees."""
    if form == "literal" or not texts:
        return texts
    text = _END.join(texts)
    for needed, pattern, replacement in _MARKUP[form]:
        if needed in text:
            text = pattern.sub(replacement, text)
    return text.split(_END)


@lru_cache(256)
def _character(entity: str) -> str:
    return html.unescape(entity).replace(_END, "")


_Step = tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]]

_ANYWHERE: tuple[_Step, ...] = (
    ("<", _TAG, ""),
    ("&", _ENTITY, lambda entity: _character(entity[0])),
    ("//", _ADDRESS, ""),
)
_MARKUP: dict[Form, tuple[_Step, ...]] = {
    "rendered": _ANYWHERE,
    "arguments": (("=", _ARGUMENT_NAME, "|"), *_ANYWHERE),
    "wikitext": (
        ("{{", _TEMPLATE_NAME, ""),
        ("[[", _LINK_TARGET, ""),
        ("=", _ARGUMENT_NAME, "|"),
        *_ANYWHERE,
    ),
    "table": (
        ("|", _ROW_ATTRIBUTES, "\n"),
        ("\n", _FIRST_CELL_ATTRIBUTES, "\n|"),
        ("||", _CELL_ATTRIBUTES, "||"),
        ("!!", _HEADER_ATTRIBUTES, "!!"),
        *_ANYWHERE,
    ),
}
