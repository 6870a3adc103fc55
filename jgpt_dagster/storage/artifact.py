"""An output of one asset partition: where it lies, whether it is whole, and whether it is current.

A *directory* artifact is complete when its `manifest.json` is there. A *file* artifact is one Parquet file that carries
its manifest in the footer; the hash in it covers every byte in front of the footer.

Where the data root is a URL, an output is made and read at a local path all the same. What has been *published* is the
truth: an output is made locally and then uploaded, what makes it complete last; before it is used, each local file is
compared with the published manifest by its hash and fetched if it differs.
"""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage import object_store, parquet
from jgpt_dagster.storage.atomic_write import atomic_directory, write_json
from jgpt_dagster.storage.hashing import sha256_file
from jgpt_dagster.storage.manifest import FileEntry, Manifest, Recipe

if TYPE_CHECKING:
    from upath import UPath

MANIFEST = "manifest.json"
RUN = "run.json"
REJECTED = "rejected"
DROPPED = "dropped"


class ArtifactError(JgptError):
    """An input that a stage needs is missing, incomplete or not what its manifest says."""


@dataclass(frozen=True)
class Artifact(ABC):
    """One output: the asset key, the partition key (empty for an unpartitioned asset) and the path.

    `remote` is where it lies for all machines, if that is not `path`.
    """

    asset: str
    partition: str
    path: Path
    remote: "UPath | None" = None

    @property
    def location(self) -> "Path | UPath":
        """Where the output is looked for."""
        return self.path if self.remote is None else self.remote

    @property
    def label(self) -> str:
        """The name that messages and manifests use, such as `wikipedia_articles 20250801|003`."""
        return f"{self.asset} {self.partition}".strip()

    @property
    def rebuild_command(self) -> str:
        """The shell command that makes this output again."""
        partition = f" --partition '{self.partition}'" if self.partition else ""
        return f"dagster asset materialize -m jgpt_dagster.definitions --select {self.asset}{partition}"

    def manifest(self) -> Manifest | None:
        """Return the manifest as it stands, unchecked against the data; None where the output is not complete.

        Raises ObjectStoreError where the store of a published output cannot be asked.
        """
        return self._manifest_at(self.location)

    @abstractmethod
    def _manifest_at(self, location: "Path | UPath") -> Manifest | None: ...

    @abstractmethod
    def find_mismatch(self, manifest: Manifest) -> str | None:
        """Compare the files with a manifest of this output; return what does not match, or None.

        A published file whose local copy is not there, or another, is fetched.
        """

    @abstractmethod
    def upload(self) -> None:
        """Upload an output that was made here, if it has a place to be published at; an old one is replaced.

        Cut short, it leaves nothing that passes for whole.
        """

    @property
    def run_path(self) -> Path:
        """Where the volatile record of the run that made this output lies."""
        return self._run_record_path(self.path)

    @abstractmethod
    def _run_record_path(self, location: Any) -> Any:
        """Return where the run's record lies for an output at `location`."""

    @abstractmethod
    def remove(self) -> None:
        """Delete the output and all that lies beside it on its behalf."""

    def verified(self) -> Manifest:
        """Return the manifest after hashing every file it lists.

        Raises ArtifactError, naming the file, what was expected and the command that mends it.
        """
        manifest = self.manifest()
        if manifest is None:
            raise ArtifactError(
                f"{self.label}: {self.location} is missing or incomplete. Make it with:\n  {self.rebuild_command}"
            )
        if damage := self.find_mismatch(manifest):
            raise ArtifactError(f"{self.label}: {damage}. Make it again with:\n  {self.rebuild_command}")
        return manifest

    def up_to_date_manifest(self, recipe: Recipe) -> Manifest | None:
        """Return the manifest if the output was made by exactly this recipe and its files still match, else None.

        One that was made here and whose publishing was cut short is published now.
        """
        manifest = self.manifest() or self._manifest_at(self.path)
        if manifest is None or manifest.recipe != recipe:
            return None
        if self.remote is not None and self.manifest() is None:
            if type(self)(self.asset, self.partition, self.path).find_mismatch(manifest):
                return None
            self.upload()
        return None if self.find_mismatch(manifest) else manifest

    def run_record(self) -> dict[str, Any]:
        """Return the volatile record of the run that made this output (seconds, host, run id), empty where unknown."""
        try:
            record = json.loads(object_store.read_bytes(self._run_record_path(self.location)))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


