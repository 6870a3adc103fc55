"""Checkpoints of a training run: `checkpoints/step=00000123/`, written atomically and verified before use.

DeepSpeed's files are pickles, which run code when loaded. So each checkpoint has a manifest with the hash of every
file and a keyed hash of its own, and nothing is loaded before all of them match (see `checkpoint_trust`).

DeepSpeed divides the optimizer states among the processes as the ZeRO stage requires. A run that resumes with another
division loads a copy in DeepSpeed's universal format, in which every parameter is whole.
"""

import shutil
import socket
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.training import checkpoint_compatibility, deepspeed_internals
from jgpt_dagster.lm.training.checkpoint_trust import (
    UntrustedError,
    read_signed_manifest,
    require_own_scratch,
    signed,
    signing_key,
)
from jgpt_dagster.lm.training.collectives import all_gather
from jgpt_dagster.lm.training.run_progress import CHECKPOINT_PREFIX, checkpoint_directories, step_of
from jgpt_dagster.storage.atomic_write import atomic_directory, temporary_path
from jgpt_dagster.storage.directory_artifact import MANIFEST, DirectoryArtifact
from jgpt_dagster.storage.disk_space import require_free_space
from jgpt_dagster.storage.manifest import FileEntry, Manifest, Recipe
from jgpt_dagster.storage.sealed_json import write_sealed_json

_ENGINE = "engine"
# Weights, master weights and the two moments of Adam, all in fp32; bf16 weights take a little less.
_BYTES_PER_PARAMETER = 16
# Master weights and moments in the universal format, and as much again for the parts they are merged from.
_UNIVERSAL_BYTES_PER_PARAMETER = 2 * 3 * 4


class CheckpointError(JgptError):
    """A checkpoint that a run cannot resume from, or cannot write."""


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint: its directory, the steps and samples it was trained for, and its settings and inputs."""

    path: Path
    step: int
    samples: int
    recipe: Mapping[str, Any]


def latest_valid(root: Path, data_root: Path, report: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest checkpoint below `root` that may be loaded; `report` those that may not, with the reason.

    It is signed with this user's key of `data_root`, and its files all match its manifest. Raises UntrustedError if
    others can write to `root`, or the key cannot be trusted.
    """
    require_own_scratch(root)
    key = signing_key(data_root)
    for path in reversed(checkpoint_directories(root)):
        try:
            manifest = read_signed_manifest(path, key, data_root)
        except UntrustedError as error:
            report(f"checkpoint {path.name} is not used: {error}")
            continue
        if damage := DirectoryArtifact("checkpoint", "", path).find_mismatch(manifest):
            report(f"checkpoint {path.name} is damaged and is not used: {damage}")
            continue
        counts, recipe = manifest.counts, manifest.recipe
        return Checkpoint(path, counts["step"], counts["samples"], {**recipe.settings, **recipe.inputs})
    return None


def newest(root: Path, before: int | None = None) -> Path | None:
    """Return the newest checkpoint below `root`, of a step before `before` if given, without verifying its files."""
    return next(
        (path for path in reversed(checkpoint_directories(root)) if before is None or step_of(path) < before), None
    )


