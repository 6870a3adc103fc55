"""Run config says what a training configuration says, and a run starts on the hardware it was planned for."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jgpt_dagster.assets import pretrained_model
from jgpt_dagster.assets.pretraining_config import (
    PretrainingConfig,
    recipe_settings,
    require_hardware,
    training_config,
)
from jgpt_dagster.lm.launch import gpus
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.process_group import LaunchError
from jgpt_dagster.lm.model.presets import PRESETS
from jgpt_dagster.lm.planning.hardware import HardwareError, parse_hardware
from jgpt_dagster.lm.planning.training_layout import LAYOUT_FIELDS
from jgpt_dagster.lm.training.train_config import TrainConfig
from jgpt_dagster.orchestration.resources import TrainingLauncher
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment


@pytest.fixture
def eight_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host seems to have eight GPUs of 24 GB."""
    monkeypatch.setattr(gpus, "_installed_nvidia_gpus", lambda: 8)
    for name in ("CUDA_VISIBLE_DEVICES", "DS_ACCELERATOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nyes 'NVIDIA GeForce RTX 3090, 24576' | head -8\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_what_preset_or_hardware_decides_is_none_in_run_config_and_the_rest_has_the_default_of_training() -> None:
    chosen_later = {"context", "global_batch", "learning_rate", "initializer_range", *LAYOUT_FIELDS}
    shared = PretrainingConfig.model_fields.keys() & TrainConfig.model_fields.keys()
    assert chosen_later < shared
    run_config = PretrainingConfig().model_dump(include=shared)
    defaults = {name: TrainConfig.model_fields[name].default for name in shared}
    assert run_config == {**defaults, **dict.fromkeys(chosen_later)}


@pytest.mark.parametrize(
    ("field", "accepted", "refused"),
    [
        ("zero_stage", 3, 4),
        ("seed", 0, -1),
        ("learning_rate", 1e-9, 0),
        ("steps", 1, 0),
        ("wandb_project", "p", ""),
        ("dtype", "bf16", "fp16"),
    ],
)
def test_run_config_has_the_bounds_of_a_training_configuration(field: str, accepted: Any, refused: Any) -> None:
    assert training_config(PretrainingConfig(**{field: accepted}), "tiny")
    with pytest.raises(ValidationError, match=field):
        PretrainingConfig(**{field: refused})


def test_a_recipe_leaves_out_the_initialization_that_all_models_had_before_it_was_a_setting() -> None:
    of_preset, given = PretrainingConfig(), PretrainingConfig.model_validate({"initializer_range": 0.02})
    assert "initializer_range" not in recipe_settings(training_config(of_preset, "xl"))
    assert "initializer_range" not in recipe_settings(training_config(given, "tiny"))
    tiny = training_config(of_preset, "tiny")
    assert recipe_settings(tiny)["initializer_range"] == tiny.initializer_range == PRESETS["tiny"].initializer_range


def test_every_setting_has_a_description_of_a_line_or_two() -> None:
    for name, field in (TrainConfig.model_fields | PretrainingConfig.model_fields).items():
        assert field.description and len(field.description) <= 200 and field.description.endswith("."), name


def test_a_machine_with_smaller_gpus_than_were_named_is_refused(eight_gpus: None) -> None:
    expected = r"8xa100-80 has 79\.0 GiB a GPU, but the rtx3090-24 of this host has 23\.0 GiB"
    with pytest.raises(HardwareError, match=expected):
        require_hardware(parse_hardware("8xa100-80"), TrainingLauncher())
    require_hardware(parse_hardware("8xrtx3090-24"), TrainingLauncher())
    require_hardware(parse_hardware("8xrtx4090-24"), TrainingLauncher())


def test_gpus_that_are_not_here_are_refused_whatever_number_of_processes_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(HardwareError, match="8xa100-80 names GPUs, but this host has none"):
        require_hardware(parse_hardware("8xa100-80"), TrainingLauncher(processes=8))


def test_a_run_for_the_cpu_leaves_the_gpus_of_its_host_alone(eight_gpus: None) -> None:
    launcher = TrainingLauncher()
    require_hardware(parse_hardware("cpu"), launcher)
    assert (launcher.process_count(gpu=False), launcher.process_count()) == (1, 8)
    assert training_environment(1, on_cpu=True)["DS_ACCELERATOR"] == "cpu"
    assert "DS_ACCELERATOR" not in training_environment(8)


@pytest.mark.slow
def test_hardware_cpu_starts_one_process_on_the_cpu_of_a_host_with_gpus(
    eight_gpus: None, finished: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, str]] = []

    def start(command: list[str], environment: dict[str, str], **options: Any) -> None:
        started.append(environment)
        raise LaunchError("started")

    monkeypatch.setattr(pretrained_model, "run_process_group", start)
    deployment = finished.copy(tmp_path / "data")
    run = {**SMALL_RUN["pretrained_model"], "hardware": "cpu", "force": True}
    error = deployment.materialize("pretrained_model", f"{DUMP}|tiny", **run).error
    assert error is not None and error.startswith("started ")
    assert started[0]["DS_ACCELERATOR"] == "cpu"
