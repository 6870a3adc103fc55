"""`jgpt plan`: what training takes on a machine, without training."""

from pathlib import Path

import click

from jgpt_dagster.catalog.kept_config import KeptConfig, replace_values
from jgpt_dagster.cli.deployment import config_option, require_matching_root
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.settings import load_settings


@click.command()
@click.option("--dump", required=True, help="Date of the dump whose training set is planned for, YYYYMMDD.")
@click.option("--hardware", help="auto, cpu or COUNTxDEVICE such as 8xa100-80; default that of the run config.")
@click.option("--mfu", type=click.FloatRange(0, 1, min_open=True), help="Expected share of the peak FLOP/s.")
@click.option("--price", type=click.FloatRange(min=0), help="Price of a GPU-hour, in any currency.")
@config_option("Run config that holds that of pretrained_model; default JGPT_RUN_CONFIG.")
@click.pass_context
def plan(
    context: click.Context,
    dump: str,
    hardware: str | None,
    mfu: float | None,
    price: float | None,
    config_path: Path | None,
) -> None:
    """Show what training takes: steps, bytes, hours and cost. Trains nothing.

    What --config does not give is as the data root keeps it.
    """
    settings = load_settings()
    require_matching_root(settings)
    from jgpt_dagster.assets.pretraining_config import PretrainingConfig, plan_training, training_config
    from jgpt_dagster.assets.remembered_config import with_values
    from jgpt_dagster.definitions import defs
    from jgpt_dagster.lm.data.training_set import TrainingSet
    from jgpt_dagster.orchestration.resources import TrainingLauncher
    from jgpt_dagster.orchestration.run_config import read_run_config

    training_set = settings.root.directory("training_set", dump)
    training_set.verified()
    run_config = read_run_config(defs.resolve_asset_graph(), config_path) if config_path else {"ops": {}}
    options = {"hardware": hardware, "mfu": mfu, "price": price}
    fields = run_config["ops"].get("pretrained_model", {}).get("config", {})
    kept = KeptConfig(settings.catalog).of("pretrained_model", settings.model)
    given = context.get_parameter_source("config_path") is click.core.ParameterSource.COMMANDLINE
    values = {
        **(replace_values(kept, fields) if given else replace_values(fields, kept)),
        **{name: value for name, value in options.items() if value is not None},
    }
    known = {name: value for name, value in values.items() if name in PretrainingConfig.model_fields}
    config = with_values("pretrained_model", PretrainingConfig, known)
    launcher, train_config = TrainingLauncher.of(settings), training_config(config, settings.model)
    training_plan, _ = plan_training(config, launcher, train_config, TrainingSet.open(training_set.path))
    for what, figure in training_plan.rows():
        say(f"{what:<28} {figure}")
