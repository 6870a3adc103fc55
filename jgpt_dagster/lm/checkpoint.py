"""Checkpoints of a training run: `checkpoints/step=00000123/`, there whole or not at all, and checked before use.

DeepSpeed's own files are pickles, which run code when they are loaded. So each checkpoint has a manifest with the hash
of every file, and nothing in a checkpoint is loaded before all hashes were found to match.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.artifact import MANIFEST, DirectoryArtifact, file_entry
from jgpt_dagster.storage.manifest import Manifest, Recipe, library_versions
from jgpt_dagster.storage.writing import atomic_directory, require_free_space, temporary_path, write_json

CODE_VERSION = "1"
_PREFIX = "step="
_ENGINE = "engine"
# Weights, their fp32 master copy and the two moments of Adam, all in fp32; bf16 weights take a little less.
_BYTES_PER_PARAMETER = 16


class CheckpointError(JgptError):
    """A checkpoint that a run cannot go on from."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its directory, the optimizer steps done and the samples seen, and what it was trained on."""

    path: Path
    step: int
    samples: int
    identity: Mapping[str, Any]


def newest_whole(root: Path, report: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest checkpoint below `root` whose files all match its manifest; `report` the ones that do not."""
    for path in reversed(_directories(root)):
        artifact = DirectoryArtifact("checkpoint", "", path)
        manifest = artifact.manifest()
        damage = f"{path / MANIFEST} is missing or unreadable" if manifest is None else artifact.damage(manifest)
        if manifest is not None and damage is None:
            counts, recipe = manifest.counts, manifest.recipe
            identity = {**recipe.settings, **recipe.inputs}
            return Checkpoint(path, counts["step"], counts["samples"], identity)
        report(f"checkpoint {path.name} is damaged and is not used: {damage}")
    return None


def require_same_run(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Raise CheckpointError, naming each field with both values, unless the checkpoint is of the run that is asked for.

    What decides the weights must be the same; how often a run logs, evaluates or saves may change.
    """
    differing = [
        f"{name} is {identity.get(name)}, but the checkpoint has {checkpoint.identity.get(name)}"
        for name in sorted(identity.keys() | checkpoint.identity.keys())
        if identity.get(name) != checkpoint.identity.get(name)
    ]
    if differing:
        raise CheckpointError(
            f"cannot resume from {checkpoint.path}: {'; '.join(differing)}. Set it back to go on with this run, or "
            f"delete {checkpoint.path.parent} to start again (initial_model can start from finished weights)."
        )


def save(engine: Any, root: Path, step: int, samples: int, run: Recipe, keep: int) -> None:
    """Write a checkpoint. Every process must call this; afterwards it is whole, and only the newest `keep` are left."""
    rank = dist.get_rank()
    path = root / f"{_PREFIX}{step:08d}"
    if rank == 0:
        # torch reports a full disk as an error that names neither the disk nor the cause.
        parameters = sum(getattr(p, "ds_numel", p.numel()) for p in engine.module.parameters())
        require_free_space(root, _BYTES_PER_PARAMETER * parameters, f"the checkpoint {path.name}")
    with atomic_directory(path) if rank == 0 else nullcontext(temporary_path(path)) as directory:
        dist.barrier()
        engine.save_checkpoint(str(directory), tag=_ENGINE, save_latest=False)
        save_file(_random_state(), directory / _random_state_name(rank))
        dist.barrier()
        entries = _hash_together(directory)
        if rank == 0:
            manifest = Manifest(run, {"step": step, "samples": samples}, entries)
            write_json(directory / MANIFEST, manifest.to_dict())
    dist.barrier()
    if rank == 0:
        # A damaged checkpoint of a later step must not count among those that are kept.
        for old in [other for other in _directories(root) if other.name <= path.name][:-keep]:
            DirectoryArtifact("checkpoint", "", old).remove()


def load(engine: Any, checkpoint: Checkpoint) -> None:
    """Restore weights, optimizer and random state in every process from a checkpoint that was found whole."""
    loaded, _ = engine.load_checkpoint(str(checkpoint.path), tag=_ENGINE)
    if loaded is None:
        raise CheckpointError(f"DeepSpeed found nothing to load in {checkpoint.path / _ENGINE}")
    state = load_file(checkpoint.path / _random_state_name(dist.get_rank()))
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])


def run_recipe(settings: Mapping[str, Any], inputs: Mapping[str, str]) -> Recipe:
    """Return what a run's checkpoints say of themselves: the settings and inputs that decide the weights."""
    libraries = library_versions("torch", "deepspeed", "transformers")
    return Recipe("checkpoint", CODE_VERSION, settings, inputs, libraries)


def _directories(root: Path) -> list[Path]:
    return sorted(path for path in root.glob(f"{_PREFIX}*") if path.is_dir())


def _hash_together(directory: Path) -> dict[str, Any]:
    """Hash the files of a directory, each process its share, and return all entries in every process."""
    rank, world = dist.get_rank(), dist.get_world_size()
    names = sorted(str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file())
    shares: list[Any] = [None] * world
    dist.all_gather_object(shares, {name: file_entry(directory / name) for name in names[rank::world]})
    return {name: entry for share in shares for name, entry in share.items()}


def _random_state() -> dict[str, torch.Tensor]:
    gpu = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
    return {"cpu": torch.get_rng_state(), **gpu}


def _random_state_name(rank: int) -> str:
    return f"random_state.rank={rank:05d}.safetensors"
