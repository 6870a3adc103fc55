"""What an output says of itself: what it was made from, what it counts, and the hash of every file.

A manifest holds nothing volatile, so that two runs over the same input write the same bytes. Times, hosts and run ids
go to `run.json` beside it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from jgpt_dagster.storage.hashing import sha256_value


@dataclass(frozen=True)
class Recipe:
    """Everything that decides an output's bytes. Two equal recipes give equal data.

    `inputs` maps an input's label to the sha256 of its data (never of its manifest); `libraries` maps a distribution to
    its version, or an engine to its fingerprint.
    """

    stage: str
    code_version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and hex sha256 of one file of an output."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A recipe, the counts it led to, and the files it led to by their path inside the output."""

    recipe: Recipe
    counts: Mapping[str, Any]
    files: Mapping[str, FileEntry]

    @property
    def data_sha256(self) -> str:
        """The identity of the data alone: equal for equal files, however they came about."""
        return sha256_value({name: entry.sha256 for name, entry in self.files.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON-like values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Manifest":
        """Read a manifest back. Raises KeyError, TypeError or ValueError where the value is not one.

        A file's name never leads out of the output: that is refused, whoever wrote it.
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
