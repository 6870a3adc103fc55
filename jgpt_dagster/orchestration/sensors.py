"""What starts runs by itself: a new dump is found and fetched, and its text stages follow up to the training set.

Three sensors, none of which does the work of a stage: `new_dump_sensor` asks the mirror, `refresh_sensor` and
`train_sensor` look at what lies on disk. A run that failed is asked for again, a few times and at growing pauses; one
that a person terminated is not. Training starts by itself only where somebody switches `train_sensor` on.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import dagster as dg

from jgpt_dagster.catalog.missing_work import (
    MODEL_ASSETS,
    WIKIPEDIA_STAGES,
    Work,
    missing_model_work,
    missing_work,
    text_assets,
)
from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror, MirrorError
from jgpt_dagster.corpus.fetch.errors import TemporaryError
from jgpt_dagster.corpus.fetch.http_client import open_client, open_url
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG, fail_abandoned_runs
from jgpt_dagster.orchestration.partitions import known_dumps
from jgpt_dagster.orchestration.resources import CorpusStore, Mirror
from jgpt_dagster.orchestration.run_history import PARTITION, RANGE_END, RANGE_START, assets_of, makes, unfinished
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.disk_space import require_free_space

T = TypeVar("T")

# Tells for which work a run was asked, so that its tries can be counted.
WORK_TAG = "jgpt/work"

# The dump and what is made of it up to its training set take 3.9 times the dump's bytes (measured on the first pages of
# jawiki); the rest is room for the files that are being written, and for a wiki of another kind. Under `seed` the XML
# is kept as well.
DISK_FACTOR = {"clean": 5.0, "seed": 7.1}

_REASONS_SHOWN = 4
_MAX_ATTEMPTS = 3
_FIRST_RETRY_SECONDS = 300.0
_TICK_SECONDS = 10
# Dagster gives a tick 60 s.
_MIRROR_SECONDS = 45.0


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensors of a deployment; JGPT_REFRESH decides whether the two of the refresh run by default."""
    status = dg.DefaultSensorStatus.RUNNING if settings.refresh == "on" else dg.DefaultSensorStatus.STOPPED
    texts = [asset for corpus in settings.corpora for asset in text_assets(corpus)]

    @dg.sensor(
        asset_selection=dg.AssetSelection.assets("wikipedia_dump"),
        minimum_interval_seconds=max(1, round(settings.poll_hours * 3600)),
        default_status=status,
    )
    def new_dump_sensor(
        context: dg.SensorEvaluationContext, store: CorpusStore, mirror: Mirror
    ) -> dg.SensorResult | dg.SkipReason:
        """Asks the mirror for a finished dump newer than all that are known, and fetches it. Of several, the newest:
        an older one would give nothing that the newest does not have.
        """
        return _skip_on_error(lambda: _new_dump(context, store, mirror, settings))

    @dg.sensor(
        asset_selection=dg.AssetSelection.assets(*texts, "tokenizer", "training_set"),
        minimum_interval_seconds=_TICK_SECONDS,
        default_status=status,
    )
    def refresh_sensor(context: dg.SensorEvaluationContext, store: CorpusStore) -> dg.SensorResult | dg.SkipReason:
        """Starts what is missing on disk for the newest fetched dump and can be made, up to its training set."""
        return _skip_on_error(lambda: _refresh(context, store, settings))

    @dg.sensor(
        asset_selection=dg.AssetSelection.assets(*MODEL_ASSETS),
        minimum_interval_seconds=_TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
    )
    def train_sensor(context: dg.SensorEvaluationContext, store: CorpusStore) -> dg.SensorResult | dg.SkipReason:
        """Trains, evaluates and releases a model once the newest dump has its training set. With `warm_start: true` in
        the run config of `pretrained_model` (JGPT_RUN_CONFIG), training goes on from the model of an earlier dump.
        """
        return _skip_on_error(lambda: _train(context, store, settings))

    return [new_dump_sensor, refresh_sensor, train_sensor]


def unfinished_runs(instance: dg.DagsterInstance, dump: str) -> list[str]:
    """Return the ids of the runs, queued ones too, that make something of a dump or reuse it for a later one."""
    found = []
    for run in unfinished(instance):
        key = run.tags.get(PARTITION) or run.tags.get(RANGE_START, "")
        date = key.partition("|")[0]
        if date == dump or (date > dump and assets_of(run) & set(WIKIPEDIA_STAGES)):
            found.append(run.run_id)
    return found


