"""`<corpus>_segmented`: a changed engine is refused before any work."""

import lzma
from pathlib import Path

import pytest

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.segmenters.mecab import MecabSegmenter
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster_tests.support.deployments import DUMP, Deployment

CHANGED = "mecab fugashi-9.9.9 jumandic sha256:0123"


@pytest.fixture
def segmented(tmp_path: Path) -> Deployment:
    """A data root with one segmented shard and a tokenizer of the same engine."""
    archive = tmp_path / "ja.txt.xz"
    archive.write_bytes(
        lzma.compress("吾輩は猫である。名前はまだ無い。\n\nどこで生れたかとんと見当がつかぬ。".encode())
    )
    settings = {"CC100_URL": archive.as_uri(), "SHARDS": "1", "TEXT": "clean", "MODEL": "tiny"}
    deployment = Deployment(tmp_path / "data", settings)
    assert deployment.materialize("cc100_dump").error is None
    assert deployment.materialize("cc100_documents", "000", minimum_characters=0).error is None
    assert deployment.materialize("cc100_segmented", "000").error is None
    with open_segmenter("mecab") as engine:
        recipe = Recipe("tokenizer", "1", libraries={"segmenter": engine.fingerprint})
    with deployment.root.directory("tokenizer").writing(recipe):
        pass
    return deployment


def test_a_changed_engine_is_refused_before_it_segments_anything_and_overwrites_nothing(
    segmented: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[str]:
        raise AssertionError("a sentence was segmented")

    before = segmented.mtimes()
    with open_segmenter("mecab") as engine:
        own = engine.fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(MecabSegmenter, "fingerprint", CHANGED)
        patch.setattr(MecabSegmenter, "_split", refuse)
        for config in ({}, {"force": True}):
            error = segmented.materialize("cc100_segmented", "000", **config).error or ""
            assert own in error and CHANGED in error
            version = own.split()[1].removeprefix("fugashi-")
            assert f"pip install --force-reinstall fugashi=={version} jumandic" in error
            assert "export JGPT_DATA=" in error
            assert f"mv {segmented.data}/tokenizer " in error
    assert segmented.mtimes() == before
    assert segmented.materialize("cc100_segmented", "000").metadata["status"].text == "verified: complete and current"


def test_a_run_with_a_changed_engine_is_refused_before_any_work(
    segmented: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = segmented.mtimes()
    monkeypatch.setattr(MecabSegmenter, "fingerprint", CHANGED)
    refused = segmented.try_invoke("run", "--dump", DUMP)
    assert refused.code == 1
    assert "the tokenizer of this data root encodes words of the engine" in refused.output
    assert segmented.mtimes() == before


def test_a_tokenizer_of_text_takes_the_words_of_any_engine(
    segmented: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("tokenizer", "1", settings={"encodes": "text"}, libraries={"segmenter": "another"})
    with segmented.root.directory("tokenizer").writing(recipe):
        pass
    monkeypatch.setattr(MecabSegmenter, "fingerprint", CHANGED)
    assert segmented.materialize("cc100_segmented", "000").metadata["status"].text == "made"


def test_without_the_tokenizer_every_shard_is_segmented_again(
    segmented: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    (segmented.data / "tokenizer").rename(segmented.data.parent / "old")
    monkeypatch.setattr(MecabSegmenter, "fingerprint", CHANGED)
    assert segmented.materialize("cc100_segmented", "000").metadata["status"].text == "made"
    manifest = segmented.root.parquet("cc100_segmented", shard="000").manifest()
    assert manifest and manifest.recipe.libraries["segmenter"] == CHANGED
