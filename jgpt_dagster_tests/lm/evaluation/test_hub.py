"""Models of a hub on loopback: only what cannot run is fetched, once, and a hub that refuses is told in one line."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from jgpt_dagster.lm.evaluation.hub import model_path
from jgpt_dagster.lm.evaluation.model_directory import directory_fingerprint, require_model_directory
from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster_tests.lm.evaluation.foreign import save
from jgpt_dagster_tests.support.model_hub import ModelHub, Repository, model_hub

SHA = "a" * 40


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModelHub]:
    """A hub, and an empty cache for what is fetched from it."""
    with model_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


def test_a_directory_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", pytest.fail)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    for name in (str(tmp_path), "owner/name", "/nowhere/at/all"):
        assert model_path(name) == Path(name)


def test_of_a_hub_only_what_cannot_run_is_fetched_and_only_once(hub: ModelHub, tmp_path: Path) -> None:
    model = save(tmp_path, "gpt_neox")
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    dangerous = {"modeling.py": b"print()", "pytorch_model.bin": b"pickle", "weights.pt": b"pickle"}
    hub.repositories["owner/name"] = Repository(False, {**files, **dangerous}, revisions={"main": "0" * 40, "v1": SHA})
    fetched = model_path("owner/name@v1")
    require_model_directory(fetched)
    assert fetched.name == SHA and directory_fingerprint(fetched) == directory_fingerprint(model)
    assert not [request for request in hub.requests if any(name in request for name in dangerous)]
    hub.requests.clear()
    assert model_path("owner/name@v1") == fetched
    assert not [request for request in hub.requests if request.startswith("GET") and "/resolve/" in request]
    hub.refuse["/"] = (503, "down for maintenance")
    assert model_path("owner/name@v1") == fetched


def test_a_model_that_the_hub_does_not_give_is_told_in_one_line(hub: ModelHub) -> None:
    hub.repositories["owner/secret"] = Repository(private=True)
    hub.repositories["owner/name"] = Repository(private=False)
    for name in ("owner/nobody", "owner/secret", "owner/name@v9"):
        with pytest.raises(ModelError, match=f"^{name} is neither a directory nor a model that the hub gives") as error:
            model_path(name)
        assert len(str(error.value).splitlines()) == 1


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(hub: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"owner/name is neither a directory nor a model that the hub gives") as error:
        model_path("owner/name")
    assert len(str(error.value).splitlines()) == 1
