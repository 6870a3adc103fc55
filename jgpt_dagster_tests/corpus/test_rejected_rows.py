"""The log of rejected rows: complete, in order, of bounded texts, and not in memory."""

from pathlib import Path

import pytest

from jgpt_dagster.corpus.rejected_rows import MAX_FIELD, RejectedLog
from jgpt_dagster.storage.disk_space import DiskFullError


def test_rows_come_back_in_order_as_often_as_asked_and_nothing_is_left_on_disk(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with RejectedLog(scratch) as log:
        assert [*log] == [] and not scratch.exists()
        for number in range(3):
            log.append({"page_id": number, "reason": "悪い\udc80"})
        assert [*log] == [*log] == [{"page_id": number, "reason": "悪い\udc80"} for number in range(3)]
        assert log.count == 3
        assert [*scratch.iterdir()] == []  # not even after a kill


def test_of_a_long_text_the_beginning_is_kept(tmp_path: Path) -> None:
    with RejectedLog(tmp_path) as log:
        log.append({"title": "長" * 1_000_000, "page_id": 1})
        assert [*log] == [{"title": "長" * MAX_FIELD, "page_id": 1}]


def test_a_full_disk_is_named(small_disk: Path) -> None:
    with pytest.raises(DiskFullError, match=f"{small_disk}: the disk is full"), RejectedLog(small_disk) as log:
        for number in range(20_000):
            log.append({"document_id": number, "reason": "x" * 200})
