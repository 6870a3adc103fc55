"""Removal of dumps: what of a dump is on disk, what still needs it, and how it is deleted.

A removal that is killed is completed by the next removal of the same dump; nothing half-removed ever looks complete.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.training.metrics_files import RESULT
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import MANIFEST
from jgpt_dagster.storage.object_store import as_object_store_error, delete
from jgpt_dagster.storage.partition_lock import partition_lock
from jgpt_dagster.storage.safe_path import require_form

if TYPE_CHECKING:
    from upath import UPath


class DumpInUseError(JgptError):
    """A dump that a run is reading or writing, or that an unfinished training started from."""


def dumps_on_disk(root: DataRoot) -> list[str]:
    """Return the dates for which a data root holds anything, oldest first."""
    return root.dumps()


def models_of_dump(root: DataRoot, dump: str) -> list[str]:
    """Return the releases of a dump, and its models without a release, as phrases for messages."""
    found: dict[str, str] = {}
    for asset in ("pretrained_model", "release"):
        for model in root.models(asset, dump):
            if root.directory(asset, dump, model=model).manifest():
                found[model] = f"{asset} {dump} of model {model}"
    return list(found.values())


def reasons_to_keep(root: DataRoot, dumps: Sequence[str], keep: int) -> dict[str, str]:
    """Return why each dump that must stay stays if the last `keep` are kept; the others may be removed."""
    dates = sorted(dumps)
    reasons = {dump: "; ".join(models) for dump in dates if (models := models_of_dump(root, dump))}
    finished = [dump for dump in dates if root.directory("training_set", dump).manifest()]
    if finished and finished[-1] != dates[-1]:
        reasons[finished[-1]] = f"the refresh to {dates[-1]} is not finished and reads from it"
    return reasons | dict.fromkeys(dates[-keep:], f"one of the last {keep}")


@contextmanager
def exclusive_use(catalog: OutputCatalog, scratch: Path, dump: str) -> Iterator[None]:
    """Keep every run from writing outputs of a dump while the block runs.

    Raises DumpInUseError, naming the run, if one works on the dump, or trains a model that started from a model of it.
    """
    if run := _warm_started_from(scratch, dump):
        raise DumpInUseError(
            f"The dump of {dump} is in use: the unfinished training run {run} started from its model. Let it finish "
            "first, or delete that directory to give it up."
        )

    def refuse(line: str) -> None:
        raise DumpInUseError(f"The dump of {dump} is in use, so it cannot be removed now. {line}")

    with ExitStack() as locks:
        for output in catalog.dump_outputs(dump):
            locks.enter_context(partition_lock(catalog.root.path, output.label, f"the removal of {dump}", refuse))
        yield


@dataclass(frozen=True)
class Removal:
    """Everything of a dump that is deleted, with the bytes of each: local paths, and objects if the root is a URL.

    Only what is listed here is deleted. A path that is a link loses only the link: what it points to, perhaps on
    another disk, is not ours.
    """

    paths: Mapping[Path, int]
    objects: Mapping["UPath", int]
    dump_assets: frozenset[str]

    @classmethod
    def of_dump(cls, catalog: OutputCatalog, scratch: Path, dump: str) -> "Removal":
        """List everything of a dump below the data root and the scratch directory.

        Raises UnsafeNameError if `dump` is not a date, and ObjectStoreError.
        """
        require_form("dump", dump)
        root = catalog.root
        directories = [*_directories_of_dump(root.path, dump), *_directories_of_dump(scratch, dump)]
        incoming = [path for path in _entries(root.path / ".incoming") if path.name.endswith(f"-{dump}")]
        sources = {corpus.source_asset for corpus in catalog.dated_corpora}
        return cls(
            paths={path: sum(file.lstat().st_size for file in _files_below(path)) for path in directories + incoming},
            objects=_objects_of_dump(root.remote, dump) if root.remote is not None else {},
            dump_assets=frozenset(asset for asset in sources if asset),
        )

    @property
    def size(self) -> int:
        """The bytes of the data: of its objects if there are any, of which the local files are copies."""
        return sum((self.objects or self.paths).values())

    def lines(self) -> list[str]:
        """Return a line for each local path, and one for each directory of objects."""
        directories: Counter[str] = Counter()
        for location, size in self.objects.items():
            directories[str(location.parent)] += size
        sizes = {**{str(path): size for path, size in self.paths.items()}, **directories}
        return [f"  {name}  {size / 1e9:.1f} GB" for name, size in sizes.items()]

    def delete(self) -> None:
        """Delete what is listed. Raises ObjectStoreError."""
        for location in sorted(self.objects, key=lambda location: (location.name != MANIFEST, self._order(location))):
            delete(location)
        manifests = [file for path in self.paths for file in _files_below(path) if file.name == MANIFEST]
        for manifest in sorted(manifests, key=self._order):
            manifest.unlink()
        for path in self.paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _order(self, path: "Path | UPath") -> bool:
        """Sort the manifests of the dump itself before all others: without them no refresh starts again."""
        return self.dump_assets.isdisjoint(path.parts)


def _directories_of_dump(root: Path, dump: str) -> list[Path]:
    """Return `<asset>/dump=<D>` below a directory, and what unfinished work on them has left beside them."""
    below = (path for asset in _entries(root) if not asset.name.startswith(".") for path in _entries(asset))
    return [path for path in below if path.name == f"dump={dump}" or path.name.startswith(f".dump={dump}.")]


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _files_below(path: Path) -> list[Path]:
    return [] if path.is_symlink() else [file for file in path.rglob("*") if file.is_file()]


def _objects_of_dump(remote: "UPath", dump: str) -> dict["UPath", int]:
    """Return the objects of a dump with their sizes in bytes. Raises ObjectStoreError."""
    objects = {}
    with as_object_store_error(remote):
        for asset in remote.iterdir():
            directory = asset / f"dump={dump}"
            # This lists what lies below a location; a glob would read the location's name as a pattern.
            for name, entry in directory.fs.find(directory.path, detail=True).items():
                relative = name.removeprefix(directory.path).strip("/")
                objects[directory.joinpath(*relative.split("/"))] = int(entry["size"])
    return objects


def _warm_started_from(scratch: Path, dump: str) -> Path | None:
    """Return the directory of an unfinished training run, of another dump, that started from a model of this one."""
    for recipe in scratch.glob("pretrained_model/dump=*/model=*/recipe.json"):
        run = recipe.parent
        if (run / RESULT).exists() or run.parent.name == f"dump={dump}":
            continue
        # The label of a model of another name has the name in it.
        inputs = {label.partition("|")[0] for label in json.loads(recipe.read_text())["inputs"]}
        if f"pretrained_model {dump}" in inputs:
            return run
    return None
