"""Run config that follows what the data root keeps: given, then kept, then default. A contradiction is refused."""

import inspect
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg
from pydantic import ValidationError

from jgpt_dagster.catalog.kept_config import KeptConfig
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.resources import CorpusStore

ConfigT = TypeVar("ConfigT", bound=dg.Config)


@contextmanager
def remembered(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    config: ConfigT,
    asset: str,
    model: str = "",
    derived: Mapping[str, Callable[[], Any]] | None = None,
) -> Iterator[ConfigT]:
    """Yield the config of a step with the values that the root keeps for fields that the run does not give.

    `derived` returns, by field, the value that takes the place of a default: it is called if the field is neither given
    nor kept. What is not kept yet is kept once the block has ended well. Raises JgptError if a given value differs from
    a kept one.
    """
    record = KeptConfig(store.catalog)
    # The defaults of the class: those of Dagster's schema are the values of the model in JGPT_MODEL (`launchpad.py`).
    defaults, values = inspect.unwrap(type(config))().model_dump(), config.model_dump()
    kept = {name: value for name, value in record.of(asset, model).items() if name in values}
    given = {name: values[name] for name in given_fields(context) if name in values}
    if differing := record.differing({asset: {"config": given}}, model).get(asset):
        raise JgptError(_refusal(asset, model, kept, differing))
    if asset in MODEL_ASSETS and model != store.model and not kept:
        _warn_of_values_shown(context, store.model, model, given, record.of(asset, store.model))
    first = {name: derive() for name, derive in (derived or {}).items() if name not in kept and name not in given}
    merged = {**defaults, **given, **first, **kept}
    yield with_values(asset, type(config), merged)
    keep_config(store, asset, merged, model)


def _warn_of_values_shown(
    context: dg.AssetExecutionContext, shown: str, model: str, given: Mapping[str, Any], kept: Mapping[str, Any]
) -> None:
    """Say so if a new model is given what the Launchpad shows for another: whoever launched it may not have looked."""
    same = {name: value for name, value in given.items() if name in kept and kept[name] == value is not None}
    if same:
        listed = ", ".join(f"{name} {value}" for name, value in same.items())
        context.log.warning(
            f"Model {model} is made with {listed}: these are values of model {shown} (JGPT_MODEL), which the Launchpad "
            "shows. Without them in the run config, those of its own preset count."
        )


def with_values(asset: str, config: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Return config with kept values. Raises JgptError for one that this version does not allow any more."""
    try:
        # An asset's own class of config blames the run config of a run.
        checked: ConfigT = inspect.unwrap(config)(**values)
        return checked
    except ValidationError as error:
        found = "; ".join(f"{problem['loc'][0]} {problem['input']!r}: {problem['msg']}" for problem in error.errors())
        raise JgptError(
            f"The kept run config of {asset} is not allowed: {found}. Change it with\n"
            f"  jgpt config set {shlex.quote(asset)}.FIELD=VALUE"
        ) from error


def given_fields(context: dg.AssetExecutionContext) -> set[str]:
    """Return the fields of run config that were given for this step: Dagster sets all, so pydantic cannot tell."""
    run_config: Mapping[str, Any] = context.run.run_config
    ops = run_config.get("ops", {})
    given = set(ops.get(context.op_execution_context.op.name, {}).get("config", {}))
    return given | ({"model"} if "preset" in given else set())


def keep_config(store: CorpusStore, asset: str, values: Mapping[str, Any], model: str = "") -> None:
    """Keep the values of fields that are not kept yet: one that was set during the step stays."""
    record = KeptConfig(store.catalog)
    present = record.of(asset, model)
    record.keep(asset, model, {name: value for name, value in values.items() if name not in present})


def _refusal(asset: str, model: str, kept: dict[str, object], differing: dict[str, object]) -> str:
    of_model = f" of model {model}" if asset in MODEL_ASSETS else ""
    found = "; ".join(f"{name} {kept[name]}, and this run asks for {value}" for name, value in differing.items())
    command = shlex.join(["jgpt", "config", "set", *(f"{asset}.{name}={value}" for name, value in differing.items())])
    other = " Another model can stand beside it under a name of its own (JGPT_MODEL, and `preset`)." if of_model else ""
    return (
        f"This data root makes {asset}{of_model} with {found}. Leave that out to go on as before, or change it with\n"
        f"  {command}\nA Launchpad that shows other values was opened before they were kept: reload the definitions."
        f"{other}"
    )
