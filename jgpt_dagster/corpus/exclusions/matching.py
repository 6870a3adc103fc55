"""Which entry of an exclusion list takes a document out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jgpt_dagster.corpus.exclusions.exclusion_list import WIKI, Exclusion, Kind
from jgpt_dagster.corpus.exclusions.phrase_search import PhraseSearch
from jgpt_dagster.corpus.exclusions.searched_text import searched_phrase, searched_text
from jgpt_dagster.corpus.text_profile import TextProfile

_KEYS = ("page_id", "document_id", "revision_id", "title", "url")


class Matcher:
    """Entries of a list, as they apply to the documents of one corpus.

    Of several entries that match a document, the first of the list takes it out.
    """

    def __init__(self, exclusions: Iterable[Exclusion], corpus: str, profile: TextProfile) -> None:
        self.profile = profile
        self._by_number = {entry.number: entry for entry in exclusions}
        self._keys: dict[int, int] = {}
        for number, entry in self._of_kind("page" if corpus == WIKI else "document"):
            name, _, key = entry.value.rpartition(":")
            if name in ("", corpus):
                self._keys.setdefault(int(key), number)
        self._titles = _first_numbers(self._of_kind("title") if corpus == WIKI else ())
        urls = [*self._of_kind("url")]
        self._urls = _first_numbers((number, entry) for number, entry in urls if not entry.value.endswith("*"))
        self._beginnings = [(number, entry.value[:-1]) for number, entry in urls if entry.value.endswith("*")]
        phrases = [(number, searched_phrase(entry.value, profile)) for number, entry in self._of_kind("phrase")]
        self._phrases = PhraseSearch((number, phrase) for number, phrase in phrases if phrase)
        self.reads_text = any(phrase for _, phrase in phrases)

    def first(self, key: int, title: str, url: str | None, lines: Iterable[str]) -> Exclusion | None:
        """Return the entry that takes a document out, given its cleaned lines; None if it stays."""
        return self.first_of(key, title, url, searched_text(lines, self.profile) if self.reads_text else "")

    def first_of(self, key: int, title: str, url: str | None, text: str) -> Exclusion | None:
        """Return the same for a document with a searched text."""
        found = [
            self._keys.get(key),
            self._titles.get(title),
            *(self._of_url(url) if url else ()),
            self._phrases.first(text) if self.reads_text else None,
        ]
        return min((self._by_number[number] for number in found if number), key=lambda one: one.number, default=None)

    def columns(self, names: Sequence[str]) -> list[str]:
        """Return the columns that have to be read, of those of a text: the keys, and the lines if there are phrases."""
        return [name for name in names if name in _KEYS or self._reads(name)]

    def __bool__(self) -> bool:
        return bool(self._by_number)

    def _reads(self, column: str) -> bool:
        return column == "lines" and self.reads_text

    def _of_url(self, url: str) -> Iterator[int | None]:
        yield self._urls.get(url)
        yield from (number for number, beginning in self._beginnings if url.startswith(beginning))

    def _of_kind(self, kind: Kind) -> list[tuple[int, Exclusion]]:
        return [(number, entry) for number, entry in sorted(self._by_number.items()) if entry.kind == kind]


class TextRows:
    """Reads the key, title, URL and lines out of rows of a text with the given columns; what is missing is empty."""

    def __init__(self, names: Sequence[str]) -> None:
        places = {name: place for place, name in enumerate(names)}
        self._key = places["page_id" if "page_id" in places else "document_id"]
        self._title, self._url, self._lines = (places.get(name) for name in ("title", "url", "lines"))

    def of(self, row: Sequence[Any]) -> tuple[int, str, str | None, Sequence[str]]:
        """Return the key, title, URL and lines of a row."""
        return (
            row[self._key],
            row[self._title] if self._title is not None else "",
            row[self._url] if self._url is not None else None,
            row[self._lines] if self._lines is not None else (),
        )


def _first_numbers(entries: Iterable[tuple[int, Exclusion]]) -> dict[str, int]:
    """Return the lowest number of each value."""
    found: dict[str, int] = {}
    for number, entry in entries:
        found.setdefault(entry.value, number)
    return found
