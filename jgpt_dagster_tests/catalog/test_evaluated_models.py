from pathlib import Path

import pytest

from jgpt_dagster.catalog.evaluated_models import EvaluatedModels, default_name
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.data_root import DataRoot


def test_a_name_stays_that_of_its_directory(tmp_path: Path) -> None:
    models = EvaluatedModels(DataRoot(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    models.record("one", tmp_path / "one")
    models.record("one", tmp_path / "one")
    with pytest.raises(JgptError, match=r"one is the name of .*/one already\. Give"):
        models.record("one", tmp_path / "two")
    assert models.directory("one") == tmp_path / "one"
    assert not models.is_own("one")
    with pytest.raises(JgptError, match="No model is called 'two'; known are: one"):
        models.directory("two")
    for name in ("bigrams", "seal"):
        with pytest.raises(JgptError, match=f"{name} is a name that jgpt needs"):
            models.record(name, tmp_path / "one")


def test_the_directory_of_an_own_release_moves_with_the_root(tmp_path: Path) -> None:
    release = tmp_path / "data" / "release" / "dump=20260101" / "model=tiny"
    release.mkdir(parents=True)
    models = EvaluatedModels(DataRoot(tmp_path / "data"))
    models.record(default_name(release), release)
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = EvaluatedModels(DataRoot(tmp_path / "moved"))
    assert moved.directory("tiny-20260101").is_dir() and moved.is_own("tiny-20260101")


@pytest.mark.parametrize(("folder", "name"), [("My Model_7B", "my-model_7b"), ("日本語 GPT", "gpt"), ("..x", "x")])
def test_a_folder_gives_a_name_of_plain_characters(folder: str, name: str, tmp_path: Path) -> None:
    assert default_name(tmp_path / folder) == name


def test_a_folder_without_a_plain_character_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(JgptError, match="--name"):
        default_name(tmp_path / "日本語")
