"""Removing dumps: what of a dump lies on disk, what needs it still, and how it goes. Imports no Dagster.

A removal that is killed is taken up by the next one of the same dump; nothing half-removed ever looks whole.
"""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

from jgpt_dagster.catalog.missing_work import MODEL_ASSETS, WIKIPEDIA_STAGES
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.training.metrics_files import RESULT
from jgpt_dagster.storage.artifact import MANIFEST
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.object_store import as_object_store_error
from jgpt_dagster.storage.partition_lock import partition_lock

_DUMP = re.compile(r"\d{8}", re.ASCII)


class DumpInUseError(JgptError):
    """Something is being made of a dump, or of what was made of it."""


def dumps_on_disk(root: DataRoot) -> list[str]:
    """Return the dates of which a data root holds anything, oldest first."""
    return [dump for dump in root.dumps() if _DUMP.fullmatch(dump)]


def models_of_dump(root: DataRoot, dump: str) -> list[str]:
    """Name the releases of a dump, and the models that have no release."""
    found: dict[str, str] = {}
    for asset in ("pretrained_model", "release"):
        for model in root.models(asset, dump):
            if root.directory(asset, dump, model=model).manifest():
                found[model] = f"{asset} {dump} of model {model}"
    return list(found.values())


def reasons_to_keep(root: DataRoot, dumps: Sequence[str], keep: int) -> dict[str, str]:
    """Return, for each dump that must be kept if the last `keep` are, the reason why; the others may go."""
    dates = sorted(dumps)
    reasons = {dump: "; ".join(models) for dump in dates if (models := models_of_dump(root, dump))}
    finished = [dump for dump in dates if root.directory("training_set", dump).manifest()]
    if finished and finished[-1] != dates[-1]:
        reasons[finished[-1]] = f"the refresh to {dates[-1]} is not finished and reads from it"
    return reasons | dict.fromkeys(dates[-keep:], f"one of the last {keep}")


@contextmanager
def exclusive_use(root: DataRoot, scratch: Path, shards: Sequence[str], dump: str) -> Iterator[None]:
    """Keep every run from writing outputs of a dump while the block runs.

    Raises DumpInUseError, naming the run, where one is at work on the dump, or trains a model that began as a model of
    the dump.
    """
    if run := _warm_started_from(scratch, dump):
        raise DumpInUseError(
            f"The dump of {dump} is in use: the unfinished training run {run} began as its model. Let it end first, or "
            "delete that directory to give it up."
        )

    def refuse(line: str) -> None:
        raise DumpInUseError(f"The dump of {dump} is in use, so it cannot be removed now. {line}")

    of_shards = (f"{asset} {dump}|{shard}" for asset in WIKIPEDIA_STAGES for shard in shards)
    whole = (f"{asset} {dump}" for asset in ("wikipedia_dump", "training_set", *MODEL_ASSETS))
    with ExitStack() as locks:
        for label in chain(whole, of_shards):
            locks.enter_context(partition_lock(root.path, label, f"the removal of {dump}", refuse))
        yield


def delete_dump_data(root: DataRoot, scratch: Path, dump: str) -> int:
    """Delete all that lies below the data root and the scratch directory for a dump; return how many bytes that was."""
    remote = _delete_published(root, dump)
    directories = [*root.path.glob(f"*/dump={dump}"), *scratch.glob(f"*/dump={dump}")]
    unfinished = [*root.path.glob(f"*/.dump={dump}.*"), *root.path.glob(f".incoming/*-{dump}")]
    # A link goes itself; what it leads to, on another disk perhaps, is not ours to delete.
    links = [path for path in directories + unfinished if path.is_symlink()]
    for link in links:
        link.unlink()
    directories, unfinished = ([path for path in group if path not in links] for group in (directories, unfinished))
    files = [path for directory in directories + unfinished for path in directory.rglob("*") if path.is_file()]
    size = sum(path.lstat().st_size for path in files)
    # Manifests go first, that of the dump before all others: without it no refresh begins anew.
    manifests = [path for path in files if path.name == MANIFEST]
    for manifest in sorted(manifests, key=lambda path: "wikipedia_dump" not in path.parts):
        manifest.unlink()
    for directory in directories + unfinished:
        shutil.rmtree(directory)
    return remote or size


def _delete_published(root: DataRoot, dump: str) -> int:
    """Delete the objects of a dump, where the root is a URL; return how many bytes that was."""
    if root.remote is None:
        return 0
    with as_object_store_error(root.remote):
        objects = [path for path in root.remote.glob(f"*/dump={dump}/**/*") if path.is_file()]
        size = sum(path.stat().st_size for path in objects)
        for path in sorted(objects, key=lambda path: (path.name != MANIFEST, "wikipedia_dump" not in path.parts)):
            path.unlink(missing_ok=True)
    return size


def _warm_started_from(scratch: Path, dump: str) -> Path | None:
    """Return the directory of an unfinished training run, of another dump, that began as a model of this one."""
    for recipe in scratch.glob("pretrained_model/dump=*/model=*/recipe.json"):
        if (
            not (recipe.parent / RESULT).exists()
            and f"pretrained_model {dump}" in json.loads(recipe.read_text())["inputs"]
        ):
            return recipe.parent
    return None
