"""Which model directories are evaluated under which names, and the evaluations that a data root holds.

`evaluated_models.json` in the root maps names to directories. Only `jgpt evaluate` writes it: whoever launches a run
chooses among the names, and cannot have a directory of the host opened.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.integer_tables import read_columns
from jgpt_dagster.lm.evaluation.leaderboard import Entry
from jgpt_dagster.lm.evaluation.model_directory import fingerprint_of
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.file_lock import file_lock, locked
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.object_store import read_bytes, upload
from jgpt_dagster.storage.safe_path import child_path, has_form, require_form
from jgpt_dagster.storage.sealed_json import SEAL, read_sealed_json, write_sealed_json

FOREIGN_EVALUATION = "foreign_evaluation"
TASK_EVALUATION = "task_evaluation"
EVALUATIONS = (FOREIGN_EVALUATION, TASK_EVALUATION)
"""The assets with an output for each name."""

NGRAMS = ("bigrams", "unigrams")
"""Names of the n-gram models of a dump's training documents, which need no directory."""

# Folders of a root with its own models. Others may lie beside them.
_OWN = ("release", "pretrained_model")

SCORES = "scores.json"
DOCUMENTS = "documents.parquet"
TASKS = "tasks.json"
ITEMS = "items.jsonl"

FILE = "evaluated_models.json"
"""The file of a root with the directories of names."""


class EvaluatedModels:
    """The directories of the models that a data root evaluates, by name."""

    def __init__(self, root: DataRoot) -> None:
        self._root = root

    def directory(self, name: str) -> Path:
        """Return the directory of a name. Raises JgptError if the name is not known."""
        paths = self._read()
        if name not in paths:
            raise JgptError(
                f"No model is called {name!r}; known are: {', '.join(sorted(paths)) or 'none'}. Evaluate one with:\n"
                f"  jgpt evaluate DIRECTORY --name {shlex.quote(name)}"
            )
        # A path below the root is relative, so that the root can be moved.
        return self._root.path / paths[name]

    def record(self, name: str, directory: Path) -> None:
        """Record the directory of a name. Raises JgptError if the name is another model's."""
        require_form("name", name)
        if name in (*NGRAMS, SEAL):
            raise JgptError(f"{name} is a name that jgpt needs for itself. Give another one with --name.")
        path = self._path(directory)
        with locked(file_lock(child_path(self._root.path, ".locks", f"{FILE}.lock"))):
            paths = self._read()
            if paths.get(name, path) != path:
                step = f"jgpt evaluate {shlex.quote(str(directory))} --name NAME"
                raise JgptError(f"{name} is the name of {paths[name]} already. Give another one with:\n  {step}")
            if name not in paths:
                write_sealed_json(self._root.path / FILE, {**paths, name: path})
                if self._root.remote is not None:
                    upload(self._root.path / FILE, self._root.remote / FILE)

    def name_for(self, directory: Path, named_for: Path | None = None) -> str:
        """Return the default name of a directory (or of what it is `named_for`), or one that it was given instead.

        Raises JgptError if it has neither.
        """
        paths, path = self._read(), self._path(directory)
        given = next((name for name, known in paths.items() if known == path), None)
        try:
            default = default_name(named_for or directory)
        except JgptError:
            if given is None:
                raise
            return given
        return given if given and paths.get(default, path) != path else default

    def is_own(self, name: str) -> bool:
        """Return whether a name is that of a model of this root, from which held-out documents were kept."""
        return name in NGRAMS or Path(self._read().get(name, "/")).parts[0] in _OWN

    def release(self, name: str) -> DirectoryArtifact | None:
        """Return the release of this root that a name stands for, if it is one."""
        asset, *keys = Path(self._read().get(name, "/")).parts
        found = dict(key.split("=", 1) for key in keys if "=" in key)
        if asset != "release" or found.keys() != {"dump", "model"}:
            return None
        return self._root.directory(asset, found["dump"], model=found["model"])

    def _path(self, directory: Path) -> str:
        directory, root = directory.resolve(), self._root.path.resolve()
        return str(directory.relative_to(root) if directory.is_relative_to(root) else directory)

    def _read(self) -> dict[str, str]:
        location = self._root.location / FILE
        try:
            return {str(name): str(path) for name, path in read_sealed_json(read_bytes(location)).items()}
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise JgptError(
                f"{location} is damaged ({error}). Delete it: `jgpt evaluate DIRECTORY --name NAME` records a model "
                "again."
            ) from error


