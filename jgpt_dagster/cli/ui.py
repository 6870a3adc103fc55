"""`jgpt ui` and `jgpt webserver`: Dagster's UI for this deployment, behind the guard, with and without the daemon."""

import errno
import socket
import threading
import time
import webbrowser
from contextlib import suppress

import click

from jgpt_dagster.cli.deployment import open_deployment
from jgpt_dagster.cli.interrupts import exit_on_interrupt
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.dagster_instance import open_instance
from jgpt_dagster.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--read-only", is_flag=True, help="Show everything, but let nobody launch or change anything in the UI.")
@click.option("--open", "open_browser", is_flag=True, help="Open it in the browser once it is there.")
@click.option("--verbose", is_flag=True, help="Print what Dagster's daemon and webserver log.")
def ui(host: str, port: int, read_only: bool, open_browser: bool, verbose: bool) -> None:
    """Open the Dagster UI and start its daemon, until Ctrl-C."""
    with exit_on_interrupt("The UI is stopped."):
        require_free(host, port)
        settings = open_deployment()
        url = _url(host, port)
        say(f"{url} shows {settings.root.location} in some seconds, until Ctrl-C.")
        _register_models(settings)
        from jgpt_dagster.webserver.dagster_commands import serve_with_daemon

        if open_browser:
            threading.Thread(target=_open_when_there, args=(host, port, url), daemon=True).start()
        serve_with_daemon(host, port, read_only=read_only, verbose=verbose)


def require_free(host: str, port: int) -> None:
    """Raise JgptError unless this process could listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "something listens there already" if taken else error.strerror or str(error)
        raise JgptError(
            f"The UI cannot listen on {host}:{port}: {why}. "
            f"{'Open what is there, or take' if taken else 'Take'} another place with --port or --host."
        ) from None


def _url(host: str, port: int) -> str:
    """Return the address of the UI for a browser on this machine."""
    name = "localhost" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not listened on
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _open_when_there(host: str, port: int, url: str) -> None:
    """Open the browser once something answers at the address; give up after two minutes."""
    address = ("localhost" if host in ("0.0.0.0", "::") else host, port)  # noqa: S104  # as above
    for _ in range(240):
        time.sleep(0.5)
        with suppress(OSError), socket.create_connection(address, timeout=1):
            webbrowser.open(url)
            return


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def webserver(arguments: tuple[str, ...]) -> None:
    """Open the Dagster UI alone; takes the options of dagster-webserver."""
    _register_models(open_deployment())
    from jgpt_dagster.webserver.dagster_commands import serve

    serve(arguments)


def _register_models(settings: Settings) -> None:
    """Add the partition of the model in use and those of the models on disk, so that the UI offers them."""
    from jgpt_dagster.orchestration.existing_models import report_existing_models
    from jgpt_dagster.orchestration.partitions import add_model

    with open_instance() as instance:
        add_model(instance, settings.model)
        report_existing_models(instance, settings.root)
