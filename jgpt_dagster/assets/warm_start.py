"""Warm start: the finished model that a training run starts from, or why the run starts from scratch."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jgpt_dagster.assets.pretraining_config import SIZE_FIELDS, WarmStart
from jgpt_dagster.catalog.good_outputs import judge, required_checks
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.presets import preset
from jgpt_dagster.lm.training.train_config import TrainConfig
from jgpt_dagster.orchestration.partitions import ModelKey
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.object_store import read_bytes

MODEL = "model"
"""The directory of the weights in the output `pretrained_model`."""

TOKENIZER_RECORD = "tokenizer"
"""Key in the run record of a model: the identity of the tokenizer of its training set."""

_PRETRAINED_MODEL = MODEL_ASSETS[0]


class WarmStartError(JgptError):
    """A run that must start from a finished model, and there is none that it could start from."""


class InitialModel(NamedTuple):
    """The model that a run starts from, and the sha256 of its data when it was chosen."""

    artifact: DirectoryArtifact
    sha256: str

    def input_label(self, model: str) -> str:
        """Return its name among the inputs of a run of this model: another model's says which."""
        return self.artifact.recipe_label if self.artifact.model == model else self.artifact.label

    def require_unchanged(self) -> None:
        """Raise JgptError unless the model is complete and still the one that was chosen."""
        found = self.artifact.verified().data_sha256
        if found != self.sha256:
            raise JgptError(
                f"{self.artifact.label} has been made again since this run started from it: sha256 {found[:16]}…, "
                f"expected {self.sha256[:16]}…. Start over with `jgpt run --retrain`."
            )


class Start(NamedTuple):
    """What a run starts from (None: from scratch), and that in words."""

    model: InitialModel | None
    words: str


def recorded_start(store: CorpusStore, key: ModelKey, inputs: Mapping[str, str], *, required: bool) -> Start:
    """Return what a run started from that has these inputs.

    It keeps to that: neither a newer model nor the removal of an earlier dump makes it stale. Raises WarmStartError if
    a model is `required` and it started from scratch.
    """
    for label, sha256 in inputs.items():
        asset, _, partition = label.partition(" ")
        if asset == _PRETRAINED_MODEL:
            dump, _, name = partition.partition("|")
            model = InitialModel(store.model_directory(asset, dump, name or key.model), sha256)
            return Start(model, f"from {model.artifact.label}")
    if required:
        raise WarmStartError(
            f"The training run of {_PRETRAINED_MODEL} {key.dump}|{key.model} has begun from scratch, and `warm_start: "
            f"require` asks for a model. Go on without that, or begin again with\n"
            f"  {_command(key, 'require')} --retrain"
        )
    return Start(None, "from scratch")


def choose_start(
    store: CorpusStore,
    key: ModelKey,
    config: TrainConfig,
    tokenizer: str | None,
    *,
    warm_start: WarmStart,
    start_from: str | None = None,
) -> Start:
    """Return what a new run starts from: the newest finished model with its tokenizer and architecture, if any.

    Models of this dump and of earlier ones count: those of the run's own name, then those that have the name of its
    preset; if `start_from` is given, only those of that name. `tokenizer` is the identity of the tokenizer that the
    run's text is encoded with. A model never starts from itself.

    Raises WarmStartError if `warm_start` is `require` and there is none, and for `start_from` without a warm start.
    """
    names = [start_from] if start_from else list(dict.fromkeys((key.model, config.model)))
    if warm_start == "off":
        if start_from is None:
            return Start(None, "from scratch: warm_start is off")
        raise WarmStartError(
            f"start_from names the model {start_from}, but warm_start is off. Start from it with\n"
            f"  {_command(key, 'require', start_from)}"
        )
    refused = list[str]()
    for model, manifest in _finished_models(store, key, names):
        reason = _unfit(store, model, manifest, tokenizer) or _other_architecture(model, config)
        if reason is None:
            return Start(InitialModel(model, manifest.data_sha256), f"from {model.label}")
        refused.append(f"{model.label} {reason}")
    why = "; ".join(refused) or f"no model {' or '.join(names)} of {key.dump} or an earlier dump is finished"
    if warm_start == "auto":
        return Start(None, f"from scratch: {why}")
    raise WarmStartError(
        f"{_PRETRAINED_MODEL} {key.dump}|{key.model} has no model to start from, and `warm_start: require` asks for "
        f"one: {why}. {_way_out(store, key, config, tokenizer)}"
    )


