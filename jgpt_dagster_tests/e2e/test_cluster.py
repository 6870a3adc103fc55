"""Two workers, Redis and PostgreSQL: a killed worker costs its shard's time, or a training's since a checkpoint."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
import yaml

from jgpt_dagster.orchestration.partitions import add_model
from jgpt_dagster.storage.atomic_write import temporary_path
from jgpt_dagster.storage.partition_lock import partition_lock
from jgpt_dagster_tests.support.deployments import BIN, DUMP, PROJECT, SMALL_RUN, Deployment, sample_deployment
from jgpt_dagster_tests.support.local_servers import postgres_server, redis_server
from jgpt_dagster_tests.support.waiting import wait_until

pytest.importorskip("dagster_celery")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# SMALL_RUN, with a training that takes long enough to be killed in its middle.
RUN = {
    **SMALL_RUN,
    "pretrained_model": {**SMALL_RUN["pretrained_model"], "steps": 200, "checkpoint_every": 20, "evaluate_every": 200},
}

LAUNCH = """mutation Launch($runs: [ExecutionParams!]!) { launchMultipleRuns(executionParamsList: $runs) {
    __typename ... on LaunchMultipleRunsResult { launchMultipleRunsResult {
        __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } } } }"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Iterator[Deployment]:
    """A deployment whose dump is fetched, with the instance of deploy/dagster.yaml and its daemon; no workers."""
    folder = tmp_path_factory.mktemp("cluster")
    deployment = sample_deployment(folder / "data", mirror).with_settings(CC100_URL="")
    assert deployment.materialize("wikipedia_dump", DUMP).error is None
    home = folder / "home"
    home.mkdir()
    config = yaml.safe_load((PROJECT / "deploy" / "dagster.yaml").read_text())
    config["run_monitoring"]["poll_interval_seconds"] = 1
    # A message that is not off the queue by then is delivered again.
    config["run_launcher"]["config"]["config_source"] = {"broker_transport_options": {"visibility_timeout": 2}}
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    with redis_server(folder) as redis, postgres_server() as postgres, pytest.MonkeyPatch.context() as patch:
        environment = {
            **postgres,
            "REDIS_URL": redis,
            "JGPT_COMPUTE_LOGS": str(folder / "logs"),
            "DAGSTER_HOME": str(home),
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        deployment = replace(deployment, environment=environment)
        deployment.invoke("dumps", "add", DUMP)
        with dg.DagsterInstance.get() as instance:
            add_model(instance, "tiny")
        daemon = start(deployment, "dagster-daemon", "run", "-m", "jgpt_dagster.definitions")
        yield deployment
        end(daemon)


@pytest.fixture
def workers(cluster: Deployment) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Starts a worker of a queue; all are ended after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start_worker(queue: str) -> "subprocess.Popen[bytes]":
        started.append(start(cluster, "jgpt", "worker", "--queue", queue, "--processes", "1"))
        return started[-1]

    yield start_worker
    for worker in started:
        end(worker)


def test_a_worker_killed_in_mid_shard_costs_the_time_of_that_shard_and_nothing_else(
    cluster: Deployment, workers: Callable[[str], "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    killed = cluster.root.parquet("wikipedia_articles", DUMP, "001")
    # Whoever writes into a pipe that nobody reads is caught in the act.
    pipe = temporary_path(killed.path)
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    both = [workers("cpu"), workers("cpu")]
    launched = launch(cluster, [("wikipedia_articles", f"{DUMP}|000"), ("wikipedia_articles", f"{DUMP}|001")])
    holder = cluster.data / ".locks" / f"wikipedia_articles__{DUMP}_001.json"
    wait_until(holder.exists)
    os.killpg(os.getpgid(json.loads(holder.read_text())["pid"]), signal.SIGKILL)
    pipe.unlink()
    assert killed.manifest() is None
    wait_until(lambda: [worker.poll() for worker in both].count(None) == 1)

    with dg.DagsterInstance.get() as instance:
        wait_until(lambda: [run.is_finished for run in instance.get_runs()] == [True] * 3)
        runs = {run.run_id: run for run in instance.get_runs()}
        (again,) = set(runs) - set(launched)
        assert [runs[run_id].status.value for run_id in (*launched, again)] == ["SUCCESS", "FAILURE", "SUCCESS"]
        assert runs[again].tags["dagster/parent_run_id"] == launched[1]
        assert "is gone" in "".join(entry.message for entry in instance.all_logs(launched[1]))
    other = cluster.root.parquet("wikipedia_articles", DUMP, "000")
    assert (other.run_record()["run_id"], killed.run_record()["run_id"]) == (launched[0], again)

    rebuilt = replace(cluster, data=tmp_path / "rebuilt", environment={})
    for asset, partition in (("wikipedia_dump", DUMP), ("wikipedia_articles", f"{DUMP}|001")):
        assert rebuilt.materialize(asset, partition).error is None
    assert killed.path.read_bytes() == rebuilt.root.parquet("wikipedia_articles", DUMP, "001").path.read_bytes()


@pytest.mark.long
def test_a_training_whose_worker_is_killed_goes_on_at_another_and_is_never_delivered_twice(
    cluster: Deployment, workers: Callable[[str], "subprocess.Popen[bytes]"]
) -> None:
    shards = [f"{DUMP}|000", f"{DUMP}|001"]
    for asset, partitions in (
        ("wikipedia_articles", shards),
        ("wikipedia_segmented", shards),
        ("tokenizer", [None]),
        ("wikipedia_tokens", shards),
        ("training_set", [DUMP]),
    ):
        for partition in partitions:
            made = cluster.materialize(asset, partition, **SMALL_RUN.get(asset, {}))
            assert made.error is None
    _ = [workers("gpu"), workers("gpu"), workers("cpu")]
    (run_id,) = launch(cluster, [("pretrained_model", f"{DUMP}|tiny")])
    scratch = cluster.data / ".scratch" / "pretrained_model" / f"dump={DUMP}" / "model=tiny"
    wait_until((scratch / "checkpoints" / "step=00000020" / "manifest.json").exists)
    killed = json.loads((cluster.data / ".locks" / f"pretrained_model__{DUMP}_tiny.json").read_text())["pid"]
    os.killpg(os.getpgid(killed), signal.SIGKILL)

    with dg.DagsterInstance.get() as instance:

        def tries() -> list[dg.DagsterRun]:
            runs = instance.get_runs()
            return [run for run in runs if run_id in (run.run_id, run.tags.get("dagster/parent_run_id"))]

        wait_until(lambda: [run.is_finished for run in tries()] == [True] * 2)
        again, first = tries()
        assert [run.status.value for run in (first, again)] == ["FAILURE", "SUCCESS"]
        events = {run.run_id: instance.all_logs(run.run_id) for run in (first, again)}
    for run in (first, again):
        assert run.tags["dagster-celery/queue"] == "gpu"
        messages = [event.message for event in events[run.run_id]]
        assert len([message for message in messages if "Started process for run" in message]) == 1
        assert not [message for message in messages if message.startswith("Ignoring")]
    # Longer than the broker waits for a message to be taken off its queue.
    assert events[again.run_id][-1].timestamp - events[again.run_id][0].timestamp > 4
    assert "resuming after step " in "".join(event.message for event in events[again.run_id])


@pytest.mark.long
def test_a_terminated_run_ends_on_its_worker_and_one_that_waits_for_a_worker_at_once(
    cluster: Deployment, workers: Callable[[str], "subprocess.Popen[bytes]"]
) -> None:
    # Whoever makes the shard waits for its lock, so that the run is caught at work.
    lock = partition_lock(cluster.root.path, f"wikipedia_articles {DUMP}|000", "the test", lambda line: None)
    with lock, dg.DagsterInstance.get() as instance:
        workers("cpu")
        at_work, waiting = launch(cluster, [("wikipedia_articles", f"{DUMP}|000"), ("evaluation", f"{DUMP}|tiny")])
        wait_until(lambda: "waiting for the test" in "".join(entry.message for entry in instance.all_logs(at_work)))
        wait_until(lambda: "forwarded to the broker" in "".join(entry.message for entry in instance.all_logs(waiting)))
        for run_id in (at_work, waiting):
            assert instance.run_launcher.terminate(run_id)
        wait_until(lambda: {run.status.value for run in instance.get_runs(limit=2)} == {"CANCELED"})


def launch(cluster: Deployment, wanted: Sequence[tuple[str, str]]) -> list[str]:
    """Put runs into Dagster's queue, as the UI does, and return their ids in order."""
    runs = [
        {
            "selector": {
                "repositoryLocationName": "jgpt_dagster.definitions",
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": [asset]}],
                "assetCheckSelection": [],
            },
            "runConfigData": {"ops": {asset: {"config": RUN[asset]}}} if asset in RUN else {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
            "mode": "default",
        }
        for asset, partition in wanted
    ]
    answer = cluster.succeed(
        "dagster-graphql",
        "-m",
        "jgpt_dagster.definitions",
        "--text",
        LAUNCH,
        "--variables",
        json.dumps({"runs": runs}),
    )
    (line,) = [line for line in answer.splitlines() if line.startswith("{")]
    results = json.loads(line)["data"]["launchMultipleRuns"]["launchMultipleRunsResult"]
    return [result["run"]["runId"] for result in results]


def start(cluster: Deployment, *command: str) -> "subprocess.Popen[bytes]":
    """Start a command that goes on, in a session of its own; what it prints is kept beside the data."""
    with (cluster.data.parent / f"{command[0]}.log").open("ab") as log:
        return subprocess.Popen(
            [BIN / command[0], *command[1:]],
            env=cluster.env,
            cwd=PROJECT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process with its children."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