class DirectoryArtifact(Artifact):
    """A directory whose `manifest.json`, written last, lists every file."""

    def _manifest_at(self, location: "Path | UPath") -> Manifest | None:
        try:
            return Manifest.from_dict(json.loads(object_store.read_bytes(location / MANIFEST)))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def find_mismatch(self, manifest: Manifest) -> str | None:
        for name, entry in manifest.files.items():
            if damage := self._file_damage(name, entry):
                return damage
        return None

    def _file_damage(self, name: str, entry: FileEntry) -> str | None:
        path = self.path / name
        damage = _mismatch(path, entry)
        if damage and self.remote is not None:
            return object_store.fetch(self.remote / name, path, lambda: _mismatch(path, entry))
        return damage

    def upload(self) -> None:
        manifest = self._manifest_at(self.path)
        if self.remote is None or manifest is None:
            return
        object_store.delete(self.remote / MANIFEST)
        record = [RUN] if self.run_path.exists() else []
        for name in (*manifest.files, *record, MANIFEST):
            object_store.upload(self.path / name, self.remote / name)

    def verified_file(self, name: str, sha256: str | None = None) -> Path:
        """Return the path of one file of this output after hashing that file alone.

        `sha256` is the hash that a consumer knows it by. Raises ArtifactError where the file is not what it should be.
        """
        manifest = self.manifest()
        entry = manifest.files.get(name) if manifest else None
        damage = self._file_damage(name, entry) if entry else f"{self.location / name} is missing or incomplete"
        if entry and damage is None and sha256 not in (None, entry.sha256):
            damage = (
                f"{self.path / name} has been made again since: sha256 {entry.sha256[:16]}…, expected {sha256[:16]}…"
            )
        if damage:
            raise ArtifactError(f"{self.label}: {damage}. Make it again with:\n  {self.rebuild_command}")
        return self.path / name

    def unverified_file(self, name: str) -> Path:
        """Return the path of one file of this output, which the caller verifies as it reads.

        A published file is fetched, and hashed, only where the local copy has another size: a large file that many
        readers want ranges of is not hashed by each.
        """
        path, manifest = self.path / name, self.manifest()
        entry = manifest.files.get(name) if manifest else None
        if self.remote is not None and entry and not (path.is_file() and path.stat().st_size == entry.size):
            return self.verified_file(name)
        return path

    def _run_record_path(self, location: Any) -> Any:
        return location / RUN

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

    def record_entry(self, name: str, entry: FileEntry) -> None:
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

    def _manifest_at(self, location: "Path | UPath") -> Manifest | None:
        return parquet.read_manifest(location)

    def find_mismatch(self, manifest: Manifest) -> str | None:
        data_damage = self._data_damage if self.remote is None else self._copy_damage
        if damage := self._fetched(self.path, lambda: data_damage(manifest)):
            return damage
        for name, entry in _sidecar_entries(manifest):
            path = parquet.sidecar_path(self.path, name)
            if damage := self._fetched(path, partial(_mismatch, path, entry)):
                return damage
        return None

    def _fetched(self, path: Path, damage: Callable[[], str | None]) -> str | None:
        """Return what is wrong with a file once it is fetched, if there is a place to fetch it from."""
        found = damage()
        if found and self.remote is not None:
            return object_store.fetch(self.remote.with_name(path.name), path, damage)
        return found

    def _copy_damage(self, manifest: Manifest) -> str | None:
        """Say what the local copy has that the published file has not, its footer included."""
        differs = self._manifest_at(self.path) != manifest
        return f"{self.path} is another file than its manifest says" if differs else self._data_damage(manifest)

    def upload(self) -> None:
        manifest = self._manifest_at(self.path)
        if self.remote is None or manifest is None:
            return
        # A file of the old output with one of the new is no output: their hashes tell.
        beside = [parquet.sidecar_path(self.path, name) for name, _ in _sidecar_entries(manifest)]
        for path in [*beside, *([self.run_path] if self.run_path.exists() else []), self.path]:
            object_store.upload(path, self.remote.with_name(path.name))

    def _data_damage(self, manifest: Manifest) -> str | None:
        data = manifest.files[parquet.DATA]
        try:
            found = parquet.data_entry(self.path)
        except (OSError, parquet.NotParquetError) as error:
            return f"{self.path} cannot be read: {error}"
        if found != data:
            return f"{self.path} holds data of sha256 {found.sha256[:16]}…, expected {data.sha256[:16]}…"
        return None

    @property
    def rejected_path(self) -> Path:
        """The file that keeps, as JSON lines, what could not be read and why."""
        return parquet.sidecar_path(self.path, REJECTED)

    @property
    def dropped_path(self) -> Path:
        """The file that keeps, as JSON lines, samples of what was read and left out, and why."""
        return parquet.sidecar_path(self.path, DROPPED)

    def _run_record_path(self, location: Any) -> Any:
        return location.with_name(f"{self.path.stem}.run.json")

    def remove(self) -> None:
        for path in (self.path, self.rejected_path, self.dropped_path, self.run_path):
            path.unlink(missing_ok=True)

    def write(
        self,
        schema: "parquet.Schema",
        rows: Iterator[tuple[Any, ...]],
        recipe: Recipe,
        counts: Callable[[], Mapping[str, Any]],
        rejected: Callable[[], Iterable[dict[str, Any]]] | None = None,
    ) -> Manifest:
        """Write rows in their order; see `parquet.write_rows`. `rejected` is asked after the last row."""
        return parquet.write_rows(self.path, schema, rows, recipe, counts, {REJECTED: rejected} if rejected else {})


def _sidecar_entries(manifest: Manifest) -> list[tuple[str, FileEntry]]:
    """Return the files that lie beside a Parquet file, by the names that its manifest has for them."""
    return [(name, entry) for name, entry in manifest.files.items() if name != parquet.DATA]


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
