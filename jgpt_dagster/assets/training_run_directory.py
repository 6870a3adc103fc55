"""The directory of a training run on the scratch disk: what the run was begun with, and when it begins from nothing."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from jgpt_dagster.lm.training.metrics_files import RESULT
from jgpt_dagster.storage.artifact import DirectoryArtifact
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.manifest import Recipe

RECIPE = "recipe.json"


def root_run_id(run: dg.DagsterRun) -> str:
    """Return the id of the run that this one repeats, at whatever remove; its own where it repeats none."""
    return run.root_run_id or run.run_id


def recorded_inputs(target: DirectoryArtifact, run: Path, forced_by: str | None) -> Mapping[str, str]:
    """Return the inputs of a model that is finished or, where it is not, of its run as far as that has come.

    Of a fresh start, those of what the Dagster run `forced_by` has itself begun.
    """
    manifest, record = target.manifest(), _record(run)
    if forced_by is not None:
        record = record if record.get("forced_by") == forced_by else {}
    elif manifest is not None:
        return manifest.recipe.inputs
    begun: Mapping[str, str] = record.get("inputs", {})
    return begun


def prepare_run_directory(run: Path, recipe: Recipe, forced_by: str | None) -> None:
    """Make room for a run: one that goes on keeps its checkpoints, a finished one of another recipe is cleared away.

    `forced_by` is the `root_run_id` that asks for a fresh start, or None. Its retries ask for it too and must not lose
    what it has begun: so the record names it, and only another one clears the directory again.

    An unfinished run of another recipe is left alone; the training program refuses it and says what differs.
    """
    wanted = {"settings": dict(recipe.settings), "inputs": dict(recipe.inputs)}
    record = _record(run)
    begun = {name: record[name] for name in wanted if name in record}
    forced = forced_by is not None and record.get("forced_by") != forced_by
    if run.exists() and (forced or (begun not in ({}, wanted) and (run / RESULT).exists())):
        shutil.rmtree(run)
        begun = {}
    if not begun:
        write_json(run / RECIPE, {**wanted, "forced_by": forced_by})


def _record(run: Path) -> Mapping[str, Any]:
    record = run / RECIPE
    content: Mapping[str, Any] = json.loads(record.read_text()) if record.exists() else {}
    return content
