"""`new_dump_sensor`: asks the mirror for a finished dump newer than the newest good one, and requests its download.

If the newest dump cannot be fetched, or its text fails a check, the newest of the others is next.
"""

import threading
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import dagster as dg

from jgpt_dagster.catalog.missing_work import WorkItem
from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror, MirrorError
from jgpt_dagster.corpus.fetch.errors import TemporaryError
from jgpt_dagster.corpus.fetch.http_client import open_client, open_url
from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs
from jgpt_dagster.orchestration.partitions import known_dumps
from jgpt_dagster.orchestration.resources import CorpusStore, Mirror
from jgpt_dagster.orchestration.sensors.refresh_sensor import newest_usable_dump
from jgpt_dagster.orchestration.sensors.run_requests import given_up, request_runs, skip, skip_on_error
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.disk_space import require_free_space

T = TypeVar("T")

# A dump and everything made from it up to its training set take 3.9 times the dump's bytes (measured on the first pages
# of jawiki); the rest is for files that are being written, and for other wikis. Under `seed` the XML is kept as well.
DISK_FACTOR = {"clean": 5.0, "seed": 7.1}

# How many requested dumps the cursor has: those of two years.
_REMEMBERED = 48

# Dagster gives a tick 60 s.
_MIRROR_SECONDS = 45.0


def build_new_dump_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor; JGPT_REFRESH decides whether it runs by default, JGPT_POLL_HOURS how often."""

    @dg.sensor(
        asset_selection=dg.AssetSelection.assets("wikipedia_dump"),
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
    fetched = [dump for dump in partitions if store.directory("wikipedia_dump", dump).manifest()]
    # The cursor has the dumps that were ever requested: one that was removed since does not come back.
    requested = (context.cursor or "").split()
    removed = [date for date in requested if date not in partitions]
    usable = newest_usable_dump(context.instance, store).date
    unfetched = [WorkItem((store.directory("wikipedia_dump", date),)) for date in requested if date in partitions]
    left_to_a_person = given_up(context.instance, [item for item in unfetched if item.partitions[0] not in fetched])
    passed_over = {*fetched, *(item.partitions[0] for item in left_to_a_person)}
    dumps = DumpMirror(mirror.dumps_url, store.wiki)
    newest_known = max([*removed, *([usable] if usable else [])], default="")
    search = _with_timeout(_MIRROR_SECONDS, dumps.url, lambda: _newest_finished(dumps, newest_known, passed_over))
    if search.date is None:
        return skip([*left_to_a_person.values(), *search.notes])
    item = WorkItem((store.directory("wikipedia_dump", search.date),))
    fail_abandoned_runs(context.instance, store.root.path, context.log.debug)
    requests, reasons = request_runs(context, [item], settings)
    if not requests:
        return skip(reasons)
    needed = int(search.size * DISK_FACTOR[store.profile])
    require_free_space(store.root.path, needed, f"a refresh to the dump of {search.date}")
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[dg.AddDynamicPartitionsRequest("dump", [search.date])],
        cursor=" ".join(sorted({*requested, search.date})[-_REMEMBERED:]),
    )


@dataclass(frozen=True)
class _Search:
    """The dump to fetch and its size in bytes, or no date and the reasons why there is none."""

    date: str | None
    size: int
    notes: Sequence[str]


def _newest_finished(mirror: DumpMirror, newest_known: str, passed_over: Container[str]) -> _Search:
    """Return the newest finished dump after `newest_known` that is not to be passed over.

    Raises JgptError if the mirror cannot be reached or its listing cannot be read.
    """
    _require_reachable(mirror.url)
    notes = list[str]()
    for date in reversed(mirror.dates()):
        if date > newest_known and date not in passed_over:
            try:
                return _Search(date, sum(file.size for file in mirror.files(date)), notes)
            except MirrorError as error:
                notes.append(str(error))
    newer = f" newer than {newest_known}." if newest_known else "."
    return _Search(None, 0, notes or [f"{mirror.url}/ lists no dump{newer}"])


def _require_reachable(url: str) -> None:
    """Request a mirror's listing once. A download retries for minutes; a tick does not, because the next one comes."""
    if url.startswith("file:"):
        return
    try:
        with open_client() as client, open_url(client, f"{url}/", {}):
            pass
    except TemporaryError as error:
        raise MirrorError(f"{url}/ cannot be reached now ({error}); the next poll tries again.") from error


def _with_timeout(seconds: float, url: str, look: Callable[[], T]) -> T:
    """Return what `look` returns. Raises MirrorError if it takes longer; its thread then ends unobserved."""
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
