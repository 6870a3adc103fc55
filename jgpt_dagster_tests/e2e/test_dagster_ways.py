"""Dagster's own ways in: its two command lines, its GraphQL, and what its instance shows of a finished run."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG
from jgpt_dagster_tests.support.deployments import DUMP, PROJECT, SMALL_RUN, Deployment
from jgpt_dagster_tests.support.tables import rows_of

pytestmark = pytest.mark.slow

MODULE = ("-m", "jgpt_dagster.definitions")

STAGES = {
    "wikipedia_dump": DUMP,
    "wikipedia_articles": f"{DUMP}|001",
    "wikipedia_segmented": f"{DUMP}|001",
    "cc100_dump": None,
    "cc100_documents": "001",
    "cc100_segmented": "001",
    "tokenizer": None,
    "wikipedia_tokens": f"{DUMP}|001",
    "cc100_tokens": "001",
    "training_set": DUMP,
    "pretrained_model": f"{DUMP}|tiny",
    "evaluation": f"{DUMP}|tiny",
    "release": f"{DUMP}|tiny",
}
CHECKS = {
    "wikipedia_dump": {"is_newest"},
    "wikipedia_articles": {"pages_add_up", "eligible_pages_have_rows", "articles_kept", "no_markup_left"},
    "wikipedia_segmented": {"every_article_segmented"},
    "cc100_documents": {"no_document_missing", "documents_kept"},
    "cc100_segmented": {"every_document_segmented"},
    "tokenizer": {"text_survives_encoding"},
    "wikipedia_tokens": {"article_tokens_decode"},
    "cc100_tokens": {"document_tokens_decode"},
    "training_set": {"documents_add_up"},
    "pretrained_model": {"loss_fell"},
    "evaluation": {"scores_are_finite", "better_than_bigrams"},
    "release": {"opens_offline"},
}

# Only warns: the finished deployment's model has trained for a few steps.
WARNING = "better_than_bigrams"


@pytest.fixture(scope="module")
def instance(finished: Deployment) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(finished.data / ".dagster")) as instance:
        yield instance


@pytest.fixture
def unfinished(finished: Deployment, tmp_path: Path) -> Deployment:
    """A copy of the finished deployment whose corpora are to be made again."""
    deployment = finished.copy(tmp_path / "data")
    for shard in ("000", "001"):
        deployment.root.parquet("wikipedia_segmented", DUMP, shard).remove()
        deployment.root.parquet("cc100_documents", shard=shard).remove()
    return deployment


def newest_metadata(instance: dg.DagsterInstance, query: dg.AssetRecordsFilter) -> Mapping[str, Any]:
    (record, *_) = instance.fetch_materializations(query, limit=1).records
    assert record.asset_materialization is not None
    return record.asset_materialization.metadata


@pytest.mark.parametrize(("asset", "partition"), STAGES.items())
def test_every_stage_shows_how_it_went(instance: dg.DagsterInstance, asset: str, partition: str | None) -> None:
    query = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition] if partition else None)
    metadata = newest_metadata(instance, query)
    assert metadata["status"].value == "made"
    assert metadata["seconds"].value > 0
    assert any(isinstance(value, dg.IntMetadataValue) for value in metadata.values())
    if not asset.endswith("dump") and asset not in ("training_set", "release"):
        assert any(isinstance(value, dg.TableMetadataValue) and value.records for value in metadata.values())


@pytest.mark.parametrize("asset", STAGES)
def test_every_check_is_recorded_and_passed(instance: dg.DagsterInstance, asset: str) -> None:
    expected = CHECKS.get(asset, set())
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), name) for name in expected]
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert {key.name for key in found} == expected
    assert all(record.status.value == "SUCCEEDED" for key, record in found.items() if key.name != WARNING)


def test_runs_are_recorded_one_an_asset_and_shard(instance: dg.DagsterInstance) -> None:
    runs = instance.get_runs()
    # Five stages have two shards, each a run; cc100_documents is one pass for both.
    assert len(runs) == 13 + 5
    assert len({run.tags[COMMAND_TAG] for run in runs}) == 1
    assert all(run.remote_job_origin for run in runs), "Dagster's timeline leaves out runs of no code location"
    assert all(run.is_success for run in runs)


def test_the_plan_of_a_run_is_an_asset_and_a_command(finished: Deployment, tmp_path: Path) -> None:
    deployment = finished.copy(tmp_path / "data")
    run = {**SMALL_RUN["pretrained_model"], "hardware": "8xa100-80"}
    shown = dict(rows_of(deployment.materialize("plan", f"{DUMP}|tiny", **run).metadata["plan"]))
    assert shown["tokens"] == "4,096" and shown["time"].startswith("unknown: arithmetic would take")
    printed = deployment.invoke("plan", "--dump", DUMP, "--hardware", "8xa100-80")
    assert shown["time"] in printed and "ZeRO-1" in printed


def test_a_run_shows_its_outcome_beside_its_plan(instance: dg.DagsterInstance) -> None:
    query = dg.AssetRecordsFilter(dg.AssetKey("pretrained_model"), asset_partitions=[f"{DUMP}|tiny"])
    metadata = newest_metadata(instance, query)
    assert "tokens/s" in [what for what, *_ in rows_of(metadata["plan_and_actual"])]


def test_a_machine_that_is_not_here_is_refused_but_never_for_a_model_that_is_finished(
    finished: Deployment, tmp_path: Path
) -> None:
    deployment = finished.copy(tmp_path / "data")
    run = {**SMALL_RUN["pretrained_model"], "hardware": "8xa100-80"}
    assert deployment.materialize("pretrained_model", f"{DUMP}|tiny", **run).error is None
    deployment.root.directory("pretrained_model", DUMP, model="tiny").remove()
    refused = deployment.materialize("pretrained_model", f"{DUMP}|tiny", **run).error
    assert refused is not None and "8xa100-80 has 8 processes, but the launcher would start 1" in refused


def test_definitions_are_valid(deployment: Deployment) -> None:
    deployment.invoke("dumps", "list")
    assert "Validation successful" in deployment.succeed("dagster", "definitions", "validate", *MODULE)


def test_dumps_are_added_and_listed(finished: Deployment, tmp_path: Path) -> None:
    deployment = finished.copy(tmp_path / "data")
    deployment.invoke("dumps", "add", "20260120", DUMP)
    listed = deployment.invoke("dumps", "list")
    assert f"{DUMP}  wikipedia_dump whole  release whole" in listed
    assert "20260120  wikipedia_dump absent  release absent" in listed


def test_dagster_materializes_one_shard(unfinished: Deployment, finished: Deployment) -> None:
    unfinished.invoke("dumps", "add", DUMP)
    key = f"{DUMP}|001"
    unfinished.succeed(
        "dagster", "asset", "materialize", *MODULE, "--select", "wikipedia_segmented", "--partition", key
    )
    made = unfinished.root.parquet("wikipedia_segmented", DUMP, "001")
    assert made.path.read_bytes() == finished.root.parquet("wikipedia_segmented", DUMP, "001").path.read_bytes()
    assert not unfinished.root.parquet("wikipedia_segmented", DUMP, "000").path.exists()


def test_dagster_materializes_a_range_of_shards_in_one_pass(unfinished: Deployment, finished: Deployment) -> None:
    unfinished.invoke("dumps", "list")
    selection = ("--select", "cc100_documents", "--partition-range", "000...001")
    unfinished.succeed("dagster", "asset", "materialize", *MODULE, *selection)
    for shard in ("000", "001"):
        made = unfinished.root.parquet("cc100_documents", shard=shard)
        assert made.path.read_bytes() == finished.root.parquet("cc100_documents", shard=shard).path.read_bytes()
    records = [unfinished.root.parquet("cc100_documents", shard=shard).run_record() for shard in ("000", "001")]
    assert records[0]["run_id"] == records[1]["run_id"]


def test_dg_launches_an_asset(deployment: Deployment) -> None:
    deployment.invoke("dumps", "list")
    deployment.succeed("dg", "launch", "--assets", "cc100_dump")
    assert deployment.root.directory("cc100_dump").verified()


@pytest.mark.long
def test_a_backfill_of_a_stage_from_the_ui_finishes(unfinished: Deployment, finished: Deployment) -> None:
    unfinished.invoke("dumps", "add", DUMP)
    with _served(unfinished) as url:
        keys = [f"{DUMP}|000", f"{DUMP}|001"]
        launched = _graphql(
            url,
            """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                 __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={"assetSelection": [{"path": ["wikipedia_segmented"]}], "partitionNames": keys},
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        query = (
            "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
        )
        deadline = time.monotonic() + 240
        while True:
            status = _graphql(url, query, id=launched["backfillId"])["partitionBackfillOrError"]["status"]
            if not status.startswith("REQUESTED"):
                break
            assert time.monotonic() < deadline, f"the backfill is {status}"
            time.sleep(1)
    assert status == "COMPLETED_SUCCESS"
    for shard in ("000", "001"):
        made = unfinished.root.parquet("wikipedia_segmented", DUMP, shard)
        assert made.path.read_bytes() == finished.root.parquet("wikipedia_segmented", DUMP, shard).path.read_bytes()


@contextmanager
def _served(deployment: Deployment) -> Iterator[str]:
    """Run the UI and the daemon over a deployment, from workspace.yaml, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ("-w", str(PROJECT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port))
    process = deployment.start("dagster", "dev", *arguments)
    # Read by nobody, a full pipe would stop the servers.
    log = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 240
        while True:
            try:
                _graphql(url, "{ version }")
                break
            except OSError:
                assert process.poll() is None, "dagster dev ended"
                assert time.monotonic() < deadline, "dagster dev does not answer"
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        log.wait()


def _graphql(url: str, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, Any] = json.load(response)
    assert "errors" not in answer, answer
    data: dict[str, Any] = answer["data"]
    return data
