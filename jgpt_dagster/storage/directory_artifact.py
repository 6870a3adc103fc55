"""An output that is a directory: it is complete when its `manifest.json`, written last, is there."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jgpt_dagster.storage import object_store
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.atomic_write import atomic_directory, retired_path
from jgpt_dagster.storage.file_creation import remove
from jgpt_dagster.storage.manifest import FileEntry, Manifest, Recipe
from jgpt_dagster.storage.sealed_json import read_sealed_json, write_sealed_json

if TYPE_CHECKING:
    from upath import UPath

MANIFEST = "manifest.json"
RUN = "run.json"
CHECKS = "checks.json"
SIGNATURE = "model.sig"
"""The signature of a release, beside the files that it signs."""


class DirectoryArtifact(Artifact):
    """A directory whose `manifest.json` lists every file."""

    def _manifest_at(self, location: "Path | UPath") -> Manifest | None:
        try:
            return Manifest.from_dict(read_sealed_json(object_store.read_bytes(location / MANIFEST)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def find_mismatch(self, manifest: Manifest) -> str | None:
        for name, entry in manifest.files.items():
            if mismatch := self._file_mismatch(name, entry):
                return mismatch
        return None

    def _file_mismatch(self, name: str, entry: FileEntry) -> str | None:
        path = self.path / name
        mismatch = entry.mismatch(path)
        if mismatch and self.remote is not None:
            return object_store.download(self.remote / name, path, lambda: entry.mismatch(path), entry.size)
        return mismatch

    def upload(self) -> None:
        manifest = self._manifest_at(self.path)
        if self.remote is None or manifest is None:
            return
        object_store.delete(self.remote / MANIFEST)
        record = [RUN] if self.run_path.exists() else []
        for name in (*manifest.files, *record, MANIFEST):
            object_store.upload(self.path / name, self.remote / name)

    def verified_file(self, name: str, sha256: str | None = None) -> Path:
        """Return the path of one file of this output after hashing that file only.

        `sha256` is the hash that the caller expects. Raises ArtifactError if the file does not match.
        """
        manifest = self.manifest()
        entry = manifest.files.get(name) if manifest else None
        if entry is None:
            raise self._damaged(f"{self.location / name} is missing or incomplete")
        if mismatch := self._file_mismatch(name, entry):
            raise self._damaged(mismatch)
        if sha256 is not None and sha256 != entry.sha256:
            raise self._damaged(
                f"{self.path / name} has been made again since: sha256 {entry.sha256[:16]}…, expected {sha256[:16]}…"
            )
        return self.path / name

    def unverified_file(self, name: str) -> Path:
        """Return the path of one file of this output, which the caller verifies while reading it.

        A published file is downloaded and hashed only if the local copy has a different size: a large file is not
        hashed again by each of many readers of its ranges.
        """
        path, manifest = self.path / name, self.manifest()
        entry = manifest.files.get(name) if manifest else None
        if self.remote is not None and entry and not (path.is_file() and path.stat().st_size == entry.size):
            return self.verified_file(name)
        return path

    def _run_record_path(self, location: Any) -> Any:
        return location / RUN

    def _verdicts_path(self, location: Any) -> Any:
        return location / CHECKS

    def remove(self) -> None:
        # Under another name first: what a killed removal leaves is a leftover, and neither whole nor damaged data.
        retired = retired_path(self.path)
        remove(retired)
        with suppress(FileNotFoundError):
            self.path.rename(retired)
        shutil.rmtree(retired, ignore_errors=True)

    @contextmanager
    def writing(self, recipe: Recipe) -> Iterator["DirectoryWriter"]:
        """Yield a writer whose directory replaces this output when the block ends without an error."""
        with atomic_directory(self.path) as directory:
            writer = DirectoryWriter(directory)
            yield writer
            write_sealed_json(directory / MANIFEST, Manifest(recipe, writer.counts, writer.entries()).to_dict())


class DirectoryWriter:
    """The files and counts of a directory artifact that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Mapping[str, Any] = {}
        self._recorded: dict[str, FileEntry] = {}

    def record_entry(self, name: str, entry: FileEntry) -> None:
        """Record the size and hash of a file that are already known, so that a large file is not read twice."""
        self._recorded[name] = entry

    def entries(self) -> dict[str, FileEntry]:
        """Return the entry of every file in the directory except the run record and the verdicts of checks."""
        names = sorted(str(file.relative_to(self.path)) for file in self.path.rglob("*") if file.is_file())
        return {
            name: self._recorded.get(name) or FileEntry.of(self.path / name)
            for name in names
            if name not in (MANIFEST, RUN, CHECKS)
        }
