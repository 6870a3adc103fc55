"""Every output has the path that the contract says, and a root keeps the settings that it was made with."""

from pathlib import Path

import pytest

from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot, RootMismatchError, shard_names
from jgpt_dagster.storage.hashing import canonical_json, sha256_file, sha256_value
from jgpt_dagster.storage.sealed_json import read_sealed_json

ROOT = DataRoot(Path("/data"))
FIXED: dict[str, str | int] = {"wiki": "jawiki", "text": "clean", "segmenter": "mecab", "shards": 64}


@pytest.mark.parametrize(
    ("artifact", "path", "label"),
    [
        (ROOT.directory("wikipedia_dump", "20250801"), "wikipedia_dump/dump=20250801", "wikipedia_dump 20250801"),
        (
            ROOT.parquet("wikipedia_articles", "20250801", "003"),
            "wikipedia_articles/dump=20250801/shard=003.parquet",
            "wikipedia_articles 20250801|003",
        ),
        (ROOT.directory("cc100_dump"), "cc100_dump", "cc100_dump"),
        (
            ROOT.parquet("cc100_segmented", shard="003"),
            "cc100_segmented/shard=003.parquet",
            "cc100_segmented 003",
        ),
        (
            ROOT.directory("wikipedia_tokens", "20250801", "003"),
            "wikipedia_tokens/dump=20250801/shard=003",
            "wikipedia_tokens 20250801|003",
        ),
        (ROOT.directory("cc100_tokens", shard="003"), "cc100_tokens/shard=003", "cc100_tokens 003"),
        (ROOT.directory("tokenizer"), "tokenizer", "tokenizer"),
        (ROOT.directory("training_set", "20250801"), "training_set/dump=20250801", "training_set 20250801"),
        (ROOT.directory("release", "20250801", model="xl"), "release/dump=20250801/model=xl", "release 20250801|xl"),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" in value else "",
)
def test_outputs_have_the_paths_and_labels_of_the_contract(artifact: Artifact, path: str, label: str) -> None:
    assert artifact.path == Path("/data") / path
    assert artifact.label == label


def test_recipes_name_the_outputs_of_a_model_without_the_model() -> None:
    """Models that were made before their name was part of the partition stay current."""
    assert ROOT.directory("pretrained_model", "20250801", model="tiny").recipe_label == "pretrained_model 20250801"
    assert ROOT.directory("wikipedia_tokens", "20250801", "003").recipe_label == "wikipedia_tokens 20250801|003"


def test_a_shard_is_found_again_by_its_label() -> None:
    for shard in (ROOT.parquet("wikipedia_segmented", "20250801", "003"), ROOT.parquet("cc100_segmented", shard="003")):
        assert ROOT.parquet_by_label(shard.label) == shard
    tokens = ROOT.directory("wikipedia_tokens", "20250801", "003")
    assert ROOT.directory_by_label(tokens.label) == tokens


def test_shards_are_named_by_three_digits() -> None:
    assert shard_names(99)[:2] == ["000", "001"]
    assert shard_names(99)[-1] == "098"


def test_the_settings_of_a_root_are_recorded_once_and_the_same_ones_are_accepted_again(tmp_path: Path) -> None:
    root = DataRoot(tmp_path / "data")
    assert not root.check_pinned_settings(FIXED)
    root.pin_settings(FIXED)
    record = tmp_path / "data" / "root.json"
    written = record.stat().st_ino
    assert read_sealed_json(record.read_bytes()) == FIXED
    DataRoot(tmp_path / "data").pin_settings(dict(reversed(FIXED.items())))
    assert root.check_pinned_settings(FIXED)
    assert record.stat().st_ino == written


@pytest.mark.parametrize(
    ("name", "value"), [("wiki", "jawikinews"), ("text", "seed"), ("segmenter", "jumanpp"), ("shards", 2)]
)
def test_another_setting_is_refused_with_both_values(tmp_path: Path, name: str, value: str | int) -> None:
    DataRoot(tmp_path).pin_settings(FIXED)
    with pytest.raises(RootMismatchError) as caught:
        DataRoot(tmp_path).pin_settings({**FIXED, name: value})
    assert f"JGPT_{name.upper()}={value}, but the data in it was made with {FIXED[name]}" in str(caught.value)
    assert "root.json" in str(caught.value)
    DataRoot(tmp_path).pin_settings(FIXED)


def test_hashes_are_of_bytes_and_of_values_not_of_their_order(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    (tmp_path / "part").write_bytes(b"bcd")
    assert sha256_file(tmp_path / "part") == sha256_file(tmp_path / "file", 1, 3)
    assert sha256_value({"a": 1, "b": [2]}) == sha256_value({"b": [2], "a": 1})
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("inf"))
