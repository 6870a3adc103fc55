"""An output that is one Parquet file with its manifest in the footer, and the JSON-lines sidecars next to it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jgpt_dagster.storage import object_store, parquet
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.manifest import ACCOUNT, FileEntry, Manifest

if TYPE_CHECKING:
    from upath import UPath

REJECTED = "rejected"
DROPPED = "dropped"


class ParquetArtifact(Artifact):
    """A Parquet file, with sidecars for rejected rows and for samples of dropped ones."""

    def _manifest_at(self, location: "Path | UPath") -> Manifest | None:
        return parquet.read_manifest(location)

    def find_mismatch(self, manifest: Manifest) -> str | None:
        find_in_data = self._data_mismatch if self.remote is None else self._copy_mismatch
        if mismatch := self._mismatch_after_download(
            self.path,
            partial(find_in_data, manifest),
            manifest.files[parquet.DATA].size + parquet.MAX_FOOTER_BYTES,
        ):
            return mismatch
        for name, entry in _sidecar_entries(manifest):
            path = parquet.sidecar_path(self.path, name)
            if mismatch := self._mismatch_after_download(path, partial(entry.mismatch, path), entry.size):
                return mismatch
        return None

    def _mismatch_after_download(self, path: Path, find_mismatch: Callable[[], str | None], limit: int) -> str | None:
        """Return the mismatch of a file; a published file is downloaded first if its local copy has one."""
        mismatch = find_mismatch()
        if mismatch and self.remote is not None:
            return object_store.download(self.remote.with_name(path.name), path, find_mismatch, limit)
        return mismatch

    def _copy_mismatch(self, manifest: Manifest) -> str | None:
        """Compare the local copy with the published manifest, footer included."""
        if self._manifest_at(self.path) != manifest:
            return f"{self.path} is another file than its manifest says"
        return self._data_mismatch(manifest)

    def _data_mismatch(self, manifest: Manifest) -> str | None:
        data = manifest.files[parquet.DATA]
        try:
            found = parquet.data_entry(self.path)
        except (OSError, parquet.NotParquetError) as error:
            return f"{self.path} cannot be read: {error}"
        if found != data:
            return f"{self.path} holds data of sha256 {found.sha256[:16]}…, expected {data.sha256[:16]}…"
        return None

    def upload(self) -> None:
        manifest = self._manifest_at(self.path)
        if self.remote is None or manifest is None:
            return
        # Sidecars first: until the Parquet file follows, their hashes do not match the old manifest.
        sidecars = [parquet.sidecar_path(self.path, name) for name, _ in _sidecar_entries(manifest)]
        for path in [*sidecars, *([self.run_path] if self.run_path.exists() else []), self.path]:
            object_store.upload(path, self.remote.with_name(path.name))

    @property
    def rejected_path(self) -> Path:
        """The JSON-lines file of the rows that could not be read, with reasons."""
        return parquet.sidecar_path(self.path, REJECTED)

    @property
    def account_path(self) -> Path:
        """The Parquet file with what was left out of each row."""
        return parquet.sidecar_path(self.path, ACCOUNT)

    @property
    def dropped_path(self) -> Path:
        """The JSON-lines file with samples of the rows that were read and left out, with reasons."""
        return parquet.sidecar_path(self.path, DROPPED)

    def _run_record_path(self, location: Any) -> Any:
        return location.with_name(f"{self.path.stem}.run.json")

    def _verdicts_path(self, location: Any) -> Any:
        return location.with_name(f"{self.path.stem}.checks.json")

    def remove(self) -> None:
        for path in (
            *(self.path, self.rejected_path, self.dropped_path),
            *(self.account_path, self.run_path, self.verdicts_path),
        ):
            path.unlink(missing_ok=True)

    def write(
        self,
        schema: parquet.Schema,
        rows: Iterator[tuple[Any, ...]],
        recipe: parquet.FinalRecipe,
        counts: Callable[[], Mapping[str, Any]],
        rejected: Callable[[], Iterable[dict[str, Any]]] | None = None,
        account: parquet.FinishedSidecar | None = None,
    ) -> Manifest:
        """Write rows in their order (see `parquet.write_rows`). `rejected` and `account` are called after the last."""
        sidecars = {REJECTED: rejected} if rejected else {}
        return parquet.write_rows(self.path, schema, rows, recipe, counts, sidecars, account)


def _sidecar_entries(manifest: Manifest) -> list[tuple[str, FileEntry]]:
    """Return the sidecars of a Parquet file by name, with their entries."""
    return [(name, entry) for name, entry in manifest.files.items() if name != parquet.DATA]
