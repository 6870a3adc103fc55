"""The `jgpt` command: what Dagster's own command line cannot do. One module for each group of commands."""

from jgpt_dagster.cli.command_group import main

__all__ = ["main"]
