"""The verdict of a check lies beside the output and holds for the data that was checked, and for no other."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.verdict import Verdict, read_verdicts, record_verdict
from jgpt_dagster_tests.storage.test_parquet import SCHEMA


def write(artifact: Artifact, content: str) -> None:
    recipe = Recipe(stage="stage", code_version="1", settings={"content": content})
    if artifact.path.suffix == ".parquet":
        artifact.write(SCHEMA, iter([(1, [[content]])]), recipe, dict)  # type: ignore[attr-defined]
    else:
        with artifact.writing(recipe) as out:  # type: ignore[attr-defined]
            (out.path / "content").write_text(content)


def verdicts_of(artifact: Artifact) -> Mapping[str, Verdict]:
    return read_verdicts(artifact, artifact.manifest())


@pytest.fixture(params=["directory", "parquet"])
def artifact(request: pytest.FixtureRequest, tmp_path: Path) -> Artifact:
    root = DataRoot(tmp_path)
    made: Artifact = root.directory("tokenizer") if request.param == "directory" else root.parquet("text", shard="000")
    write(made, "first")
    return made


def test_an_output_that_was_never_checked_has_no_verdict(artifact: Artifact) -> None:
    assert verdicts_of(artifact) == {}


def test_a_verdict_says_what_was_found_when_and_in_which_data(artifact: Artifact) -> None:
    record_verdict(artifact, "whole", True, "3 of 3")
    record_verdict(artifact, "plain", False, "1 of 3")
    verdicts = verdicts_of(artifact)
    assert {name: (verdict.passed, verdict.description) for name, verdict in verdicts.items()} == {
        "whole": (True, "3 of 3"),
        "plain": (False, "1 of 3"),
    }
    manifest = artifact.manifest()
    assert manifest is not None
    assert {verdict.data_sha256 for verdict in verdicts.values()} == {manifest.data_sha256}
    assert all(verdict.checked_at.endswith("+00:00") and verdict.version for verdict in verdicts.values())


def test_a_verdict_does_not_outlive_the_data(artifact: Artifact) -> None:
    record_verdict(artifact, "whole", True, "3 of 3")
    write(artifact, "second")
    assert verdicts_of(artifact) == {}
    record_verdict(artifact, "plain", True, "fine")
    assert list(verdicts_of(artifact)) == ["plain"]


def test_the_same_finding_is_not_written_again_and_another_one_is(artifact: Artifact) -> None:
    record_verdict(artifact, "whole", True, "3 of 3")
    before = artifact.verdicts_path.stat().st_mtime_ns
    record_verdict(artifact, "whole", True, "3 of 3")
    assert artifact.verdicts_path.stat().st_mtime_ns == before
    record_verdict(artifact, "whole", False, "2 of 3")
    assert not verdicts_of(artifact)["whole"].passed


@pytest.mark.parametrize("content", ["", "{", "[]", '{"whole": 1}', '{"whole": {"passed": true}}', '"x"', "null"])
def test_a_damaged_record_says_nothing_and_is_written_anew(artifact: Artifact, content: str) -> None:
    artifact.verdicts_path.write_text(content)
    assert verdicts_of(artifact) == {}
    record_verdict(artifact, "whole", True, "3 of 3")
    assert list(verdicts_of(artifact)) == ["whole"]


def test_an_output_that_is_missing_gets_no_verdict_and_a_removed_one_keeps_none(artifact: Artifact) -> None:
    record_verdict(artifact, "whole", True, "3 of 3")
    artifact.remove()
    assert not artifact.verdicts_path.exists()
    record_verdict(artifact, "whole", True, "3 of 3")
    assert not artifact.verdicts_path.exists()
