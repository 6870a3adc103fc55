"""Fixtures that tests of training share."""

from pathlib import Path

import pytest

from jgpt_dagster_tests.support.training_runs import small_training_set


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a small training set, for the tests of one module."""
    path = tmp_path_factory.mktemp("root")
    small_training_set(path)
    return path
