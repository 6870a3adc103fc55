"""The jobs over the whole graph: what `jgpt run` does, for the UI, `dg launch --job`, schedules and Dagster's API.

Dagster refuses a job over assets with different partitions. Each of these has one op, which executes the runs that
`jgpt run` would, one for each asset and shard that is not current; whoever terminates the job's run ends them too.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import dagster as dg
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from pydantic import Field

from jgpt_dagster.assets.bring_up import bring_up
from jgpt_dagster.assets.metadata import table
from jgpt_dagster.catalog.kept_config import KeptConfig
from jgpt_dagster.catalog.output_catalog import TRAINING_SET
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.dump_dates import LATEST, dump_date
from jgpt_dagster.orchestration.interrupted_training import resume_command
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.orchestration.run_config import read_run_config
from jgpt_dagster.orchestration.run_facts import ASKED_TAG, DUMP_TAG
from jgpt_dagster.orchestration.told_failure import told_function
from jgpt_dagster.orchestration.worker_process import LoadDefinitions
from jgpt_dagster.runtime.progress import ProgressEvent, ProgressQueue, consumed
from jgpt_dagster.settings import Settings

JOBS = {"dump_to_training_set": TRAINING_SET, "dump_to_release": "release"}
"""The jobs, each with the last asset that it brings up to date."""


def build_jobs(settings: Settings, load_definitions: LoadDefinitions) -> list[dg.JobDefinition]:
    """Return the jobs of a deployment; worker processes call `load_definitions`, a module-level function."""
    return [_job(settings, load_definitions, name, until) for name, until in JOBS.items()]


def build_schedules(jobs: list[dg.JobDefinition]) -> list[dg.ScheduleDefinition]:
    """Return a schedule for each job, on the days after a dump is usually finished. They are off until switched on."""
    return [
        dg.ScheduleDefinition(
            name=f"{job.name}_schedule",
            job=job,
            cron_schedule="0 4 5,23 * *",
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description=f"On the 5th and the 23rd: {job.description}",
        )
        for job in jobs
    ]


def _job(settings: Settings, load_definitions: LoadDefinitions, name: str, until: str) -> dg.JobDefinition:
    what = "its release: corpora, tokenizer, training, evaluation" if until == "release" else "its training set"

    class DumpConfig(dg.Config):
        """Which dump is brought up, and how far."""

        # To YAML, a date as people type it is a number.
        dump: Any = Field(
            default=LATEST,
            description="Date of the dump, YYYYMMDD, or `latest`: the mirror's newest finished one.",
        )
        model: str = Field(default=settings.model, description="Name of the model; its run config is the kept one.")
        to: str = Field(default=until, description="The last asset to bring up to date.")

    def bring(context: dg.OpExecutionContext, config: DumpConfig, store: CorpusStore) -> dg.Output[None]:
        chosen = settings.model_copy(update={"model": config.model})
        dump = dump_date(chosen, str(config.dump))
        resume = resume_command(dump, config.model, settings.model, until=config.to)
        tags = {DUMP_TAG: dump, ASKED_TAG: resume}
        context.instance.add_run_tags(context.run.run_id, tags)
        if not isinstance(context.instance.run_launcher, DefaultRunLauncher):
            raise JgptError(
                "The runs of this deployment are launched on other machines, and this job works on one alone. There, "
                "refresh_sensor and train_sensor bring a dump up: switch them on."
            )
        rows = []
        for result in bring_up(
            chosen,
            load_definitions,
            dump=dump,
            until=config.to,
            workers=store.workers,
            ops=_run_config(chosen, load_definitions),
            resume=resume,
            display=partial(_logged, context.log.info),
            report=context.log.info,
        ):
            made, why = sum(result.made.values()), "; ".join(result.made)
            context.log.info(f"{result.asset}: {result.verified} verified, {made} made{f' ({why})' if why else ''}")
            rows.append([result.asset, f"{result.verified:,}", f"{made:,}", why])
        return dg.Output(None, metadata={"stages": table(["asset", "verified", "made", "because"], rows)})

    bring.__annotations__["config"] = DumpConfig
    op = dg.op(name=f"bring_{name}", description=f"Makes what a dump lacks up to {what}.")(told_function(bring))
    description = f"Brings a dump up to {what}. Makes what is not current, as `jgpt run` does."

    @dg.job(name=name, description=description, executor_def=dg.in_process_executor)
    def job() -> None:
        op()

    return job


def _run_config(settings: Settings, load_definitions: LoadDefinitions) -> dict[str, Any]:
    """Return the run config in JGPT_RUN_CONFIG by asset, without what the data root keeps. Raises JgptError."""
    if settings.run_config is None:
        return {}
    ops = read_run_config(load_definitions().resolve_asset_graph(), settings.run_config)["ops"]
    return KeptConfig(settings.catalog).without_kept(ops, settings.model)


def _logged(log: Callable[[str], None], events: ProgressQueue) -> AbstractContextManager[None]:
    """Return the context in which the lines that worker processes send are logged.

    Their progress is in the logs of their runs.
    """

    def read(arriving: Iterator[ProgressEvent]) -> None:
        for event in arriving:
            if event.line:
                log(event.line)

    return consumed(events, read)
