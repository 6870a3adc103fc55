"""`plan`: what training on a dump takes on a given machine: bytes, steps, hours, cost."""

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.materialize import Materialization
from jgpt_dagster.assets.metadata import table
from jgpt_dagster.assets.pretraining_config import PretrainingConfig, plan_training, training_config
from jgpt_dagster.assets.remembered_config import given_fields, with_values
from jgpt_dagster.catalog.kept_config import KeptConfig
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.orchestration.partitions import dump_model_partitions, model_key
from jgpt_dagster.orchestration.resources import CorpusStore, TrainingLauncher

CODE_VERSION = "1"


@stage_asset(
    "plan",
    group="model",
    kinds={"python"},
    code_version=CODE_VERSION,
    partitions=dump_model_partitions,
    deps=["training_set"],
)
def plan(
    context: dg.AssetExecutionContext, config: PretrainingConfig, store: CorpusStore, launcher: TrainingLauncher
) -> Materialization:
    """What training on this dump takes: steps, bytes by part, hours, price. Trains nothing and writes nothing.

    Its run config is that of `pretrained_model`.
    """
    dump, model = model_key(context)
    kept, given = KeptConfig(store.catalog).of("pretrained_model", model), given_fields(context)
    # As in `remembered`, defaults are those of the class.
    fields = {**PretrainingConfig().model_dump(), **config.model_dump(include=given)}
    values = {name: value if name in given else kept.get(name, value) for name, value in fields.items()}
    config = with_values("pretrained_model", PretrainingConfig, values)
    data = store.directory("training_set", dump)
    data.verified()
    plan, _ = plan_training(config, launcher, training_config(config, model), TrainingSet.open(data.path))
    return dg.MaterializeResult(metadata={"plan": table(["what", "figure"], plan.rows())})
