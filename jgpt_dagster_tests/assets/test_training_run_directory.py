"""A run directory is cleared once by a fresh start, and not by the retries of the run that asked for it."""

import json
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.assets import pretrained_model
from jgpt_dagster.assets.training_run_directory import (
    RECIPE,
    prepare_run_directory,
    recorded_inputs,
    recorded_words,
    require_same_training_set,
    root_run_id,
)
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.process_group import LaunchError
from jgpt_dagster.lm.training.metrics_files import RESULT
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment

MADE = Recipe("pretrained_model", "1", {"steps": 4}, {"training_set 20260101": "00ff"}, {})
OTHER = Recipe("pretrained_model", "1", {"steps": 8}, {"training_set 20260101": "00fe"}, {})


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A run that Dagster run `first` has begun, with a checkpoint."""
    run = tmp_path / "run"
    prepare_run_directory(run, MADE, "first")
    (run / "checkpoints" / "step=00000002").mkdir(parents=True)
    return run


def test_force_sets_a_finished_run_aside_once_and_not_at_retries(begun: Path) -> None:
    (begun / RESULT).touch()
    prepare_run_directory(begun, MADE, "first")
    assert (begun / "checkpoints").exists(), "a retry keeps what the run has made"
    prepare_run_directory(begun, MADE, "second")
    assert not (begun / "checkpoints").exists(), "another run that is forced starts again"
    assert (begun.with_name(".run.aside-1") / "checkpoints").exists(), "and loses nothing"
    (begun / "checkpoints" / "step=00000002").mkdir(parents=True)
    (begun / RESULT).touch()
    prepare_run_directory(begun, MADE, "third")
    assert (begun.with_name(".run.aside-2") / "checkpoints").exists()
    assert json.loads((begun / RECIPE).read_text())["forced_by"] == "third"


def test_a_retraining_that_was_interrupted_goes_on_when_it_is_asked_for_again(begun: Path) -> None:
    prepare_run_directory(begun, MADE, "second")
    assert (begun / "checkpoints").exists()
    prepare_run_directory(begun, OTHER, "third")
    assert not (begun / "checkpoints").exists() and (begun.with_name(".run.aside-1") / "checkpoints").exists()


def test_checkpoints_of_another_training_set_are_kept_and_the_ways_on_are_named(begun: Path) -> None:
    target = DirectoryArtifact("pretrained_model", f"{DUMP}|tiny", begun, model="tiny")
    (label, sha256), other = next(iter(MADE.inputs.items())), "00fe"
    require_same_training_set(begun, target, label, sha256)
    with pytest.raises(JgptError, match="is half trained on another training_set 20260101") as caught:
        require_same_training_set(begun, target, label, other)
    assert f"\n  jgpt run --dump {DUMP} --retrain\n" in str(caught.value) and "JGPT_MODEL=NAME" in str(caught.value)
    (begun / RESULT).touch()
    require_same_training_set(begun, target, label, other)


def test_a_run_without_checkpoints_begins_anew_with_the_training_set_of_now(tmp_path: Path) -> None:
    target, run = (
        DirectoryArtifact("pretrained_model", f"{DUMP}|tiny", tmp_path / "model", model="tiny"),
        tmp_path / "run",
    )
    prepare_run_directory(run, MADE, None)
    require_same_training_set(run, target, "training_set 20260101", "00fe")
    prepare_run_directory(run, OTHER, None)
    (run / "checkpoints" / "step=00000004").mkdir(parents=True)
    require_same_training_set(run, target, "training_set 20260101", "00fe")
    assert recorded_inputs(target, run, None) == OTHER.inputs


def test_a_run_remembers_in_words_what_it_started_from(tmp_path: Path) -> None:
    assert recorded_words(tmp_path) == ""
    prepare_run_directory(tmp_path / "run", MADE, None, "from scratch: no model is finished")
    prepare_run_directory(tmp_path / "run", MADE, None, "from scratch")
    assert recorded_words(tmp_path / "run") == "from scratch: no model is finished"


def test_a_retry_keeps_a_run_that_has_finished(begun: Path) -> None:
    (begun / RESULT).touch()
    prepare_run_directory(begun, MADE, "first")
    assert (begun / RESULT).exists()


def test_without_force_a_run_resumes_and_a_finished_run_of_another_recipe_is_set_aside(
    begun: Path,
) -> None:
    prepare_run_directory(begun, MADE, None)
    prepare_run_directory(begun, OTHER, None)
    assert (begun / "checkpoints").exists()
    (begun / RESULT).touch()
    prepare_run_directory(begun, OTHER, None)
    assert not (begun / "checkpoints").exists()
    assert json.loads((begun / RECIPE).read_text())["settings"] == {"steps": 8}


def test_a_retry_keeps_the_inputs_of_its_run_despite_an_older_finished_model(begun: Path, tmp_path: Path) -> None:
    target = DirectoryArtifact("pretrained_model", "", tmp_path / "target")
    assert recorded_inputs(target, begun, None) == MADE.inputs
    with target.writing(OTHER) as out:
        (out.path / "model").touch()
    assert recorded_inputs(target, begun, "first") == MADE.inputs
    assert recorded_inputs(target, begun, "second") == MADE.inputs, "it goes on"
    (begun / RESULT).touch()
    assert recorded_inputs(target, begun, "first") == MADE.inputs
    assert recorded_inputs(target, begun, "second") == {}
    assert recorded_inputs(target, begun, None) == OTHER.inputs


def test_a_run_and_its_retries_share_one_root_run_id() -> None:
    first = dg.DagsterRun(job_name="job", run_id="1")
    again = dg.DagsterRun(job_name="job", run_id="3", root_run_id="1", parent_run_id="2")
    assert root_run_id(first) == root_run_id(again) == "1"


@pytest.mark.slow
def test_the_asset_keeps_checkpoints_until_a_forced_run_has_finished(
    finished: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = finished.copy(tmp_path / "data")
    run = deployment.data / ".scratch" / "pretrained_model" / f"dump={DUMP}" / "model=tiny"
    checkpoint = run / "checkpoints" / "step=00000004"

    def die(*arguments: object, **options: object) -> None:
        checkpoint.mkdir(parents=True, exist_ok=True)
        raise LaunchError("killed")

    def force(root: str) -> bool:
        """Run once, forced, as a repetition of the run `root`; say whether the checkpoints of before were there."""
        monkeypatch.setattr(pretrained_model, "root_run_id", lambda run: root)
        mark = checkpoint / "mark"
        error = deployment.materialize(
            "pretrained_model", f"{DUMP}|tiny", **SMALL_RUN["pretrained_model"], force=True
        ).error
        assert error is not None and error.startswith("killed")
        assert error.endswith("--retrain") or (run / RESULT).exists()
        kept = mark.exists()
        mark.touch()
        return kept

    monkeypatch.setattr(pretrained_model, "run_process_group", die)
    assert [force("first"), force("first"), force("second")] == [False, True, True]
    (run / RESULT).touch()
    assert [force("second"), force("third"), force("third")] == [True, False, True]
