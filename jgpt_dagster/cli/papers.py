"""`jgpt papers`: the papers of a release that machines and authorities read, and what their validators say of them."""

from pathlib import Path

import click

from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError


@click.command()
@click.argument("release", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Validate them by the libraries of their formats (extra `papers`).")
def papers(release: Path, check: bool) -> None:
    """List the papers of RELEASE, a directory; with --check, end with 1 if a validator finds anything in them.

    They are written with each release. Whether they are the ones that were written, `jgpt verify` says.
    """
    from jgpt_dagster.provenance.papers.check_papers import check_papers
    from jgpt_dagster.provenance.papers.write_papers import PAPERS

    for name, what in PAPERS.items():
        say(f"{name:24}{what}" if (release / name).is_file() else f"{name:24}missing: {what}")
    if check:
        if problems := check_papers(release):
            raise JgptError("\n".join(problems))
        say("valid")
