import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from jgpt_dagster.cli import doctor, main
from jgpt_dagster.cli.code_versions import installed_code_versions
from jgpt_dagster.cli.command_group import COMMANDS
from jgpt_dagster.definitions import code_versions, defs
from jgpt_dagster.settings import load_settings


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_help_lists_is_there(name):
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.name == name


def test_help_imports_no_command_and_no_library_but_click():
    program = (
        "import sys\nfrom jgpt_dagster.cli import main\nmain(['--help'], standalone_mode=False)\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'dagster', 'torch', 'pyarrow', 'pydantic', 'upath'})"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert shown.splitlines()[-1] == "set()"
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_code_versions_as_text_are_those_of_the_assets() -> None:
    catalog = load_settings().catalog
    found, expected = installed_code_versions(catalog.corpora), code_versions(defs)
    assert found.items() <= expected.items()
    assert {output.asset for output in (*catalog.shared_outputs(), *catalog.dump_outputs("20260101"))} <= found.keys()


def test_ctrl_c_ends_any_command_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "load_settings", interrupted)
    ended = CliRunner().invoke(main, ["doctor"])
    assert ended.exit_code == 130 and ended.output == "\nAborted!\n"


def test_ctrl_c_while_a_command_is_imported_says_how_to_begin_again() -> None:
    program = (
        "import os, signal\nfrom jgpt_dagster.cli import command_group, main\n"
        "command_group.import_module = lambda name: os.kill(os.getpid(), signal.SIGINT)\nmain()"
    )
    ended = subprocess.run([sys.executable, "-c", program, "run", "--dump", "20260101"], capture_output=True, text=True)
    assert ended.returncode == 130
    assert ended.stderr.endswith("Resume with:\n  jgpt run --dump 20260101\nAborted!\n")


@pytest.mark.parametrize(("typed", "meant"), [("dump", " Did you mean 'dumps'?"), ("xyzzy", "")])
def test_a_command_that_is_mistyped_is_refused_with_the_most_similar_one(typed: str, meant: str) -> None:
    refused = CliRunner().invoke(main, [typed, "list"])
    assert refused.exit_code == 2 and refused.output.endswith(f"No such command '{typed}'.{meant}\n")
