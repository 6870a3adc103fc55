"""Manifests: what an output was made from, its counts, and the size and hash of each of its files.

A manifest holds nothing volatile, so two runs over the same input write the same bytes. Times, hosts and run ids go to
the run record next to it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jgpt_dagster.storage.hashing import sha256_file, sha256_value


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
        """Return in words what differs in the recipe of now."""
        changes = [] if self.code_version == now.code_version else ["the code of its stage has another version now"]
        for kind in ("settings", "inputs", "libraries"):
            before, after = getattr(self, kind), getattr(now, kind)
            for name in sorted(before.keys() | after.keys()):
                if before.get(name) != after.get(name):
                    hashes = kind == "inputs"
                    changes.append(
                        f"{name} has been made again"
                        if hashes
                        else f"{name} was {before.get(name)}, is {after.get(name)}"
                    )
        return changes


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and hex sha256 of one file of an output."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileEntry":
        """Return size and hash of a file."""
        return cls(path.stat().st_size, sha256_file(path))

    def mismatch(self, path: Path) -> str | None:
        """Compare a file with this entry; return the difference in words, or None."""
        if not path.is_file():
            return f"{path} is missing (expected {self.size:,} bytes)"
        size = path.stat().st_size
        if size != self.size:
            return f"{path} has {size:,} bytes, expected {self.size:,}"
        found = sha256_file(path)
        return None if found == self.sha256 else f"{path} has sha256 {found[:16]}…, expected {self.sha256[:16]}…"


@dataclass(frozen=True)
class Manifest:
    """The recipe of an output, its counts, and its files by their path in the output."""

    recipe: Recipe
    counts: Mapping[str, Any]
    files: Mapping[str, FileEntry]

    @property
    def data_sha256(self) -> str:
        """The identity of the data only: equal for equal files, whatever recipe made them."""
        return sha256_value({name: entry.sha256 for name, entry in self.files.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON-like values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Manifest":
        """Return the manifest that `to_dict` wrote. Raises KeyError, TypeError or ValueError if it is malformed.

        File names that lead out of the output are rejected.
        """
        for name in value["files"]:
            if name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"{name!r} is no name of a file of an output")
        return cls(
            recipe=Recipe(**value["recipe"]),
            counts=value["counts"],
            files={name: FileEntry(**entry) for name, entry in value["files"].items()},
        )


def library_versions(*distributions: str) -> dict[str, str]:
    """Return the installed version of each named distribution."""
    return {name: version(name) for name in distributions}
