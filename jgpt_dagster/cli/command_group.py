"""The command group `jgpt`: imports the module of a command when it is called, and shows errors by their cause."""

import signal
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

import click

from jgpt_dagster.cli.interrupts import NOTHING_BEGUN, exit_on_interrupt
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.literal_text import visible


class _Command(NamedTuple):
    """Where a command is, and the line that `jgpt --help` has of it."""

    module: str
    summary: str


# A command is the function of its name in `jgpt_dagster.cli.<module>`. In the order in which help lists them.
COMMANDS: Mapping[str, _Command] = {
    "run": _Command("run", "Bring the assets of one dump up to date."),
    "status": _Command("status", "Show what is done, stale, running, failed and missing."),
    "dumps": _Command("dumps", "Add, list and remove dumps; see those of the mirror."),
    "text": _Command("text", "Show what cleaning left out of a dump."),
    "config": _Command("config", "Show or change the run config that the data root keeps."),
    "models": _Command("models", "Show the presets, and what each takes to train."),
    "plan": _Command("plan", "Show what training takes: steps, bytes, time and cost."),
    "generate": _Command("generate", "Continue a prompt with a released model."),
    "publish": _Command("publish", "Upload a release to a model hub, or write it to a folder."),
    "evaluate": _Command("evaluate", "Score any causal language model on held-out text."),
    "leaderboard": _Command("evaluate", "Show all models that were evaluated on a dump."),
    "tasks": _Command("evaluate", "List the evaluation tasks whose files are here."),
    "compare": _Command("compare", "Say what differs between two dumps or models."),
    "papers": _Command("papers", "List and validate the papers of a release."),
    "verify": _Command("verify", "Check a release or a data root against its hashes."),
    "trace": _Command("trace", "Show which text a step read, and which steps read a text."),
    "exclude": _Command("exclude", "Take pages and passages out of the corpora, and show who has had them."),
    "sign": _Command("verify", "Sign a release."),
    "ui": _Command("ui", "Open the Dagster UI and start its daemon."),
    "webserver": _Command("ui", "Open the Dagster UI alone."),
    "worker": _Command("worker", "Execute runs from the queues of a deployment."),
    "doctor": _Command("doctor", "Look at what a run needs: settings, mirror, disk, memory, GPUs and more."),
    "prune": _Command("prune", "Delete what nothing refers to."),
}


class _PlainErrors(click.Group):
    """Shows the cause of an error; an error without a cause is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would end with 1
            say("\nAborted!", err=True)
            ctx.exit(128 + signal.SIGINT)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click knows them, a reader that has gone away included
        except Exception as error:
            from jgpt_dagster.causes import cause_of

            cause = cause_of(error)
            if cause is None:
                raise
            raise click.ClickException(visible(cause)) from error


class _Jgpt(_PlainErrors):
    """The commands, each imported when it is called: `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # Half an import has no traceback that anybody could use.
        with exit_on_interrupt(NOTHING_BEGUN):
            module = import_module(f"jgpt_dagster.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            for similar in get_close_matches(args[0], COMMANDS, n=1):
                raise click.UsageError(f"{error.message} Did you mean {similar!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])


@click.group(cls=_Jgpt, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jgpt-dagster")
def main() -> None:
    """Pretrain a Japanese GPT-2 from raw dumps. Settings are read from JGPT_ variables; the README lists them."""
