"""The last link of a chain: from the checkpoint after a run's last step, which a model names, to its weights."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from jgpt_dagster.lm.training.checkpoint_trust import UntrustedError, read_unsigned_manifest
from jgpt_dagster.lm.training.run_progress import FINAL_CHECKPOINT, step_of
from jgpt_dagster.provenance.chain import Step
from jgpt_dagster.provenance.finding import Finding
from jgpt_dagster.provenance.root_files import kept_checkpoints
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Manifest


class NamedCheckpoint(NamedTuple):
    """The step of a checkpoint, and the hash of its data."""

    step: int
    sha256: str


def named_checkpoint(manifest: Manifest | None) -> NamedCheckpoint | None:
    """Return the checkpoint that a model's weights are those of; None if its manifest names none.

    One of an earlier version does not.
    """
    value = manifest.counts.get(FINAL_CHECKPOINT) if manifest else None
    if not isinstance(value, dict):
        return None
    step, sha256 = value.get("step"), value.get("sha256")
    return NamedCheckpoint(step, sha256) if isinstance(step, int) and isinstance(sha256, str) else None


def checkpoint_line(step: Step) -> Iterator[str]:
    """Yield a line for the user that names the checkpoint of a model in a chain."""
    if checkpoint := named_checkpoint(step.manifest):
        yield f"weights of {step.label}: checkpoint {checkpoint.step}, sha256 {checkpoint.sha256}"


def checkpoint_problem(step: Step) -> Iterator[str]:
    """Yield that the checkpoint of a model in a chain is not that of its last step."""
    checkpoint, steps = named_checkpoint(step.manifest), step.manifest.counts.get("steps")
    if checkpoint and checkpoint.step != steps:
        yield f"{step.label} took {steps} steps, and its weights are said to come from step {checkpoint.step}"


def other_checkpoints(root: DataRoot, scratch: Path) -> Iterator[Finding]:
    """Yield the kept checkpoints of a model's last step that are not the ones that its weights come from."""
    for path in kept_checkpoints(scratch):
        model, dump = (folder.name.partition("=")[2] for folder in path.parents[1:3])
        output = root.directory("pretrained_model", dump, model=model)
        named = named_checkpoint(output.manifest())
        if named is None or named.step != step_of(path):
            continue
        with suppress(UntrustedError):  # told as damage
            if read_unsigned_manifest(path).data_sha256 != named.sha256:
                problem = f"{path} is not the one that its weights come from: it was trained again or exchanged since"
                yield Finding("stale", output.label, str(path), problem)