def remove_leftovers(root: Path) -> None:
    """Delete what killed runs left below `root`: half-written checkpoints and copies in the universal format."""
    for leftover in root.glob(f".*{CHECKPOINT_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def find_resumable(root: Path, data_root: Path, report: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest valid checkpoint below `root` and `report` all others; None if there are no checkpoints.

    Raises CheckpointError, naming them, if no checkpoint may be loaded, and UntrustedError as `latest_valid` does.
    """
    refused: list[str] = []

    def note(line: str) -> None:
        refused.append(line)
        report(line)

    found, names = latest_valid(root, data_root, note), [path.name for path in checkpoint_directories(root)]
    if found is None and names:
        raise CheckpointError(
            f"no checkpoint in {root} is whole and made here: {', '.join(names)}. The newest: {refused[0]}\nRepair the "
            f"disk or restore a copy of one of them, then run again; or start from scratch: delete {root}, or run with "
            "`force: true`."
        )
    return found


def require_same_training(checkpoint: Checkpoint, recipe: Mapping[str, Any]) -> None:
    """Raise CheckpointError, naming differing fields with both values, unless a run can resume from a checkpoint."""
    if differing := checkpoint_compatibility.differences(recipe, checkpoint.recipe):
        raise CheckpointError(
            f"cannot resume from {checkpoint.path}: {'; '.join(differing)}. Set it back to resume this run, or "
            f"delete {checkpoint.path.parent} to start from scratch (initial_model starts from finished weights)."
        )


def save(
    engine: Any,
    root: Path,
    step: int,
    samples: int,
    recipe: Recipe,
    data_root: Path,
    keep: int,
    keep_every: int | None = None,
    diverging_since: int | None = None,
) -> None:
    """Write a checkpoint, signed with this user's key of `data_root`, and delete old ones. Every process calls this.

    The newest `keep` stay, and those of steps that are multiples of `keep_every`. Checkpoints of step `diverging_since`
    and later all stay and do not count: the ones before them may still be needed.
    """
    rank = dist.get_rank()
    path = root / f"{CHECKPOINT_PREFIX}{step:08d}"
    if rank == 0:
        _require_room(engine, root, _BYTES_PER_PARAMETER, f"the checkpoint {path.name}")
    with atomic_directory(path) if rank == 0 else nullcontext(temporary_path(path)) as directory:
        dist.barrier()
        engine.save_checkpoint(str(directory), tag=_ENGINE, save_latest=False)
        save_file(_random_state(engine.device), directory / _random_state_name(rank))
        dist.barrier()
        entries = hash_files_distributed(directory)
        if rank == 0:
            manifest = Manifest(recipe, {"step": step, "samples": samples}, entries)
            write_sealed_json(directory / MANIFEST, signed(manifest, signing_key(data_root)), internal=True)
    dist.barrier()
    if rank == 0:
        # A damaged checkpoint of a later step must not count among the newest.
        limit = step + 1 if diverging_since is None else diverging_since
        for old in [other for other in checkpoint_directories(root) if step_of(other) < limit][:-keep]:
            if keep_every is None or step_of(old) % keep_every:
                DirectoryArtifact("checkpoint", "", old).remove()


def load(engine: Any, checkpoint: Checkpoint, seed: int) -> None:
    """Restore weights, optimizer and random state in every process from a valid checkpoint.

    An engine built with `load_universal` loads a converted copy, which is made here and deleted again. A process that
    took no part in saving seeds its random state with `seed` plus its rank.
    """
    convert = engine.load_universal_checkpoint()
    copy = checkpoint.path.with_name(f".{checkpoint.path.name}.universal")
    if convert and dist.get_rank() == 0:
        purpose = f"the conversion of {checkpoint.path.name} for another division among processes"
        _require_room(engine, checkpoint.path.parent, _UNIVERSAL_BYTES_PER_PARAMETER, purpose)
        with atomic_directory(copy) as directory:
            deepspeed_internals.convert_to_universal(checkpoint.path / _ENGINE, directory / _ENGINE)
    dist.barrier()
    groups = engine.optimizer.param_groups
    decays = [group["weight_decay"] for group in groups]
    loaded, _ = engine.load_checkpoint(str(copy if convert else checkpoint.path), tag=_ENGINE)
    if loaded is None:
        raise CheckpointError(f"DeepSpeed found nothing to load in {checkpoint.path / _ENGINE}")
    if engine.zero_nvme_offload_optimizer():
        deepspeed_internals.restore_offloaded_states(engine, checkpoint.path, _ENGINE)
    # Under ZeRO-3 a universal checkpoint sets all groups to the first group's settings.
    for group, decay in zip(groups, decays, strict=True):
        group["weight_decay"] = decay
    if convert:
        separate_step_counters(engine.optimizer.optimizer)
    random_state = checkpoint.path / _random_state_name(dist.get_rank())
    if random_state.exists():
        state = load_file(random_state)
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and engine.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"])
    else:
        torch.manual_seed(seed + dist.get_rank())
    dist.barrier()
    if convert and dist.get_rank() == 0:
        shutil.rmtree(copy)


def separate_step_counters(optimizer: torch.optim.Optimizer) -> None:
    """Give each parameter its own step counter, in fp32 on the parameter's device.

    A universal checkpoint leaves one on the CPU that all groups share: each group would increment it, and the fused
    AdamW of a GPU refuses it.
    """
    for parameter, state in optimizer.state.items():
        state["step"] = torch.as_tensor(state["step"]).to(parameter.device, torch.float32, copy=True)


def hash_files_distributed(directory: Path) -> dict[str, FileEntry]:
    """Hash the files below a directory, each process a share of them, and return all entries in every process.

    A file counts if any process lists it, since network file systems cache directory listings. Raises CheckpointError,
    naming host and file, if a process cannot see a file that another has written.
    """
    names = sorted(set().union(*all_gather(_files(directory))))
    missing = [name for name in names if not (directory / name).is_file()]
    for host, unseen in all_gather((socket.gethostname(), missing)):
        if unseen:
            raise CheckpointError(
                f"{directory} is not on a disk that all processes share: host {host} does not find {unseen[0]}. Point "
                "JGPT_SCRATCH at a directory that is shared under this path, then run again."
            )
    own = names[dist.get_rank() :: dist.get_world_size()]
    parts = all_gather({name: FileEntry.of(directory / name) for name in own})
    return {name: entry for part in parts for name, entry in part.items()}


def _require_room(engine: Any, root: Path, bytes_per_parameter: int, purpose: str) -> None:
    """Raise DiskFullError if the disk is too full; torch's own error names neither the disk nor the cause."""
    parameters = deepspeed_internals.whole_parameter_count(engine.module)
    arithmetic = f"{purpose}, at {bytes_per_parameter} bytes for each of {parameters:,} parameters,"
    require_free_space(root, bytes_per_parameter * parameters, arithmetic, "JGPT_SCRATCH")


def _files(directory: Path) -> list[str]:
    return [str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file()]


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    gpu = {"cuda": torch.cuda.get_rng_state()} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **gpu}


def _random_state_name(rank: int) -> str:
    return f"random_state.rank={rank:05d}.safetensors"
