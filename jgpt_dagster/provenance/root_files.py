"""What lies in a data root: its outputs, the checkpoints of its training runs, and files that belong to neither."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jgpt_dagster.catalog.evaluated_models import FILE as EVALUATED_MODELS
from jgpt_dagster.corpus.exclusions.exclusion_list import FILE as EXCLUSIONS
from jgpt_dagster.corpus.wikitext.template_rules import FILE as TEMPLATE_RULES
from jgpt_dagster.lm.training.run_progress import CHECKPOINTS, checkpoint_directories
from jgpt_dagster.provenance.verify_output import own_files
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import MANIFEST, DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.object_store import as_object_store_error
from jgpt_dagster.storage.safe_path import KeyKind, has_form

if TYPE_CHECKING:
    from upath import UPath

ROOT_RECORDS = ("root.json", "run_config.json", EVALUATED_MODELS, EXCLUSIONS)
RECEIPTS = "exclusions"
"""The folder of a root with the receipts of takedowns."""

_TRAINED_ON = "trained_on"
_NO_OUTPUTS = (_TRAINED_ON, RECEIPTS)
_KINDS: tuple[KeyKind, ...] = ("dump", "shard", "model", "name")
_LEFTOVER = re.compile(r"\..+\.(tmp|old)")


class RootFiles(NamedTuple):
    """The outputs of a root in the order of their paths, and the files that belong to no output."""

    outputs: list[Artifact]
    strays: list[Path]


def root_files(root: DataRoot) -> RootFiles:
    """Return what lies in a root on this machine. What a killed writer has left (`jgpt prune`) is passed over."""
    outputs, strays = list[Artifact](), list[Path]()
    for top in sorted(root.path.iterdir()) if root.path.is_dir() else ():
        if top.is_dir() and not top.is_symlink():
            if not top.name.startswith(".") and top.name not in _NO_OUTPUTS:
                outputs += _outputs_below(root, top)
        elif top.name not in (*ROOT_RECORDS, TEMPLATE_RULES) and not _LEFTOVER.fullmatch(top.name):
            strays.append(top)
    known = {path for output in outputs for path in own_files(output, output.manifest())}
    directories = {output.path for output in outputs if isinstance(output, DirectoryArtifact)}
    for name in sorted(_tops(root)):
        strays += [path for path in _files_below(root.path / name, directories) if path not in known]
    return RootFiles(outputs, sorted(strays))


def outputs_of(root: DataRoot, *suffixes: str) -> Iterator[tuple[Artifact, Manifest]]:
    """Yield the complete outputs of assets whose names end so, in the order of their paths, with their manifests.

    Of a root in an object store, it is what is published there, whoever made it; `fetch` brings its files here.
    """
    outputs = root_files(root).outputs if root.remote is None else _published(root, root.remote)
    for output in outputs:
        manifest = output.manifest() if output.asset.endswith(suffixes) else None
        if manifest:
            yield output, manifest


def _published(root: DataRoot, remote: "UPath") -> Iterator[Artifact]:
    """Yield what may be an output of a root that is in an object store."""
    with as_object_store_error(remote):
        files = [Path(name).relative_to(remote.path) for name in sorted(remote.fs.find(remote.path))]
    for file in files:
        place = file.parent if file.name == MANIFEST else file
        if (file.name == MANIFEST or file.suffix == ".parquet") and (output := output_at(root, root.path / place)):
            yield output


def kept_checkpoints(scratch: Path) -> Iterator[Path]:
    """Yield the directories of the checkpoints in a scratch directory, oldest first in each run."""
    for run in sorted(scratch.glob("pretrained_model/dump=*/model=*")):
        yield from checkpoint_directories(run / CHECKPOINTS)


def output_at(root: DataRoot, path: Path) -> Artifact | None:
    """Return the output whose file or directory this is, by its place in a root; None if none can be there."""
    asset, *parts = path.relative_to(root.path).parts
    keys: dict[str, str] = {}
    for part in parts:
        kind, _, key = part.removesuffix(".parquet").partition("=")
        if kind not in _KINDS or not has_form(kind, key) or kind in keys:
            return None
        keys[kind] = key
    if path.suffix == ".parquet":
        return root.parquet(asset, keys.get("dump"), keys["shard"]) if [*keys][-1:] == ["shard"] else None
    found = root.directory(asset, *(keys.get(kind) for kind in _KINDS))
    return found if found.path == path else None


def _tops(root: DataRoot) -> set[str]:
    return {
        top.name
        for top in root.path.iterdir()
        if top.is_dir() and not top.is_symlink() and not top.name.startswith(".") and top.name not in _NO_OUTPUTS
    }


def _outputs_below(root: DataRoot, top: Path) -> Iterator[Artifact]:
    for folder, folders, names in os.walk(top):
        place = Path(folder)
        # The hidden directories of killed writers.
        folders[:] = sorted(name for name in folders if not _LEFTOVER.fullmatch(name))
        if MANIFEST in names and (output := output_at(root, place)):
            folders.clear()
            yield output
            continue
        for name in sorted(names):
            if name.startswith("shard=") and name.endswith(".parquet") and (output := output_at(root, place / name)):
                yield output


def _files_below(top: Path, outputs: set[Path]) -> Iterator[Path]:
    """Yield files and links below a directory, but not those in the directories of outputs."""
    for folder, folders, names in os.walk(top):
        if Path(folder) in outputs:
            folders.clear()
            continue
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = sorted(name for name in folders if not _LEFTOVER.fullmatch(name) and name not in links)
        yield from (Path(folder, name) for name in sorted([*names, *links]) if not _LEFTOVER.fullmatch(name))
