"""The Launchpad shows the values that a data root has for each field, and a run of what it shows changes nothing."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.snap import JobSnap
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap

from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.lm.model.presets import PRESETS
from jgpt_dagster.settings import Settings
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment, in_process_instance

KEY = f"{DUMP}|tiny"


def launchpad(settings: Settings, asset: str) -> dict[str, Any]:
    """Return the run config that Dagster's Launchpad begins with for an asset."""
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    snapshot = JobSnap.from_job_def(job.get_subset(asset_selection={dg.AssetKey(asset)}))
    types, (mode,) = snapshot.config_schema_snapshot, snapshot.mode_def_snaps
    assert mode.root_config_key
    shown = yaml.safe_load(default_values_yaml_from_type_snap(types, types.get_config_snap(mode.root_config_key)))
    assert shown.keys() <= {"ops", "resources"} and not shown.get("resources"), "they are not a user's to set"
    assert [*shown["ops"]] == [asset]
    config: dict[str, Any] = shown["ops"][asset]["config"]
    return config


def settings_of(deployment: Deployment, **others: Any) -> Settings:
    values: dict[str, Any] = {name.lower(): value for name, value in deployment.settings.items()}
    return Settings(**{"data": deployment.data, "scratch": None, **values, **others})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asset", "partition"),
    [("cc100_documents", "000"), ("tokenizer", None), ("training_set", DUMP), ("pretrained_model", KEY)],
)
def test_a_run_of_what_it_shows_finds_the_output_current(
    finished: Deployment, tmp_path: Path, asset: str, partition: str | None
) -> None:
    shown = launchpad(settings_of(finished), asset)
    for name, value in SMALL_RUN.get(asset, {}).items():
        assert shown[name] == value or name.endswith("_every"), f"{name}: the root was made with {value}"
    made = finished.copy(tmp_path / "data").materialize(asset, partition, **shown)
    assert (made.error, made.metadata["status"].value) == (None, "verified: complete and current")


@pytest.mark.slow
def test_another_model_has_the_values_of_its_own_preset(finished: Deployment) -> None:
    in_process_instance().add_dynamic_partitions("model", ["small"])
    steps = SMALL_RUN["pretrained_model"]["steps"]
    for partition, own in ((KEY, True), (f"{DUMP}|small", False)):
        planned = finished.materialize("plan", partition)
        assert planned.error is None
        figures = {
            record["what"]: record["figure"] for record in (row.data for row in planned.metadata["plan"].records)
        }
        assert (figures["steps"] == str(steps)) == own


def test_a_first_training_shows_the_values_of_the_preset(tmp_path: Path) -> None:
    shown = launchpad(Settings(data=tmp_path, model="tiny"), "pretrained_model")
    assert (shown["learning_rate"], shown["context"]) == (PRESETS["tiny"].learning_rate, PRESETS["tiny"].context)
    assert "learning_rate" not in launchpad(Settings(data=tmp_path, model="mine"), "pretrained_model")


def test_neither_a_damaged_record_nor_an_unreachable_root_keeps_the_code_location_from_loading(tmp_path: Path) -> None:
    record = tmp_path / "run_config.json"
    for damaged in ("{", '{"training_set": {"validation_share": 2}}'):
        record.write_text(damaged)
        shown = launchpad(Settings(data=tmp_path), "training_set")
        assert (shown["weights"], shown["validation_share"]) == ({}, 0.005)
    remote = Settings(data="s3://bucket/of-nobody", scratch=tmp_path / "scratch")
    assert launchpad(remote, "training_set")["weights"] == {}
