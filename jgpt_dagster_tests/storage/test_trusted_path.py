"""Who can change what lies at a path besides this user and root."""

import os
from pathlib import Path

import pytest

from jgpt_dagster.storage.trusted_path import find_other_writer

ELSE = 12_345


def test_a_folder_of_this_user_below_a_sticky_one_is_safe(tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    (tmp_path / "sticky" / "own").mkdir(mode=0o755)
    assert find_other_writer(tmp_path / "sticky" / "own") is None
    assert find_other_writer(tmp_path / "sticky" / "own" / "not" / "made yet") is None
    assert find_other_writer(tmp_path / "sticky") == f"{tmp_path / 'sticky'} can be written to by everybody (mode 1777)"


@pytest.mark.parametrize(("mode", "who"), [(0o775, "its group"), (0o757, "everybody"), (0o2770, "its group")])
def test_a_folder_that_others_can_write_to_is_found_wherever_it_lies_above(tmp_path: Path, mode: int, who: str) -> None:
    (tmp_path / "open" / "own").mkdir(parents=True)
    (tmp_path / "open").chmod(mode)
    expected = f"{tmp_path / 'open'} can be written to by {who} (mode {mode:04o})"
    assert find_other_writer(tmp_path / "open") == find_other_writer(tmp_path / "open" / "own" / "run") == expected
    (tmp_path / "link").symlink_to(tmp_path / "open" / "own")
    assert find_other_writer(tmp_path / "link") == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_another_user_is_found_and_a_link_of_theirs_too(tmp_path: Path) -> None:
    (tmp_path / "theirs" / "run").mkdir(parents=True)
    os.chown(tmp_path / "theirs", ELSE, -1)
    assert find_other_writer(tmp_path / "theirs" / "run") == f"{tmp_path / 'theirs'} belongs to user {ELSE}"
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "own")
    os.chown(tmp_path / "link", ELSE, -1, follow_symlinks=False)
    assert find_other_writer(tmp_path / "link") == f"{tmp_path / 'link'} belongs to user {ELSE}"
