from pathlib import Path

import pytest

from jgpt_dagster.catalog.comparison import parse_side
from jgpt_dagster.catalog.evaluated_models import EvaluatedModels, default_name, evaluation_output, made_again_since
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.evaluation.model_directory import directory_fingerprint
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe

DUMP = "20260101"


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


def test_a_model_from_elsewhere_that_lies_in_the_root_is_none_of_its_own(tmp_path: Path) -> None:
    models = EvaluatedModels(DataRoot(tmp_path))
    models.record("theirs", tmp_path / "models" / "theirs")
    assert not models.is_own("theirs")


def test_a_release_that_was_made_again_since_it_was_evaluated_is_named(tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    release, evaluation = root.directory("release", DUMP, model="tiny"), evaluation_output(root, DUMP, "tiny-20260101")

    def make(artifact: DirectoryArtifact, content: str, **inputs: str) -> None:
        with artifact.writing(Recipe(artifact.asset, "1", inputs=inputs)) as out:
            (out.path / "config.json").write_text(content)

    make(release, "{}")
    EvaluatedModels(root).record("tiny-20260101", release.path)
    make(evaluation, "{}", model=directory_fingerprint(release.path))
    make(evaluation_output(root, DUMP, "bigrams"), "{}")
    assert made_again_since(root, DUMP) == []
    make(release, '{"n_layer": 2}')
    assert made_again_since(root, DUMP) == ["tiny-20260101"]


def test_two_directories_of_one_name_are_told_apart_once_one_has_another(tmp_path: Path) -> None:
    root = DataRoot(tmp_path / "data")
    models, one, two = EvaluatedModels(root), tmp_path / "a" / "model", tmp_path / "b" / "model"
    for directory in (root.path, one, two):
        directory.mkdir(parents=True)
    models.record("model", one)
    with pytest.raises(JgptError, match=f"jgpt evaluate {two} --name NAME"):
        models.record(models.name_for(two), two)
    models.record("other", two)
    models.record("again", one)
    assert [parse_side(root, str(directory), "tiny").name for directory in (one, two)] == ["model", "other"]


@pytest.mark.parametrize(("folder", "name"), [("My Model_7B", "my-model_7b"), ("日本語 GPT", "gpt"), ("..x", "x")])
def test_a_folder_gives_a_name_of_plain_characters(folder: str, name: str, tmp_path: Path) -> None:
    assert default_name(tmp_path / folder) == name


def test_a_folder_without_a_plain_character_needs_a_name(tmp_path: Path) -> None:
    models = EvaluatedModels(DataRoot(tmp_path))
    with pytest.raises(JgptError, match="--name"):
        models.name_for(tmp_path / "日本語")
    models.record("one", tmp_path / "日本語")
    assert models.name_for(tmp_path / "日本語") == "one"
