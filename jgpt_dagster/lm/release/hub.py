"""Uploading a release to a model hub: the one at HF_ENDPOINT, by default https://huggingface.co."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.release.release_directory import OPTIONAL_FILES


class HubError(JgptError):
    """A hub that cannot be reached or refuses, or a repository that does not fit what is asked for."""


class Published(NamedTuple):
    """The address of a commit, and whether the world can read it."""

    url: str
    private: bool


def hub_token() -> str | None:
    """Return the token for the hub: HF_TOKEN, or that of `hf auth login`; None if there is none."""
    from huggingface_hub import get_token

    return get_token()


def require_repository_name(repository: str) -> None:
    """Raise HubError unless a text can name a repository: `NAME`, or `OWNER/NAME`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise HubError(f"{repository!r} is no name of a repository, such as OWNER/NAME: {error}") from error


def require_token() -> str:
    """Return the token for the hub. Raises HubError if there is none."""
    from huggingface_hub import constants

    token = hub_token()
    if token is None:
        raise HubError(
            f"there is no token for {constants.ENDPOINT}. Set HF_TOKEN to one that may write, or run `hf auth login`, "
            "then run the same command again."
        )
    return token


def upload(repository: str, files: Mapping[str, Path], *, private: bool) -> Published:
    """Upload files in one commit to a repository, which is made if there is none, and return where they are.

    Files that an earlier release had and this one lacks are deleted there; all others stay. A repository that exists
    keeps its visibility.

    Raises HubError: without a token, before any upload if the repository is public though `private`, and with the
    answer of a hub that refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    require_repository_name(repository)
    api = HfApi(token=require_token(), library_name="jgpt-dagster", library_version=version("jgpt-dagster"))
    with _refusals(api.endpoint, repository):
        name = api.create_repo(repository, private=private or None, exist_ok=True).repo_id
        info = api.model_info(name)
        if private and not info.private:
            raise HubError(f"{name} is public at {api.endpoint}. Make it private there, or publish without --private.")
        there = {file.rfilename for file in info.siblings or []}
        commit = api.create_commit(
            name,
            [
                *(CommitOperationAdd(path_in_repo=file, path_or_fileobj=path) for file, path in files.items()),
                *(CommitOperationDelete(file) for file in sorted(there & {*OPTIONAL_FILES} - files.keys())),
            ],
            commit_message="Release of jgpt-dagster",
        )
    return Published(commit.commit_url, bool(info.private))


@contextmanager
def _refusals(endpoint: str, repository: str) -> Iterator[None]:
    """Turn what the hub and the way to it may answer into HubError. Nothing is half-published: a commit is one step."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled  # type: ignore[attr-defined]

    try:
        yield
    except HubError:
        raise
    except HfHubHTTPError as error:
        raise HubError(_refused(endpoint, repository, error.response.status_code, error.server_message)) from error
    except OfflineModeIsEnabled as error:
        raise HubError(f"nothing can be published while HF_HUB_OFFLINE is set ({error}). Unset it.") from error
    except HTTPError as error:
        raise HubError(
            f"{endpoint} cannot be reached ({error or type(error).__name__}). Check the network, HF_ENDPOINT and "
            "proxies, then run the same command again."
        ) from error
    except (ValueError, RuntimeError) as error:  # its metadata checks, and the transfer of large files
        raise HubError(
            f"{endpoint} has not taken the files of {repository}: {error}\nIf it has no Xet storage, set "
            "HF_HUB_DISABLE_XET=1."
        ) from error


def _refused(endpoint: str, repository: str, status: int, message: str | None) -> str:
    told = f"{endpoint} refuses {repository} ({status}{f': {message}' if message else ''})."
    match status:
        case 401:
            return f"{told} The token is not valid there: set HF_TOKEN to another, or run `hf auth login`."
        case 403:
            return f"{told} The token may not write there: use one that may, or a repository of your own."
        case 404:
            return f"{told} Check the name of the repository, HF_ENDPOINT, and what the token may read."
        case 409 | 412:
            return f"{told} Somebody else has changed the repository meanwhile: run the same command again."
        case 413 | 507:
            return f"{told} It has no room for this: free some there, or ask its owner for more."
        case 429:
            return f"{told} Too many requests: run the same command again in some minutes."
        case _ if status >= 500:
            return f"{told} The hub has a fault of its own: run the same command again later."
    return told
