"""A tokenizer and a model with random weights that fits it."""

from pathlib import Path

import pytest

from jgpt_dagster_tests.lm.release.random_models import new_model, save_model, save_small_tokenizer


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_tokenizer(tmp_path_factory.mktemp("tokenizer"), "words")


@pytest.fixture(scope="module")
def model_dir(tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(new_model(tokenizer_dir), tmp_path_factory.mktemp("model"))
