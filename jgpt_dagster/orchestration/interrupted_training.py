"""Where an interrupted training stands, and the command that goes on with it."""

import shlex
from collections.abc import Mapping
from typing import Any

import dagster as dg

from jgpt_dagster.lm.training.run_progress import interruption
from jgpt_dagster.orchestration.run_facts import PARTITION
from jgpt_dagster.settings import load_settings
from jgpt_dagster.storage.safe_path import child_path, has_form

_TRAINING = dg.AssetKey("pretrained_model")


def resume_command(dump: str, model: str, own_model: str, *, until: str = "", retrain: bool = False) -> str:
    """Return the command that goes on with a model of a dump, as far as `until`, where JGPT_MODEL is `own_model`."""
    options = [*(["--to", until] if until else []), *(["--retrain"] if retrain else [])]
    command = shlex.join(["jgpt", "run", "--dump", dump, *options])
    return command if model == own_model else f"JGPT_MODEL={shlex.quote(model)} {command}"


def with_interruption(reason: str, run: dg.DagsterRun) -> str:
    """Return why a run ended and, if it trained, at which step it was interrupted and what goes on."""
    training = interruption_of(run)
    return f"{reason} Its training was {training}" if training else reason


def interruption_of(run: dg.DagsterRun) -> str:
    """Return at which step the training of a Dagster run was interrupted, and what goes on; empty for other runs."""
    dump, _, model = run.tags.get(PARTITION, "").partition("|")
    if _TRAINING not in (run.asset_selection or ()) or not (has_form("dump", dump) and has_form("model", model)):
        return ""
    settings = load_settings()
    run_config: Mapping[str, Any] = run.run_config
    config = run_config.get("ops", {}).get("pretrained_model", {}).get("config", {})
    directory = child_path(settings.scratch_directory, "pretrained_model", f"dump={dump}", f"model={model}")
    return interruption(directory, resume_command(dump, model, settings.model, retrain=bool(config.get("force"))))
