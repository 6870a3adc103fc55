"""Promises of what is refused in a pass: told by shard, in order, in memory that does not grow."""

import tracemalloc
from pathlib import Path

import pytest

from jgpt_dagster.corpus.web.rejected_documents import RejectedDocumentLog
from jgpt_dagster.storage.disk_space import DiskFullError


def row(number: int) -> dict[str, object]:
    return {"document_id": number, "reason": f"it is not UTF-8: \udc80 at its byte {number}"}


def test_each_shard_gets_its_own_in_order_and_as_often_as_it_asks(tmp_path: Path) -> None:
    with RejectedDocumentLog(tmp_path / "scratch", lambda number: number % 3) as rejected:
        for number in (1, 2, 4, 7):
            rejected.append(row(number))
        assert [*rejected.rows_of(1)] == [*rejected.rows_of(1)] == [row(1), row(4), row(7)]
        rejected.append(row(10))
        assert [*rejected.rows_of(1)] == [row(1), row(4), row(7), row(10)]
        assert [*rejected.rows_of(0)] == []
        assert rejected.counts == {1: 4, 2: 1}


def test_nothing_is_left_on_disk_even_by_a_process_that_is_killed(tmp_path: Path) -> None:
    with RejectedDocumentLog(tmp_path, lambda number: 0) as rejected:
        rejected.append(row(1))
        assert [*tmp_path.iterdir()] == []


def test_an_archive_in_another_encoding_takes_no_memory(tmp_path: Path) -> None:
    with RejectedDocumentLog(tmp_path, lambda number: number % 4) as rejected:
        rejected.append(row(0))
        tracemalloc.start()
        for number in range(1, 20_000):
            rejected.append(row(number))
        assert sum(1 for _ in rejected.rows_of(3)) == 5_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_full_disk_is_named(small_disk: Path) -> None:
    with (
        pytest.raises(DiskFullError, match=f"{small_disk}: the disk is full"),
        RejectedDocumentLog(small_disk, lambda number: 0) as rejected,
    ):
        for number in range(20_000):
            rejected.append(row(number))
