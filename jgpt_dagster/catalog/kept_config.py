"""The run config that a data root keeps, in `run_config.json`: outputs are made with it until somebody changes it.

Without it, a command that leaves the config out would make everything again with the defaults of the day. Config of a
model's assets is kept by model. What is not in the file yet is taken from the outputs that are there.
"""

from collections.abc import Mapping
from typing import Any

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, OutputCatalog
from jgpt_dagster.corpus.exclusions.screen import without_exclusions
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.presets import GPT2_INITIALIZER_RANGE
from jgpt_dagster.storage.file_lock import file_lock, locked
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.object_store import read_bytes, upload
from jgpt_dagster.storage.safe_path import child_path
from jgpt_dagster.storage.sealed_json import read_sealed_json, write_sealed_json

FILE = "run_config.json"

# What asks for an action, says how one dump's model begins, or belongs to a machine and not to what is made.
_NEVER_KEPT = frozenset(
    {
        *("force", "retrain", "unchecked", "dump", "sha256", "warm_start", "start_from"),
        *("hardware", "peak_tflops", "mfu", "price", "batch", "compile", "wandb_project"),
        *("micro_batch", "zero_stage", "offload", "activation_checkpointing"),
        *("checkpoint_every", "keep_checkpoints", "keep_every", "evaluate_every", "evaluation_blocks", "log_every"),
        *("stall_seconds", "stop_grace_seconds", "divergence_steps"),
    }
)

# Of these, one says how long a training run is.
_LENGTH = frozenset({"steps", "tokens", "epochs"})

# Recipes of models record these, which no run config can change.
_CONSTANTS = frozenset({"betas", "minimum_learning_rate_ratio"})

# Models were made with this before it was a setting. Their recipes do not say it, nor does what was kept when their
# training began, which has all numbers of the preset.
_UNSAID = {"initializer_range": GPT2_INITIALIZER_RANGE}
_OF_A_TRAINING = {"context", "global_batch", "learning_rate", "seed", "weight_decay"}

Values = Mapping[str, Any]


def is_kept(field: str) -> bool:
    """Return whether a root keeps a field of run config; others are given to each run that they are for."""
    return field not in _NEVER_KEPT


class KeptConfig:
    """The run config of a data root, by asset, and by model for the assets of a model."""

    def __init__(self, catalog: OutputCatalog) -> None:
        self._catalog = catalog
        self._path = catalog.root.path / FILE

    @property
    def assets(self) -> list[str]:
        """The assets whose run config is kept."""
        text = [corpus.text_asset for corpus in self._catalog.undated_corpora]
        return [*text, "training_set", "pretrained_model", "evaluation"]

    def of(self, asset: str, model: str) -> dict[str, Any]:
        """Return the kept values of an asset's fields; empty if nothing was made yet. Raises JgptError."""
        if asset not in self.assets:
            return {}
        kept = self._read().get(_name(asset, model))
        values = kept if kept is not None else self._from_outputs(asset, model)
        if asset == "pretrained_model" and values:
            unsaid = _UNSAID if values.keys() >= _OF_A_TRAINING else {}
            values = {**unsaid, **values, "preset": values.get("preset") or model}
        return {name: value for name, value in values.items() if name not in _NEVER_KEPT}

    def differing(self, ops: Mapping[str, Values], model: str) -> dict[str, dict[str, Any]]:
        """Return the values in run config, by asset and field, that differ from the kept ones. Raises JgptError."""
        found = {}
        for asset, op in ops.items():
            kept = self.of(asset, model)
            fields = op.get("config", {})
            found[asset] = {name: value for name, value in fields.items() if name in kept and kept[name] != value}
        return {asset: values for asset, values in found.items() if values}

    def without_kept(self, ops: Mapping[str, Values], model: str) -> dict[str, Any]:
        """Return run config without the fields that are kept: what it would say of them does not count."""
        return {
            asset: {"config": {name: value for name, value in op.get("config", {}).items() if name not in kept}}
            for asset, op in ops.items()
            for kept in [self.of(asset, model)]
        }

    def keep(self, asset: str, model: str, values: Mapping[str, Any]) -> None:
        """Keep values of an asset's fields, in addition to those that are kept or in place of them."""
        wanted = {name: value for name, value in values.items() if name not in _NEVER_KEPT}
        with locked(file_lock(child_path(self._catalog.root.path, ".locks", f"{FILE}.lock"))):
            content = self._read()
            before = content.get(_name(asset, model))
            after = replace_values(before or self._from_outputs(asset, model), wanted)
            if after == (before or {}):
                return
            write_sealed_json(self._path, {**content, _name(asset, model): after})
            if self._catalog.root.remote is not None:
                upload(self._path, self._catalog.root.remote / FILE)

    def _read(self) -> dict[str, dict[str, Any]]:
        location = self._catalog.root.location / FILE
        try:
            content = read_sealed_json(read_bytes(location))
            return {str(name): dict(values) for name, values in content.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise JgptError(
                f"{location} is damaged ({type(error).__name__}). Restore it, or delete it: what the outputs of this "
                "root were made with is then read from them."
            ) from error

    def _from_outputs(self, asset: str, model: str) -> dict[str, Any]:
        """Return what the newest output of an asset was made with, as far as its recipe says."""
        recipe = self._newest_recipe(asset, model)
        if recipe is None:
            return {}
        return _fields(asset, model, recipe)

    def _newest_recipe(self, asset: str, model: str) -> Recipe | None:
        root = self._catalog.root
        name = model if asset in MODEL_ASSETS else None
        outputs = [root.directory(asset, dump, model=name) for dump in reversed(root.dumps(asset))]
        for corpus in self._catalog.undated_corpora:
            if asset == corpus.text_asset:
                outputs = [root.parquet(asset, shard=shard) for shard in self._catalog.shards[:1]]  # type: ignore[misc]
        manifests = (output.manifest() for output in outputs)
        return next((manifest.recipe for manifest in manifests if manifest), None)


def replace_values(values: Values, by: Values) -> dict[str, Any]:
    """Return values of an asset's fields, replaced by those in `by`: a length of training also in another unit."""
    if any(by.get(name) is not None for name in _LENGTH):
        values = {**values, **dict.fromkeys(_LENGTH)}
    return {**values, **by}


def changed_fields(kept: Values, asset: str, model: str, recipe: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the fields whose kept values are others than those that an output of this recipe was made with: both.

    A kept value of None says that something else decides.
    """
    if not kept:
        return {}
    made = _fields(asset, model, recipe)
    now = {**kept, "weights": _other_than_one(kept["weights"])} if "weights" in kept else kept
    differing = [name for name, value in now.items() if value is not None and name in made and made[name] != value]
    return {name: (made[name], now[name]) for name in differing}


def _fields(asset: str, model: str, recipe: Recipe) -> dict[str, Any]:
    """Return the run config that a recipe of an output of an asset was made of, as far as it says."""
    made_with = without_exclusions(recipe).settings
    settings: dict[str, Any] = dict(made_with.get("selection", made_with))
    if asset == "training_set":  # a recipe has the weights of all corpora, which may become others
        settings["weights"] = _other_than_one(settings["weights"])
    if asset == "pretrained_model":
        settings = {name: value for name, value in {**_UNSAID, **settings}.items() if name not in _CONSTANTS}
        settings["preset"] = settings.pop("model", model)
    return settings


def _other_than_one(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: weight for name, weight in weights.items() if weight != 1}


def _name(asset: str, model: str) -> str:
    return f"{asset} {model}" if asset in MODEL_ASSETS else asset
