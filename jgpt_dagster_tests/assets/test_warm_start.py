"""A warm start goes on from the newest earlier model that speaks the same tokens, and stays with the one it chose."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.assets.warm_start import InitialModel, initial_model
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest, Recipe

DATES = ("20260101", "20260120", "20260201")


@pytest.fixture
def store(tmp_path: Path) -> CorpusStore:
    """Three dumps with a training set each, of one tokenizer; the first two have a model."""
    store = CorpusStore.of(Settings(data=tmp_path, model="tiny"))
    for date in DATES:
        put_training_set(store, date)
    for date in DATES[:2]:
        put_model(store, date)
    return store


def put(target: DirectoryArtifact, content: str, inputs: Mapping[str, str]) -> None:
    with target.writing(Recipe(stage=target.asset, code_version="1", inputs=inputs)) as out:
        (out.path / "content").write_text(content)


def put_training_set(store: CorpusStore, date: str, tokenizer: str = "one") -> None:
    put(store.directory("training_set", date), f"{date} {tokenizer}", {"tokenizer": tokenizer})


def put_model(store: CorpusStore, date: str, content: str = "weights") -> None:
    data = store.directory("training_set", date)
    put(
        store.model_directory("pretrained_model", date, "tiny"),
        f"{date} {content}",
        {data.label: data.verified().data_sha256},
    )


def chosen(
    store: CorpusStore, date: str, recorded: Mapping[str, str] | None = None, model: str = "tiny"
) -> InitialModel | None:
    training_set: Manifest = store.directory("training_set", date).verified()
    return initial_model(dg.build_asset_context(partition_key=f"{date}|{model}"), store, recorded or {}, training_set)


def label(found: InitialModel | None) -> str | None:
    return found and found.artifact.label


def test_a_warm_start_takes_the_model_of_the_newest_earlier_dump(store: CorpusStore) -> None:
    assert label(chosen(store, DATES[2])) == f"pretrained_model {DATES[1]}|tiny"
    assert label(chosen(store, DATES[1])) == f"pretrained_model {DATES[0]}|tiny"


def test_the_first_dump_starts_from_scratch(store: CorpusStore) -> None:
    assert chosen(store, DATES[0]) is None


def test_a_model_of_another_tokenizer_is_skipped(store: CorpusStore) -> None:
    put_training_set(store, DATES[1], tokenizer="two")
    put_model(store, DATES[1])
    assert label(chosen(store, DATES[2])) == f"pretrained_model {DATES[0]}|tiny"


def test_a_model_with_an_unknown_tokenizer_is_skipped(store: CorpusStore) -> None:
    put_training_set(store, DATES[1], tokenizer="two")  # made again since the model was
    store.directory("training_set", DATES[0]).remove()
    assert chosen(store, DATES[2]) is None


def test_a_model_of_another_name_is_not_used(store: CorpusStore, tmp_path: Path) -> None:
    assert chosen(store, DATES[2], model="small") is None


def test_a_run_keeps_the_model_that_it_started_from(store: CorpusStore) -> None:
    first = chosen(store, DATES[1])
    assert first is not None
    recorded = {f"training_set {DATES[2]}": "0", first.artifact.recipe_label: first.sha256}
    assert chosen(store, DATES[2], recorded) == first
    first.artifact.remove()
    assert chosen(store, DATES[2], recorded) == first


def test_an_initial_model_that_was_made_again_is_refused(store: CorpusStore) -> None:
    found = chosen(store, DATES[2])
    assert found is not None
    found.require_unchanged()
    put_model(store, DATES[1], "other weights")
    with pytest.raises(JgptError, match=rf"pretrained_model {DATES[1]}\|tiny has been made again"):
        found.require_unchanged()
    found.artifact.remove()
    with pytest.raises(JgptError, match="missing or incomplete"):
        found.require_unchanged()
