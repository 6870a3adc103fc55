"""Checkpoints of a training run: `checkpoints/step=00000123/`, there whole or not at all, and checked before use.

DeepSpeed's own files are pickles, which run code when they are loaded. So each checkpoint has a manifest with the hash
of every file, and nothing in a checkpoint is loaded before all hashes were found to match.

DeepSpeed divides the optimizer's state among the processes as its ZeRO stage wants. A run that goes on with another
division loads a copy in DeepSpeed's universal format, in which every parameter is whole.
"""

import io
import shutil
import socket
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.training import optimizer_offload
from jgpt_dagster.storage.atomic_write import atomic_directory, temporary_path, write_json
from jgpt_dagster.storage.directory_artifact import MANIFEST, DirectoryArtifact
from jgpt_dagster.storage.disk_space import require_free_space
from jgpt_dagster.storage.manifest import FileEntry, Manifest, Recipe, library_versions

CODE_VERSION = "1"
_PREFIX = "step="
_ENGINE = "engine"
# How a run is divided: it decides how sums are rounded, and nothing else of the weights.
PARALLELISM_SETTINGS = ("processes", "micro_batch", "zero_stage")
# Of these, what the files of the optimizer's state depend on.
_STATE_FILE_SETTINGS = ("processes", "zero_stage")
# Stages 1 and 2 share a format; the universal formats of the others are their own, and stage 0 divides nothing.
_CONVERTIBLE = ({0}, {1, 2}, {3})
# Weights, their fp32 master copy and the two moments of Adam, all in fp32; bf16 weights take a little less.
_BYTES_PER_PARAMETER = 16
# The universal format has three of these, each parameter's in a file; they are made of parts that lie beside them.
_UNIVERSAL_BYTES_PER_PARAMETER = 2 * 3 * 4
T = TypeVar("T")


class CheckpointError(JgptError):
    """A checkpoint that a run cannot go on from."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its directory, the optimizer steps done and the samples seen, and what it was trained on."""

    path: Path
    step: int
    samples: int
    identity: Mapping[str, Any]

    def needs_conversion(self, settings: Mapping[str, Any]) -> bool:
        """Say whether a run with these settings needs the checkpoint in the universal format.

        Without ZeRO every process holds, and the checkpoint has, the whole state.
        """
        differs = any(settings[name] != self.identity.get(name) for name in _STATE_FILE_SETTINGS)
        return differs and settings["zero_stage"] > 0


