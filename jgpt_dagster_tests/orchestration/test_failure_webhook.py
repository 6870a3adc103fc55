"""A failed run is told to the webhook, and its log is JSON; the webhook's URL is told to nobody."""

import json
import logging
import re
import shlex
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration import failure_webhook
from jgpt_dagster.orchestration.failure_webhook import build_failure_sensors
from jgpt_dagster.orchestration.json_logs import JsonFormatter
from jgpt_dagster.settings import Settings, SettingsError, load_settings
from jgpt_dagster_tests.support.deployments import DUMP

KEY = f"{DUMP}|000"


class Webhook(BaseHTTPRequestHandler):
    """Keeps what it is sent; the path `/broken` answers 500."""

    received: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(500 if self.path == "/broken" else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Webhook, "received", [], raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dg.DagsterInstance, str, list[str]]]:
    """An instance with a run that failed since its dump is missing, the run's id, and the JSON lines of its log."""
    folder = tmp_path_factory.mktemp("failed")
    handler = {"class": "logging.FileHandler", "filename": str(folder / "log"), "level": "INFO", "formatter": "json"}
    logs = {
        "handlers": {"file": handler},
        "formatters": {"json": {"()": "jgpt_dagster.orchestration.json_logs.JsonFormatter"}},
    }
    settings = Settings(data=folder / "data", wiki="miniwiki", shards=1, cc100_url="")
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    with dg.instance_for_test(overrides={"python_logs": {"dagster_handler_config": logs}}) as instance:
        instance.add_dynamic_partitions("dump", [DUMP])
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey("wikipedia_articles")],
            partition_key=KEY,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        yield instance, result.run_id, (folder / "log").read_text().splitlines()


def call(webhook: str, failed: tuple[dg.DagsterInstance, str, list[str]]) -> None:
    instance, run_id, _ = failed
    (sensor,) = build_failure_sensors(Settings(failure_webhook=SecretStr(webhook)))
    (event,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    run = instance.get_run_by_id(run_id)
    assert run and event.dagster_event
    context = dg.build_run_status_sensor_context(sensor.name, event.dagster_event, instance, run)
    sensor(context.for_run_failure())


def test_the_webhook_receives_asset_partition_error_and_the_command_to_repeat(
    webhook: str, failed: tuple[dg.DagsterInstance, str, list[str]]
) -> None:
    call(f"{webhook}/secret", failed)
    (message,) = Webhook.received
    assert (message["run_id"], message["assets"], message["partition"]) == (failed[1], ["wikipedia_articles"], KEY)
    assert message["command"] == f"dg launch --assets wikipedia_articles --partition '{KEY}'"
    assert f"wikipedia_dump {DUMP}" in message["error"]
    assert all(message[part] in message["text"] for part in ("error", "command", "run_id", "partition"))


def test_a_failing_webhook_is_reported_without_its_url(
    webhook: str, failed: tuple[dg.DagsterInstance, str, list[str]]
) -> None:
    with pytest.raises(JgptError, match="answered 500") as error:
        call(f"{webhook}/broken", failed)
    assert "broken" not in str(error.value)


def test_without_the_setting_there_is_no_sensor_and_its_value_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_failure_sensors(Settings()) == []
    assert "secret" not in repr(Settings(failure_webhook=SecretStr("https://example.org/secret")))
    monkeypatch.setenv("JGPT_FAILURE_WEBHOOK", "example.org/secret")
    with pytest.raises(SettingsError, match=r"JGPT_FAILURE_WEBHOOK=…: .*must start with http") as error:
        load_settings()
    assert "secret" not in str(error.value)


def test_every_line_of_a_runs_log_is_json_with_run_asset_and_partition(
    failed: tuple[dg.DagsterInstance, str, list[str]],
) -> None:
    lines = [json.loads(line) for line in failed[2]]
    assert {line["run"] for line in lines} == {failed[1]}
    assert {line["partition"] for line in lines} == {KEY}
    (failure,) = [line for line in lines if line.get("event") == "STEP_FAILURE"]
    assert failure["asset"] == "wikipedia_articles"
    assert failure["level"] == "ERROR"
    assert f"wikipedia_dump {DUMP}" in failure["error"]


def test_the_message_shows_what_a_page_or_a_visitor_wrote_literally(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "<!channel> @here [x](http://evil.example) ```<http://evil.example|x> \x1b[2J"
    monkeypatch.setattr(failure_webhook, "failure_reason", lambda *_: hostile)
    run = dg.DagsterRun("job", tags={"dagster/partition": hostile}, asset_selection={dg.AssetKey("tokenizer")})
    message = failure_webhook.failure_message(dg.DagsterInstance.ephemeral(), run)
    assert (message["error"], message["partition"]) == (hostile, hostile)
    assert shlex.split(message["command"]) == ["dg", "launch", "--assets", "tokenizer", "--partition", hostile]
    outside = re.sub(r"^```\n[^`]*\n```$", "", message["text"], flags=re.MULTILINE)
    assert outside == f"\nRun {run.run_id}. Once the cause is fixed:\n"
    assert not re.search("[<\x1b]|@(?!\u200b)", message["text"])


def test_text_in_a_log_cannot_end_its_line() -> None:
    text = '1\n2\r3\x854\u20285"}\n{"message": "6\x1b[2J\x9b\ud800'
    record = logging.LogRecord("jgpt", logging.INFO, "file", 1, text, (), None)
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1 and line.isprintable()
    assert json.loads(line.encode())["message"] == text
