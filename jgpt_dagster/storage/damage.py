"""Marks of damage: that the files of an output were found to differ from its manifest, kept as a verdict beside it.

Whoever reads an output and finds it damaged leaves a mark, so that `jgpt status` and the UI, which hash nothing, show
it with all that was made of it. Only marked outputs are hashed again, and lose their mark once they are whole.
"""

from contextlib import suppress

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.directory_artifact import MANIFEST, DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.verdict import read_verdicts, record_verdict

INTACT = "is_intact"
"""The name of the verdict. It is no check: nothing waits for it."""


def mark_damage(artifact: Artifact, problem: str) -> None:
    """Record that an output was found damaged. A disk that takes no mark does not hide the damage."""
    with suppress(OSError, JgptError):
        record_verdict(artifact, INTACT, False, problem)


def clear_damage(artifact: Artifact) -> None:
    """Record that an output that was found damaged is whole again; does nothing if it has no mark."""
    with suppress(OSError, JgptError):
        verdict = read_verdicts(artifact, artifact.manifest()).get(INTACT)
        if verdict and not verdict.passed:
            record_verdict(artifact, INTACT, True, "")


def known_damage(artifact: Artifact, manifest: Manifest | None) -> str:
    """Return what is known to be damaged of an output; empty if nothing is.

    An output without a readable manifest is damaged if something is in its place. Raises ObjectStoreError.
    """
    if manifest is None:
        place = artifact.path / MANIFEST if isinstance(artifact, DirectoryArtifact) else artifact.path
        return f"{place} cannot be read" if artifact.remote is None and place.is_file() else ""
    verdict = read_verdicts(artifact, manifest).get(INTACT)
    if verdict is None or verdict.passed:
        return ""
    problem = artifact.find_mismatch(manifest) or ""
    if not problem:
        clear_damage(artifact)
    return problem
