from pathlib import Path

import pytest

from jgpt_dagster.lm.data.training_set import TrainingSet, TrainingSetError


def test_a_missing_training_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingSetError, match=f"{tmp_path}/training_set.json is not a training set"):
        TrainingSet.open(tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "training_set.json").write_text(text)
    with pytest.raises(TrainingSetError, match=f"{tmp_path}/training_set.json is not a training set"):
        TrainingSet.open(tmp_path)
