"""Repeats the steps between two kept checkpoints of a training run and compares the bytes of the weights."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.launch_command import launch_command
from jgpt_dagster.lm.launch.process_group import run_process_group
from jgpt_dagster.lm.model.presets import GPT2_INITIALIZER_RANGE
from jgpt_dagster.lm.training.checkpoint_trust import UntrustedError, read_signed_manifest, signing_key
from jgpt_dagster.lm.training.run_progress import CHECKPOINTS, checkpoint_directories, step_of
from jgpt_dagster.lm.training.train_config import TrainConfig, read_config
from jgpt_dagster.provenance.labels import Label, find_output, parse_label
from jgpt_dagster.provenance.statement import Statement
from jgpt_dagster.storage.atomic_write import link_or_copy, write_json
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import MANIFEST
from jgpt_dagster.storage.manifest import Manifest, library_versions
from jgpt_dagster.storage.safe_path import child_path

_CONFIG = "config.json"


class ReplayError(JgptError):
    """Steps that cannot be repeated here."""


class _Reached(Exception):  # no error
    """The repeated steps are done."""


@dataclass(frozen=True)
class Replayed:
    """Steps `first + 1 … last` that were repeated, and the files of the later checkpoint that came out otherwise."""

    first: int
    last: int
    files: int
    differing: tuple[str, ...]


def trained_on(statement: Statement) -> tuple[str, str]:
    """Return the dump of a release's model, and the hash of the training set that it was trained on.

    Raises ReplayError if the chain does not carry the model.
    """
    for label, sha256 in statement.recipe.inputs.items():
        model = parse_label(label, statement.model)
        step = statement.chain.find(str(model), sha256) if model.asset == "pretrained_model" else None
        training_set = step.manifest.recipe.inputs.get(str(Label("training_set", model.dump))) if step else None
        if model.dump and training_set:
            return model.dump, training_set
    raise ReplayError("The chain of the release does not carry its model, so there is nothing to repeat.")


def replay(root: DataRoot, scratch: Path, dump: str, model: str, training_set_sha256: str, work: Path) -> Replayed:
    """Train from the last but one kept checkpoint of a run to the last one, in the empty directory `work`.

    Weights are the same bytes on the same type of CPU, in fp32 and with the same libraries. Raises ReplayError if the
    run has no two checkpoints that can be loaded, or was trained in another way.
    """
    run = child_path(scratch, "pretrained_model", f"dump={dump}", f"model={model}")
    (first, _), (last, expected) = _last_two(run, root)
    _require_repeatable(expected, last)
    config = _config(run, root, Label("training_set", dump), training_set_sha256, step_of(last), work)
    # The file of a run of an earlier version does not say it, nor does the checkpoint.
    began = expected.recipe.settings.get("initializer_range", GPT2_INITIALIZER_RANGE)
    config = config.model_copy(update={"initializer_range": began})
    copy = work / CHECKPOINTS / first.name
    shutil.copytree(first, copy, copy_function=link_or_copy)
    write_json(work / _CONFIG, config.model_dump(mode="json"))
    _train_until(work, work / CHECKPOINTS / last.name, int(expected.recipe.settings["processes"]))
    found = read_signed_manifest(work / CHECKPOINTS / last.name, signing_key(root.path), root.path)
    differing = [name for name, entry in expected.files.items() if found.files.get(name) != entry]
    return Replayed(step_of(first), step_of(last), len(expected.files), tuple(differing))


def _last_two(run: Path, root: DataRoot) -> list[tuple[Path, Manifest]]:
    key, kept = signing_key(root.path), list[tuple[Path, Manifest]]()
    reasons = list[str]()
    for path in checkpoint_directories(run / CHECKPOINTS):
        try:
            manifest = read_signed_manifest(path, key, root.path)
        except UntrustedError as error:
            reasons.append(f"{path.name}: {str(error).splitlines()[0]}")
            continue
        damage = [mismatch for name, entry in manifest.files.items() if (mismatch := entry.mismatch(path / name))]
        if damage:
            reasons.append(damage[0])
        else:
            kept.append((path, manifest))
    if len(kept) < 2:
        raise ReplayError(
            f"{run / CHECKPOINTS} holds {len(kept)} checkpoints that can be loaded, and a replay needs two"
            f"{': ' + '; '.join(reasons) if reasons else ''}. `jgpt prune` deletes those of finished models; train "
            "with `keep_every` to keep more."
        )
    return kept[-2:]


def _require_repeatable(manifest: Manifest, path: Path) -> None:
    settings, made_with = manifest.recipe.settings, manifest.recipe.libraries
    if settings.get("dtype") != "fp32":
        raise ReplayError(
            f"{path} was trained in {settings.get('dtype')}, and only fp32 on a CPU gives the same bytes."
        )
    installed: Mapping[str, str] = library_versions(*made_with)
    if differing := [f"{name} {made_with[name]}" for name in made_with if installed[name] != made_with[name]]:
        raise ReplayError(f"{path} was trained with {', '.join(differing)}; install that to repeat its steps.")


def _config(run: Path, root: DataRoot, training_set: Label, sha256: str, until: int, work: Path) -> TrainConfig:
    """Return the configuration of a run, told to work elsewhere and to save a checkpoint after step `until`."""
    found = find_output(root, training_set, sha256)
    if found is None:
        raise ReplayError(f"{root.path} does not hold the {training_set} that the model was trained on.")
    data_root = _as_data_root(found[0].path.parent.parent, root, work / "data")
    changed = {
        "training_set": data_root / found[0].path.relative_to(found[0].path.parent.parent),
        "data_root": data_root,
        "output": work,
        "checkpoint_every": until,
        "keep_checkpoints": 1000,
        "log_every": 1,
        "wandb_project": None,
    }
    return read_config(run / _CONFIG).model_copy(update=changed)


def _as_data_root(data: Path, root: DataRoot, place: Path) -> Path:
    """Return a directory with links to what a model was trained on, and the key that signs this root's checkpoints."""
    place.mkdir(mode=0o700)
    for folder in data.iterdir():
        if not folder.name.startswith("."):
            (place / folder.name).symlink_to(folder.absolute())
    shutil.copytree(root.path / ".keys", place / ".keys")
    return place


def _train_until(work: Path, checkpoint: Path, processes: int) -> None:
    """Run the training program until a checkpoint is there, or it ends."""
    launcher = "python" if processes == 1 else "torchrun"
    command = launch_command(launcher, processes, work / _CONFIG)  # type: ignore[arg-type]

    def watch(line: str) -> None:
        if (checkpoint / MANIFEST).exists():
            raise _Reached

    with suppress(_Reached):
        run_process_group(command, training_environment(processes, on_cpu=True), on_line=watch)
    if not (checkpoint / MANIFEST).exists():
        raise ReplayError(f"the repeated training ended before {checkpoint.name}.")
