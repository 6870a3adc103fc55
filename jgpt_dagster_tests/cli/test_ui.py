"""The commands that open the UI pass their options on."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from jgpt_dagster.cli import main
from jgpt_dagster.webserver import dagster_commands


def test_the_webserver_takes_the_options_of_dagsters_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[str, ...]] = []
    monkeypatch.setattr(dagster_commands, "serve", served.append)
    monkeypatch.setenv("JGPT_DATA", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    # As the Helm chart starts it.
    options = ("-h", "0.0.0.0", "-p", "3000", "-w", "workspace.yaml", "--db-pool-recycle", "60", "--read-only")
    for arguments in (options, ("--help",)):
        assert CliRunner().invoke(main, ["webserver", *arguments]).exit_code == 0
    assert served == [options, ("--help",)]
