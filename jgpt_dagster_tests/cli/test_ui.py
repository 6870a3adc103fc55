"""The commands that open the UI pass their options on."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from jgpt_dagster.cli import main
from jgpt_dagster.webserver import dagster_commands
from jgpt_dagster_tests.support.waiting import wait_until


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


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGPT_DATA", str(tmp_path / "data"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        refused = CliRunner().invoke(main, ["ui", "--port", port])
    assert refused.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}: something listens there already" in refused.output
    assert not (tmp_path / "data").exists()


def test_the_ui_prints_its_address_and_opens_the_browser_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[str]()
    monkeypatch.setenv("JGPT_DATA", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    monkeypatch.setattr("webbrowser.open", opened.append)

    def serve(host: str, port: int, *, read_only: bool, verbose: bool) -> None:
        with socket.create_server((host, port)):
            wait_until(lambda: bool(opened))

    monkeypatch.setattr(dagster_commands, "serve_with_daemon", serve)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shown = CliRunner().invoke(main, ["ui", "--port", str(port), "--open"])
    assert shown.exit_code == 0
    assert f"http://127.0.0.1:{port} shows {tmp_path}" in shown.output
    assert opened == [f"http://127.0.0.1:{port}"]
