"""What Dagster's Launchpad shows: the fields of run config with the values that they have for this data root.

Dagster shows the default of each field, so the values that the root keeps become the defaults. A run is none the wiser:
what it was not given is taken from the root anyway (`remembered_config.py`).
"""

import inspect
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.definition_config_schema import DefinitionConfigSchema
from pydantic import ValidationError

from jgpt_dagster.assets.pretraining_config import PretrainingConfig, resolved_values, training_config
from jgpt_dagster.catalog.kept_config import KeptConfig
from jgpt_dagster.catalog.output_catalog import TOKENIZER, OutputCatalog
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.training.train_config import TrainConfigError
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.data_root import DataRoot, shard_names

# The assets that follow the run config of the training.
_TRAINING = ("pretrained_model", "plan")


def with_values_of_root(asset: dg.AssetsDefinition, settings: Settings) -> dg.AssetsDefinition:
    """Return an asset whose run config has the values of the data root as defaults; its function stays the same."""
    values = _values(asset.op.name, settings)
    given = asset.op.config_schema.config_type if asset.op.config_schema else None
    fields: Mapping[str, dg.Field] = getattr(given, "fields", {})
    shown = _allowed(asset, {name: value for name, value in values.items() if name in fields and value is not None})
    if not shown:
        return asset
    replaced = {
        name: dg.Field(
            field.config_type,
            default_value=shown.get(name, field.default_value),
            is_required=False,
            description=field.description,
        )
        for name, field in fields.items()
    }
    schema = DefinitionConfigSchema(dg.Field(dg.Shape(replaced)))  # type: ignore[no-untyped-call]  # it has no types
    op = asset.op.with_replaced_properties(asset.op.name, config_schema=schema)
    attributes: dict[str, Any] = {**asset.get_attributes_dict(), "node_def": op}
    return dg.AssetsDefinition.dagster_internal_init(**attributes)


def _allowed(asset: dg.AssetsDefinition, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values that this version of an asset allows; a run tells of one that it does not allow any more."""
    function: Any = asset.op.compute_fn
    if not values:
        return values
    try:
        inspect.unwrap(function.get_config_arg().annotation)(**values)
    except ValidationError as error:
        wrong = {problem["loc"][0] for problem in error.errors()}
        return {name: value for name, value in values.items() if name not in wrong}
    return values


def _values(asset: str, settings: Settings) -> Mapping[str, Any]:
    """Return the values of an asset's fields as far as this machine's disk has them: nothing is asked of a network.

    A file that cannot be read is told by the run that needs it.
    """
    local = settings.data if "://" not in str(settings.data) else settings.scratch_directory / "data"
    root = DataRoot.open(str(local), settings.scratch_directory)
    catalog = OutputCatalog(root, settings.corpora, tuple(shard_names(settings.shards)), settings.model)
    try:
        if asset == TOKENIZER:
            manifest = catalog.tokenizer.manifest()
            return manifest.recipe.settings if manifest else {}
        of = "pretrained_model" if asset in _TRAINING else asset
        kept: Mapping[str, Any] = KeptConfig(catalog).of(of, settings.model)
    except JgptError:
        return {}
    if asset in _TRAINING:
        kept = kept or _values_of_preset(settings.model)
        # By default the preset that the model is named for; another model would get this one's.
        return {name: value for name, value in kept.items() if (name, value) != ("preset", settings.model)}
    return kept


def _values_of_preset(model: str) -> Mapping[str, Any]:
    """Return the values that the first training of a model would have; empty for a name that stands for no preset."""
    config = PretrainingConfig()
    try:
        return resolved_values(config, training_config(config, model))
    except TrainConfigError:
        return {}
