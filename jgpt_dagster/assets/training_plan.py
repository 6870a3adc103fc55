"""`plan`: what training on a dump would take on a machine."""

import dagster as dg

from jgpt_dagster.assets.materialize import as_dagster_failure, table
from jgpt_dagster.assets.pretraining_config import PretrainingConfig, plan_training, training_config
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.orchestration.partitions import dump_partitions
from jgpt_dagster.orchestration.resources import CorpusStore, TrainingLauncher

PLAN_CODE_VERSION = "1"


@dg.asset(
    group_name="model",
    kinds={"python"},
    partitions_def=dump_partitions,
    deps=["training_set"],
    code_version=PLAN_CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def plan(
    context: dg.AssetExecutionContext, config: PretrainingConfig, store: CorpusStore, launcher: TrainingLauncher
) -> dg.MaterializeResult:
    """What training on this dump would take: steps, bytes by part, hours, price. Trains nothing and writes nothing.

    It takes the run config of `pretrained_model`.
    """
    with as_dagster_failure():
        data = store.directory("training_set", context.partition_key)
        data.verified()
        plan, _ = plan_training(config, launcher, training_config(config, store.model), TrainingSet.open(data.path))
        return dg.MaterializeResult(metadata={"plan": table(["what", "figure"], plan.rows())})
