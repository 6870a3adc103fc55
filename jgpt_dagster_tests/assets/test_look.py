"""A look finds current exactly what a run would leave alone."""

import shutil
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from jgpt_dagster.assets.look import Looker
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.hash_memory import HashMemory, hashes_from
from jgpt_dagster.storage.verdict import record_verdict
from jgpt_dagster_tests.support.deployments import (
    DUMP,
    Deployment,
    in_process_instance,
    mini_deployment,
    text_partitions,
)

CONFIG: dict[str, dict[str, Any]] = {
    "tokenizer": {"vocab_size": 600, "limit_alphabet": 300},
    "training_set": {"validation_share": 0.3},
}
KEYS = {asset: [key for key in keys if key] for asset, keys in text_partitions(DUMP, ["000"], cc100=False).items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A very small wiki up to its training set. Read only."""
    deployment = mini_deployment(tmp_path_factory.mktemp("made"))
    deployment.materialize_text(DUMP, CONFIG)
    return deployment


@pytest.fixture
def own(made: Deployment, tmp_path: Path) -> Deployment:
    """A copy of it whose files may be written into."""
    shutil.copytree(made.data, tmp_path / "data", ignore=shutil.ignore_patterns(".dagster", ".locks"))
    return replace(made, data=tmp_path / "data")


def looker(
    deployment: Deployment, instance: dg.DagsterInstance | None = None, **ops: Any
) -> AbstractContextManager[Looker]:
    values: dict[str, Any] = {name.lower(): value for name, value in deployment.settings.items()}
    definitions = build_definitions(Settings(data=deployment.data, scratch=None, **values))
    return Looker.opened(definitions, instance or in_process_instance(), ops)


def look(deployment: Deployment, asset: str, instance: dg.DagsterInstance | None = None, **ops: Any) -> str:
    with looker(deployment, instance, **ops) as looks:
        return looks.look(asset, KEYS[asset]).due


def test_what_was_made_is_current_and_no_file_is_changed_by_the_look(made: Deployment) -> None:
    before = made.mtimes()
    with looker(made) as looks:
        assert {asset: looks.look(asset, keys).due for asset, keys in KEYS.items()} == dict.fromkeys(KEYS, "")
    assert made.mtimes() == before


@pytest.mark.parametrize("memory", [HashMemory(), HashMemory(recall=True)], ids=["all hashed", "some remembered"])
@pytest.mark.parametrize("asset", ["wikipedia_articles", "wikipedia_tokens"])
def test_a_damaged_or_missing_file_is_found(
    own: Deployment, asset: str, memory: HashMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jgpt_dagster.storage.hash_memory.SMALLEST", 0)
    output = own.shard(asset, DUMP, "000")
    file = output.path if output.path.is_file() else output.path / "tokens.bin"
    with hashes_from(memory):
        assert look(own, asset) == ""
        content = bytearray(file.read_bytes())
        content[len(content) // 8] ^= 1
        file.write_bytes(content)
        assert str(output.path) in look(own, asset) and "sha256" in look(own, asset)
        output.remove()
        assert look(own, asset) == "it was not there"


def test_what_follows_a_changed_input_a_setting_or_a_request_is_due_with_the_reason(own: Deployment) -> None:
    assert look(own, "wikipedia_articles", wikipedia_articles={"config": {"force": True}}) == "it was asked for (force)"
    own.shard("wikipedia_segmented", DUMP, "000").remove()
    assert "shard=000.parquet is missing or incomplete" in look(own, "wikipedia_tokens")
    assert "This data root makes training_set with validation_share 0.3, and this run asks for 0.2" in look(
        own, "training_set", training_set={"config": {"validation_share": 0.2}}
    )
    assert "JGPT_TEXT=seed, but the data in it was made with clean" in look_error(own.with_settings(TEXT="seed"))


def look_error(deployment: Deployment) -> str:
    with pytest.raises(dg.DagsterError) as error:
        look(deployment, "wikipedia_dump")
    return str(error.value.__cause__ or error.value)


def test_a_failed_or_missing_verdict_is_due(own: Deployment) -> None:
    output = own.shard("wikipedia_segmented", DUMP, "000")
    record_verdict(output, "every_article_segmented", False, "9 rows of 10")
    assert look(own, "wikipedia_segmented") == "check every_article_segmented failed: 9 rows of 10"
    output.verdicts_path.unlink()
    assert look(own, "wikipedia_segmented") == "not checked yet: every_article_segmented"


def test_what_dagster_has_not_recorded_or_recorded_of_other_data_is_due(own: Deployment) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("dump", [DUMP])
        assert look(own, "wikipedia_dump", instance) == "Dagster has no record of it"
        other = dg.AssetMaterialization("wikipedia_dump", partition=DUMP, tags={"dagster/data_version": "other"})
        instance.report_runless_asset_event(other)
        assert look(own, "wikipedia_dump", instance) == "Dagster has no record of it"
