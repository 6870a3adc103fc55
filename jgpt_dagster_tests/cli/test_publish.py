"""`jgpt publish`: what it uploads or writes, what it refuses, and what of the machine it keeps to itself."""

import errno
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from huggingface_hub import ModelCard, ModelCardData, constants

from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import FileEntry, Manifest
from jgpt_dagster.storage.verdict import record_verdict
from jgpt_dagster_tests.support.deployments import DUMP, Deployment
from jgpt_dagster_tests.support.model_hub import TOKEN, ModelHub, model_hub

pytestmark = pytest.mark.slow


@pytest.fixture
def deployment(finished: Deployment, tmp_path: Path) -> Deployment:
    return finished.copy(tmp_path / "data")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    with model_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield hub


def release_of(deployment: Deployment) -> DirectoryArtifact:
    return deployment.root.directory("release", DUMP, model="tiny")


def change_file(release: DirectoryArtifact, name: str, content: str) -> None:
    """Replace a file of a release as if it had been made so, and let its check pass."""
    (release.path / name).unlink()
    (release.path / name).write_text(content)
    manifest = release.manifest()
    assert manifest is not None
    files = {**manifest.files, name: FileEntry.of(release.path / name)}
    write_json(release.path / "manifest.json", Manifest(manifest.recipe, manifest.counts, files).to_dict())
    record_verdict(release, "opens_offline", True, "")


def test_a_release_is_uploaded_by_the_real_command_and_opens_where_it_is_downloaded(
    finished: Deployment, tmp_path: Path
) -> None:
    with model_hub() as hub:
        environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        output = replace(finished, environment=environment).succeed("jgpt", "publish", "someone/tiny", "--private")
        assert f"published, private: {hub.url}/someone/tiny/commit/" in output
        uploaded = hub.repositories["someone/tiny"].files
    release = release_of(finished)
    assert uploaded == {
        name: (release.path / name).read_bytes() for name in ("manifest.json", *release.verified().files)
    }
    assert "run.json" not in uploaded and "checks.json" not in uploaded
    assert cast(ModelCardData, ModelCard(uploaded["README.md"].decode()).data).eval_results


def test_nothing_that_is_published_names_the_machine_or_its_runs(finished: Deployment, tmp_path: Path) -> None:
    assert "written to" in finished.invoke("publish", "--to", tmp_path / "public")
    record = release_of(finished).run_record()
    private = [record["run_id"], record["host"], str(finished.data), str(Path.home()) + "/", socket.gethostname()]
    for file in (tmp_path / "public").iterdir():
        if file.suffix in (".json", ".md", ".svg"):
            words = json.dumps(file.read_text(), ensure_ascii=False)
            if file.name != "tokenizer.json":  # it holds whatever words there are
                assert [text for text in private if text in words] == [], file.name
    assert DirectoryArtifact("release", "", tmp_path / "public").verified() == release_of(finished).verified()


def test_a_dry_run_lists_what_would_be_sent_and_asks_nobody(deployment: Deployment, hub: ModelHub) -> None:
    output = deployment.invoke("publish", "someone/tiny", "--dry-run")
    assert "model.safetensors" in output and "Nothing was sent." in output and hub.requests == []


def test_a_release_that_does_not_verify_or_is_not_checked_is_refused(deployment: Deployment, tmp_path: Path) -> None:
    release, target = release_of(deployment), tmp_path / "public"
    weights = release.path / "model.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    assert "model.safetensors is missing" in deployment.try_invoke("publish", "--to", target).output
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "has sha256" in deployment.try_invoke("publish", "--to", target).output
    weights.write_bytes(whole)
    (release.path / "checks.json").unlink()
    assert f"not checked yet: opens_offline. Check it with\n  jgpt run --dump {DUMP}" in (
        deployment.try_invoke("publish", "--to", target).output
    )
    record_verdict(release, "opens_offline", False, "vocabularies differ")
    assert "vocabularies differ" in deployment.try_invoke("publish", "--dump", DUMP, "--to", target).output
    assert not target.exists()


def test_a_model_whose_checks_failed_is_published_only_by_name(deployment: Deployment, tmp_path: Path) -> None:
    scores = deployment.root.directory("evaluation", DUMP, model="tiny")
    (scores.path / "checks.json").unlink()
    record_verdict(scores, "scores_are_finite", False, "nan bits per character")
    refused = deployment.try_invoke("publish", "--to", tmp_path / "public").output
    assert "nan bits per character" in refused and "--unchecked" in refused
    deployment.invoke("publish", "--to", tmp_path / "public", "--unchecked")


@pytest.mark.parametrize("name", ["config.json", "README.md"])
def test_a_path_a_run_or_a_token_in_a_file_is_found(deployment: Deployment, tmp_path: Path, name: str) -> None:
    release = release_of(deployment)
    content = (release.path / name).read_text()
    texts = {
        f"{deployment.data}/pretrained_model": "the path of the data root",
        f"file://{deployment.data}": "the path of the data root",
        release.run_record()["run_id"]: "the id of the run",
        TOKEN: "a token of a model hub",
        "s3cr3t-of-the-mirror": "the value of MIRROR_PASSWORD",
    }
    told = replace(deployment, environment={"MIRROR_PASSWORD": "s3cr3t-of-the-mirror"})
    for text, what in texts.items():
        change_file(release, name, content.rstrip("}\n") + f', "_name_or_path": "{text}"}}')
        result = told.try_invoke("publish", "--to", tmp_path / "public")
        assert result.code == 1 and f"{name} holds {what}" in result.output and TOKEN not in result.output
    # The same characters as a part of another word or address are no path of this machine.
    change_file(release, name, content.rstrip("}\n") + f', "source": "https://example.org{deployment.data}"}}')
    told.invoke("publish", "--to", tmp_path / "public")


def test_what_is_there_already_is_not_overwritten_and_a_full_disk_leaves_nothing(
    finished: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").write_text("keep")
    assert "is not empty" in finished.try_invoke("publish", "--to", tmp_path / "mine").output
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["note"]
    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfile", full_disk)
        assert "disk is full" in finished.try_invoke("publish", "--to", tmp_path / "public").output
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def full_disk(_: Path, target: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


def test_without_a_repository_or_a_folder_it_says_what_to_name(finished: Deployment) -> None:
    assert "OWNER/NAME" in finished.try_invoke("publish").output
