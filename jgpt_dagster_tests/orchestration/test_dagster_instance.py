"""`dagster.yaml` follows the settings, and what a person wrote in it stays."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.dagster_instance import ensure_dagster_home, instance_config, open_instance
from jgpt_dagster.settings import Settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path / "dagster.yaml"


def runs(config: Path, workers: int) -> int:
    """Return how many runs may start at once after a command with a number of workers."""
    ensure_dagster_home(Settings(workers=workers))
    return int(yaml.safe_load(config.read_text())["concurrency"]["runs"]["max_concurrent_runs"])


def test_the_number_of_runs_follows_the_number_of_workers(config: Path) -> None:
    assert [runs(config, workers) for workers in (2, 8, 3)] == [2, 8, 3]
    config.write_text(config.read_text() + "retention: {sensor: {purge_after_days: 3}}\n")
    assert runs(config, 5) == 5
    assert yaml.safe_load(config.read_text())["retention"]["sensor"]["purge_after_days"] == 3


def test_a_number_that_a_person_wrote_stays(config: Path) -> None:
    runs(config, 2)
    config.write_text(config.read_text().replace("runs: 2 ", "runs: 7 "))
    assert runs(config, 3) == 7
    config.write_text("concurrency: {runs: {max_concurrent_runs: 4}}\n")
    assert runs(config, 3) == 4


def test_the_file_of_an_earlier_release_follows_unless_it_was_edited(config: Path) -> None:
    text = yaml.safe_dump(instance_config(Settings(workers=2)), sort_keys=False)
    config.write_text(text)
    assert runs(config, 6) == 6
    config.write_text(text + "retention: {}\n")
    assert runs(config, 6) == 2


def test_an_unchanged_setting_leaves_the_file_alone(config: Path) -> None:
    runs(config, 2)
    before = config.stat().st_mtime_ns
    runs(config, 2)
    assert config.stat().st_mtime_ns == before


@pytest.mark.parametrize("content", [b"concurrency: {", b"- 1", b"\xff\xfe", b"name"])
def test_what_is_no_yaml_is_told_with_its_file_and_stays(config: Path, content: bytes) -> None:
    config.write_bytes(content)
    with pytest.raises(JgptError, match=r"dagster.yaml cannot be read as YAML: (.|\n)*Correct it"):
        ensure_dagster_home(Settings())
    assert config.read_bytes() == content


def test_the_directory_of_an_instance_whose_tables_are_elsewhere_may_be_read_only(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in the containers of the team server.
    monkeypatch.setenv("DAGSTER_HOME", str(small_disk))
    folder = {"base_dir": str(tmp_path)}
    config = {
        "storage": {"sqlite": folder},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": folder,
        },
    }
    (small_disk / "dagster.yaml").write_text(yaml.safe_dump(config))
    subprocess.check_call(["mount", "-o", "remount,ro", small_disk])
    with open_instance() as instance:
        assert instance.get_runs() == []


@pytest.mark.slow
def test_commands_that_open_a_new_instance_at_once_all_succeed(tmp_path: Path) -> None:
    wait_and_open = (
        "import sys, dagster; from jgpt_dagster.orchestration.dagster_instance import open_instance; "
        "print('ready', flush=True); sys.stdin.readline(); print(len(open_instance().get_runs()))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", wait_and_open],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"DAGSTER_HOME": str(tmp_path)},
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=120)[0] for process in processes] == ["0\n"] * 3
