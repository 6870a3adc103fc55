"""What the tags, the selection and the events of a recorded run say, whoever has read them. No Dagster."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, text_assets
from jgpt_dagster.causes import cause_of_text
from jgpt_dagster.settings import load_settings
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.safe_path import has_form

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

DUMP_TAG = "jgpt/dump"
"""The tag of a run of a job over the whole graph: its dump."""

ASKED_TAG = "jgpt/asked"
"""The tag of a run with the command that asked for it, or that would ask for the same."""

RECENT = 2_000
"""Enough runs for all shards of a dump several times over; older failures no longer matter."""


def made_assets(selected: Collection[str]) -> set[str]:
    """Return the assets that a run with a selection makes; a job launched as a whole names none and may make any."""
    return {*selected} or {*text_assets(load_settings().corpora), *MODEL_ASSETS}


def partition_of(tags: Mapping[str, str]) -> str | None:
    """Return the partition that a run's tags name, a range as `first...last`; None for an unpartitioned run."""
    if RANGE_START in tags and tags[RANGE_START] != tags.get(RANGE_END, tags[RANGE_START]):
        return f"{tags[RANGE_START]}...{tags[RANGE_END]}"
    return tags.get(PARTITION) or tags.get(RANGE_START)


def makes_output(tags: Mapping[str, str], selected: Collection[str], output: Artifact) -> bool:
    """Return whether an output is among those that a run makes, or was to make."""
    start = tags.get(RANGE_START) or tags.get(PARTITION, "")
    end = tags.get(RANGE_END) or start
    date, dump = output.partition.partition("|")[0], tags.get(DUMP_TAG)
    if dump and has_form("dump", date) and date != dump:
        return False
    return output.asset in made_assets(selected) and (not start or start <= output.partition <= end)


def failure_text(data: Any) -> str:
    """Return what the data of a failure event says, without the class names of exceptions; empty if nothing."""
    described = getattr(data, "user_failure_data", None)
    if described and described.description:
        return str(described.description)
    error, message = getattr(data, "error", None), ""
    while error:
        if cause := cause_of_text(error.message):
            return cause
        message = re.sub(rf"^(\w+\.)+{error.cls_name}: ", "", str(error.message).strip())
        error = error.cause
    return message


def first_reason(ends: Iterable[Any]) -> str:
    """Return why a run ended, in one line, from the events of its end: what the first that says anything says."""
    for event in ends:
        text = failure_text(event.event_specific_data) or (event.message or "").strip()
        if text:
            return text.splitlines()[0]
    return "its log does not say why"
