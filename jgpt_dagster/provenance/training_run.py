"""A training run as tracing needs it: what was trained on, and which samples each step took."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jgpt_dagster.catalog.output_catalog import TOKENIZER, TRAINING_SET
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.sample_order import position_of_block, shuffled_index
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.training.metrics_files import RESULT
from jgpt_dagster.lm.training.run_progress import CHECKPOINTS, checkpoint_directories, step_of
from jgpt_dagster.lm.training.train_config import TrainConfig, read_config, total_steps
from jgpt_dagster.provenance.labels import Label, find_output
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import parse_json
from jgpt_dagster.storage.safe_path import child_path


class TraceError(JgptError):
    """Something that cannot be traced: it is not in the training data, or what it was made of is not here."""


class TrainingDataGoneError(TraceError):
    """A model whose training set is not here any more."""


class TrainingDataNotFetchedError(JgptError):
    """A model whose training set is in the object store and not, or not whole, on this machine."""


@dataclass(frozen=True)
class TrainingRun:
    """A model's run: the root with what it was trained on, its order of samples, and its kept checkpoints.

    `steps` is the number of steps that it took, or takes if it is not finished. Steps are numbered from 1, samples,
    blocks and epochs from 0; a block is `context` + 1 tokens.
    """

    root: DataRoot
    training_set: TrainingSet
    dump: str
    model: str
    context: int
    global_batch: int
    seed: int
    steps: int
    finished: bool
    checkpoints: tuple[int, ...]

    @property
    def blocks(self) -> int:
        """Blocks of an epoch."""
        return (self.training_set.counts.train_tokens - 1) // self.context

    @property
    def samples(self) -> int:
        """Samples of the whole run."""
        return self.steps * self.global_batch

    @property
    def epochs(self) -> int:
        """Epochs that the run has begun."""
        return -(-self.samples // self.blocks)

    def samples_of(self, step: int) -> range:
        """Return the samples of a step. Raises TraceError if the run has no such step."""
        if not 1 <= step <= self.steps:
            raise TraceError(
                f"{self.model} was trained for {self.steps:,} steps of {self.dump}; there is no step {step:,}."
            )
        return range((step - 1) * self.global_batch, step * self.global_batch)

    def block_of(self, sample: int) -> int:
        """Return the block that a sample is."""
        epoch, position = divmod(sample, self.blocks)
        return shuffled_index(self.seed, epoch, position, self.blocks)

    def sample_of_token(self, token: int) -> int:
        """Return the sample that holds the token at a position in what the run has read, from 0. Raises TraceError."""
        if not 0 <= token < self.samples * self.context:
            tokens = self.samples * self.context
            raise TraceError(
                f"{self.model} was trained on {tokens:,} tokens of {self.dump}; there is no token {token:,}."
            )
        return token // self.context

    def uses_of_block(self, block: int) -> Iterator[int]:
        """Yield the samples of the run that are a block: one in each epoch that came so far."""
        for epoch in range(self.epochs):
            sample = epoch * self.blocks + position_of_block(self.seed, epoch, block, self.blocks)
            if sample < self.samples:
                yield sample

    def step_of(self, sample: int) -> int:
        """Return the step that took a sample."""
        return sample // self.global_batch + 1

    def checkpoints_around(self, step: int) -> tuple[int | None, int | None]:
        """Return the newest kept checkpoint before a step was taken, and the first one after; None if there is none.

        The weights of a finished model count as the last one.
        """
        kept = sorted({*self.checkpoints, *([self.steps] if self.finished else [])})
        before = max((kept_step for kept_step in kept if kept_step < step), default=None)
        return before, min((kept_step for kept_step in kept if kept_step >= step), default=None)


def inputs_of(root: DataRoot, scratch: Path, dump: str, model: str) -> Mapping[str, str]:
    """Return what a model is made of, by its manifest or, in training, by its run; empty if there is neither."""
    manifest = root.directory("pretrained_model", dump, model=model).manifest()
    if manifest is not None:
        return manifest.recipe.inputs
    recipe = _run_directory(scratch, dump, model) / "recipe.json"
    return dict(parse_json(recipe.read_bytes())["inputs"]) if recipe.is_file() else {}


def open_run(root: DataRoot, scratch: Path, dump: str, model: str) -> TrainingRun:
    """Return the run of a model of a dump, finished or not.

    Raises TraceError if there is none, TrainingDataGoneError if what it was trained on is gone, and
    TrainingDataNotFetchedError if this machine does not have it.
    """
    output, run = root.directory("pretrained_model", dump, model=model), _run_directory(scratch, dump, model)
    label = Label(TRAINING_SET, dump)
    manifest = output.manifest()
    if manifest is not None:
        settings = manifest.recipe.settings
        context, batch, seed = settings["context"], settings["global_batch"], settings["seed"]
    elif (run / "config.json").exists():
        config = read_config(run / "config.json")
        context, batch, seed = config.context, config.global_batch, config.seed
    else:
        raise TraceError(
            f"{output.label} was not trained here: {output.location} is missing. The models of a dump are listed by\n"
            f"  jgpt status --dump {shlex.quote(dump)}"
        )
    sha256 = inputs_of(root, scratch, dump, model).get(str(label))
    found = find_output(root, label, sha256) if sha256 else None
    if found is None:
        raise TrainingDataGoneError(
            f"The {label} that {output.label} was trained on is not here any more: it was made again, or removed."
        )
    place = DataRoot(found[0].path.parent.parent)
    if root.remote is not None:
        _require_fetched(place, found[0], dump)
    data = TrainingSet.open(found[0].path)
    kept = tuple(step_of(path) for path in checkpoint_directories(run / CHECKPOINTS))
    blocks = (data.counts.train_tokens - 1) // context
    steps = manifest.counts["steps"] if manifest else _steps_so_far(config, blocks, run)
    return TrainingRun(place, data, dump, model, context, batch, seed, steps, manifest is not None, kept)


def _require_fetched(place: DataRoot, training_set: Artifact, dump: str) -> None:
    """Raise TrainingDataNotFetchedError if a training set, its tokenizer or its tokens are not on this machine."""
    needed = [training_set.path, place.directory(TOKENIZER).path]
    if training_set.path.is_dir():
        files = TrainingSet.open(training_set.path).token_files
        needed += (child_path(place.path, *file.path.split("/")) for file in files)
    if not all(path.is_dir() for path in needed):
        raise TrainingDataNotFetchedError(
            f"What models of {training_set.label} were trained on is in the object store and not on this machine. "
            f"Fetch it with:\n  jgpt run --dump {shlex.quote(dump)} --to {TRAINING_SET}"
        )


def _run_directory(scratch: Path, dump: str, model: str) -> Path:
    return child_path(scratch, "pretrained_model", f"dump={dump}", f"model={model}")


def _steps_so_far(config: TrainConfig, blocks: int, run: Path) -> int:
    if (run / RESULT).exists():
        return int(parse_json((run / RESULT).read_bytes())["steps"])
    return total_steps(config, blocks)
