"""What a model was trained on, kept after the training set is made again: hard links, laid out as a data root.

`trained_on/dump=<D>/<hash>/` holds the training set with that hash, the tokenizer and the token files at the paths that
they have in the data root. The links take no space until an output is made again; then they keep its former files.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from jgpt_dagster.catalog.output_catalog import TOKENIZER, TRAINING_SET
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.storage.atomic_write import atomic_directory
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.file_lock import file_lock, locked
from jgpt_dagster.storage.partition_lock import lock_path
from jgpt_dagster.storage.safe_path import child_path, require_form

_FOLDER = "trained_on"


def keep_training_data(root: DataRoot, data: DirectoryArtifact) -> None:
    """Link the files of a training set that is complete on this machine, unless they are linked already.

    Raises OSError if the file system has no hard links, and TrainingSetError.
    """
    manifest = data.manifest()
    if manifest is None:
        return
    target = _links(root, data.partition, manifest.data_sha256)
    files = TrainingSet.open(data.path).token_files
    outputs = [data, root.directory(TOKENIZER), *(root.directory_by_label(file.label) for file in files)]
    with locked(file_lock(lock_path(root.path, links_label(data.partition)))):
        if target.is_dir():
            return
        with atomic_directory(target) as links:
            for output in outputs:
                shutil.copytree(output.path, links / output.path.relative_to(root.path), copy_function=os.link)


def training_data_root(root: DataRoot, dump: str, sha256: str | None) -> DataRoot:
    """Return the root of the training set of a dump that has this hash: `root`, or links if it was made again since.

    If there are neither, return `root`.
    """
    manifest = root.directory(TRAINING_SET, dump).manifest()
    if sha256 is None or (manifest and manifest.data_sha256 == sha256):
        return root
    linked = DataRoot(_links(root, dump, sha256))
    manifest = linked.directory(TRAINING_SET, dump).manifest()
    return linked if manifest and manifest.data_sha256 == sha256 else root


def unused_links(root: DataRoot, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Yield the links that belong to no model, finished or in training, each with its dump."""
    for dump in root.dumps(_FOLDER):
        used = {
            *_training_set_hashes(dump, _model_inputs(root, dump)),
            *_training_set_hashes(dump, _run_inputs(scratch, dump)),
        }
        kept = {_links(root, dump, sha256) for sha256 in used}
        for path in sorted((root.path / _FOLDER / f"dump={dump}").iterdir()):
            if path not in kept and not path.name.startswith("."):
                yield dump, path


def links_label(dump: str) -> str:
    """Return the label whose lock protects the links of a dump."""
    return f"{_FOLDER} {dump}"


def _links(root: DataRoot, dump: str, sha256: str) -> Path:
    return child_path(root.path, _FOLDER, f"dump={require_form('dump', dump)}", sha256[:16])


def _model_inputs(root: DataRoot, dump: str) -> Iterator[Mapping[str, str]]:
    for model in root.models("pretrained_model", dump):
        if manifest := root.directory("pretrained_model", dump, model=model).manifest():
            yield manifest.recipe.inputs


def _run_inputs(scratch: Path, dump: str) -> Iterator[Mapping[str, str]]:
    for record in scratch.glob(f"pretrained_model/dump={dump}/model=*/recipe.json"):
        yield json.loads(record.read_text()).get("inputs", {})


def _training_set_hashes(dump: str, inputs: Iterator[Mapping[str, str]]) -> Iterator[str]:
    return (sha256 for made_of in inputs if (sha256 := made_of.get(f"{TRAINING_SET} {dump}")))
