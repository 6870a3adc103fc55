"""A data root remembers what it is made with: a run that leaves its config out goes on as before."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.presets import PRESETS
from jgpt_dagster.orchestration import local_runner
from jgpt_dagster.storage.sealed_json import read_sealed_json, write_sealed_json
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment

pytestmark = pytest.mark.slow

KEY = f"{DUMP}|tiny"


@pytest.fixture(params=["kept", "made before config was kept"])
def deployment(finished: Deployment, tmp_path: Path, request: pytest.FixtureRequest) -> Deployment:
    copy = finished.copy(tmp_path / "data")
    if request.param != "kept":
        (copy.data / "run_config.json").unlink()
    return copy


def test_a_run_without_its_config_makes_nothing_again(deployment: Deployment) -> None:
    """With the defaults, the documents would be divided anew and the model trained for 4,000 steps."""
    before = deployment.mtimes()
    for asset, partition in (
        ("cc100_documents", "000"),
        ("training_set", DUMP),
        ("pretrained_model", KEY),
        ("evaluation", KEY),
        ("release", KEY),
    ):
        made = deployment.materialize(asset, partition)
        assert (made.error, made.metadata["status"].value) == (None, "verified: complete and current"), asset
    records = ("run_config.json", "checks.json")
    assert {name: time for name, time in deployment.mtimes().items() if not name.endswith(records)} == {
        name: time for name, time in before.items() if not name.endswith(records)
    }


def test_the_kept_config_is_shown_and_holds_what_was_given(deployment: Deployment) -> None:
    shown = deployment.invoke("config")
    for asset in ("training_set", "pretrained_model", "evaluation"):
        assert asset in shown
        for name, value in SMALL_RUN.get(asset, {}).items():
            if name != "log_every":
                assert f"  {name:<28} {value}" in shown or name.endswith("_every")


def test_another_value_is_refused_until_it_is_set_and_defaults_are_left_alone(deployment: Deployment) -> None:
    error = deployment.materialize("training_set", DUMP, validation_share=0.2).error
    assert error is not None and "jgpt config set training_set.validation_share=0.2" in error
    refused = deployment.try_invoke("config", "set", "training_set.validation_share=0.2")
    assert (
        refused.code == 1
        and "Stale from then on: training_set, foreign_evaluation, plan, pretrained_model" in refused.output
    )
    deployment.invoke("config", "set", "training_set.validation_share=0.2", "--yes")
    status = deployment.invoke("status", "--dump", DUMP)
    assert f"training_set {DUMP}: made with validation_share 0.08, which is now 0.2" in status
    assert f"pretrained_model {KEY}: training_set {DUMP} is stale" in status
    made = deployment.materialize("training_set", DUMP)
    assert (made.error, made.metadata["status"].value) == (None, "made")
    kept = json.loads((deployment.data / "run_config.json").read_text())
    assert kept["training_set"] == {"validation_share": 0.2, "weights": {}}


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("training_set", "is not of the form ASSET.FIELD=VALUE"),
        ("training_set.share=1", "there is no field 'share'"),
        ("training_set.validation_share=2", "less than 1"),
        ("nothing.x=1", "there is no asset 'nothing'"),
        ("tokenizer.vocab_size=400", "No run config of tokenizer is kept"),
        ("pretrained_model.warm_start=require", "pretrained_model.warm_start is not kept"),
    ],
)
def test_what_cannot_be_set_is_named(finished: Deployment, assignment: str, says: str) -> None:
    refused = finished.try_invoke("config", "set", assignment, "--yes")
    assert refused.code == 1 and says in refused.output


def test_the_plan_is_of_the_kept_config(deployment: Deployment) -> None:
    planned = deployment.invoke("plan", "--dump", DUMP)
    assert f"{'steps':<28} {SMALL_RUN['pretrained_model']['steps']}" in planned


def test_config_of_one_model_says_nothing_of_another(finished: Deployment) -> None:
    assert "learning_rate" in finished.invoke("config")
    assert "learning_rate" not in finished.with_settings(MODEL="small").invoke("config")


def test_a_damaged_record_is_named(finished: Deployment, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "data")
    (copy.data / "run_config.json").unlink()
    (copy.data / "run_config.json").write_text("{")
    error = copy.materialize("training_set", DUMP).error
    assert error is not None and "run_config.json is damaged" in error and "delete it" in error


def test_the_numbers_of_a_preset_are_kept_so_that_a_later_default_changes_nothing(
    finished: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = json.loads((finished.data / "run_config.json").read_text())["pretrained_model tiny"]
    tiny = PRESETS["tiny"]
    assert (kept["learning_rate"], kept["initializer_range"]) == (tiny.learning_rate, tiny.initializer_range)
    weights = json.loads((finished.data / f"pretrained_model/dump={DUMP}/model=tiny/model/config.json").read_text())
    assert weights["initializer_range"] == tiny.initializer_range
    monkeypatch.setitem(PRESETS, "tiny", replace(tiny, learning_rate=1.0, context=64))
    made = finished.copy(tmp_path / "data").materialize("pretrained_model", KEY, preset="tiny")
    assert (made.error, made.metadata["status"].value) == (None, "verified: complete and current")
    assert "stale" not in made.metadata


def test_a_model_of_before_its_initialization_was_a_setting_keeps_that_of_gpt2(
    finished: Deployment, tmp_path: Path
) -> None:
    copy = finished.copy(tmp_path / "data")
    record = copy.data / "run_config.json"
    content = read_sealed_json(record.read_bytes())
    del content["pretrained_model tiny"]["initializer_range"]
    write_sealed_json(record, content)
    assert f"{'initializer_range':<28} 0.02\n" in copy.invoke("config")
    # What was kept before a training began says nothing of how it will begin.
    write_sealed_json(record, {**content, "pretrained_model tiny": {"steps": 5}})
    assert "initializer_range" not in copy.invoke("config")


def test_a_length_in_another_unit_replaces_the_kept_one(finished: Deployment, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "data")
    copy.invoke("config", "set", "pretrained_model.epochs=0.5", "--yes")
    kept = json.loads((copy.data / "run_config.json").read_text())["pretrained_model tiny"]
    assert (kept["epochs"], kept["steps"], kept["tokens"]) == (0.5, None, None)
    assert f"{'steps':<28} {SMALL_RUN['pretrained_model']['steps']}\n" not in copy.invoke("plan", "--dump", DUMP)


def test_config_of_a_run_that_was_stopped_is_kept(
    finished: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise JgptError("stopped")

    monkeypatch.setattr(local_runner, "run_stages", stop)
    copy = finished.copy(tmp_path / "data")
    (copy.data / "run_config.json").unlink()
    for asset in ("training_set", *MODEL_ASSETS):
        copy.root.directory(asset, DUMP, model="tiny" if asset in MODEL_ASSETS else None).remove()
    config = tmp_path / "config.yaml"
    config.write_text(
        "ops:\n  evaluation:\n    config: {seed: 7}\n  training_set:\n    config: {validation_share: 0.3}\n"
    )
    assert copy.try_invoke("run", "--dump", DUMP, "--config", str(config)).code == 1
    kept = read_sealed_json((copy.data / "run_config.json").read_bytes())
    assert kept["evaluation tiny"] == {"seed": 7} and kept["training_set"] == {"validation_share": 0.3}


def test_a_kept_value_that_is_not_allowed_any_more_is_named(finished: Deployment, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "data")
    kept = read_sealed_json((copy.data / "run_config.json").read_bytes())
    kept["training_set"]["validation_share"] = 2
    (copy.data / "run_config.json").unlink()
    (copy.data / "run_config.json").write_text(json.dumps(kept))
    error = copy.materialize("training_set", DUMP).error
    assert error is not None and "validation_share 2: Input should be less than 1" in error
    assert "jgpt config set training_set.FIELD=VALUE" in error
