"""`jgpt ui`: Dagster's UI and daemon for this deployment."""

import os
import sys

import click

from jgpt_dagster.cli.deployment import open_deployment


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65_535))
def ui(host: str, port: int) -> None:
    """Open the Dagster UI and start its daemon, until Ctrl-C."""
    open_deployment()
    arguments = ["-m", "dagster", "dev", "-m", "jgpt_dagster.definitions", "-h", host, "-p", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # no shell; host and port are arguments