def latest_valid(root: Path, report: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest checkpoint below `root` whose files all match its manifest; `report` the ones that do not."""
    for path in reversed(_directories(root)):
        artifact = DirectoryArtifact("checkpoint", "", path)
        manifest = artifact.manifest()
        damage = f"{path / MANIFEST} is missing or unreadable" if manifest is None else artifact.find_mismatch(manifest)
        if manifest is not None and damage is None:
            counts, recipe = manifest.counts, manifest.recipe
            identity = {**recipe.settings, **recipe.inputs}
            return Checkpoint(path, counts["step"], counts["samples"], identity)
        report(f"checkpoint {path.name} is damaged and is not used: {damage}")
    return None


def newest(root: Path, before: int | None = None) -> Path | None:
    """Return the newest checkpoint below `root`, which is whole unless it was damaged since: its files are not read.

    With `before`, only those of earlier steps count.
    """
    return next((path for path in reversed(_directories(root)) if before is None or step_of(path) < before), None)


def step_of(path: Path) -> int:
    """Return the step of a checkpoint's directory."""
    return int(path.name.removeprefix(_PREFIX))


def sweep(root: Path) -> None:
    """Delete what a kill has left below `root`: checkpoints that were being written and copies in another format."""
    for leftover in root.glob(f".*{_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def find_resumable(root: Path, report: Callable[[str], None]) -> Checkpoint | None:
    """Return the checkpoint below `root` that a run goes on from, as `latest_valid` does; None where there is none.

    Raises CheckpointError, naming them, where all that are there are damaged.
    """
    found, names = latest_valid(root, report), [path.name for path in _directories(root)]
    if found is None and names:
        raise CheckpointError(
            f"no checkpoint in {root} is whole: {', '.join(names)}. Mend the disk or bring back a copy of one of them, "
            f"then run again; or start again from nothing: delete {root}, or run with `force: true`."
        )
    return found


def require_same_training(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Raise CheckpointError, naming each field with both values, unless the checkpoint is of the run that is asked for.

    What decides the weights must be the same; how often a run logs, evaluates or saves may change, and so may the
    number of processes, the micro batch, and the ZeRO stage between 1 and 2.
    """
    differing = [
        f"{name} is {identity.get(name)}, but the checkpoint has {checkpoint.identity.get(name)}"
        for name in sorted(identity.keys() | checkpoint.identity.keys())
        if identity.get(name) != checkpoint.identity.get(name) and not _may_change(name, identity, checkpoint.identity)
    ]
    if differing:
        raise CheckpointError(
            f"cannot resume from {checkpoint.path}: {'; '.join(differing)}. Set it back to go on with this run, or "
            f"delete {checkpoint.path.parent} to start again (initial_model can start from finished weights)."
        )


def save(
    engine: Any,
    root: Path,
    step: int,
    samples: int,
    run: Recipe,
    keep: int,
    keep_every: int | None = None,
    diverging_since: int | None = None,
) -> None:
    """Write a checkpoint. Every process must call this; afterwards it is whole.

    Of all whole ones the newest `keep` are left, and those of every step that `keep_every` divides. Those of step
    `diverging_since` and later do not count and are all left: what is before them may still be needed.
    """
    rank = dist.get_rank()
    path = root / f"{_PREFIX}{step:08d}"
    if rank == 0:
        _require_room(engine, root, _BYTES_PER_PARAMETER, f"the checkpoint {path.name}")
    with atomic_directory(path) if rank == 0 else nullcontext(temporary_path(path)) as directory:
        dist.barrier()
        engine.save_checkpoint(str(directory), tag=_ENGINE, save_latest=False)
        save_file(_random_state(engine.device), directory / _random_state_name(rank))
        dist.barrier()
        entries = hash_files_distributed(directory)
        if rank == 0:
            manifest = Manifest(run, {"step": step, "samples": samples}, entries)
            write_json(directory / MANIFEST, manifest.to_dict())
    dist.barrier()
    if rank == 0:
        # A damaged checkpoint of a later step must not count among those that are kept.
        limit = step + 1 if diverging_since is None else diverging_since
        for old in [other for other in _directories(root) if step_of(other) < limit][:-keep]:
            if keep_every is None or step_of(old) % keep_every:
                DirectoryArtifact("checkpoint", "", old).remove()


def load(engine: Any, checkpoint: Checkpoint, seed: int) -> None:
    """Restore weights, optimizer and random state in every process from a checkpoint that was found whole.

    The engine must have been made with `load_universal` if the checkpoint needs conversion, which is done here, into a
    copy that is deleted again. A process that had no part in saving begins the random numbers of `seed` and its rank.
    """
    convert = engine.load_universal_checkpoint()
    copy = checkpoint.path.with_name(f".{checkpoint.path.name}.universal")
    if convert and dist.get_rank() == 0:
        purpose = f"the conversion of {checkpoint.path.name} to another division"
        _require_room(engine, checkpoint.path.parent, _UNIVERSAL_BYTES_PER_PARAMETER, purpose)
        with atomic_directory(copy) as directory:
            _to_universal(checkpoint.path / _ENGINE, directory / _ENGINE)
    dist.barrier()
    groups = engine.optimizer.param_groups
    decays = [group["weight_decay"] for group in groups]
    loaded, _ = engine.load_checkpoint(str(copy if convert else checkpoint.path), tag=_ENGINE)
    if loaded is None:
        raise CheckpointError(f"DeepSpeed found nothing to load in {checkpoint.path / _ENGINE}")
    if engine.zero_nvme_offload_optimizer():
        optimizer_offload.restore(engine, Path(engine._get_zero_ckpt_name(str(checkpoint.path), _ENGINE)))
    # Under ZeRO-3 a universal checkpoint gives the first group's settings to all groups.
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
    """Give each parameter's state a step counter of its own: a number in fp32 on the parameter's device.

    A universal checkpoint leaves one on the CPU that all groups share: each of them would raise it, and the fused AdamW
    of a GPU refuses it.
    """
    for parameter, state in optimizer.state.items():
        state["step"] = torch.as_tensor(state["step"]).to(parameter.device, torch.float32, copy=True)


def hash_files_distributed(directory: Path) -> dict[str, FileEntry]:
    """Hash the files that the processes have written below a directory, each process its share; return all entries.

    What one process lists need not be all there is: network file systems remember lists. So what any of them has listed
    counts. Raises CheckpointError, naming host and file, where a process does not find what another has written.
    """
    names = sorted(set().union(*_gathered(_files(directory))))
    missing = [name for name in names if not (directory / name).is_file()]
    for host, unseen in _gathered((socket.gethostname(), missing)):
        if unseen:
            raise CheckpointError(
                f"{directory} is not on a disk that all processes share: host {host} does not find {unseen[0]}. Point "
                "JGPT_SCRATCH at a directory that is shared under this path, then run again."
            )
    own = names[dist.get_rank() :: dist.get_world_size()]
    shares = _gathered({name: FileEntry.of(directory / name) for name in own})
    return {name: entry for share in shares for name, entry in share.items()}


def run_recipe(settings: Mapping[str, Any], inputs: Mapping[str, str]) -> Recipe:
    """Return what a run's checkpoints say of themselves: the settings and inputs that decide the weights."""
    libraries = library_versions("torch", "deepspeed", "transformers")
    return Recipe("checkpoint", CODE_VERSION, settings, inputs, libraries)


def _may_change(name: str, wanted: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    if name == "zero_stage":
        return any({wanted.get(name), present.get(name)} <= stages for stages in _CONVERTIBLE)
    # States on disk are divided as they were saved: DeepSpeed has no universal format for them.
    return name in PARALLELISM_SETTINGS and not (name == "processes" and present.get("offload"))


def _require_room(engine: Any, root: Path, bytes_per_parameter: int, purpose: str) -> None:
    """Raise DiskFullError where the disk is too full; torch's own error names neither the disk nor the cause."""
    parameters = sum(getattr(p, "ds_numel", p.numel()) for p in engine.module.parameters())
    arithmetic = f"{purpose}, at {bytes_per_parameter} bytes for each of {parameters:,} parameters,"
    require_free_space(root, bytes_per_parameter * parameters, arithmetic, "JGPT_SCRATCH")


def _to_universal(source: Path, target: Path) -> None:
    """Convert DeepSpeed's files in `source`, whose hashes were found to match, to its universal format."""
    from deepspeed.checkpoint import ds_to_universal

    options = Namespace(
        input_folder=str(source),
        output_folder=str(target),
        # One process at a time: its pool would import torch once more in each.
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        ds_to_universal.main(options)


def _directories(root: Path) -> list[Path]:
    return sorted(path for path in root.glob(f"{_PREFIX}*") if path.is_dir())


def _files(directory: Path) -> list[str]:
    return [str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file()]


def _gathered(value: T) -> list[T]:
    """Return the value of each process, in every process."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    gpu = {"cuda": torch.cuda.get_rng_state()} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **gpu}


def _random_state_name(rank: int) -> str:
    return f"random_state.rank={rank:05d}.safetensors"
