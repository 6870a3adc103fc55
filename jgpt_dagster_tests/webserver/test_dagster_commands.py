"""Dagster's webserver never starts without the guard."""

import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from dagster._cli import dev
from dagster_webserver import cli
from starlette.testclient import TestClient

from jgpt_dagster.webserver.dagster_commands import UnknownDagsterError, guarded_command, serve
from jgpt_dagster.webserver.request_guard import RequestGuard


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """The applications that uvicorn was to serve, with its options."""
    applications: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: applications.append((app, options)))
    for module, name in ((cli, "uvicorn"), (dev, "open_ipc_subprocess")):
        monkeypatch.setattr(module, name, getattr(module, name))
    return applications


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True)])
def test_the_webserver_is_served_with_the_guard_and_warns_where_others_can_reach_it(
    served: list[tuple[Any, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    host: str,
    warned: bool,
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        serve(["--empty-workspace", "--host", host, "--port", "3999"])
    assert not ended.value.code
    ((app, options),) = served
    assert isinstance(app, RequestGuard) and (options["host"], options["port"]) == (host, 3999)
    assert ("asks for no password" in capfd.readouterr().err) == warned


def test_a_read_only_webserver_lets_nobody_change_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    query = 'mutation { setConcurrencyLimit(concurrencyKey: "pool", limit: 9) }'
    answers: list[Any] = []

    def ask(app: Any, **_: Any) -> None:
        answers.append(TestClient(app, base_url="http://localhost").post("/graphql", json={"query": query}).json())

    monkeypatch.setattr(cli, "uvicorn", vars(cli)["uvicorn"])
    monkeypatch.setattr(uvicorn, "run", ask)
    for options in (["--read-only"], []):
        with pytest.raises(SystemExit):
            serve(["--empty-workspace", *options])
    refused, done = answers
    assert "errors" in refused and done == {"data": {"setConcurrencyLimit": True}}


def test_the_ui_starts_the_guarded_webserver_and_the_daemon() -> None:
    options = ["--port", "3000"]
    webserver = guarded_command([sys.executable, "-m", "dagster_webserver", *options], read_only=False)
    assert webserver == [sys.executable, "-m", "jgpt_dagster.webserver", *options]
    assert guarded_command([sys.executable, "-m", "dagster_webserver"], read_only=True)[-1] == "--read-only"
    daemon = [sys.executable, "-m", "dagster._daemon", "run"]
    assert guarded_command(daemon, read_only=True) == daemon


def test_a_dagster_that_starts_something_else_is_refused_by_name(
    served: list[tuple[Any, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownDagsterError, match=r"starts -m dagster_ui, .* install 1\.13"):
        guarded_command([sys.executable, "-m", "dagster_ui"], read_only=False)
    monkeypatch.delattr(cli, "uvicorn")
    with pytest.raises(UnknownDagsterError, match=r"dagster_webserver\.cli has no uvicorn"):
        serve(["--empty-workspace"])
    assert not served


def test_a_dagster_that_serves_by_other_means_than_the_known_one_does_not_serve(
    served: list[tuple[Any, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    def serve_by_other_means(*_: Any) -> None:
        vars(cli)["uvicorn"].Server(None)

    monkeypatch.setattr(cli, "host_dagster_ui_with_workspace_process_context", serve_by_other_means)
    with pytest.raises(AttributeError, match="Server"):
        serve(["--empty-workspace"])
    assert not served
