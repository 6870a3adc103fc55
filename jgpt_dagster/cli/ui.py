"""`jgpt ui` and `jgpt webserver`: Dagster's UI for this deployment, behind the guard, with and without the daemon."""

import click

from jgpt_dagster.cli.deployment import open_deployment
from jgpt_dagster.cli.interrupts import exit_on_interrupt
from jgpt_dagster.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--read-only", is_flag=True, help="Show everything, but let nobody launch or change anything in the UI.")
def ui(host: str, port: int, read_only: bool) -> None:
    """Open the Dagster UI and start its daemon, until Ctrl-C."""
    with exit_on_interrupt("The UI is stopped."):
        _register_models(open_deployment())
        from jgpt_dagster.webserver.dagster_commands import serve_with_daemon

        serve_with_daemon(host, port, read_only=read_only)


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def webserver(arguments: tuple[str, ...]) -> None:
    """Open the Dagster UI alone; takes the options of dagster-webserver."""
    _register_models(open_deployment())
    from jgpt_dagster.webserver.dagster_commands import serve

    serve(arguments)


def _register_models(settings: Settings) -> None:
    """Add the partition of the model in use and those of the models on disk, so that the UI offers them."""
    from dagster import DagsterInstance

    from jgpt_dagster.orchestration.existing_models import report_existing_models
    from jgpt_dagster.orchestration.partitions import add_model

    with DagsterInstance.get() as instance:
        add_model(instance, settings.model)
        report_existing_models(instance, settings.root)
