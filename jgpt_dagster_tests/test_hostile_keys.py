"""No partition key, run config, label or name from a manifest leads a run out of the data root."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterInvalidConfigError

from jgpt_dagster.catalog.releases import newest_release
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG, fail_abandoned_runs
from jgpt_dagster.orchestration.partitions import add_dumps, dump_key, shard_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.safe_path import UnsafeNameError, child_path
from jgpt_dagster_tests.support.deployments import DUMP, Deployment, in_process_instance

DATES = [
    "x/../../../.ssh",
    "..",
    "/etc",
    "*",
    "",
    "2026010",
    "202601011",
    "20260101\n",
    " 20260101",
    "２０２６０１０１",
    "20260101/../../escaped",
    "20260101\0",
]
SHARDS = ["../../escaped", "0", "0000", "００１", "-01", "*", "", "001\n", "098", "000|000"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The place of a data root, alone in its directory."""
    return tmp_path_factory.mktemp("hostile") / "data"


@pytest.fixture(scope="module")
def job(root: Path) -> dg.JobDefinition:
    urls = {"dumps_url": root.as_uri(), "cc100_url": f"{root.as_uri()}/ja.txt.xz"}
    values: dict[str, Any] = {"data": root, "scratch": None, "shards": 2, "wiki": "samplewiki", "model": "tiny", **urls}
    return build_definitions(Settings(**values)).resolve_implicit_global_asset_job_def()


def test_every_asset_and_check_refuses_a_partition_that_leads_elsewhere(job: dg.JobDefinition, root: Path) -> None:
    """A run is told its partition by a tag, for which the UI takes any text."""
    graph = job.asset_layer.asset_graph
    runs: list[tuple[dg.JobDefinition, dg.PartitionsDefinition | None]] = [
        (job.get_subset(asset_selection={key}, asset_check_selection=set()), graph.get(key).partitions_def)
        for key in graph.executable_asset_keys
    ]
    runs += [
        (job.get_subset(asset_selection=set(), asset_check_selection={key}), graph.get(key).partitions_def)
        for key in graph.asset_check_keys
    ]
    refused = 0
    for run, partitions in runs:
        for key in _HOSTILE[type(partitions)]:
            tags = {"dagster/partition": key}
            result = run.execute_in_process(instance=in_process_instance(), tags=tags, raise_on_error=False)
            assert not result.success, (run.asset_layer.selected_asset_keys, key)
            refused += 1
    assert refused > len(graph.executable_asset_keys)
    made = {path.name for path in root.parent.rglob("*") if path.parent.name != ".locks"}
    assert made == {"data", "root.json", ".locks"}
    assert all(path.name.startswith("process-") for path in (root / ".locks").iterdir())


_HOSTILE = {
    type(None): [],
    dg.DynamicPartitionsDefinition: ["x/../../../.ssh"],
    dg.StaticPartitionsDefinition: ["../../escaped"],
    dg.MultiPartitionsDefinition: ["x/../../../.ssh|000", f"{DUMP}|../../escaped"],
}


@pytest.mark.parametrize("date", DATES)
def test_a_dump_is_a_date_in_eight_ascii_digits(date: str, tmp_path: Path) -> None:
    root, instance = DataRoot(tmp_path), in_process_instance()
    if date:  # Dagster takes an empty key for none
        with pytest.raises(dg.Failure, match="is not a dump date"):
            dump_key(dg.build_asset_context(partition_key=date))
    for make in (root.directory, root.models, lambda asset, dump: root.parquet(asset, dump, "000")):
        with pytest.raises(UnsafeNameError):
            make("release", date)
    with pytest.raises(UnsafeNameError):
        add_dumps(instance, [DUMP, date])
    with pytest.raises(UnsafeNameError):
        newest_release(root, "tiny", date or "..")


