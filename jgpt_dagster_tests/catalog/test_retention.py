"""`jgpt dumps remove` and `prune` take a dump away whole, and never one that is in use or that a release refers to."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from jgpt_dagster.catalog.retention import Removal, dumps_on_disk, reasons_to_keep
from jgpt_dagster.cli import main
from jgpt_dagster.orchestration.partitions import add_dumps, known_dumps
from jgpt_dagster.settings import load_settings
from jgpt_dagster.storage.partition_lock import partition_lock
from jgpt_dagster.storage.safe_path import UnsafeNameError
from jgpt_dagster_tests.support.deployments import Deployment, mini_deployment

DATES = ("20260101", "20260120", "20260201")


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A very small wiki with the articles of three dumps, all alike. Read only."""
    deployment = mini_deployment(tmp_path_factory.mktemp("fetched"))
    assert deployment.materialize("wikipedia_dump", DATES[0]).error is None
    assert deployment.materialize("wikipedia_articles", f"{DATES[0]}|000").error is None
    for asset in ("wikipedia_dump", "wikipedia_articles"):
        for date in DATES[1:]:
            location(deployment, f"{asset}/dump={date}", f"{asset}/dump={DATES[0]}")
    return deployment


@pytest.fixture
def deployment(fetched: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    deployment = fetched.copy(tmp_path / "data")
    for name, value in deployment.env.items():
        monkeypatch.setenv(name, value)
    return deployment


@pytest.fixture
def instance(deployment: Deployment) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        add_dumps(instance, DATES)
        yield instance


def location(deployment: Deployment, name: str, source: str = f"wikipedia_dump/dump={DATES[0]}") -> None:
    """Put an output that is whole below the data root: a copy of another one's files."""
    shutil.copytree(deployment.data / source, deployment.data / name, copy_function=os.link)


def place_model(deployment: Deployment, asset: str, date: str) -> None:
    location(deployment, f"{asset}/dump={date}/model=tiny")


def jgpt(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def names(deployment: Deployment) -> set[str]:
    return {name for name, _ in deployment.paths()}


def test_a_removed_dump_is_gone_with_its_partition_and_the_others_stay(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    others = {name for name in names(deployment) if f"dump={DATES[1]}" not in name}
    code, output = jgpt("dumps", "remove", DATES[1])
    listed = [f"  {deployment.data}/wikipedia_{asset}/dump={DATES[1]}  0.0 GB\n" for asset in ("articles", "dump")]
    assert (code, output) == (0, f"{DATES[1]}  to remove:\n{''.join(listed)}{DATES[1]}  removed, 0.0 GB\n")
    assert names(deployment) == others
    assert known_dumps(instance) == [DATES[0], DATES[2]]
    assert dumps_on_disk(deployment.root) == [DATES[0], DATES[2]]


def test_leftovers_of_unfinished_work_on_a_dump_are_removed_with_it(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    left = [
        f".incoming/miniwiki-{DATES[0]}/part",
        f".scratch/pretrained_model/dump={DATES[0]}/model=tiny/config.json",
        f"training_set/.dump={DATES[0]}.tmp/train",
    ]
    for name in left:
        (deployment.data / name).parent.mkdir(parents=True)
        (deployment.data / name).touch()
    assert jgpt("dumps", "remove", DATES[0])[0] == 0
    assert [name for name in left if (deployment.data / name).exists()] == []


def test_a_dump_on_disk_without_a_partition_can_be_removed(deployment: Deployment) -> None:
    assert jgpt("dumps", "remove", *DATES)[0] == 0
    assert dumps_on_disk(deployment.root) == []


def test_an_unknown_dump_is_named_and_nothing_is_removed(deployment: Deployment, instance: dg.DagsterInstance) -> None:
    code, output = jgpt("dumps", "remove", DATES[0], "20250101")
    assert code == 1
    assert f"There is no dump of 20250101. The dumps are: {' '.join(DATES)}." in output
    assert dumps_on_disk(deployment.root) == list(DATES)


@pytest.mark.parametrize("asset", ["release", "pretrained_model"])
def test_a_dump_with_a_model_is_removed_only_with_force(
    deployment: Deployment, instance: dg.DagsterInstance, asset: str
) -> None:
    place_model(deployment, asset, DATES[0])
    code, output = jgpt("dumps", "remove", DATES[0])
    assert code == 1
    assert f"is kept for {asset} {DATES[0]} of model tiny" in output
    assert known_dumps(instance) == list(DATES)
    assert jgpt("dumps", "remove", "--force", DATES[0])[0] == 0
    assert dumps_on_disk(deployment.root) == list(DATES[1:])


@pytest.mark.parametrize("label", [f"wikipedia_articles {DATES[0]}|000", f"pretrained_model {DATES[0]}|tiny"])
@pytest.mark.parametrize("command", [("remove", "--force", DATES[0]), ("prune", "--keep", "1")])
def test_a_dump_whose_partition_is_locked_is_not_removed(
    deployment: Deployment, instance: dg.DagsterInstance, label: str, command: tuple[str, ...]
) -> None:
    before = {name for name in names(deployment) if f"dump={DATES[0]}" in name}
    with partition_lock(deployment.data, label, "run 7", pytest.fail):
        _, output = jgpt("dumps", *command)
    assert f"The dump of {DATES[0]} is in use" in output
    assert "run 7 (process" in output
    assert before <= names(deployment)
    assert DATES[0] in known_dumps(instance)


@pytest.mark.parametrize("partition", [DATES[0], f"{DATES[1]}|000"], ids=["of it", "that reuses it"])
def test_a_dump_with_an_unfinished_run_is_not_removed(
    deployment: Deployment, instance: dg.DagsterInstance, partition: str
) -> None:
    run = dg.DagsterRun(
        job_name="job",
        run_id=str(uuid.uuid4()),
        asset_selection=frozenset([dg.AssetKey("wikipedia_articles")]),
        tags={"dagster/partition": partition},
    )
    instance.add_run(run)
    code, output = jgpt("dumps", "remove", DATES[0])
    assert code == 1
    assert f"is in use by run {run.run_id}" in output
    assert dumps_on_disk(deployment.root) == list(DATES)


@pytest.mark.parametrize("name", ["", "|base"], ids=["of its own name", "of another name"])
def test_a_dump_is_kept_until_training_that_started_from_its_model_has_finished(
    deployment: Deployment, instance: dg.DagsterInstance, name: str
) -> None:
    place_model(deployment, "pretrained_model", DATES[0])
    run = deployment.data / ".scratch" / "pretrained_model" / f"dump={DATES[1]}" / "model=tiny"
    run.mkdir(parents=True)
    inputs = {f"pretrained_model {DATES[0]}{name}": "0"}
    (run / "recipe.json").write_text(json.dumps({"settings": {}, "inputs": inputs}))
    shutil.copytree(run, run.parents[1] / f"dump={DATES[0]}" / "model=other")  # goes with its dump
    code, output = jgpt("dumps", "remove", "--force", DATES[0])
    assert code == 1
    assert f"unfinished training run {run} started from its model" in output
    (run / "result.json").touch()
    assert jgpt("dumps", "remove", "--force", DATES[0])[0] == 0


def test_a_killed_removal_leaves_nothing_that_looks_complete_and_can_be_repeated(
    deployment: Deployment, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as moment:
        moment.setattr(shutil, "rmtree", killed)
        assert jgpt("dumps", "remove", DATES[0])[0] == 130
    assert dumps_on_disk(deployment.root) == list(DATES)
    assert deployment.root.directory("wikipedia_dump", DATES[0]).manifest() is None
    assert jgpt("dumps", "remove", DATES[0])[0] == 0
    assert dumps_on_disk(deployment.root) == list(DATES[1:])


def test_pruning_keeps_the_newest_dumps_and_those_with_a_release(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    place_model(deployment, "pretrained_model", DATES[0])
    place_model(deployment, "release", DATES[0])
    code, output = jgpt("dumps", "prune", "--keep", "1")
    assert code == 0
    assert [line for line in output.splitlines() if not line.startswith("  ")] == [
        f"{DATES[0]}  kept: release {DATES[0]} of model tiny",
        f"{DATES[1]}  to remove:",
        f"{DATES[1]}  removed, 0.0 GB",
        f"{DATES[2]}  kept: one of the last 1",
    ]
    assert known_dumps(instance) == [DATES[0], DATES[2]]


def test_pruning_keeps_the_dump_that_an_unfinished_refresh_reads_from(deployment: Deployment) -> None:
    location(deployment, f"training_set/dump={DATES[0]}")
    location(deployment, f"training_set/dump={DATES[1]}")
    assert reasons_to_keep(deployment.root, DATES, 1) == {
        DATES[1]: f"the refresh to {DATES[2]} is not finished and reads from it",
        DATES[2]: "one of the last 1",
    }
    location(deployment, f"training_set/dump={DATES[2]}")
    assert reasons_to_keep(deployment.root, DATES, 1) == {DATES[2]: "one of the last 1"}
    assert reasons_to_keep(deployment.root, DATES, 5).keys() == set(DATES)


def test_a_removal_knows_the_bytes_that_it_frees(deployment: Deployment) -> None:
    expected = sum(path.stat().st_size for name, path in deployment.paths() if f"dump={DATES[0]}/" in name)
    assert Removal.of_dump(load_settings().catalog, deployment.data / ".scratch", DATES[0]).size == expected


@pytest.mark.parametrize("command", [("remove", "--force", DATES[0]), ("prune", "--keep", "2")])
def test_a_dry_run_lists_what_the_removal_deletes_and_deletes_nothing(
    deployment: Deployment, instance: dg.DagsterInstance, command: tuple[str, ...]
) -> None:
    before = names(deployment)
    code, dry = jgpt("dumps", *command, "--dry-run")
    assert (code, names(deployment), known_dumps(instance)) == (0, before, list(DATES))
    assert jgpt("dumps", *command) == (0, dry.replace("would be removed", "removed"))
    assert names(deployment) == {name for name in before if f"dump={DATES[0]}" not in name}


@pytest.mark.parametrize("pattern", ["*", "2026*", "????????", "[0-9]*", "../*", "２０２６０１０１", f"{DATES[0]}\n"])
def test_a_partition_that_is_a_pattern_removes_nothing(
    deployment: Deployment, instance: dg.DagsterInstance, pattern: str
) -> None:
    """The UI adds a partition of any name, and a name that is read as a pattern means every dump."""
    instance.add_dynamic_partitions("dump", [pattern])
    place_model(deployment, "release", DATES[0])
    before = names(deployment)
    kept = [
        f"{DATES[0]}  kept: release {DATES[0]} of model tiny",
        *(f"{date}  kept: one of the last 2" for date in DATES[1:]),
    ]
    assert jgpt("dumps", "prune", "--keep", "2") == (0, "".join(f"{line}\n" for line in kept))
    assert f"{pattern!r}  not a date" in jgpt("dumps", "list")[1]
    with pytest.raises(UnsafeNameError):
        Removal.of_dump(load_settings().catalog, deployment.data / ".scratch", pattern)
    partitions = instance.get_dynamic_partitions("dump")
    assert jgpt("dumps", "remove", "--force", "--dry-run", pattern)[0] == 0
    assert instance.get_dynamic_partitions("dump") == partitions
    # The partition goes, and nothing that its name might stand for.
    assert jgpt("dumps", "remove", "--force", pattern)[0] == 0
    assert {*partitions} - {*instance.get_dynamic_partitions("dump")} == {pattern}
    assert names(deployment) == before
    code, output = jgpt("dumps", "remove", "--force", pattern)
    assert code == 1 and f"{pattern!r} is not a dump date" in output


def test_a_mistyped_date_leaves_nothing_and_a_partition_without_data_can_be_removed(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    before = names(deployment)
    for mistyped, reason in (("20260719", "no status of the"), ("20260799", "is not the date of a day")):
        code, output = jgpt("run", "--dump", mistyped)
        assert code == 1 and reason in output
        assert mistyped not in instance.get_dynamic_partitions("dump") and names(deployment) == before
    assert jgpt("dumps", "add", "20260810")[0] == 0
    assert "jgpt dumps remove 20260810" in jgpt("dumps", "list")[1]
    assert jgpt("dumps", "remove", "20260810")[0] == 0
    assert "20260810" not in jgpt("dumps", "list")[1]


def test_the_tokenizer_outlives_the_dump_that_it_was_trained_on(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    assert deployment.materialize("wikipedia_segmented", f"{DATES[0]}|000").error is None
    assert deployment.materialize("tokenizer", vocab_size=400, limit_alphabet=100).error is None
    assert jgpt("dumps", "remove", DATES[0])[0] == 0
    again = deployment.materialize("tokenizer")
    assert again.error is None and again.checks["text_survives_encoding"]