def _new_dump(
    context: dg.SensorEvaluationContext, store: CorpusStore, mirror: Mirror, settings: Settings
) -> dg.SensorResult | dg.SkipReason:
    known = known_dumps(context.instance)
    # The cursor is the newest dump that was ever asked for: one that was removed since does not come back.
    asked = context.cursor or ""
    unfetched = asked in known and store.directory("wikipedia_dump", asked).manifest() is None
    dumps = DumpMirror(mirror.dumps_url, store.wiki)
    found = _with_timeout(
        _MIRROR_SECONDS, dumps.url, lambda: _newest_done(dumps, max([asked, *known]), asked * unfetched)
    )
    if found.date is None:
        return _skip(found.notes)
    work = Work((store.directory("wikipedia_dump", found.date),))
    requests, reasons = _requests(context.instance, [work], settings)
    if not requests:
        return _skip(reasons)
    require_free_space(
        store.root.path, int(found.size * DISK_FACTOR[store.profile]), f"a refresh to the dump of {found.date}"
    )
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[dg.AddDynamicPartitionsRequest("dump", [found.date])],
        cursor=found.date,
    )


def _refresh(
    context: dg.SensorEvaluationContext, store: CorpusStore, settings: Settings
) -> dg.SensorResult | dg.SkipReason:
    dump = _newest_fetched(context.instance, store)
    if dump is None:
        return dg.SkipReason("No dump is here yet.")
    works = missing_work(store.root, store.corpora, store.shard_keys, dump)
    if not works:
        if store.directory("training_set", dump).manifest():
            return dg.SkipReason(f"The dump of {dump} has its training set.")
        return dg.SkipReason(f"The dump of {dump} has no training set, and nothing that leads to it can be made.")
    fail_abandoned_runs(context.instance, store.root.path, context.log.debug)
    for run in unfinished(context.instance):
        if COMMAND_TAG in run.tags and not assets_of(run) <= {"wikipedia_dump", *MODEL_ASSETS}:
            return dg.SkipReason(f"A `jgpt run` is at work (run {run.run_id}): it makes what is missing itself.")
    requests, reasons = _requests(context.instance, works, settings)
    return dg.SensorResult(run_requests=requests) if requests else _skip(reasons)


def _train(
    context: dg.SensorEvaluationContext, store: CorpusStore, settings: Settings
) -> dg.SensorResult | dg.SkipReason:
    dump = _newest_fetched(context.instance, store)
    if dump is None or store.directory("training_set", dump).manifest() is None:
        return dg.SkipReason(f"The training set of {dump or 'a first dump'} is not made yet.")
    work = missing_model_work(store.root, dump, store.model)
    if work is None:
        return dg.SkipReason(f"The dump of {dump} has its release.")
    requests, reasons = _requests(context.instance, [work], settings)
    return dg.SensorResult(run_requests=requests) if requests else _skip(reasons)


def _newest_fetched(instance: dg.DagsterInstance, store: CorpusStore) -> str | None:
    dumps = reversed(known_dumps(instance))
    return next((dump for dump in dumps if store.directory("wikipedia_dump", dump).manifest()), None)


def _skip(reasons: Sequence[str]) -> dg.SkipReason:
    more = len(reasons) - _REASONS_SHOWN
    return dg.SkipReason("; ".join(reasons[:_REASONS_SHOWN]) + (f"; and {more} more" if more > 0 else ""))


# ---- the mirror --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """The dump that is to be fetched and its size in bytes, or no date and the reasons why there is none."""

    date: str | None
    size: int
    notes: Sequence[str]


def _newest_done(mirror: DumpMirror, newest: str, again: str) -> _Found:
    """Return the newest finished dump after `newest`; the one of the date `again` counts too.

    Raises JgptError where the mirror cannot be reached or its listing is none.
    """
    _require_reachable(mirror.url)
    notes = list[str]()
    for date in reversed(mirror.dates()):
        if date > newest or date == again:
            try:
                return _Found(date, sum(file.size for file in mirror.files(date)), notes)
            except MirrorError as error:
                notes.append(str(error))
    return _Found(None, 0, notes or [f"{mirror.url}/ lists no dump" + (f" newer than {newest}." if newest else ".")])


