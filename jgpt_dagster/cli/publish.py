"""`jgpt publish`: a release on a model hub, or as a folder to give away."""

import os
import re
import socket
from pathlib import Path

import click

from jgpt_dagster.cli.deployment import require_matching_root
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.settings import Settings, load_settings

_SECRET = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|WEBHOOK|API_?KEY|ACCESS_KEY)(_|$)", re.IGNORECASE)
_SHORTEST_SECRET = 8


@click.command()
@click.argument("repository", metavar="REPO", required=False)
@click.option("--dump", help="Dump whose release is published; default the newest.")
@click.option("--private", is_flag=True, help="Make a new repository private; refuse one that is public.")
@click.option("--dry-run", is_flag=True, help="Check the release and list what would be published; send nothing.")
@click.option(
    "--to",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the files to a new directory instead of uploading them.",
)
@click.option("--unchecked", is_flag=True, help="Publish a model that was released although its checks failed.")
def publish(
    repository: str | None, dump: str | None, private: bool, dry_run: bool, directory: Path | None, unchecked: bool
) -> None:
    """Upload a release to REPO (OWNER/NAME) of the model hub at HF_ENDPOINT, with the token in HF_TOKEN.

    Every file is verified first, and nothing is published that names this machine, its runs or a secret.
    """
    if repository is None and directory is None:
        raise click.UsageError("Name a repository (OWNER/NAME), or a directory with --to.")
    settings = load_settings()
    require_matching_root(settings)
    from jgpt_dagster.catalog.publication import private_texts, public_files, publishable_release, sizes, write_copy
    from jgpt_dagster.lm.release.hub import hub_token, require_repository_name, require_token, upload

    if repository is not None:
        require_repository_name(repository)
    if directory is None and not dry_run:
        require_token()
    release = publishable_release(settings.catalog, dump, unchecked=unchecked)
    private_of_machine = {**private_texts(settings.root, release), **_private_to_process(settings)}
    if token := hub_token():
        private_of_machine["the token for the hub"] = token
    files = public_files(release, private_of_machine)
    say(f"{release.label}, verified:")
    for name, size in sizes(files).items():
        say(f"  {size:>15,}  {name}")
    if dry_run:
        say("Nothing was sent." if directory is None else "Nothing was written.")
    elif directory is not None:
        write_copy(release, files, directory)
        say(f"written to {directory}")
    elif repository is not None:
        published = upload(repository, files, private=private)
        say(f"published, {'private' if published.private else 'public'}: {published.url}")


def _private_to_process(settings: Settings) -> dict[str, str]:
    """Return what this process knows of its machine and user that no file of a release may name."""
    home = Path.home()
    folders = {f"the path of the corpus {name}": str(path) for name, path in settings.folders.items()}
    secrets = {
        f"the value of {name}": value
        for name, value in os.environ.items()
        if _SECRET.search(name) and len(value) >= _SHORTEST_SECRET
    }
    host = socket.getfqdn()
    return {
        **folders,
        **secrets,
        "the path of the scratch directory": str(settings.scratch_directory),
        "the path of the home directory": str(home) if len(home.parts) > 1 else "",
        "the full name of this host": host if "." in host else "",
    }
