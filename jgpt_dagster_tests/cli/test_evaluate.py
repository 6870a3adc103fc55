"""`jgpt evaluate` with the name of a model on a hub, by the real command, and how its tables are printed."""

from dataclasses import replace
from pathlib import Path

import pytest

from jgpt_dagster.catalog.evaluated_models import evaluation_output
from jgpt_dagster.cli.terminal import aligned
from jgpt_dagster_tests.support.deployments import DUMP, Deployment
from jgpt_dagster_tests.support.model_hub import Repository, model_hub


@pytest.mark.slow
def test_a_release_on_a_hub_scores_by_its_name_what_it_scores_at_home(finished: Deployment, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "data")
    release = copy.root.directory("release", DUMP, model="tiny")
    with model_hub() as hub:
        files = {name: (release.path / name).read_bytes() for name in release.verified().files}
        hub.repositories["someone/tiny"] = Repository(private=False, files=files)
        asking = replace(copy, environment={"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache")})
        output = asking.succeed("jgpt", "evaluate", "someone/tiny", "--dump", DUMP)
    assert "tiny: " in output and "bits per byte" in output
    at_home = copy.root.directory("evaluation", DUMP, model="tiny").verified().counts
    found = evaluation_output(copy.root, DUMP, "tiny").verified().counts
    assert found["bits_per_character"] == pytest.approx(at_home["bits_per_character"], rel=1e-5)


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ("18", ["名    bits    real", "日本  1.9     yes"]),
        ("17", ["名    bits", "日本  1.9", "", "名    real", "日本  yes"]),
        ("3", ["名    bits", "日本  1.9", "", "名    real", "日本  yes"]),
    ],
)
def test_a_table_is_as_wide_as_the_terminal(columns: str, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert aligned([("名", "bits  ", "real"), ("日本", "1.9", "yes")]) == lines
