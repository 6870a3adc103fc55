"""The list of a data root that takes documents out of its corpora, in the file `exclusions.json`.

Entries have numbers in the order in which they were added. One that is withdrawn stays in the file with the date, and
counts no more; a number is never used again. So a number and what it excludes say which entry of which list is meant.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.sealed_json import read_sealed_json, write_sealed_json

if TYPE_CHECKING:
    from pathlib import Path

    from upath import UPath

    from jgpt_dagster.storage.data_root import DataRoot

FILE = "exclusions.json"
"""The name of the file in a data root."""

Kind = Literal["page", "document", "url", "title", "phrase"]
KINDS: tuple[Kind, ...] = get_args(Kind)

WIKI = "wikipedia"
"""The corpus whose documents are pages."""

_MAX_BYTES = 256 << 20


class ExclusionListError(JgptError):
    """The list cannot be read, or an entry is none; the message says what is expected."""


@dataclass(frozen=True)
class Exclusion:
    """An entry: what it excludes, why, and when it was added and withdrawn (YYYY-MM-DD).

    The value of a `page` is its page id, of a `document` its corpus and number (`cc100:17`), of a `url` an address, or
    the beginning of addresses if it ends in `*`; a `title` is that of a page. Documents that hold a `phrase` go.
    """

    number: int
    kind: Kind
    value: str
    reason: str
    added: str
    withdrawn: str | None = None

    @cached_property
    def id(self) -> str:
        """What recipes record of it: its number and a hash, which does not tell what it excludes."""
        return f"{self.number}:{sha256_value([self.number, self.kind, self.value])[:12]}"

    @property
    def name(self) -> str:
        """The entry in words, for messages."""
        value = self.value if len(self.value) <= 60 else f"{self.value[:60]}…"
        return f"{self.number}: {self.kind} {value}"


@dataclass(frozen=True)
class ExclusionList:
    """All entries in the order of their numbers, withdrawn ones included."""

    entries: tuple[Exclusion, ...] = ()

    @cached_property
    def active(self) -> tuple[Exclusion, ...]:
        """The entries that count."""
        return tuple(entry for entry in self.entries if entry.withdrawn is None)

    @cached_property
    def by_id(self) -> dict[str, Exclusion]:
        """All entries by what recipes record of them."""
        return {entry.id: entry for entry in self.entries}

    @cached_property
    def digest(self) -> str:
        """The hash of what all entries exclude or excluded. Withdrawing one does not change it."""
        return self.digest_of_first(len(self.entries))

    def digest_of_first(self, count: int) -> str:
        """Return the digest of the list as it was when it had `count` entries; empty if it has fewer."""
        return sha256_value([entry.id for entry in self.entries[:count]]) if count <= len(self.entries) else ""

    def with_added(self, values: Iterable[tuple[Kind, str]], reason: str, date: str) -> "ExclusionList":
        """Return the list with further entries; what an active one excludes already is not added again.

        Raises ExclusionListError for a value that is none of its kind.
        """
        known = {(entry.kind, entry.value) for entry in self.active}
        entries = list(self.entries)
        for kind, value in values:
            value = parse_value(kind, value)
            if (kind, value) not in known:
                known.add((kind, value))
                entries.append(Exclusion(len(entries) + 1, kind, value, reason, date))
        return ExclusionList(tuple(entries))

    def with_withdrawn(self, numbers: Sequence[int], date: str) -> "ExclusionList":
        """Return the list in which some entries count no more. Raises ExclusionListError for one that is not there."""
        active = {entry.number for entry in self.active}
        if missing := sorted({*numbers} - active):
            raise ExclusionListError(
                f"The list has no entry {', '.join(map(str, missing))}. `jgpt exclude list` shows those that it has."
            )
        return ExclusionList(
            tuple(replace(entry, withdrawn=date) if entry.number in numbers else entry for entry in self.entries)
        )


def parse_value(kind: Kind, value: str) -> str:
    """Return a value in the form that the list keeps. Raises ExclusionListError."""
    value = value.strip()
    corpus, _, number = value.rpartition(":")
    if kind == "page" and not _is_key(value):
        raise ExclusionListError(f"{value!r} is no page id: expected a number, such as 17.")
    if kind == "document" and not (corpus and _is_key(number)):
        raise ExclusionListError(f"{value!r} is no document: expected a corpus and a number, such as cc100:17.")
    if kind == "document" and corpus == WIKI:
        raise ExclusionListError(f"{value!r} is a page: exclude it by its page id, --page {number}.")
    if kind == "url" and "://" not in value:
        raise ExclusionListError(f"{value!r} is no URL: expected an address such as https://example.org/page.")
    if kind == "title":
        value = " ".join(value.replace("_", " ").split())
    if not value:
        raise ExclusionListError(f"a {kind} is empty")
    if kind in ("page", "document"):
        return f"{corpus}:{int(number)}" if kind == "document" else f"{int(value)}"
    return value


def read_list(root: "Path | UPath") -> ExclusionList:
    """Return the list of a data root; an empty one if it has none.

    Raises ExclusionListError if it is damaged, ObjectStoreError if the store of the root cannot be reached.
    """
    from jgpt_dagster.storage.object_store import read_bytes  # takes longer to load than all of cleaning

    path = root / FILE
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return ExclusionList()
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError(f"it has {len(data):,} bytes, more than {_MAX_BYTES:,}")
        return ExclusionList(tuple(map(_entry, read_sealed_json(data)["entries"], range(1, len(data)))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExclusionListError(
            f"{path} is damaged: {error}. Restore it: without it, nothing is known of what must stay out."
        ) from error


def write_list(root: "DataRoot", exclusions: ExclusionList) -> None:
    """Write the list of a data root, and upload it if that is a URL."""
    from jgpt_dagster.storage.object_store import upload

    write_sealed_json(root.path / FILE, {"entries": [asdict(entry) for entry in exclusions.entries]})
    if root.remote is not None:
        upload(root.path / FILE, root.remote / FILE)


def _is_key(text: str) -> bool:
    """Return whether a text is a number that a column of keys can hold."""
    return text.isdecimal() and len(text) < 20 and int(text) < 1 << 63


def _entry(value: dict[str, Any], number: int) -> Exclusion:
    entry = Exclusion(**value)
    texts = (entry.value, entry.reason, entry.added)
    if entry.number != number or entry.kind not in KINDS or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"its entry {number} is none")
    return entry
