"""A refresh without a hand: the UI with its daemon over a mirror on which a new dump gets ready while it runs."""

import time
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.orchestration.run_history import runs_using_dump
from jgpt_dagster.sample.dump_writer import Page, write_dump
from jgpt_dagster_tests.support.browser import running_ui
from jgpt_dagster_tests.support.deployments import (
    DUMP,
    LATER_DUMP,
    SMALL_RUN,
    Deployment,
    mini_deployment,
    mini_pages,
    write_config,
)
from jgpt_dagster_tests.support.local_servers import served_folder

pytestmark = pytest.mark.slow

SHARDS = ("000", "001")


@pytest.mark.long
def test_a_dump_that_gets_ready_is_refreshed_to_without_a_hand(tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", {"training_set": {"validation_share": 0.3}})
    with served_folder(tmp_path / "mirror") as url:
        deployment = mini_deployment(tmp_path).with_settings(
            DUMPS_URL=url, SHARDS="2", WORKERS="2", REFRESH="on", POLL_HOURS="0.001", RUN_CONFIG=str(config)
        )
        announce(tmp_path, "waiting")
        with running_ui(deployment, tmp_path / "ui.log"):
            # At first contact there is no tokenizer either: it is trained once, when all shards are segmented.
            wait_for(deployment, DUMP)
            assert not (deployment.data / "wikipedia_dump" / f"dump={LATER_DUMP}").exists()
            tokenizer = deployment.root.directory("tokenizer").verified()
            announce(tmp_path, "done")
            wait_for(deployment, LATER_DUMP)

    # Of eleven articles in the later dump, one was edited and one is new; one was touched: new revision, same text.
    assert tally(deployment, "wikipedia_articles") == {"reused_rows": 8, "made_rows": 3}
    assert tally(deployment, "wikipedia_segmented") == {"reused_rows": 9, "made_rows": 2}
    assert tally(deployment, "wikipedia_tokens") == {"reused_rows": 9, "made_rows": 2}
    assert deployment.root.directory("tokenizer").verified() == tokenizer
    assert not (deployment.data / "pretrained_model").exists()
    assert deployment.leftovers() == []
    with dg.DagsterInstance.from_config(str(deployment.data / ".dagster")) as instance:
        runs = instance.get_runs()
        assert instance.get_dynamic_partitions("dump") == [DUMP, LATER_DUMP]
        checks = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("wikipedia_segmented"), "every_article_segmented"), limit=10
        )
    # The dump, its shards, the tokenizer, the tokens of the shards, the training set; then no tokenizer is needed.
    assert len(runs) == (1 + 2 + 1 + 2 + 1) + (1 + 2 + 1)
    assert all(run.is_success for run in runs)
    assert [check.status.value for check in checks] == ["SUCCEEDED"] * 4


def test_training_goes_on_from_the_model_of_the_earlier_dump(refreshed: Deployment, tmp_path: Path) -> None:
    deployment = refreshed.copy(tmp_path / "data")
    earlier, later = (
        deployment.root.directory("pretrained_model", dump, model="tiny").verified() for dump in (DUMP, LATER_DUMP)
    )
    assert later.recipe.inputs[f"pretrained_model {DUMP}"] == earlier.data_sha256
    assert (earlier.counts["warm_start"], later.counts["warm_start"]) == (False, True)
    assert later.counts["first_loss"] < earlier.counts["first_loss"] - 0.1

    # Neither the end of the earlier dump nor another run makes the finished model stale.
    deployment.invoke("dumps", "remove", "--force", DUMP)
    before = deployment.mtimes()
    config = SMALL_RUN["pretrained_model"]
    again = deployment.materialize("pretrained_model", f"{LATER_DUMP}|tiny", **config, warm_start=True)
    assert again.error is None
    assert deployment.mtimes() == before


def later_pages() -> list[Page]:
    first, second, *others = mini_pages()
    return [
        replace(first, revision_id=2001, text=first.text + "\n\n港がある。"),
        replace(second, revision_id=2002),
        *others,
        Page("新しい町", 100, 2100, "'''新しい町'''は今年できた。"),
    ]


def announce(folder: Path, status: str) -> None:
    """Put the later dump on the mirror in a state of its job."""
    write_dump(folder / "mirror", "miniwiki", LATER_DUMP, later_pages(), pages_per_stream=4, status=status)


def wait_for(deployment: Deployment, dump: str) -> None:
    """Wait until a dump has its training set and the run that made it has ended: its checks come after the files."""
    deadline = time.monotonic() + 300
    training_set = deployment.root.directory("training_set", dump)
    while training_set.manifest() is None or unfinished_runs(deployment, dump):
        assert time.monotonic() < deadline, f"no training set of {dump}"
        time.sleep(0.5)


def unfinished_runs(deployment: Deployment, dump: str) -> list[str]:
    with dg.DagsterInstance.from_config(str(deployment.data / ".dagster")) as instance:
        return runs_using_dump(instance, dump, [])


def tally(deployment: Deployment, asset: str) -> dict[str, int]:
    """Return how many rows all shards of the later dump reused and made."""
    records = [deployment.shard(asset, LATER_DUMP, shard).run_record() for shard in SHARDS]
    return {name: sum(record[name] for record in records) for name in ("reused_rows", "made_rows")}