def _require_reachable(url: str) -> None:
    """Reach for a mirror once. A download is patient with one that is down; a tick is not, since the next one comes."""
    if url.startswith("file:"):
        return
    try:
        with open_client() as client, open_url(client, f"{url}/", {}):
            pass
    except TemporaryError as error:
        raise MirrorError(f"{url}/ cannot be reached now ({error}); the next poll tries again.") from error


def _with_timeout(seconds: float, url: str, look: Callable[[], T]) -> T:
    """Return what `look` returns. Raises MirrorError where that takes too long; the look then ends unheard."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(look())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise MirrorError(f"{url}/ has not answered within {seconds:.0f} s; the next poll tries again.") from error


# ---- runs --------------------------------------------------------------------------------------------------------


def _requests(
    instance: dg.DagsterInstance, works: Sequence[Work], settings: Settings
) -> tuple[list[dg.RunRequest], list[str]]:
    """Return a request for each work that is due, and for each other one the reason why it is not."""
    at_work, tries, config = unfinished(instance), _previous_attempts(instance, works), _run_config(settings)
    requests, reasons = list[dg.RunRequest](), list[str]()
    for work in works:
        earlier = tries.get(work.key, [])
        if reason := _already_running(work, at_work) or _waiting_reason(work, earlier):
            reasons.append(reason)
            continue
        partitions = work.partitions
        range_tags = {RANGE_START: partitions[0], RANGE_END: partitions[-1]} if len(partitions) > 1 else {}
        requests.append(
            dg.RunRequest(
                run_key=f"{work.key}, again {len(earlier)}" if earlier else work.key,
                asset_selection=[dg.AssetKey(asset) for asset in work.assets],
                partition_key=partitions[0] if len(partitions) == 1 else None,
                run_config={"ops": {asset: config[asset] for asset in work.assets if asset in config}},
                tags={WORK_TAG: work.key, **range_tags},
            )
        )
    return requests, reasons


def _run_config(settings: Settings) -> Mapping[str, Any]:
    """Return the run config of the ops that runs started here get. Raises JgptError as `read_run_config`."""
    if settings.run_config is None:
        return {}
    from jgpt_dagster.definitions import defs
    from jgpt_dagster.orchestration.run_config import read_run_config

    ops: Mapping[str, Any] = read_run_config(defs, settings.run_config)["ops"]
    return ops


def _previous_attempts(instance: dg.DagsterInstance, works: Sequence[Work]) -> dict[str, list[dg.RunRecord]]:
    """Return the finished runs that were started for each work, by its key, newest first."""
    found: dict[str, list[dg.RunRecord]] = {}
    for record in instance.get_run_records(filters=dg.RunsFilter(tags={WORK_TAG: [work.key for work in works]})):
        if record.dagster_run.is_finished:
            found.setdefault(record.dagster_run.tags[WORK_TAG], []).append(record)
    return found


def _already_running(work: Work, runs: Sequence[dg.DagsterRun]) -> str | None:
    """Say which run is making an output of a work already."""
    for run in runs:
        if any(makes(run, output) for output in work.outputs):
            return f"{work.name}: run {run.run_id} is {run.status.value.lower().replace('_', ' ')}"
    return None


def _waiting_reason(work: Work, earlier: Sequence[dg.RunRecord]) -> str | None:
    """Say why a work is not tried again now. A run that succeeded is a try too: its output may have gone since."""
    if not earlier:
        return None
    last = earlier[0]
    if last.dagster_run.status == dg.DagsterRunStatus.CANCELED:
        return f"{work.name}: run {last.dagster_run.run_id} was terminated; materialize it by hand to go on"
    if len(earlier) >= _MAX_ATTEMPTS:
        return (
            f"{work.name}: {len(earlier)} runs came to nothing, the last is {last.dagster_run.run_id}; mend what its "
            "log names, then materialize it by hand"
        )
    wait = (last.end_time or 0) + _FIRST_RETRY_SECONDS * 2 ** (len(earlier) - 1) - time.time()
    return f"{work.name}: run {last.dagster_run.run_id} failed; tried again in {wait:.0f} s" if wait > 0 else None


def _skip_on_error(
    tick: Callable[[], dg.SensorResult | dg.SkipReason],
) -> dg.SensorResult | dg.SkipReason:
    """Return what a tick decides, or why it cannot: what is wrong outside is no failure of the sensor."""
    try:
        return tick()
    except (JgptError, OSError) as error:
        return dg.SkipReason(str(error))
