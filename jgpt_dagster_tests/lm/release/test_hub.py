"""Uploads to a hub on loopback, and what is said when it refuses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from jgpt_dagster.lm.release.hub import HubError, upload
from jgpt_dagster_tests.support.local_servers import free_port
from jgpt_dagster_tests.support.model_hub import TOKEN, ModelHub, Repository, model_hub

CARD = "---\nlicense: mit\n---\n# A model\n"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    with model_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    contents = {"README.md": CARD.encode(), "model.safetensors": bytes(range(256)) * 8192, "config.json": b"{}"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


def test_files_large_and_small_arrive_in_one_commit(hub: ModelHub, files: dict[str, Path]) -> None:
    published = upload("someone/tiny", files, private=True)
    assert published.url.startswith(f"{hub.url}/someone/tiny/commit/") and published.private
    repository = hub.repositories["someone/tiny"]
    assert repository.files == {name: path.read_bytes() for name, path in files.items()}
    assert repository.commits == 1 and repository.private


def test_a_later_release_replaces_an_earlier_one_and_leaves_other_files_alone(
    hub: ModelHub, files: dict[str, Path]
) -> None:
    earlier = {"model.gguf": b"of the model before", "LICENSE": b"added by hand", "README.md": b"old"}
    hub.repositories["someone/tiny"] = Repository(private=False, files=earlier)
    assert not upload("tiny", files, private=False).private  # a name alone is that of the token's owner
    assert {*hub.repositories["someone/tiny"].files} == {*files, "LICENSE"}


def test_a_public_repository_is_not_used_for_what_is_to_be_private(hub: ModelHub, files: dict[str, Path]) -> None:
    hub.repositories["someone/tiny"] = Repository(private=False)
    with pytest.raises(HubError, match="is public"):
        upload("someone/tiny", files, private=True)
    assert hub.repositories["someone/tiny"].files == {}


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/repos/create", 401, "token is not valid"),
        ("/api/repos/create", 403, "may not write there.*repository of your own"),
        ("/preupload/", 413, "no room"),
        ("/commit/", 409, "changed the repository meanwhile"),
        ("/commit/", 500, "fault of its own"),
    ],
)
def test_a_hub_that_refuses_is_quoted_with_what_to_do(
    hub: ModelHub, files: dict[str, Path], path: str, status: int, says: str
) -> None:
    hub.refuse[path] = (status, "because of the moon")
    with pytest.raises(HubError, match=f"refuses someone/tiny .*because of the moon.*{says}"):
        upload("someone/tiny", files, private=False)
    assert all(not repository.files for repository in hub.repositories.values())


def test_metadata_that_the_hub_does_not_take_is_told_before_anything_is_sent(
    hub: ModelHub, files: dict[str, Path]
) -> None:
    files["README.md"].write_text(CARD.replace("mit", "moonlight"))
    with pytest.raises(HubError, match="license moonlight is not known"):
        upload("someone/tiny", files, private=False)
    assert not hub.objects and not hub.repositories["someone/tiny"].files


def test_without_a_token_or_a_network_it_says_what_to_do(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(HubError, match=r"cannot be reached.*HF_ENDPOINT"):
        upload("someone/tiny", files, private=False)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(HubError, match=r"no token.*HF_TOKEN"):
        upload("someone/tiny", files, private=False)


@pytest.mark.parametrize("name", ["a/b/c", "-x", "a b", "", "someone/tiny.git"])
def test_what_is_no_name_of_a_repository_is_refused(name: str, files: dict[str, Path]) -> None:
    with pytest.raises(HubError, match="no name of a repository"):
        upload(name, files, private=False)