def _finished_models(
    store: CorpusStore, key: ModelKey, names: list[str]
) -> Iterator[tuple[DirectoryArtifact, Manifest]]:
    """Yield the finished models of these names, of a dump and earlier ones; the first name first, the newest first."""
    dumps = [dump for dump in store.root.dumps(_PRETRAINED_MODEL) if dump <= key.dump]
    for name in names:
        for dump in reversed(dumps):
            model = store.model_directory(_PRETRAINED_MODEL, dump, name)
            if (dump, name) != key and (manifest := model.manifest()):
                yield model, manifest


def _unfit(store: CorpusStore, model: DirectoryArtifact, manifest: Manifest, tokenizer: str | None) -> str | None:
    """Return why no run with this tokenizer can start from a finished model; None if one can."""
    found = judge(model, manifest, required_checks(()))
    if found.quality == "failed":
        return f"is not good ({found.reason})"
    its_tokenizer = _tokenizer(store, model, manifest)
    if its_tokenizer != tokenizer or tokenizer is None:
        return "has another tokenizer" if its_tokenizer else "is not known to have the same tokenizer"
    return None


def _other_architecture(model: DirectoryArtifact, config: TrainConfig) -> str | None:
    """Return how the architecture of a finished model differs from that of a run; None if it does not."""
    size = preset(config.model)
    wanted = {"n_layer": size.layers, "n_embd": size.width, "n_head": size.heads, "n_positions": config.context}
    try:
        its_config = dict(json.loads(read_bytes(model.location / MODEL / "config.json")))
    except (FileNotFoundError, ValueError, TypeError):
        return "has no readable config.json"
    differing = [
        f"{name} {its_config.get(name)}, not {value}" for name, value in wanted.items() if its_config.get(name) != value
    ]
    return f"has another architecture ({', '.join(differing)})" if differing else None


def _tokenizer(store: CorpusStore, model: DirectoryArtifact, manifest: Manifest) -> str | None:
    """Return the identity of a model's tokenizer; None if nothing that is left says so.

    The model's record has it, but not that of an earlier release. Then its training set has it, if that was not made
    again since, or its release, which has the tokenizer in it.
    """
    recorded = model.run_record().get(TOKENIZER_RECORD)
    if isinstance(recorded, str):
        return recorded
    dump = model.partition.partition("|")[0]
    made_with = manifest.recipe.inputs
    training_set = store.directory("training_set", dump)
    release = store.root.directory("release", dump, model=model.model)
    if (found := training_set.manifest()) and made_with.get(training_set.recipe_label) == found.data_sha256:
        return found.recipe.inputs.get("tokenizer")
    if (found := release.manifest()) and found.recipe.inputs.get(model.recipe_label) == manifest.data_sha256:
        return found.recipe.inputs.get("tokenizer")
    return None


def _way_out(store: CorpusStore, key: ModelKey, config: TrainConfig, tokenizer: str | None) -> str:
    """Return the command that starts from another model, if one is fit, or from scratch."""
    dumps = reversed(store.root.dumps(_PRETRAINED_MODEL))
    names = list(dict.fromkeys(name for dump in dumps for name in store.root.models(_PRETRAINED_MODEL, dump)))
    readable = [found for found in _finished_models(store, key, names) if _unfit(store, *found, tokenizer) is None]
    for model, _ in readable:
        if _other_architecture(model, config) is None:
            return f"{model.label} is fit; start from it with\n  {_command(key, 'require', model.model)}"
    ways = [f"start from scratch with\n  {_command(key, 'off')}"]
    if readable:
        model, manifest = readable[0]
        fields = [
            f"pretrained_model.{field}={manifest.recipe.settings.get(name)}" for field, name in SIZE_FIELDS.items()
        ]
        command = shlex.join(["jgpt", "config", "set", *fields])
        ways.insert(0, f"give it the size of {model.label} with\n  {_name(key)} {command}\n")
    return "Either " + "or ".join(ways) if readable else f"You can {ways[0]}"


def _command(key: ModelKey, mode: WarmStart, start_from: str | None = None) -> str:
    words = ["jgpt", "run", "--dump", key.dump, "--warm-start", mode]
    command = shlex.join([*words, *(["--start-from", start_from] if start_from else [])])
    return f"{_name(key)} {command}"


def _name(key: ModelKey) -> str:
    return f"JGPT_MODEL={shlex.quote(key.model)}"
