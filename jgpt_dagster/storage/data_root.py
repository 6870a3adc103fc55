"""The layout of the data root: `<asset key>/[dump=<D>/][shard=<NNN>.parquet | files]`.

A root that is a URL has the same layout there, and a local working copy of what was made or used on this machine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.file_creation import make_root
from jgpt_dagster.storage.object_store import as_object_store_error, open_remote, read_bytes, upload
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact
from jgpt_dagster.storage.safe_path import KeyKind, child_path, has_form, require_form
from jgpt_dagster.storage.sealed_json import read_sealed_json, write_sealed_json

if TYPE_CHECKING:
    from upath import UPath


PINNED = ("wiki", "text", "segmenter", "shards")
"""The settings that one data root cannot mix."""


class RootMismatchError(JgptError):
    """A setting differs from the value that the data root was made with."""


class DataRoot:
    """The directory with all data of one deployment; if that is at `remote`, this machine's working copy of it."""

    def __init__(self, path: Path, remote: "UPath | None" = None) -> None:
        self.path, self.remote = path, remote

    @classmethod
    def open(cls, data: Path | str, scratch: Path) -> "DataRoot":
        """Return the root at a directory or a URL; the working copy of a URL is in the scratch directory."""
        if "://" not in str(data):
            return cls(Path(data))
        return cls(scratch / "data", open_remote(str(data)))

    @property
    def location(self) -> "Path | UPath":
        """The authoritative location of the data."""
        return self.path if self.remote is None else self.remote

    def dumps(self, asset: str = "*") -> list[str]:
        """Return the dumps of which an asset, by default any asset, has data here, oldest first."""
        with as_object_store_error(self.location):
            names = {path.name.removeprefix("dump=") for path in self.location.glob(f"{asset}/dump=*")}
        return sorted(name for name in names if has_form("dump", name))

    def models(self, asset: str, dump: str) -> list[str]:
        """Return the names of the models of which an asset has data for a dump, sorted."""
        return self.keys("model", asset, dump)

    def keys(self, kind: KeyKind, asset: str, dump: str) -> list[str]:
        """Return the keys of a kind for which an asset has data for a dump, sorted."""
        with as_object_store_error(self.location):
            of_dump = child_path(self.location, asset, f"dump={require_form('dump', dump)}")
            names = {path.name.removeprefix(f"{kind}=") for path in of_dump.glob(f"{kind}=*")}
        return sorted(name for name in names if has_form(kind, name))

    def pin_settings(self, fixed: Mapping[str, str | int]) -> None:
        """Record the settings that must not change in one root; if they are recorded, require the same.

        Raises RootMismatchError with both values of each setting that differs.
        """
        if not self.check_pinned_settings(fixed):
            make_root(self.path)
            write_sealed_json(self.path / "root.json", fixed)
            if self.remote is not None:
                upload(self.path / "root.json", self.remote / "root.json")

    def check_pinned_settings(self, fixed: Mapping[str, str | int]) -> bool:
        """Return whether settings are recorded. Raises RootMismatchError if they differ or cannot be read."""
        record = self.location / "root.json"
        try:
            recorded = read_sealed_json(read_bytes(record))
        except FileNotFoundError:
            return False
        except (ValueError, TypeError) as error:
            shown = ", ".join(f"JGPT_{name.upper()}={value}" for name, value in fixed.items())
            raise RootMismatchError(
                f"{record} is damaged, so it does not say what the data was made with. Restore it, or delete it if you "
                f"know that this was {shown}: the next run writes it again."
            ) from error
        differing = [
            f"JGPT_{name.upper()}={value}, but the data in it was made with {recorded.get(name)}"
            for name, value in fixed.items()
            if recorded.get(name) != value
        ]
        if differing:
            raise RootMismatchError(
                f"{record}: {'; '.join(differing)}. Set the variable back, or point JGPT_DATA elsewhere."
            )
        return True

    def parquet(self, asset: str, dump: str | None = None, shard: str | None = None) -> ParquetArtifact:
        """Return a Parquet shard of an asset. Raises UnsafeNameError for a malformed key, as all methods here do."""
        name = f"shard={require_form('shard', shard or '')}.parquet"
        return ParquetArtifact(asset, _partition_key(dump, shard), *self._locations(asset, dump, name))

    def directory(
        self,
        asset: str,
        dump: str | None = None,
        shard: str | None = None,
        model: str | None = None,
        name: str | None = None,
    ) -> DirectoryArtifact:
        """Return a directory output of an asset.

        `model` distinguishes the outputs of several models for one dump, `name` those of models that are evaluated.
        """
        keys: dict[KeyKind, str | None] = {"shard": shard, "model": model, "name": name}
        below = [f"{kind}={require_form(kind, key)}" for kind, key in keys.items() if key is not None]
        locations = self._locations(asset, dump, *below)
        return DirectoryArtifact(asset, _partition_key(dump, shard, model, name), *locations, model)

    def parquet_by_label(self, label: str) -> ParquetArtifact:
        """Return the Parquet shard with this label (see `Artifact.label`)."""
        return self.parquet(*_parse_label(label))

    def directory_by_label(self, label: str) -> DirectoryArtifact:
        """Return the directory shard with this label (see `Artifact.label`)."""
        return self.directory(*_parse_label(label))

    def _locations(self, asset: str, dump: str | None, *below: str) -> tuple[Path, "UPath | None"]:
        of_dump = [f"dump={require_form('dump', dump)}"] if dump is not None else []
        names = [asset, *of_dump, *below]
        return child_path(self.path, *names), self.remote and child_path(self.remote, *names)


def shard_names(count: int) -> list[str]:
    """Return the shard keys `000`, `001`, … of a corpus of `count` shards."""
    return [f"{index:03d}" for index in range(count)]


def _parse_label(label: str) -> tuple[str, str | None, str]:
    """Split the label of a shard into asset, dump and shard; what is no label gives keys that `DataRoot` refuses."""
    asset, _, partition = label.partition(" ")
    dump, _, shard = partition.rpartition("|")
    return asset, dump or None, shard


def _partition_key(*keys: str | None) -> str:
    return "|".join(key for key in keys if key is not None)
