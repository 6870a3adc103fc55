"""Bringing a dump up to an asset: what `jgpt run` does, and the jobs of the whole graph (`graph_jobs.py`)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from jgpt_dagster.assets.look import Looker
from jgpt_dagster.assets.pretraining_config import PretrainingConfig, training_config
from jgpt_dagster.assets.tokenizer import require_tokenizer_engine
from jgpt_dagster.assets.training_run_directory import recorded_inputs
from jgpt_dagster.assets.warm_start import choose_start
from jgpt_dagster.catalog.kept_config import KeptConfig
from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.orchestration import local_runner
from jgpt_dagster.orchestration.dagster_instance import open_instance
from jgpt_dagster.orchestration.dump_dates import require_obtainable
from jgpt_dagster.orchestration.existing_models import report_existing_models
from jgpt_dagster.orchestration.local_runner import StageResult
from jgpt_dagster.orchestration.partitions import ModelKey
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.orchestration.stages import stages_up_to
from jgpt_dagster.orchestration.worker_process import LoadDefinitions
from jgpt_dagster.runtime.progress import ProgressQueue
from jgpt_dagster.settings import Settings

# For the launcher of an interrupted training to end, and for its run to be recorded.
_LAUNCHER_SECONDS = 30.0

# In the scratch directory: it is of this machine, and may be lost.
_HASHES = "hashes.json"


def bring_up(
    settings: Settings,
    load_definitions: LoadDefinitions,
    *,
    dump: str,
    until: str,
    workers: int,
    ops: Mapping[str, Any],
    resume: str,
    display: Callable[[ProgressQueue], AbstractContextManager[None]],
    report: Callable[[str], None],
) -> Iterator[StageResult]:
    """Bring the assets that lead to `until` up to date, for a dump and the model of the settings; yield each stage.

    `ops` is run config by asset; what a root keeps of it is kept before the first stage. The other arguments are those
    of `local_runner.run_stages`. What can be known to fail is refused first: a segmenter that is missing or not that of
    the tokenizer, a required start that no model is fit for, a dump that the mirror does not have. Raises JgptError.
    """
    training = ops.get("pretrained_model", {}).get("config", {})
    grace = PretrainingConfig(**training).stop_grace_seconds
    definitions, instance = load_definitions(), open_instance()
    stages = stages_up_to(definitions, settings.corpora, dump, settings.model, until)
    if {stage.asset for stage in stages} & {corpus.segmented_asset for corpus in settings.corpora}:
        _require_engine(settings)
    if any(stage.asset == "pretrained_model" for stage in stages):
        _require_start(settings, dump, training)
    report_existing_models(instance, settings.root)
    if any(stage.asset == "wikipedia_dump" for stage in stages):
        require_obtainable(settings, dump)
    record = KeptConfig(settings.catalog)
    for asset in record.assets:
        record.keep(asset, settings.model, ops.get(asset, {}).get("config", {}))
    with Looker.opened(definitions, instance, ops) as looker:
        yield from local_runner.run_stages(
            stages,
            dump=dump,
            model=settings.model,
            workers=workers,
            run_config={"ops": ops},
            resume=resume,
            root=settings.root.path,
            load_definitions=load_definitions,
            display=display,
            report=report,
            grace_seconds={"pretrained_model": grace + _LAUNCHER_SECONDS},
            # What is published elsewhere is downloaded before it is compared, which worker processes do in parallel.
            look=looker.look if settings.root.remote is None else None,
            hashes=settings.scratch_directory / _HASHES,
        )


def _require_engine(settings: Settings) -> None:
    """Raise SegmenterError if the segmenter is missing, TokenizerMismatchError if it is not that of the tokenizer."""
    with open_segmenter(settings.segmenter) as engine:
        require_tokenizer_engine(settings.catalog.tokenizer, settings.segmenter, engine.fingerprint)


def _require_start(settings: Settings, dump: str, training: Mapping[str, Any]) -> None:
    """Raise WarmStartError if a training that has not begun must start from a model and has none: before any stage."""
    kept = KeptConfig(settings.catalog).of("pretrained_model", settings.model)
    fields = {name: value for name, value in kept.items() if name in PretrainingConfig.model_fields}
    config, store, key = (
        PretrainingConfig(**{**training, **fields}),
        CorpusStore.of(settings),
        ModelKey(dump, settings.model),
    )
    target, run = store.model_directory("pretrained_model", *key), store.training_run_path(*key)
    if config.warm_start != "require" or (recorded_inputs(target, run, None) and not config.force):
        return
    # The tokenizer is frozen, so the training set that is still to be made will have it.
    tokenizer = store.directory("tokenizer").manifest()
    choose_start(
        store,
        key,
        training_config(config, key.model),
        tokenizer.data_sha256 if tokenizer else None,
        warm_start=config.warm_start,
        start_from=config.start_from,
    )
