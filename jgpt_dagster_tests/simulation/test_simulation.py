"""A deployment that nobody watches keeps its promises for a year, and each promise is broken by a broken deployment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.catalog.good_outputs import Judgement
from jgpt_dagster.catalog.status import DeploymentStatus, OutputStatus
from jgpt_dagster_tests.simulation import invariants
from jgpt_dagster_tests.simulation.clock import DAY
from jgpt_dagster_tests.simulation.deployment import MODEL, SimulatedDeployment
from jgpt_dagster_tests.simulation.invariants import Broken, Observed
from jgpt_dagster_tests.simulation.mirror import POISON
from jgpt_dagster_tests.simulation.stages import HIGHEST_RATE
from jgpt_dagster_tests.simulation.state_machine import run_year

FIRST, SECOND = "20250101", "20250201"


@pytest.mark.parametrize("seed", range(10))
def test_a_year_keeps_every_promise(seed: int) -> None:
    run_year(seed)


# ---- a broken deployment is caught -------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SimulatedDeployment]:
    """A deployment whose first dump is published and not fetched yet."""
    with SimulatedDeployment(tmp_path).in_charge() as world:
        world.mirror.publish(FIRST, "good")
        yield world


def test_building_on_what_failed_is_caught(world: SimulatedDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("missing_work", "good_outputs"):
        monkeypatch.setattr(f"jgpt_dagster.catalog.{module}.judge", lambda *_: Judgement("good"))
    world.mirror.publish(FIRST, POISON)
    world.hours_pass(6)
    with pytest.raises(Broken, match="is requested and builds on wikipedia_articles 20250101"):
        invariants.nothing_unchecked_is_released(world)


def test_a_release_of_a_diverged_model_is_caught(world: SimulatedDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jgpt_dagster.assets.release._failed_check", lambda *_: [])
    world.hours_pass(6)
    invariants.nothing_unchecked_is_released(world)
    world.command("config", "set", "--yes", f"pretrained_model.learning_rate={2 * HIGHEST_RATE}")
    for asset, config in {"pretrained_model": {"force": True}, "evaluation": {}, "release": {}}.items():
        world.click([asset], f"{FIRST}|{MODEL}", **config)
        world.hours_pass(1)
    with pytest.raises(Broken, match=r"release 20250101\|tiny is made of pretrained_model"):
        invariants.nothing_unchecked_is_released(world)


def test_a_lost_dump_is_caught(world: SimulatedDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jgpt_dagster.catalog.retention.reasons_to_keep", lambda root, dumps, keep: {})
    seen = Observed()
    world.hours_pass(6)
    invariants.nothing_whole_is_lost(world, seen)
    world.command("dumps", "prune", "--keep", "1")
    with pytest.raises(Broken, match="is gone"):
        invariants.nothing_whole_is_lost(world, seen)


def test_a_run_that_never_ends_is_caught(world: SimulatedDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    world.daemon = False
    for death in ("at once", "while writing"):
        live = world.click(["wikipedia_dump"], FIRST)
        world.runs.begin(live)
        world.kill(live, death)
    world.clock.now += DAY
    with monkeypatch.context() as broken:
        broken.setattr("jgpt_dagster.orchestration.abandoned_runs._dead_processes", lambda *_: iter(()))
        world.tick("abandoned_runs_sensor")
        with pytest.raises(Broken, match=r"the run of \['wikipedia_dump'\] is STARTED"):
            invariants.every_run_ends(world)
    world.tick("abandoned_runs_sensor")
    invariants.every_run_ends(world)


def test_a_status_that_lies_is_caught(world: SimulatedDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    world.hours_pass(2)
    invariants.status_tells_the_truth(world)
    monkeypatch.setattr(DeploymentStatus, "_state", lambda self, output, *_: OutputStatus(output, "done"))
    with pytest.raises(Broken, match="tokenizer is missing, not done"):
        invariants.status_tells_the_truth(world)


def test_an_older_release_in_use_is_caught(world: SimulatedDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    world.hours_pass(6)
    world.mirror.publish(SECOND, "good")
    world.hours_pass(6)
    invariants.the_newest_good_release_is_in_use(world)
    first = world.stages.output("release", f"{FIRST}|{MODEL}").path
    monkeypatch.setattr(invariants, "newest_release", lambda *_: first)
    with pytest.raises(Broken, match="20250101 is in use, of the good"):
        invariants.the_newest_good_release_is_in_use(world)


def test_a_good_dump_that_is_passed_over_is_caught(world: SimulatedDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    world.hours_pass(6)
    world.mirror.publish(SECOND, "good")

    def oldest(*_: Any) -> list[str]:
        return [FIRST]

    with monkeypatch.context() as broken:
        broken.setattr("jgpt_dagster.corpus.fetch.dumps_mirror.DumpMirror.dates", oldest)
        world.hours_pass(6)
        with pytest.raises(Broken, match=r"release 20250201\|tiny is not made"):
            invariants.the_newest_good_dump_is_in_use(world)
    world.hours_pass(6)
    invariants.the_newest_good_dump_is_in_use(world)
