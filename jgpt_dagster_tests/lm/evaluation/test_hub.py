from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from jgpt_dagster.lm.evaluation.hub import model_path
from jgpt_dagster.lm.model.presets import ModelError


def test_a_directory_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", pytest.fail)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    for name in (str(tmp_path), "owner/name", "/nowhere/at/all"):
        assert model_path(name) == Path(name)


def test_of_a_hub_only_what_cannot_run_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return "/cache/snapshot"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert model_path("owner/name@v1") == Path("/cache/snapshot")
    assert (asked["repository"], asked["revision"]) == ("owner/name", "v1")
    assert not {"*.py", "*.bin", "*.pt", "*"} & {*asked["allow_patterns"]}


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"owner/name is neither a directory nor a model that the hub gives") as error:
        model_path("owner/name")
    assert len(str(error.value).splitlines()) == 1
