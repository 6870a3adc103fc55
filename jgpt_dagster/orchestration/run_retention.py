"""Which of Dagster's run records are of no use any more, and how they are deleted."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage

_PAGE = 500


@dataclass(frozen=True)
class ExpiredRun:
    """A finished run that made nothing and holds nobody's last materialization or check."""

    run_id: str
    ended: float

    def delete(self, instance: dg.DagsterInstance) -> None:
        """Delete the run, its events and its captured output."""
        instance.compute_log_manager.delete_logs(prefix=[self.run_id])
        instance.delete_run(self.run_id)
        for path in _files(instance, self.run_id):
            path.unlink(missing_ok=True)


def expired_runs(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], days: float) -> list[ExpiredRun]:
    """Return the runs that ended more than `days` ago and made nothing, oldest first.

    A run with the last materialization of a partition, or the last result of one of `checks`, is never among them.
    """
    kept = _last_materializations(instance) | _last_checks(instance, checks)
    before = time.time() - days * 24 * 3600
    return [
        ExpiredRun(run.run_id, ended)
        for run, ended in _finished_runs(instance, before)
        if run.run_id not in kept and not _made_something(instance, run.run_id)
    ]


def size_of(instance: dg.DagsterInstance, run: ExpiredRun) -> int:
    """Return the bytes of the files that only this run has; 0 if the instance keeps events in one database."""
    return sum(path.stat().st_size for path in _files(instance, run.run_id) if path.exists())


def _finished_runs(instance: dg.DagsterInstance, before: float) -> Iterator[tuple[dg.DagsterRun, float]]:
    cursor: str | None = None
    while records := instance.get_run_records(limit=_PAGE, cursor=cursor, ascending=True):
        for record in records:
            ended = record.end_time or record.update_timestamp.timestamp()
            if record.dagster_run.is_finished and ended < before:
                yield record.dagster_run, ended
        cursor = records[-1].dagster_run.run_id


def _last_materializations(instance: dg.DagsterInstance) -> set[str]:
    found = set[str]()
    for key in instance.all_asset_keys():
        latest = instance.event_log_storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        ids = list(latest.values())
        for start in range(0, len(ids), _PAGE):
            query = dg.AssetRecordsFilter(key, storage_ids=ids[start : start + _PAGE])
            found |= {record.run_id for record in instance.fetch_materializations(query, limit=_PAGE).records}
        newest = instance.get_latest_materialization_event(key)
        found |= {newest.run_id} if newest else set()
    return found


def _last_checks(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> set[str]:
    infos = instance.event_log_storage.get_asset_check_partition_info(checks)
    return {info.latest_planned_run_id for info in infos if info.latest_planned_run_id}


def _made_something(instance: dg.DagsterInstance, run_id: str) -> bool:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        materialization = entry.asset_materialization
        status = materialization.metadata.get("status") if materialization else None
        if status is None or status.value == "made":
            return True
    return False


def _files(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return []
    shard = storage.path_for_shard(run_id)
    return [Path(f"{shard}{suffix}") for suffix in ("", "-shm", "-wal", "-journal")]
