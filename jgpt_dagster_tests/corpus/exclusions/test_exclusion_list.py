from pathlib import Path

import pytest

from jgpt_dagster.corpus.exclusions.exclusion_list import (
    FILE,
    ExclusionList,
    ExclusionListError,
    Kind,
    read_list,
    write_list,
)
from jgpt_dagster.storage.data_root import DataRoot


def test_a_list_is_read_as_it_was_written_and_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    assert read_list(tmp_path) == ExclusionList()
    added = ExclusionList().with_added([("page", "07"), ("title", "第_1の町"), ("page", "7")], "why", "2026-02-03")
    assert [(entry.number, entry.kind, entry.value) for entry in added.entries] == [
        (1, "page", "7"),
        (2, "title", "第 1の町"),
    ]
    write_list(DataRoot(tmp_path), added.with_withdrawn([1], "2026-02-04"))
    assert read_list(tmp_path).active == added.entries[1:]
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace("第".encode(), "代".encode()))
    with pytest.raises(ExclusionListError, match="Restore it"):
        read_list(tmp_path)


def test_an_entry_that_comes_back_is_another_one() -> None:
    first = ExclusionList().with_added([("page", "7"), ("page", "8")], "why", "2026-02-03")
    again = first.with_withdrawn([1], "2026-02-04").with_added([("page", "7")], "why", "2026-02-05")
    assert [entry.number for entry in again.active] == [2, 3]
    assert len({entry.id for entry in again.entries}) == 3
    assert again.digest_of_first(2) == first.digest
    with pytest.raises(ExclusionListError, match="no entry 1"):
        again.with_withdrawn([1], "2026-02-06")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("page", "第1の町"),
        ("page", f"{1 << 63}"),
        ("page", "9" * 5000),
        ("document", "cc100"),
        ("document", "17"),
        ("document", f"cc100:{1 << 63}"),
        ("document", "wikipedia:17"),
        ("url", "example.org"),
        ("title", " _ "),
    ],
)
def test_what_is_no_value_of_its_kind_is_refused(kind: Kind, value: str) -> None:
    with pytest.raises(ExclusionListError):
        ExclusionList().with_added([(kind, value)], "why", "2026-02-03")