@pytest.mark.parametrize("shard", SHARDS)
def test_a_shard_is_one_of_those_that_there_are(shard: str, job: dg.JobDefinition, root: Path) -> None:
    values: dict[str, Any] = {"data": root, "scratch": None, "shards": 2}
    store = CorpusStore.of(Settings(**values))
    for make in (store.parquet, store.directory):
        with pytest.raises(UnsafeNameError):
            make("cc100_tokens", None, shard)
    if shard not in ("", "098"):
        with pytest.raises(dg.Failure, match="is not a shard"):
            shard_key(dg.build_asset_context(partition_key=shard), store.corpora[1])


NAMES = ["..", ".", "", "a/b", "a\\b", "/a", "a\0", "a\n", "\x1b[2J", "\u202etxt", "x" * 256, "あ" * 86]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_made_of_plain_names_only(name: str, tmp_path: Path) -> None:
    for names in ((name,), ("a", name), (name, "a")):
        with pytest.raises(UnsafeNameError):
            child_path(tmp_path, *names)


@pytest.mark.parametrize("model", ["../x", "Tiny", "a|b", ".hidden", "-rf", "", "x" * 64, "ｔｉｎｙ", "tiny\n"])
def test_a_models_name_has_the_form_of_a_name(model: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeNameError):
        DataRoot(tmp_path).directory("release", DUMP, model=model)


@pytest.mark.parametrize(
    "resources",
    [
        {"store": {"config": {"data": "/tmp/elsewhere"}}},
        {"store": {"config": {"scratch": "/tmp/elsewhere"}}},
        {"store": {"config": {"folders": {"x": "/etc"}}}},
        {"mirror": {"config": {"dumps_url": "http://127.0.0.1:9/"}}},
        {"launcher": {"config": {"hostfile": "/tmp/hosts"}}},
        {"segmenter": {"config": {"engine": "evil"}}},
    ],
)
def test_run_config_cannot_change_a_resource(job: dg.JobDefinition, resources: dict[str, Any], root: Path) -> None:
    with pytest.raises(DagsterInvalidConfigError, match="unexpected config entry"):
        job.execute_in_process(instance=in_process_instance(), run_config={"resources": resources})


def test_no_resource_at_all_can_be_configured(job: dg.JobDefinition) -> None:
    """A resource that is added later must be fixed too; `io_manager` is Dagster's own, and no asset uses it."""
    for name in job.resource_defs.keys() - {"io_manager"}:
        with pytest.raises(DagsterInvalidConfigError):
            job.execute_in_process(run_config={"resources": {name: {"config": {"anything": 1}}}})


def test_the_tokenizers_dump_is_a_date(deployment: Deployment) -> None:
    made = deployment.materialize("tokenizer", dump="../../escaped")
    assert made.error is not None and "is not a dump date" in made.error


def test_a_runs_tag_does_not_lead_to_a_lock_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.lock"
    elsewhere.touch()
    (tmp_path / "data" / ".locks" / "command-x").mkdir(parents=True)
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {COMMAND_TAG: "x/../../../elsewhere"}
        run = dg.DagsterRun("job", status=dg.DagsterRunStatus.STARTED, tags=tags)
        instance.add_run(run)
        fail_abandoned_runs(instance, tmp_path / "data", pytest.fail)
        unfinished = instance.get_run_by_id(run.run_id)
        assert unfinished is not None and not unfinished.is_finished


def test_the_token_files_of_a_training_set_lie_in_the_data_root(finished: Deployment, tmp_path: Path) -> None:
    source = finished.root.directory("training_set", DUMP).path
    manifest = json.loads((source / "training_set.json").read_text())
    manifest["token_files"][0]["path"] = "../elsewhere"
    (tmp_path / "training_set.json").write_text(json.dumps(manifest))
    with pytest.raises(UnsafeNameError):
        TrainingSet.open(tmp_path).open_tokens(finished.data)


@pytest.mark.parametrize("label", ["wikipedia_tokens ../..|000", "wikipedia_tokens", "../x 20260101|000", "a b c", ""])
def test_a_label_of_a_manifest_names_an_output_of_the_root(label: str, tmp_path: Path) -> None:
    for make in (DataRoot(tmp_path).parquet_by_label, DataRoot(tmp_path).directory_by_label):
        with pytest.raises(UnsafeNameError):
            make(label)
