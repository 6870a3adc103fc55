"""The guarded webserver as a process of `jgpt ui`: `python -m jgpt_dagster.webserver`, with Dagster's options."""

import sys

from jgpt_dagster.webserver.dagster_commands import serve

serve(sys.argv[1:])
