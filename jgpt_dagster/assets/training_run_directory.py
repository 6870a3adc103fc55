"""The directory of a training run on the scratch disk: what the run started with, and when it starts from scratch."""

import json
import shlex
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.training.checkpoint_trust import UntrustedError, read_unsigned_manifest
from jgpt_dagster.lm.training.metrics_files import RESULT
from jgpt_dagster.lm.training.run_progress import CHECKPOINT_PREFIX, CHECKPOINTS, FINAL_CHECKPOINT
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.file_creation import make_directory
from jgpt_dagster.storage.manifest import Recipe

RECIPE = "recipe.json"
_START = "start"


def root_run_id(run: dg.DagsterRun) -> str:
    """Return the id of the first run that this one retries or re-executes; its own if it is not a retry."""
    return run.root_run_id or run.run_id


def recorded_inputs(target: DirectoryArtifact, run: Path, forced_by: str | None) -> Mapping[str, str]:
    """Return the recorded inputs of a finished model or, if it is not finished, of its run so far.

    For a fresh start that the Dagster run `forced_by` asks for, a finished run counts only if it has made it itself.
    """
    manifest, record = target.manifest(), _record(run)
    if forced_by is not None:
        record = {} if (run / RESULT).exists() and record.get("forced_by") != forced_by else record
    elif manifest is not None:
        return manifest.recipe.inputs
    inputs: Mapping[str, str] = record.get("inputs", {})
    return inputs


def require_same_training_set(run: Path, target: DirectoryArtifact, training_set: str, sha256: str) -> None:
    """Raise JgptError if a run that is not finished has checkpoints of another training set than the one of now.

    `training_set` is its label. The checkpoints stay, to go on with or to be set aside.
    """
    started_with = _record(run).get("inputs", {}).get(training_set, sha256)
    if started_with == sha256 or (run / RESULT).exists() or not _has_checkpoints(run):
        return
    dump = target.partition.partition("|")[0]
    command = shlex.join(["jgpt", "run", "--dump", dump, "--retrain"])
    raise JgptError(
        f"{target.label} is half trained on another {training_set}: its corpora, their text or the run config of "
        f"training_set have changed since. Set that back to go on with it; or set its checkpoints aside and begin "
        f"again with\n  {command}\nor train another model beside it under a name of its own (JGPT_MODEL=NAME)."
    )


def recorded_words(run: Path) -> str:
    """Return in words what a run started from, as it was told to `prepare_run_directory`; empty if it was not told."""
    return str(_record(run).get(_START, ""))


def prepare_run_directory(run: Path, recipe: Recipe, forced_by: str | None, start: str = "") -> None:
    """Prepare the directory of a run: a run that resumes keeps its checkpoints, a finished other run is set aside.

    `start` says in words what the run starts from. `forced_by` is the `root_run_id` that asks for a fresh start, or
    None. Its retries ask for it too and must keep what it has trained, so the record names it, and only another Dagster
    run sets the directory aside again. An unfinished run of this very recipe goes on even then: a fresh one would
    train the same weights.

    An unfinished run of another recipe is left alone if it has checkpoints; the training program refuses it and says
    what differs.
    """
    wanted = {"settings": dict(recipe.settings), "inputs": dict(recipe.inputs)}
    record = _record(run)
    started_with = {name: record[name] for name in wanted if name in record}
    forced = forced_by is not None and record.get("forced_by") != forced_by
    other, finished = started_with != wanted, (run / RESULT).exists()
    if run.exists() and ((forced and (other or finished)) or (started_with and other and finished)):
        _set_aside(run)
        started_with = {}
    if not started_with or (started_with != wanted and not _has_checkpoints(run)):
        make_directory(run, internal=True)
        write_json(run / RECIPE, {**wanted, "forced_by": forced_by, _START: start})
    elif forced:
        write_json(run / RECIPE, {**record, "forced_by": forced_by})


def final_checkpoint(run: Path, step: int) -> Mapping[str, Any]:
    """Return what names the checkpoint that a run has saved after its last step: the step and the hash of its data.

    It holds nothing volatile: a run that was killed and resumed saves the same bytes. Empty if it is not there or
    cannot be read, as in a run that was finished by an earlier version.
    """
    try:
        manifest = read_unsigned_manifest(run / CHECKPOINTS / f"{CHECKPOINT_PREFIX}{step:08d}")
    except UntrustedError:
        return {}
    return {FINAL_CHECKPOINT: {"step": step, "sha256": manifest.data_sha256}}


def _set_aside(run: Path) -> None:
    """Rename a run directory: days of training are never deleted as a side effect. `jgpt prune` deletes it."""
    names = (f".{run.name}.aside-{number}" for number in count(1))
    run.rename(next(path for path in map(run.with_name, names) if not path.exists()))


def _has_checkpoints(run: Path) -> bool:
    return any(run.glob("checkpoints/step=*"))


def _record(run: Path) -> Mapping[str, Any]:
    record = run / RECIPE
    content: Mapping[str, Any] = json.loads(record.read_text()) if record.exists() else {}
    return content
