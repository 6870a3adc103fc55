"""The `jgpt` command: what Dagster's own command line cannot do. One module for each group of commands."""

from jgpt_dagster.cli.interrupts import NOTHING_BEGUN, exit_on_interrupt

# Half an import has no traceback that anybody could use.
with exit_on_interrupt(NOTHING_BEGUN):
    from jgpt_dagster.cli.command_group import main

__all__ = ["main"]