def default_name(directory: Path) -> str:
    """Return a name for a model directory: that of the folder, or of model and dump for a release.

    Raises JgptError if the folder's name has no character that names may have.
    """
    keys = dict(part.split("=", 1) for part in directory.resolve().parts[-2:] if "=" in part)
    name = f"{keys['model']}-{keys['dump']}" if keys.keys() == {"dump", "model"} else directory.resolve().name
    name = re.sub("[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:63]
    if not has_form("name", name):
        raise JgptError(f"{directory} gives no name for the evaluation. Give one with --name.")
    return name


def evaluation_output(root: DataRoot, dump: str, name: str) -> DirectoryArtifact:
    """Return the output of the evaluation of a model on a dump's held-out documents."""
    return root.directory(FOREIGN_EVALUATION, dump, name=name)


def task_output(root: DataRoot, dump: str, name: str) -> DirectoryArtifact:
    """Return the output of the evaluation of a model on tasks."""
    return root.directory(TASK_EVALUATION, dump, name=name)


def made_again_since(root: DataRoot, dump: str) -> list[str]:
    """Return the names of releases of the root that have been made again since they were evaluated on a dump."""
    known, found = EvaluatedModels(root), set()
    for asset in EVALUATIONS:
        for name in root.keys("name", asset, dump):
            evaluation, release = root.directory(asset, dump, name=name).manifest(), known.release(name)
            now = release.manifest() if release else None
            if evaluation and now and evaluation.recipe.inputs.get("model") != release_fingerprint(now):
                found.add(name)
    return sorted(found)


def release_fingerprint(release: Manifest) -> str:
    """Return the hash by which evaluations know the model of a release."""
    return fingerprint_of({name: entry.sha256 for name, entry in release.files.items()})


def read_tasks(root: DataRoot, dump: str) -> dict[str, dict[str, Any]]:
    """Return the figures of each task of each evaluated model, by their names. Raises ArtifactError."""
    found = {}
    for name in root.keys("name", TASK_EVALUATION, dump):
        output = task_output(root, dump, name)
        if output.manifest() is not None:
            output.verified()
            found[name] = dict(json.loads((output.path / TASKS).read_text())["tasks"])
    return found


def read_entries(root: DataRoot, dump: str) -> list[Entry]:
    """Return the finished evaluations of a dump. Raises ArtifactError for a damaged one."""
    known = EvaluatedModels(root)
    entries = []
    for name in root.keys("name", FOREIGN_EVALUATION, dump):
        output = evaluation_output(root, dump, name)
        if output.manifest() is not None:
            entries.append(_read_entry(output, name, known.is_own(name)))
    return entries


def _read_entry(output: DirectoryArtifact, name: str, own: bool) -> Entry:
    output.verified()
    scores: dict[str, Any] = json.loads((output.path / SCORES).read_text())
    columns = read_columns(output.path / DOCUMENTS, ["corpus", "key", "characters", "bytes", "bits"])
    corpora = np.array(scores["corpus_names"])[columns.pop("corpus")]
    return Entry(
        name=name,
        own=own,
        model=scores["model"],
        window=scores["window"],
        texts=scores["texts_sha256"],
        total=scores["total"],
        corpora=corpora,
        **{"keys" if column == "key" else column: values for column, values in columns.items()},
    )
