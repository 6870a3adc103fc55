"""Removal of dumps: what of a dump is on disk, what still needs it, and how it is deleted.

A removal that is killed is completed by the next removal of the same dump; nothing half-removed ever looks complete.
"""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.training.metrics_files import RESULT
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import MANIFEST
from jgpt_dagster.storage.object_store import as_object_store_error
from jgpt_dagster.storage.partition_lock import partition_lock

_DUMP = re.compile(r"\d{8}", re.ASCII)


class DumpInUseError(JgptError):
    """A dump that a run is reading or writing, or that an unfinished training started from."""


def dumps_on_disk(root: DataRoot) -> list[str]:
    """Return the dates for which a data root holds anything, oldest first."""
    return [dump for dump in root.dumps() if _DUMP.fullmatch(dump)]


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


def delete_dump_data(catalog: OutputCatalog, scratch: Path, dump: str) -> int:
    """Delete everything of a dump below the data root and the scratch directory; return its size in bytes."""
    root, dumps = catalog.root, {corpus.source_asset for corpus in catalog.dated_corpora}
    remote_size = _delete_remote(root, dumps, dump)
    directories = [*root.path.glob(f"*/dump={dump}"), *scratch.glob(f"*/dump={dump}")]
    unfinished = [*root.path.glob(f"*/.dump={dump}.*"), *root.path.glob(f".incoming/*-{dump}")]
    # Only a link itself is deleted: what it points to, perhaps on another disk, is not ours.
    links = [path for path in directories + unfinished if path.is_symlink()]
    for link in links:
        link.unlink()
    directories, unfinished = ([path for path in group if path not in links] for group in (directories, unfinished))
    files = [path for directory in directories + unfinished for path in directory.rglob("*") if path.is_file()]
    size = sum(path.lstat().st_size for path in files)
    # Manifests go first, the dump's own before all others: without it no refresh starts again.
    manifests = [path for path in files if path.name == MANIFEST]
    for manifest in sorted(manifests, key=lambda path: dumps.isdisjoint(path.parts)):
        manifest.unlink()
    for directory in directories + unfinished:
        shutil.rmtree(directory)
    return remote_size or size


def _delete_remote(root: DataRoot, dumps: set[str | None], dump: str) -> int:
    """Delete the objects of a dump if the root is a URL; return their size in bytes."""
    if root.remote is None:
        return 0
    with as_object_store_error(root.remote):
        objects = [path for path in root.remote.glob(f"*/dump={dump}/**/*") if path.is_file()]
        size = sum(path.stat().st_size for path in objects)
        for path in sorted(objects, key=lambda path: (path.name != MANIFEST, dumps.isdisjoint(path.parts))):
            path.unlink(missing_ok=True)
    return size


def _warm_started_from(scratch: Path, dump: str) -> Path | None:
    """Return the directory of an unfinished training run, of another dump, that started from a model of this one."""
    for recipe in scratch.glob("pretrained_model/dump=*/model=*/recipe.json"):
        if (
            not (recipe.parent / RESULT).exists()
            and f"pretrained_model {dump}" in json.loads(recipe.read_text())["inputs"]
        ):
            return recipe.parent
    return None
