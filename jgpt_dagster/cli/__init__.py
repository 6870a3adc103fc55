"""The `jgpt` command: what Dagster's own command line cannot do. One module for each group of commands."""

import shlex
import sys

from jgpt_dagster.cli.interrupts import exit_on_interrupt

_COMMAND = shlex.join(["jgpt", *sys.argv[1:]])

# Half an import has no traceback that anybody could use.
with exit_on_interrupt(f"Interrupted before anything was begun. Resume with:\n  {_COMMAND}"):
    from jgpt_dagster.cli.command_group import main

__all__ = ["main"]
