"""An output of one asset partition: where it lies, whether it is whole, and whether it is current.

A *directory* artifact is complete when its `manifest.json` is there. A *file* artifact is one Parquet file that carries
its manifest in the footer; the hash in it covers every byte in front of the footer.
"""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage import parquet
from jgpt_dagster.storage.hashing import sha256_file
from jgpt_dagster.storage.manifest import FileEntry, Manifest, Recipe
from jgpt_dagster.storage.writing import atomic_directory, write_json

MANIFEST = "manifest.json"
RUN = "run.json"
REJECTED = "rejected"
DROPPED = "dropped"


class ArtifactError(JgptError):
    """An input that a stage needs is missing, incomplete or not what its manifest says."""


@dataclass(frozen=True)
class Artifact(ABC):
    """One output: the asset key, the partition key (empty for an unpartitioned asset) and the path."""

    asset: str
    partition: str
    path: Path

    @property
    def label(self) -> str:
        """The name that messages and manifests use, such as `wikipedia_articles 20250801|003`."""
        return f"{self.asset} {self.partition}".strip()

    @property
    def command(self) -> str:
        """The shell command that makes this output again."""
        partition = f" --partition '{self.partition}'" if self.partition else ""
        return f"dagster asset materialize -m jgpt_dagster.definitions --select {self.asset}{partition}"

    @abstractmethod
    def manifest(self) -> Manifest | None:
        """Return the manifest as it stands, unchecked against the data; None where the output is not complete."""

    @abstractmethod
    def damage(self, manifest: Manifest) -> str | None:
        """Compare the files with a manifest of this output; return what does not match, or None."""

    @property
    @abstractmethod
    def run_path(self) -> Path:
        """Where the volatile record of the run that made this output lies."""

    @abstractmethod
    def remove(self) -> None:
        """Delete the output and all that lies beside it on its behalf."""

    def verified(self) -> Manifest:
        """Return the manifest after hashing every file it lists.

        Raises ArtifactError, naming the file, what was expected and the command that mends it.
        """
        manifest = self.manifest()
        if manifest is None:
            raise ArtifactError(f"{self.label}: {self.path} is missing or incomplete. Make it with:\n  {self.command}")
        if damage := self.damage(manifest):
            raise ArtifactError(f"{self.label}: {damage}. Make it again with:\n  {self.command}")
        return manifest

    def current(self, recipe: Recipe) -> Manifest | None:
        """Return the manifest if the output was made by exactly this recipe and its files still match, else None."""
        manifest = self.manifest()
        if manifest is None or manifest.recipe != recipe or self.damage(manifest):
            return None
        return manifest

    def run_record(self) -> dict[str, Any]:
        """Return the volatile record of the run that made this output (seconds, host, run id), empty where unknown."""
        try:
            record = json.loads(self.run_path.read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


class DirectoryArtifact(Artifact):
    """A directory whose `manifest.json`, written last, lists every file."""

    def manifest(self) -> Manifest | None:
        try:
            return Manifest.from_dict(json.loads((self.path / MANIFEST).read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def damage(self, manifest: Manifest) -> str | None:
        for name, entry in manifest.files.items():
            if damage := _mismatch(self.path / name, entry):
                return damage
        return None

    def verified_file(self, name: str, sha256: str | None = None) -> Path:
        """Return the path of one file of this output after hashing that file alone.

        `sha256` is the hash that a consumer knows it by. Raises ArtifactError where the file is not what it should be.
        """
        manifest = self.manifest()
        entry = manifest.files.get(name) if manifest else None
        damage = _mismatch(self.path / name, entry) if entry else f"{self.path / name} is missing or incomplete"
        if entry and damage is None and sha256 not in (None, entry.sha256):
            damage = (
                f"{self.path / name} has been made again since: sha256 {entry.sha256[:16]}…, expected {sha256[:16]}…"
            )
        if damage:
            raise ArtifactError(f"{self.label}: {damage}. Make it again with:\n  {self.command}")
        return self.path / name

    @property
    def run_path(self) -> Path:
        return self.path / RUN

    def remove(self) -> None:
        # The manifest goes first: a kill in the middle must not leave a directory that looks complete.
        (self.path / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def writing(self, recipe: Recipe) -> Iterator["DirectoryWriter"]:
        """Yield a writer whose directory replaces this output when the block ends without an error."""
        with atomic_directory(self.path) as directory:
            writer = DirectoryWriter(directory)
            yield writer
            write_json(directory / MANIFEST, Manifest(recipe, writer.counts, writer.entries()).to_dict())


class DirectoryWriter:
    """Collects the files and counts of a directory artifact that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Mapping[str, Any] = {}
        self._known: dict[str, FileEntry] = {}

    def known(self, name: str, entry: FileEntry) -> None:
        """Take the size and hash of a file as already computed, so that a large file is not read twice."""
        self._known[name] = entry

    def entries(self) -> dict[str, FileEntry]:
        """Return the entry of every file in the directory but its run record."""
        names = sorted(str(file.relative_to(self.path)) for file in self.path.rglob("*") if file.is_file())
        return {
            name: self._known.get(name) or file_entry(self.path / name) for name in names if name not in (MANIFEST, RUN)
        }


class ParquetArtifact(Artifact):
    """One Parquet file, with JSON-lines files beside it: the rows that were refused, samples of those left out."""

    def manifest(self) -> Manifest | None:
        return parquet.read_manifest(self.path)

    def damage(self, manifest: Manifest) -> str | None:
        data = manifest.files[parquet.DATA]
        try:
            found = parquet.data_entry(self.path)
        except (OSError, ValueError) as error:
            return f"{self.path} cannot be read: {error}"
        if found != data:
            return f"{self.path} holds data of sha256 {found.sha256[:16]}…, expected {data.sha256[:16]}…"
        beside = ((name, entry) for name, entry in manifest.files.items() if name != parquet.DATA)
        return next(
            filter(None, (_mismatch(parquet.beside_path(self.path, name), entry) for name, entry in beside)), None
        )

    @property
    def rejected_path(self) -> Path:
        """The file that keeps, as JSON lines, what could not be read and why."""
        return parquet.beside_path(self.path, REJECTED)

    @property
    def dropped_path(self) -> Path:
        """The file that keeps, as JSON lines, samples of what was read and left out, and why."""
        return parquet.beside_path(self.path, DROPPED)

    @property
    def run_path(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.run.json")

    def remove(self) -> None:
        for path in (self.path, self.rejected_path, self.dropped_path, self.run_path):
            path.unlink(missing_ok=True)

    def write(
        self,
        schema: "parquet.Schema",
        rows: Iterator[tuple[Any, ...]],
        recipe: Recipe,
        counts: Callable[[], Mapping[str, Any]],
        rejected: Callable[[], list[dict[str, Any]]] | None = None,
    ) -> Manifest:
        """Write rows in their order; see `parquet.write_rows`. `rejected` is asked after the last row."""
        return parquet.write_rows(self.path, schema, rows, recipe, counts, {REJECTED: rejected} if rejected else {})


def file_entry(path: Path) -> FileEntry:
    """Return size and hash of a file."""
    return FileEntry(path.stat().st_size, sha256_file(path))


def _mismatch(path: Path, entry: FileEntry) -> str | None:
    if not path.is_file():
        return f"{path} is missing (expected {entry.size:,} bytes)"
    size = path.stat().st_size
    if size != entry.size:
        return f"{path} has {size:,} bytes, expected {entry.size:,}"
    found = sha256_file(path)
    return None if found == entry.sha256 else f"{path} has sha256 {found[:16]}…, expected {entry.sha256[:16]}…"
