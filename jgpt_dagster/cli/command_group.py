"""The command group `jgpt`, which shows an error that a person can mend as its cause alone."""

from typing import Any

import click

from jgpt_dagster.causes import cause_of
from jgpt_dagster.cli.config import config
from jgpt_dagster.cli.dumps import dumps
from jgpt_dagster.cli.generate import generate
from jgpt_dagster.cli.plan import plan
from jgpt_dagster.cli.prune import prune
from jgpt_dagster.cli.run import run
from jgpt_dagster.cli.status import status
from jgpt_dagster.cli.ui import ui, webserver
from jgpt_dagster.cli.worker import worker
from jgpt_dagster.literal_text import visible


class _PlainErrors(click.Group):
    """Shows the cause of an error; an error without a cause is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click knows them, a reader that has gone away included
        except Exception as error:
            cause = cause_of(error)
            if cause is None:
                raise
            raise click.ClickException(visible(cause)) from error


@click.group(cls=_PlainErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jgpt-dagster")
def main() -> None:
    """Pretrain a Japanese GPT-2 from raw dumps. Settings are read from JGPT_ variables; the README lists them."""


for command in (run, status, plan, config, dumps, prune, generate, ui, webserver, worker):
    main.add_command(command)
