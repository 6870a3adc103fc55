"""The webhook that is told of every failed run."""

import json
import shlex
import urllib.error
import urllib.request
from typing import Any

import dagster as dg

from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.run_history import assets_of, failure_reason, partition_of
from jgpt_dagster.settings import Settings

_ANSWER_SECONDS = 10.0


def build_alerts(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor that calls JGPT_FAILURE_WEBHOOK after every failed run; none where there is no such setting."""
    webhook = settings.failure_webhook
    if webhook is None:
        return []

    @dg.run_failure_sensor(default_status=dg.DefaultSensorStatus.RUNNING)
    def failure_sensor(context: dg.RunFailureSensorContext) -> None:
        """Tells the webhook of JGPT_FAILURE_WEBHOOK which run failed, why, and how it is made again."""
        _post(webhook.get_secret_value(), failure_message(context.instance, context.dagster_run))

    return [failure_sensor]


def failure_message(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, Any]:
    """Return what the webhook is told of a failed run. `text` holds all of it, for chats that show just that."""
    assets, partition, error = sorted(assets_of(run)), partition_of(run.tags), failure_reason(instance, run.run_id)
    select = ["dg", "launch", "--assets", ",".join(assets)]
    start, _, end = (partition or "").partition("...")
    select += ["--partition-range", f"{start}...{end}"] if end else ["--partition", start] if start else []
    command = shlex.join(select)
    retried = run.tags.get("dagster/will_retry") == "true"
    what_next = "It is tried again by itself." if retried else f"When the cause is mended: {command}"
    return {
        "text": f"{'+'.join(assets)} {partition or ''} failed: {error}\nRun {run.run_id}. {what_next}",
        "run_id": run.run_id,
        "assets": assets,
        "partition": partition,
        "error": error,
        "retried": retried,
        "command": command,
    }


def _post(url: str, message: dict[str, Any]) -> None:
    """Send JSON. Raises JgptError, without the URL: often it is all that keeps strangers from posting too."""
    body = json.dumps(message, ensure_ascii=False).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        raise JgptError(f"The webhook of JGPT_FAILURE_WEBHOOK answered {error.code} {error.reason}.") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise JgptError(f"The webhook of JGPT_FAILURE_WEBHOOK cannot be reached: {reason}.") from None
