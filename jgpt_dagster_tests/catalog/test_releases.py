from pathlib import Path

import pytest

from jgpt_dagster.catalog.releases import newest_release
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.artifact import ArtifactError
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.verdict import record_verdict

DATES = ("20260101", "20260201", "20260301")


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """Two releases of model tiny, and a newer one of another model."""
    root = DataRoot(tmp_path)
    for date, model in zip(DATES, ("tiny", "tiny", "small"), strict=True):
        with root.directory("release", date, model=model).writing(Recipe("release", "1")) as out:
            (out.path / "README.md").write_text(f"{model} {date}")
    return root


def test_the_newest_release_of_a_model_is_found(root: DataRoot) -> None:
    assert (newest_release(root, "tiny") / "README.md").read_text() == "tiny 20260201"
    assert (newest_release(root, "small") / "README.md").read_text() == "small 20260301"


def test_the_release_of_a_dump_is_found(root: DataRoot) -> None:
    assert (newest_release(root, "tiny", "20260101") / "README.md").read_text() == "tiny 20260101"


def test_a_release_that_failed_its_check_is_used_only_by_name(root: DataRoot) -> None:
    record_verdict(root.directory("release", DATES[1], model="tiny"), "opens_offline", False, "it does not open")
    assert (newest_release(root, "tiny") / "README.md").read_text() == "tiny 20260101"
    assert (newest_release(root, "tiny", DATES[1]) / "README.md").read_text() == "tiny 20260201"


def test_a_missing_release_is_an_error_with_the_command_that_makes_one(root: DataRoot) -> None:
    with pytest.raises(JgptError, match=r"holds no release of model xl\. Make one with:\n  jgpt run"):
        newest_release(root, "xl")
    with pytest.raises(JgptError, match="no release of model tiny and dump 20260301"):
        newest_release(root, "tiny", "20260301")


def test_a_damaged_release_is_refused(root: DataRoot) -> None:
    (newest_release(root, "tiny") / "README.md").write_text("damaged")
    with pytest.raises(ArtifactError, match=r"README\.md"):
        newest_release(root, "tiny")
