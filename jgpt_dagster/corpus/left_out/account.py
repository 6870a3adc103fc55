"""The account of one page: every step of cleaning that drops text reports it here.

A report costs an entry of a list; all are counted together when the page is done. Counted are the letters and digits
that a reader of the page would see, so the markup of a dropped text does not count: tags with their attributes, names
of templates and arguments, targets of links, addresses of labelled links.
"""

import html
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
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


_Text = tuple[Reason, Form]
_Template = tuple[str, Kind]


class _Drops(NamedTuple):
    """Texts that are counted together, and the template that they are charged to, if any."""

    reason: Reason
    form: Form
    texts: list[str]
    template: str = ""
    kind: Kind = "shown"


class Account:
    """What is left out of one page. `figures` ends it."""

    def __init__(self) -> None:
        self._figures = Figures()
        self._texts: dict[_Text, list[str]] = defaultdict(list)
        self._arguments: list[str] = []  # of templates that show a text
        self._calls: dict[_Template, list[str]] = defaultdict(list)  # the arguments of others
        self._sentences: dict[_Template, list[str]] = defaultdict(list)
        self._shown: dict[Reason, list[str]] = defaultdict(list)
        self._kept: list[str] = []
        self._pending = 0
        self._sources: dict[_Template, int] = {}

    def drop(self, reason: Reason, text: str, form: Form = "rendered", shown: str = "") -> None:
        """Count a dropped text, apart from what is shown in its place."""
        self._texts[reason, form].append(text)
        if shown:
            self._shown[reason].append(shown)

    def show(self, text: str) -> None:
        """Count a text that is shown and that the page does not hold at this place."""
        self._shown["argument"].append(text)

    def keep(self, lines: Sequence[str]) -> None:
        """Count the lines that stay."""
        self._kept += lines

    def call(self, template: str, kind: Kind, arguments: Sequence[str], shown: str) -> None:
        """Count the arguments of a template apart from what is shown of it, which may be more than they hold."""
        if kind == "shown":
            self._arguments += arguments
        else:
            self._calls[template, kind].append("|".join(arguments))
        if shown not in _NOTHING:
            self._shown["argument"].append(shown)
            self._pending += len(shown)
            if self._pending > _PENDING_CHARACTERS:
                self._count()

    def source(self, template: str, kind: Kind) -> int:
        """Return a number, below MAX_SOURCES, for a template that may leave a hole in a sentence of this page."""
        number = self._sources.get((template, kind))
        if number is None:
            source: _Template = (template, kind)
            if len(self._sources) >= MAX_SOURCES - 1:
                source = (OTHER_TEMPLATES, "unknown")
            number = self._sources.setdefault(source, len(self._sources))
        return number

    def shown_source(self, number: int | None) -> str:
        """Return how samples show the hole of the template with a number; None stands for a formula."""
        return FORMULA if number is None else "{{" + [*self._sources][number][0] + "}}"

    def drop_sentence(self, sentence: str, source: int | None, sample: str) -> None:
        """Count a sentence that is dropped because of a hole; `sample` is how a reader is shown it."""
        template: _Template = (FORMULA, "hole") if source is None else [*self._sources][source]
        self._sentences[template].append(sentence)
        self._template(*template).add(TemplateFigures(template[1], sentences=1, sample=sample))

    def figures(self) -> Figures:
        """Count what has been reported and return all figures."""
        self._count()
        return self._figures

    def _count(self) -> None:
        """Add what has been reported to the figures."""
        drops = sorted(self._reported(), key=lambda drops: drops.form)
        texts: list[str] = []
        for form, of_form in groupby(drops, key=lambda drops: drops.form):
            separator = "|" if form == "arguments" else "\n"
            texts += _without_markup([separator.join(("", *drops.texts)) for drops in of_form], form)
        texts += _without_markup(["\n".join(shown) for shown in self._shown.values()], "rendered")
        *counts, kept = count_letters([*texts, "\n".join(self._kept)])
        balance: dict[Reason, int] = defaultdict(int)
        for dropped, text, characters in zip(drops, texts, counts, strict=False):
            balance[dropped.reason] += characters
            if dropped.template:
                self._charge(dropped, text, characters)
        for reason, characters in zip(self._shown, counts[len(drops) :], strict=True):
            balance[reason] -= characters
        for reason, characters in balance.items():
            self._figures.characters[reason] += max(characters, 0)
            self._figures.added += max(-characters, 0)
        self._figures.kept += kept
        for reported in (self._texts, self._arguments, self._calls, self._sentences, self._shown, self._kept):
            reported.clear()
        self._pending = 0

    def _reported(self) -> Iterator[_Drops]:
        for (reason, form), texts in self._texts.items():
            yield _Drops(reason, form, texts)
        if self._arguments:
            yield _Drops("argument", "arguments", self._arguments)
        for (name, kind), texts in self._calls.items():
            yield _Drops("silent_template" if kind == "silent" else "unknown_template", "arguments", texts, name, kind)
        for (name, kind), texts in self._sentences.items():
            yield _Drops("sentence", "rendered", texts, name, kind)

    def _charge(self, dropped: _Drops, text: str, characters: int) -> None:
        if dropped.kind == "silent" and not characters:
            return
        template = self._template(dropped.template, dropped.kind)
        if dropped.reason == "sentence":
            template.sentence_characters += characters
            return
        template.uses += len(dropped.texts)
        template.characters += characters
        if dropped.kind == "unknown" and not template.sample:
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
