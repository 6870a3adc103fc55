"""What the card of a release says of its data, and when another card is due."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from jgpt_dagster.catalog.training_data_account import training_data_account
from jgpt_dagster.lm.release.release_directory import CARD
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster_tests.support.deployments import DUMP, Deployment

pytestmark = pytest.mark.slow


def test_the_card_accounts_for_every_document_of_every_corpus(finished: Deployment) -> None:
    data = finished.root.directory("training_set", DUMP).verified()
    accounts = training_data_account(finished.root, DUMP, data.data_sha256)
    assert sum(account.documents for account in accounts.values()) == data.counts["documents"]
    tokens = data.counts["train_tokens"] + data.counts["validation_tokens"]
    assert sum(account.tokens for account in accounts.values()) == tokens
    card = (finished.root.directory("release", DUMP, model="tiny").path / CARD).read_text()
    for name, account in accounts.items():
        date = DUMP if name == "wikipedia" else "–"
        assert f"| {name} | {date} | {account.documents:,} | {account.characters:,} | {account.tokens:,} |" in card
    assert training_data_account(finished.root, DUMP, "of another training set") == {}
    assert yaml.safe_load(card.split("---\n")[1])["license_name"] == "not-stated", (
        "the sample's wiki is none of Wikimedia"
    )


def test_a_release_is_stale_once_a_folder_describes_itself_in_other_words(finished: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "news"
    folder.mkdir()
    (folder / "a.txt").write_text("港の町")
    (folder / "corpus.yaml").write_text("name: News\nlicence: mit\nsource: here\n")
    deployment = finished.copy(tmp_path / "data").with_settings(FOLDERS=f"news={folder}")
    release = deployment.root.directory("release", DUMP, model="tiny")
    manifest = release.manifest()
    assert manifest is not None
    described = {"news": {"name": "News", "licence": "mit", "source": "here"}}
    settings = {**manifest.recipe.settings, "corpora": ["wikipedia", "cc100", "news"], "descriptions": described}
    write_json(
        release.path / "manifest.json",
        replace(manifest, recipe=replace(manifest.recipe, settings=settings)).to_dict(),
    )

    def state() -> str:
        return deployment.invoke("status", "--dump", DUMP).partition("\n    release ")[2].partition("\n")[0]

    assert "corpus.yaml" not in state()
    (folder / "corpus.yaml").write_text("name: News\nlicence: cc0-1.0\nsource: here\n")
    assert f"{folder / 'corpus.yaml'} has changed since" in state()
    (folder / "corpus.yaml").write_text("name: [")
    assert f"{folder / 'corpus.yaml'}: it is not YAML" in state()
