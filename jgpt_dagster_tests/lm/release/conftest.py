"""A tokenizer and a model with random weights that fits it."""

from pathlib import Path

import pytest

from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, train_tokenizer
from jgpt_dagster.lm.tokenizer.text_tokenizer import save_tokenizer
from jgpt_dagster_tests.lm.release.random_models import new_model, save_model
from jgpt_dagster_tests.support.token_samples import segmented_documents


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    settings = TokenizerSettings(vocab_size=400, limit_alphabet=100)
    trained = train_tokenizer(lambda: segmented_documents(50), "clean", settings, lambda line: None)
    save_tokenizer(trained.tokenizer, directory, "clean", "mecab", "fingerprint")
    return directory


@pytest.fixture(scope="module")
def model_dir(tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(new_model(tokenizer_dir), tmp_path_factory.mktemp("model"))
