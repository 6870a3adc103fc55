"""The webhook that is called after every failed run."""

import shlex
from typing import Any

import dagster as dg

from jgpt_dagster.corpus.fetch.errors import DownloadError, TemporaryError
from jgpt_dagster.corpus.fetch.http_client import open_client, post_json
from jgpt_dagster.errors import JgptError
from jgpt_dagster.literal_text import chat_block
from jgpt_dagster.orchestration.run_facts import partition_of
from jgpt_dagster.orchestration.run_history import assets_of, failure_reason
from jgpt_dagster.settings import Settings

_TIMEOUT_SECONDS = 10.0


def build_failure_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor that calls JGPT_FAILURE_WEBHOOK after every failed run; empty without that setting."""
    webhook = settings.failure_webhook
    if webhook is None:
        return []

    @dg.run_failure_sensor(
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the webhook of JGPT_FAILURE_WEBHOOK which run failed, why, and how to run it again.",
    )
    def failure_sensor(context: dg.RunFailureSensorContext) -> None:
        _post(webhook.get_secret_value(), failure_message(context.instance, context.dagster_run))

    return [failure_sensor]


def failure_message(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, Any]:
    """Return the message about a failed run. `text` holds all of it, for chats that show nothing else.

    Errors quote pages and servers, and whoever launches a run chooses its partition: `text` shows both literally.
    """
    assets, partition, error = sorted(assets_of(run)), partition_of(run.tags), failure_reason(instance, run.run_id)
    select = ["dg", "launch", "--assets", ",".join(assets)]
    start, _, end = (partition or "").partition("...")
    select += ["--partition-range", f"{start}...{end}"] if end else ["--partition", start] if start else []
    command = shlex.join(select)
    retried = run.tags.get("dagster/will_retry") == "true"
    what_next = "It is retried automatically." if retried else f"Once the cause is fixed:\n{chat_block(command)}"
    failure = chat_block(f"{'+'.join(assets)} {partition or ''} failed: {error}")
    return {
        "text": f"{failure}\nRun {run.run_id}. {what_next}",
        "run_id": run.run_id,
        "assets": assets,
        "partition": partition,
        "error": error,
        "retried": retried,
        "command": command,
    }


def _post(url: str, message: dict[str, Any]) -> None:
    """Send JSON. Raises JgptError without the URL, which is often all that keeps strangers from posting too."""
    with open_client() as client:
        try:
            status = post_json(client, url, message, _TIMEOUT_SECONDS)
        except DownloadError:
            raise JgptError(
                "The webhook of JGPT_FAILURE_WEBHOOK cannot be called: its URL is invalid, or it redirects to where no "
                "redirect is followed (from https to http, from a public to a private address)."
            ) from None
        except TemporaryError as error:
            reason = str(error).partition(":")[0]
            raise JgptError(f"The webhook of JGPT_FAILURE_WEBHOOK cannot be reached: {reason}.") from None
    if not 200 <= status < 300:
        raise JgptError(f"The webhook of JGPT_FAILURE_WEBHOOK answered {status}.")
