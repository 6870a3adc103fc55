"""A tokenizer and a model with random weights that fits it."""

from pathlib import Path

import pytest

from jgpt_dagster.lm.training.metrics_files import METRICS
from jgpt_dagster_tests.lm.release.random_models import new_model, save_model, save_small_tokenizer


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_tokenizer(tmp_path_factory.mktemp("tokenizer"), "words")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    (directory / METRICS).write_text('{"step":1,"loss":6.0}\n{"step":2,"loss":5.0,"validation_loss":5.5}\n')
    return directory


@pytest.fixture(scope="module")
def model_dir(tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(new_model(tokenizer_dir), tmp_path_factory.mktemp("model"))
