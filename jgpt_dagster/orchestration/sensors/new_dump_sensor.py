"""`new_dump_sensor`: asks the mirror for a finished dump newer than the newest good one, and requests its download.

What it learns of the mirror is the check `is_newest` too.
If the newest dump cannot be fetched, or its text fails a check, the newest of the others is next.
"""

from collections.abc import Sequence

import dagster as dg

from jgpt_dagster.catalog.missing_work import WorkItem
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs
from jgpt_dagster.orchestration.mirror_look import MirrorLook, Search, evaluation, look_at_mirror
from jgpt_dagster.orchestration.partitions import known_dumps
from jgpt_dagster.orchestration.resources import CorpusStore, Mirror
from jgpt_dagster.orchestration.sensors.described_sensor import described_sensor
from jgpt_dagster.orchestration.sensors.refresh_sensor import newest_usable_dump
from jgpt_dagster.orchestration.sensors.run_requests import given_up, request_runs, skip, skip_on_error
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.disk_space import require_free_space

_ASSET = "wikipedia_dump"

# A dump and everything made from it up to its training set take 3.9 times the dump's bytes (measured on the first pages
# of jawiki); the rest is for files that are being written, and for other wikis. Under `seed` the XML is kept as well.
DISK_FACTOR = {"clean": 5.0, "seed": 7.1}

# How many requested dumps the cursor has: those of two years.
_REMEMBERED = 48


def build_new_dump_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor; JGPT_REFRESH decides whether it runs by default, JGPT_POLL_HOURS how often."""

    @described_sensor(
        asset_selection=dg.AssetSelection.assets(_ASSET),
        minimum_interval_seconds=max(1, round(settings.poll_hours * 3600)),
        default_status=dg.DefaultSensorStatus.RUNNING if settings.refresh == "on" else dg.DefaultSensorStatus.STOPPED,
    )
    def new_dump_sensor(
        context: dg.SensorEvaluationContext, store: CorpusStore, mirror: Mirror
    ) -> dg.SensorResult | dg.SkipReason:
        """Fetches the newest finished dump if it is newer than the newest fetched one that passed its checks.

        Of several new dumps only the newest is fetched: an older one holds nothing that the newest does not. The next
        older one is fetched if the newest cannot be, or fails its checks.
        """
        return skip_on_error(lambda: _evaluate(context, store, mirror, settings))

    return new_dump_sensor


def _evaluate(
    context: dg.SensorEvaluationContext, store: CorpusStore, mirror: Mirror, settings: Settings
) -> dg.SensorResult | dg.SkipReason:
    partitions = known_dumps(context.instance)
    # A partition alone is no dump: its date may be mistyped.
    fetched = [dump for dump in partitions if store.directory(_ASSET, dump).manifest()]
    # The cursor has the dumps that were ever requested: one that was removed since does not come back.
    requested = (context.cursor or "").split()
    removed = [date for date in requested if date not in partitions]
    usable = newest_usable_dump(context.instance, store).date
    unfetched = [WorkItem((store.directory(_ASSET, date),)) for date in requested if date in partitions]
    left_to_a_person = given_up(context.instance, [item for item in unfetched if item.partitions[0] not in fetched])
    passed_over = {*fetched, *(item.partitions[0] for item in left_to_a_person)}
    newest_known = max([*removed, *([usable] if usable else [])], default="")

    def look(mirror: MirrorLook) -> tuple[Search, dg.AssetCheckEvaluation]:
        return mirror.newest_finished(newest_known, passed_over), evaluation(_ASSET, fetched, mirror)

    try:
        search, found = look_at_mirror(mirror.dumps_url, store.wiki, look)
    except JgptError as error:
        return _nothing_to_fetch([str(error)], evaluation(_ASSET, fetched, error))
    if search.date is None:
        return _nothing_to_fetch([*left_to_a_person.values(), *search.notes], found)
    item = WorkItem((store.directory(_ASSET, search.date),))
    fail_abandoned_runs(context.instance, store.root.path, context.log.debug)
    requests, reasons = request_runs(context, [item], settings)
    if not requests:
        return _nothing_to_fetch(reasons, found)
    needed = int(search.size * DISK_FACTOR[store.profile])
    require_free_space(store.root.path, needed, f"a refresh to the dump of {search.date}")
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[dg.AddDynamicPartitionsRequest("dump", [search.date])],
        cursor=" ".join(sorted({*requested, search.date})[-_REMEMBERED:]),
        asset_events=[found],
    )


def _nothing_to_fetch(reasons: Sequence[str], found: dg.AssetCheckEvaluation) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=skip(reasons), asset_events=[found])
