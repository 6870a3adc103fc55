"""A warm start goes on from a finished model that speaks the same tokens, stays with it, and says why there is none."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.assets.pretraining_config import PretrainingConfig, training_config
from jgpt_dagster.assets.warm_start import (
    InitialModel,
    Start,
    WarmStartError,
    choose_start,
    recorded_start,
)
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.partitions import ModelKey
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.verdict import record_verdict
from jgpt_dagster_tests.support.deployments import DUMP, Deployment

DATES = ("20260101", "20260120", "20260201")
TINY = {"n_layer": 2, "n_embd": 128, "n_head": 4, "n_positions": 128}


@pytest.fixture
def store(tmp_path: Path) -> CorpusStore:
    """Three dumps with a training set each, of one tokenizer; the first two have a model."""
    store = CorpusStore.of(Settings(data=tmp_path, model="tiny"))
    for date in DATES:
        put_training_set(store, date)
    for date in DATES[:2]:
        put_model(store, date)
    return store


def put(target: DirectoryArtifact, content: str, inputs: Mapping[str, str], config: object = None) -> None:
    settings = {"model": "tiny", "context": 128} if target.model else {}
    with target.writing(Recipe(target.asset, "1", settings, inputs)) as out:
        (out.path / "content").write_text(content)
        if config:
            (out.path / "model").mkdir()
            write_json(out.path / "model" / "config.json", config)


def put_training_set(store: CorpusStore, date: str, tokenizer: str = "one", content: str = "") -> None:
    put(store.directory("training_set", date), f"{date} {tokenizer} {content}", {"tokenizer": tokenizer})


def put_model(
    store: CorpusStore, date: str, content: str = "weights", name: str = "tiny", config: object = TINY
) -> DirectoryArtifact:
    data, model = store.directory("training_set", date), store.model_directory("pretrained_model", date, name)
    put(model, f"{date} {name} {content}", {data.label: data.verified().data_sha256}, config)
    return model


def started(
    store: CorpusStore,
    date: str,
    model: str = "tiny",
    mode: str | bool = "auto",
    tokenizer: str | None = "one",
    **config: Any,
) -> Start:
    fields = PretrainingConfig(**({"warm_start": mode, "preset": "tiny"} | config))
    return choose_start(
        store,
        ModelKey(date, model),
        training_config(fields, model),
        tokenizer,
        warm_start=fields.warm_start,
        start_from=fields.start_from,
    )


def label(start: Start) -> str | None:
    return start.model and start.model.artifact.label


def test_a_warm_start_takes_the_model_of_the_newest_earlier_dump(store: CorpusStore) -> None:
    assert label(started(store, DATES[2])) == f"pretrained_model {DATES[1]}|tiny"
    assert label(started(store, DATES[1])) == f"pretrained_model {DATES[0]}|tiny"
    assert started(store, DATES[1]).words == f"from pretrained_model {DATES[0]}|tiny"


def test_true_and_false_still_mean_auto_and_off() -> None:
    values = {
        value: PretrainingConfig(warm_start=value).warm_start for value in (True, "auto", "require", False, "off")
    }
    assert values == {True: "auto", "auto": "auto", "require": "require", False: "off", "off": "off"}
    for value in ("yes", None, 1, "", ["auto"]):
        with pytest.raises(ValueError, match="auto, require or off"):
            PretrainingConfig(warm_start=value)


def test_a_run_that_starts_from_scratch_says_why(store: CorpusStore) -> None:
    none = f"from scratch: no model tiny of {DATES[0]} or an earlier dump is finished"
    assert started(store, DATES[0]) == (None, none)
    assert started(store, DATES[2], mode=False) == (None, "from scratch: warm_start is off")
    models = [f"pretrained_model {date}|tiny" for date in DATES]
    other = started(store, DATES[1], tokenizer="two")
    assert other == (None, f"from scratch: {models[0]} has another tokenizer")
    longer = started(store, DATES[2], context=64)
    assert longer.model is None
    assert longer.words == (
        f"from scratch: {models[1]} has another architecture (n_positions 128, not 64); "
        f"{models[0]} has another architecture (n_positions 128, not 64)"
    )
    wider = started(store, DATES[1], preset="small").words
    assert "n_layer 2, not 12, n_embd 128, not 768, n_head 4, not 12, n_positions 128, not 1024" in wider


def test_a_model_of_a_new_name_goes_on_from_the_one_named_for_its_preset(store: CorpusStore) -> None:
    """So is trained on for a longer list of corpora, beside the model of the shorter one."""
    assert label(started(store, DATES[1], "tiny-news")) == f"pretrained_model {DATES[1]}|tiny"
    put_model(store, DATES[0], name="tiny-news")
    assert label(started(store, DATES[1], "tiny-news")) == f"pretrained_model {DATES[0]}|tiny-news"


def test_the_model_to_start_from_can_be_named(store: CorpusStore) -> None:
    put_model(store, DATES[1], name="base")
    assert label(started(store, DATES[1], start_from="base")) == f"pretrained_model {DATES[1]}|base"
    assert started(store, DATES[1], start_from="none").words.startswith("from scratch: no model none of")
    with pytest.raises(WarmStartError, match=r"start_from names the model base, but warm_start is off"):
        started(store, DATES[1], mode="off", start_from="base")


def test_a_model_never_starts_from_itself_or_from_a_later_dump(store: CorpusStore) -> None:
    assert label(started(store, DATES[0])) is None
    assert label(started(store, DATES[1], start_from="tiny")) == f"pretrained_model {DATES[0]}|tiny"


def test_a_required_start_is_refused_with_the_command_that_mends_it(store: CorpusStore) -> None:
    assert label(started(store, DATES[1], mode="require")) == f"pretrained_model {DATES[0]}|tiny"
    with pytest.raises(WarmStartError, match=r"no model tiny of 20260101 .* is finished") as caught:
        started(store, DATES[0], mode="require")
    assert str(caught.value).endswith(f"\n  JGPT_MODEL=tiny jgpt run --dump {DATES[0]} --warm-start off")
    put_model(store, DATES[0], name="base")
    with pytest.raises(WarmStartError) as caught:
        started(store, DATES[0], mode="require")
    command = f"JGPT_MODEL=tiny jgpt run --dump {DATES[0]} --warm-start require --start-from base"
    assert str(caught.value).endswith(f"pretrained_model {DATES[0]}|base is fit; start from it with\n  {command}")
    with pytest.raises(WarmStartError, match="has another architecture") as caught:
        started(store, DATES[1], "mine", mode="require", context=64)
    command = "jgpt config set pretrained_model.preset=tiny pretrained_model.context=128"
    assert f"with\n  JGPT_MODEL=mine {command}\nor start from scratch" in str(caught.value)


def test_a_model_of_another_tokenizer_is_skipped(store: CorpusStore) -> None:
    put_training_set(store, DATES[1], tokenizer="two")
    put_model(store, DATES[1])
    assert label(started(store, DATES[2])) == f"pretrained_model {DATES[0]}|tiny"


def test_a_model_whose_check_failed_is_skipped(store: CorpusStore) -> None:
    record_verdict(store.model_directory("pretrained_model", DATES[1], "tiny"), "loss_fell", False, "it rose")
    assert label(started(store, DATES[2])) == f"pretrained_model {DATES[0]}|tiny"
    record_verdict(store.model_directory("pretrained_model", DATES[0], "tiny"), "loss_fell", False, "it rose")
    assert "is not good (check loss_fell failed: it rose)" in started(store, DATES[2]).words


def test_a_model_with_an_unknown_tokenizer_is_skipped(store: CorpusStore) -> None:
    put_training_set(store, DATES[0], content="made again")
    store.directory("training_set", DATES[1]).remove()
    assert started(store, DATES[2]).words.count("is not known to have the same tokenizer") == 2


@pytest.mark.parametrize("says", ["the record of its run", "its release"])
def test_the_tokenizer_is_known_after_the_training_set_was_made_again_with_more_corpora(
    store: CorpusStore, says: str
) -> None:
    model = put_model(store, DATES[1])
    if says == "its release":
        inputs = {model.recipe_label: model.verified().data_sha256, "tokenizer": "one"}
        put(store.model_directory("release", DATES[1], "tiny"), "card", inputs)
    else:
        write_json(model.run_path, {"tokenizer": "one"})
    put_training_set(store, DATES[1], content="and news")
    assert label(started(store, DATES[1], "tiny-news", mode="require")) == model.label
    assert "has another tokenizer" in started(store, DATES[1], "tiny-news", tokenizer="two").words


def test_a_run_keeps_the_model_that_it_started_from(store: CorpusStore) -> None:
    put_model(store, DATES[1], name="base")
    for start_from, date in (("tiny", DATES[0]), ("base", DATES[1])):
        first = started(store, DATES[1], start_from=start_from).model
        assert first is not None and first.artifact.label == f"pretrained_model {date}|{start_from}"
        inputs = {f"training_set {DATES[1]}": "0", first.input_label("tiny"): first.sha256}
        first.artifact.remove()
        assert recorded_start(store, ModelKey(DATES[1], "tiny"), inputs, required=True).model == first


def test_a_recipe_names_the_model_of_an_earlier_dump_as_it_always_did(store: CorpusStore) -> None:
    first = started(store, DATES[1]).model
    assert first is not None
    assert first.input_label("tiny") == f"pretrained_model {DATES[0]}"
    assert first.input_label("tiny-news") == f"pretrained_model {DATES[0]}|tiny"


def test_a_run_that_has_begun_from_scratch_goes_on_so_unless_a_model_is_required(store: CorpusStore) -> None:
    key, inputs = ModelKey(DATES[2], "tiny"), {f"training_set {DATES[2]}": "0"}
    assert recorded_start(store, key, inputs, required=False) == (None, "from scratch")
    with pytest.raises(WarmStartError, match="has begun from scratch") as caught:
        recorded_start(store, key, inputs, required=True)
    assert str(caught.value).endswith(f"jgpt run --dump {DATES[2]} --warm-start require --retrain")


def test_an_initial_model_that_was_made_again_is_refused(store: CorpusStore) -> None:
    found: InitialModel | None = started(store, DATES[2]).model
    assert found is not None
    found.require_unchanged()
    put_model(store, DATES[1], "other weights")
    with pytest.raises(JgptError, match=rf"pretrained_model {DATES[1]}\|tiny has been made again"):
        found.require_unchanged()
    found.artifact.remove()
    with pytest.raises(JgptError, match="missing or incomplete"):
        found.require_unchanged()


def test_a_run_that_has_no_model_to_start_from_is_refused_before_any_stage(deployment: Deployment) -> None:
    refused = deployment.try_invoke("run", "--dump", DUMP, "--warm-start", "require")
    assert refused.code == 1 and f"no model tiny of {DUMP} or an earlier dump is finished" in refused.output
    assert os.listdir(deployment.data) == [".dagster"]
    assert "no dump" not in deployment.invoke("dumps", "list") and DUMP not in deployment.invoke("dumps", "list")


@pytest.mark.slow
def test_a_run_records_what_it_started_from(refreshed: Deployment) -> None:
    later = [dump for dump in refreshed.root.dumps("pretrained_model") if dump != DUMP]
    record = json.loads(refreshed.root.directory("pretrained_model", later[0], model="tiny").run_path.read_text())
    assert record["start"] == f"from pretrained_model {DUMP}|tiny"
    assert record["tokenizer"] == refreshed.root.directory("tokenizer").verified().data_sha256
