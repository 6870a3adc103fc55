"""`jgpt plan`: what training takes on a machine, without training, and without a training set if there is none yet."""

import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jgpt_dagster.cli.deployment import config_option, require_matching_root
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.dump_dates import require_date
from jgpt_dagster.settings import Settings, load_settings
from jgpt_dagster.storage.safe_path import require_form

if TYPE_CHECKING:
    from jgpt_dagster.assets.pretraining_config import PretrainingConfig

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_MOST_TOKENS = 10**15


class _FiniteRange(click.FloatRange):
    """A range of numbers. That of click holds `nan` and, without a maximum, `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


class _TokenCount(click.ParamType[int]):
    """A number of tokens as people write it: 500M, 10B, 1.5e9."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d{1,2})?)([kmbt]?)", str(value).strip().replace(",", "").lower())
        count = round(float(match[1]) * _UNITS[match[2]]) if match else 0
        if not 1 <= count <= _MOST_TOKENS:
            self.fail(f"{value!r} is no number of tokens, such as 500M, 10B or 1.5e9.", param, ctx)
        return count


@click.command()
@click.option("--dump", help="Date of the dump whose training set is planned for, YYYYMMDD.")
@click.option("--tokens", type=_TokenCount(), help="Tokens to train on, such as 10B: needs no training set.")
@click.option("--model", help="A preset, or a model of which run config is kept; default JGPT_MODEL.")
@click.option("--hardware", help="auto, cpu or COUNTxDEVICE such as 8xa100-80; default that of the run config.")
@click.option("--mfu", type=_FiniteRange(0, 1, min_open=True), help="Expected share of the peak FLOP/s.")
@click.option("--price", type=_FiniteRange(min=0), help="Price of a GPU-hour, in any currency.")
@config_option("Run config that holds that of pretrained_model; default JGPT_RUN_CONFIG.")
@click.pass_context
def plan(
    context: click.Context,
    dump: str | None,
    tokens: int | None,
    model: str | None,
    hardware: str | None,
    mfu: float | None,
    price: float | None,
    config_path: Path | None,
) -> None:
    """Show what training takes: steps, bytes, time and cost. Trains nothing.

    --dump plans for its training set, --tokens for any number of tokens. What --config does not give is as the data
    root keeps it.
    """
    if dump is None and tokens is None:
        raise click.UsageError(
            "Give --dump DATE for a training set that is there, or --tokens such as 10B to plan without one."
        )
    if dump is not None:
        require_date(dump)
    settings = load_settings()
    require_matching_root(settings)
    name = require_form("model", model or settings.model)
    from jgpt_dagster.assets.pretraining_config import plan_for, training_config
    from jgpt_dagster.orchestration.resources import TrainingLauncher

    given = context.get_parameter_source("config_path") is click.core.ParameterSource.COMMANDLINE
    length = {"tokens": tokens, "steps": None, "epochs": None} if tokens is not None else {}
    options = {"hardware": hardware, "mfu": mfu, "price": price}
    chosen = {**{option: value for option, value in options.items() if value is not None}, **length}
    config = _config(settings, name, config_path, given=given, options=chosen)
    vocab_size, train_tokens = _data(settings, dump, tokens)
    launcher, train_config = TrainingLauncher.of(settings), training_config(config, name)
    for what, figure in plan_for(config, launcher, train_config, vocab_size, train_tokens).rows():
        say(f"{what:<28} {figure}")


def _config(
    settings: Settings, model: str, path: Path | None, *, given: bool, options: dict[str, Any]
) -> "PretrainingConfig":
    """Return the run config of a model: the options, then the file and what is kept, whichever counts more."""
    from jgpt_dagster.assets.pretraining_config import PretrainingConfig
    from jgpt_dagster.assets.remembered_config import with_values
    from jgpt_dagster.catalog.kept_config import KeptConfig, replace_values

    fields: dict[str, Any] = {}
    if path is not None:
        from jgpt_dagster.definitions import defs
        from jgpt_dagster.orchestration.run_config import read_run_config

        run_config = read_run_config(defs.resolve_asset_graph(), path)
        fields = run_config["ops"].get("pretrained_model", {}).get("config", {})
    kept = KeptConfig(settings.catalog).of("pretrained_model", model)
    values = {**(replace_values(kept, fields) if given else replace_values(fields, kept)), **options}
    known = {field: value for field, value in values.items() if field in PretrainingConfig.model_fields}
    return with_values("pretrained_model", PretrainingConfig, known)


def _data(settings: Settings, dump: str | None, tokens: int | None) -> tuple[int, int]:
    """Return the size of the vocabulary and the number of tokens to train on: of a training set, or of the root.

    Raises JgptError if there is no training set of `dump`, or a damaged one.
    """
    from jgpt_dagster.assets.tokenizer import TokenizerConfig
    from jgpt_dagster.lm.data.training_set import TrainingSet

    if dump is not None:
        training_set = settings.root.directory("training_set", dump)
        if training_set.manifest() is None:
            raise JgptError(
                f"There is no training set of {dump}: plan without one by --tokens, such as --tokens 10B, or make it "
                f"with\n  jgpt run --dump {shlex.quote(dump)} --to training_set"
            )
        training_set.verified()
        made = TrainingSet.open(training_set.path)
        return made.vocab_size, made.counts.train_tokens
    if tokens is None:
        raise JgptError("neither a dump nor a number of tokens")
    tokenizer = settings.catalog.tokenizer.manifest()
    planned: int = TokenizerConfig.model_fields["vocab_size"].default
    return (tokenizer.recipe.settings["vocab_size"] if tokenizer else planned), tokens
