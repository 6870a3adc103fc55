"""Where each output lies below the data root: `<asset key>/[dump=<D>/][shard=<NNN>.parquet | files]`."""

import json
from collections.abc import Mapping
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.artifact import Artifact, DirectoryArtifact, ParquetArtifact
from jgpt_dagster.storage.writing import write_json


class RootMismatchError(JgptError):
    """The data root was made with a setting that another value cannot be mixed with."""


class DataRoot:
    """The directory that holds all data of one deployment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, fixed: Mapping[str, str | int]) -> None:
        """Record, at the first call, the settings that one root cannot mix; afterwards require the same.

        Raises RootMismatchError with both values of each setting that differs.
        """
        record = self.path / "root.json"
        if not record.exists():
            write_json(record, dict(fixed))
            return
        recorded = json.loads(record.read_text())
        differing = [
            f"JGPT_{name.upper()}={value}, but the data in it was made with {recorded.get(name)}"
            for name, value in fixed.items()
            if recorded.get(name) != value
        ]
        if differing:
            raise RootMismatchError(
                f"{record}: {'; '.join(differing)}. Set the variable back, or point JGPT_DATA at another directory."
            )

    def parquet(self, asset: str, dump: str | None = None, shard: str | None = None) -> ParquetArtifact:
        """Return a Parquet shard of an asset."""
        return ParquetArtifact(asset, _partition(dump, shard), self._path(asset, dump, f"shard={shard}.parquet"))

    def directory(
        self, asset: str, dump: str | None = None, shard: str | None = None, model: str | None = None
    ) -> DirectoryArtifact:
        """Return a directory output of an asset; `model` tells apart what several models make of one dump."""
        below = f"shard={shard}" if shard is not None else f"model={model}" if model is not None else ""
        return DirectoryArtifact(asset, _partition(dump, shard), self._path(asset, dump, below))

    def shard(self, asset: str, dump: str | None, shard: str) -> Artifact:
        """Return a shard of an asset, of the kind that the asset writes."""
        return (self.directory if asset.endswith("_tokens") else self.parquet)(asset, dump, shard)

    def labelled_parquet(self, label: str) -> ParquetArtifact:
        """Return the Parquet shard that has this label in manifests and messages."""
        return self.parquet(*_address(label))

    def labelled_directory(self, label: str) -> DirectoryArtifact:
        """Return the directory shard that has this label in manifests and messages."""
        return self.directory(*_address(label))

    def _path(self, asset: str, dump: str | None, below: str) -> Path:
        parts = [asset, *([f"dump={dump}"] if dump is not None else []), *([below] if below else [])]
        return self.path.joinpath(*parts)


def shard_names(count: int) -> list[str]:
    """Return the shard keys `000`, `001`, … of a corpus of `count` shards."""
    return [f"{index:03d}" for index in range(count)]


def _address(label: str) -> tuple[str, str | None, str]:
    """Split the label of a shard into asset, dump and shard."""
    asset, partition = label.split(" ")
    dump, _, shard = partition.rpartition("|")
    return asset, dump or None, shard


def _partition(dump: str | None, shard: str | None) -> str:
    return "|".join(key for key in (dump, shard) if key is not None)
