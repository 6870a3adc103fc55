"""Manifests: what an output was made from, its counts, and the size and hash of each of its files.

A manifest holds nothing volatile, so two runs over the same input write the same bytes. Times, hosts and run ids go to
the run record next to it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jgpt_dagster.storage.hashing import sha256_file, sha256_value

ACCOUNT = "left_out.pq"
"""The account of what an output leaves out, beside the output. It is Parquet by another name than that of data, so that
a query over all `*.parquet` of a folder reads data alone."""

# Files beside an output's own: its manifest, and the record of the run that made it.
_RESERVED_NAMES = ("manifest.json", "run.json")
_MAX_NAME_BYTES, _MAX_PATH_BYTES = 255, 4095


@dataclass(frozen=True)
class Recipe:
    """Everything that determines an output's bytes. Equal recipes give equal data.

    `inputs` maps an input's label to the sha256 of its data (never of its manifest); `libraries` maps a distribution to
    its version, or an engine to its fingerprint.
    """

    stage: str
    code_version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)

    def changes(self, now: "Recipe") -> list[str]:
        """Return in words what differs in the recipe of now: each with the value before and now."""
        changes = []
        if self.stage != now.stage:
            changes.append(f"its stage was {self.stage}, is {now.stage}")
        if self.code_version != now.code_version:
            changes.append(f"the version of its code was {self.code_version}, is {now.code_version}")
        for kind in ("settings", "inputs", "libraries"):
            before, after = getattr(self, kind), getattr(now, kind)
            for name in sorted(before.keys() | after.keys()):
                if before.get(name) != after.get(name):
                    old, new = (_shown(kind, values.get(name)) for values in (before, after))
                    again = " has been made again: it" if kind == "inputs" else ""
                    changes.append(f"{name}{again} was {old}, is {new}")
        return changes


def _shown(kind: str, value: Any) -> str:
    """Return a value of a recipe for a message: a hash of an input is shortened."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value[:12]}…" if kind == "inputs" else str(value)


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and hex sha256 of one file of an output."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileEntry":
        """Return size and hash of a file."""
        return cls(path.stat().st_size, sha256_file(path))

    def mismatch(self, path: Path, on_read: Callable[[int], None] = lambda size: None) -> str | None:
        """Compare a file with this entry; return the difference in words, or None.

        `on_read` is called with the number of bytes after each read.
        """
        if not path.is_file():
            return f"{path} is missing (expected {self.size:,} bytes)"
        size = path.stat().st_size
        if size != self.size:
            return f"{path} has {size:,} bytes, expected {self.size:,}"
        found = sha256_file(path, on_read=on_read)
        return None if found == self.sha256 else f"{path} has sha256 {found[:16]}…, expected {self.sha256[:16]}…"


@dataclass(frozen=True)
class Manifest:
    """The recipe of an output, its counts, and its files by their path in the output."""

    recipe: Recipe
    counts: Mapping[str, Any]
    files: Mapping[str, FileEntry]

    @property
    def data_sha256(self) -> str:
        """The identity of the data only: equal for equal files, whatever recipe made them.

        The account of what was left out is no data: an output from before there were accounts is the same with one.
        """
        return sha256_value({name: entry.sha256 for name, entry in self.files.items() if name != ACCOUNT})

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON-like values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Manifest":
        """Return the manifest that `to_dict` wrote. Raises KeyError, TypeError or ValueError if it is malformed.

        Names that no file of an output can have are rejected.
        """
        files = {name: FileEntry(**entry) for name, entry in value["files"].items()}
        require_plain_names(files)
        for name, entry in files.items():
            if type(entry.size) is not int or entry.size < 0 or not isinstance(entry.sha256, str):
                raise TypeError(f"{name!r} has no size in bytes or no sha256")
        return cls(recipe=Recipe(**value["recipe"]), counts=value["counts"], files=files)


def require_plain_names(names: Iterable[str]) -> None:
    """Raise ValueError, naming it, if one of these cannot be the relative path of a file of an output.

    A path has parts joined by `/`, none of them empty, `.` or `..`; it has no NUL or other control character and no
    backslash or colon (a path of Windows), is at most as long as a file system takes, is not an output's manifest or
    run record, and is neither the name of another file nor of a folder of one, however these are capitalized.
    """
    seen: set[str] = set()
    folders: set[str] = set()
    for name in names:
        parts = name.split("/")
        plain = (
            name.isprintable()
            and not any(character in "\\:" for character in name)
            and not any(part in ("", ".", "..") or len(part.encode()) > _MAX_NAME_BYTES for part in parts)
            and len(name.encode()) <= _MAX_PATH_BYTES
            and name.casefold() not in _RESERVED_NAMES
        )
        if not plain or name.casefold() in seen:
            raise ValueError(f"{name!r:.80} is no name of a file of an output")
        seen.add(name.casefold())
        folders |= {"/".join(parts[:end]).casefold() for end in range(1, len(parts))}
    if both := seen & folders:
        raise ValueError(f"{min(both)!r:.80} is the name of a file and of a folder of an output")


def parse_json(data: bytes) -> Any:
    """Return the value of a JSON document. Raises ValueError if it is not JSON, or if an object repeats a name."""
    try:
        return json.loads(data, object_pairs_hook=_distinct)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("an object repeats a name")
    return value


def library_versions(*distributions: str) -> dict[str, str]:
    """Return the installed version of each named distribution."""
    return {name: version(name) for name in distributions}
