"""Verdicts: what the checks of an output found, in `checks.json` beside it, so that they hold without any database.

A verdict is about the data that was checked. Once the output has other data, it says nothing any more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from upath import UPath

from jgpt_dagster.storage import object_store
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.sealed_json import read_sealed_json, write_sealed_json


@dataclass(frozen=True)
class Verdict:
    """What a check found in data of the hash `data_sha256`, when, and by which version of this package."""

    passed: bool
    description: str
    data_sha256: str
    checked_at: str
    version: str


def read_verdicts(artifact: Artifact, manifest: Manifest | None) -> Mapping[str, Verdict]:
    """Return the verdicts on the data of an output's manifest, by the name of the check. Raises ObjectStoreError."""
    if manifest is None:
        return {}
    recorded = _recorded(artifact)
    return {name: verdict for name, verdict in recorded.items() if verdict.data_sha256 == manifest.data_sha256}


def record_verdict(artifact: Artifact, check: str, passed: bool, description: str) -> None:
    """Record what a check found in the present data of an output; the same finding is not written again.

    Does nothing if the output is missing or incomplete. Raises ObjectStoreError.
    """
    manifest = artifact.manifest()
    if manifest is None:
        return
    verdicts = dict(read_verdicts(artifact, manifest))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    verdict = Verdict(passed, description, manifest.data_sha256, now, version("jgpt-dagster"))
    before = verdicts.get(check)
    if before and (before.passed, before.description) == (passed, description):
        return
    verdicts[check] = verdict
    write_sealed_json(artifact.verdicts_path, {name: asdict(found) for name, found in sorted(verdicts.items())})
    if isinstance(location := artifact.published_verdicts_path, UPath):
        object_store.upload(artifact.verdicts_path, location)


def _recorded(artifact: Artifact) -> Mapping[str, Verdict]:
    """Return the verdicts in the file; none if it is missing or damaged, because then nothing is known."""
    try:
        content = read_sealed_json(object_store.read_bytes(artifact.published_verdicts_path))
        verdicts = {name: Verdict(**fields) for name, fields in content.items()}
        return {name: verdict for name, verdict in verdicts.items() if isinstance(verdict.passed, bool)}
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, AttributeError):
        return {}
