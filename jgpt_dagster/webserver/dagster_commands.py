"""Dagster's own commands with the guard: `dagster-webserver`, and `dagster dev`, which starts it with the daemon.

Each keeps all that Dagster gives it: options, messages, the shared code location, how it stops. One name in the module
of each is replaced, and the replacement accepts nothing but the use known here: a release of Dagster that starts its
server differently is refused and does not start one without the guard.
"""

import shlex
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
from dagster_shared.utils.warnings import SupersessionWarning

from jgpt_dagster.errors import JgptError
from jgpt_dagster.settings import load_settings
from jgpt_dagster.webserver.request_guard import RequestGuard, is_loopback

if TYPE_CHECKING:
    from subprocess import Popen

    from jgpt_dagster.runtime.interrupts import HeldInterrupts

_WEBSERVER = ["-m", "dagster_webserver"]
_GUARDED_WEBSERVER = ["-m", "jgpt_dagster.webserver"]
_DAEMON = ["-m", "dagster._daemon"]
_POLL_SECONDS = 0.1


class UnknownDagsterError(JgptError):
    """The installed release of Dagster starts its webserver in a way that this package does not know."""


def serve(arguments: Sequence[str]) -> None:
    """Run `dagster-webserver` with the guard until it is stopped; `arguments` are its options.

    Raises SettingsError, and UnknownDagsterError if the installed Dagster does not serve through `uvicorn.run`.
    """
    from dagster_webserver import cli

    hosts = load_settings().ui_hosts
    _replace(cli, "uvicorn", SimpleNamespace(run=lambda app, **options: _serve_guarded(app, hosts, **options)))
    cli.dagster_webserver.main(list(arguments), prog_name="jgpt webserver", auto_envvar_prefix="DAGSTER_WEBSERVER")


def serve_with_daemon(host: str, port: int, *, read_only: bool, verbose: bool = True) -> None:
    """Run `dagster dev` over this package, its webserver with the guard, until it is stopped.

    Its services print warnings and errors alone unless `verbose`. Raises UnknownDagsterError if the installed Dagster
    starts other processes than a webserver and a daemon.
    """
    from dagster._cli import dev
    from dagster_shared.ipc import open_ipc_subprocess

    from jgpt_dagster.runtime.interrupts import hold_interrupts

    def start_guarded(command: Sequence[str], **options: Any) -> "Popen[Any]":
        return open_ipc_subprocess(guarded_command(command, read_only=read_only), **options)

    _replace(dev, "open_ipc_subprocess", start_guarded)
    arguments = ["--module-name", "jgpt_dagster.definitions", "--host", host, "--port", str(port)]
    arguments += [] if verbose else ["--log-level", "warning"]
    # Dagster takes an interrupt well while it waits for its processes. An earlier one would leave some of them behind,
    # a second one all of them.
    with hold_interrupts() as interrupts, suppress(KeyboardInterrupt):
        _replace(dev, "time", SimpleNamespace(sleep=partial(_sleep, interrupts)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SupersessionWarning)  # for whoever types the command of Dagster
            dev.dev_command.main(arguments, prog_name="jgpt ui", standalone_mode=False)
        interrupts.answered()


def _sleep(interrupts: "HeldInterrupts", seconds: float) -> None:
    """Sleep for some time. Raises KeyboardInterrupt once an interrupt was received."""
    deadline = time.monotonic() + seconds
    while not interrupts.received and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    if interrupts.received:
        raise KeyboardInterrupt


def guarded_command(command: Sequence[str], *, read_only: bool) -> list[str]:
    """Return the command of a process of `dagster dev`, with the guarded webserver in place of Dagster's own.

    Raises UnknownDagsterError if it is neither the webserver nor the daemon.
    """
    interpreter, module, options = command[:1], [*command[1:3]], command[3:]
    if module == _WEBSERVER:
        return [*interpreter, *_GUARDED_WEBSERVER, *options, *(["--read-only"] if read_only else [])]
    if module == _DAEMON:
        return [*command]
    raise UnknownDagsterError(f"dagster dev starts {shlex.join(module)}, which is not known here. {_advice()}")


def _serve_guarded(app: Any, hosts: Sequence[str], **options: Any) -> None:
    """Run an ASGI application with the guard, with the options of `uvicorn.run`."""
    import uvicorn

    host = options["host"]
    if not is_loopback(host):
        click.echo(
            f"WARNING: the UI listens on {host}:{options['port']} and asks for no password: whoever reaches it can "
            "launch runs. Let a proxy with a login be the only way to it (docs/team-server.md).",
            err=True,
        )
    uvicorn.run(RequestGuard(app, [*hosts, host]), **options)


def _replace(module: ModuleType, name: str, replacement: object) -> None:
    if not hasattr(module, name):
        raise UnknownDagsterError(f"{module.__name__} has no {name}. {_advice()}")
    setattr(module, name, replacement)


def _advice() -> str:
    from dagster import __version__

    return f"Dagster {__version__} is installed; install 1.13, which this package requires."
