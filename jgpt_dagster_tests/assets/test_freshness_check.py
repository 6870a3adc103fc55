"""`is_newest` compares the newest fetched dump with the mirror's, and asks nothing of it where JGPT_REFRESH is off."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.orchestration.mirror_look import IS_NEWEST
from jgpt_dagster.sample.pack import write_dump
from jgpt_dagster.settings import Settings
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, Deployment, mini_deployment, mini_pages

CHECK = dg.AssetCheckKey(dg.AssetKey("wikipedia_dump"), IS_NEWEST)


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment with the dump of a mirror that has published a later one since."""
    deployment = mini_deployment(tmp_path_factory.mktemp("fetched"))
    assert deployment.materialize("wikipedia_dump", DUMP).error is None
    write_dump(deployment.data.parent / "mirror", "miniwiki", LATER_DUMP, mini_pages(), pages_per_stream=4)
    return deployment


def run_by_itself(deployment: Deployment) -> dg.AssetCheckEvaluation:
    values = {name.lower(): value for name, value in deployment.settings.items()}
    settings = Settings.model_validate({"data": deployment.data, "scratch": None, **values})
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    result = job.get_subset(asset_check_selection={CHECK}).execute_in_process(instance=dg.DagsterInstance.ephemeral())
    (found,) = result.get_asset_check_evaluations()
    return found


def test_a_newer_dump_at_the_mirror_is_told_where_refreshes_are_on_or_by_hand(fetched: Deployment) -> None:
    for refresh, passed in (("on", False), ("off", True)):
        made = fetched.with_settings(REFRESH=refresh).materialize("wikipedia_dump", DUMP)
        assert made.checks[IS_NEWEST] == passed, "the mirror is asked" if passed else "the mirror is not asked"
        assert made.error is None, "it only warns"
    assert "not compared" in str(made.descriptions[IS_NEWEST])
    found = run_by_itself(fetched)
    assert not found.passed and f"has finished that of {LATER_DUMP}, 19 days newer" in str(found.description)


def test_a_mirror_that_is_gone_is_called_that(fetched: Deployment, tmp_path: Path) -> None:
    found = run_by_itself(fetched.with_settings(DUMPS_URL=(tmp_path / "gone").as_uri()))
    assert not found.passed and str(found.description).startswith("mirror not reached")
    assert "there is no directory" in str(found.metadata["reason"].value)


def test_the_newest_dump_of_the_mirror_passes(fetched: Deployment, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(fetched.data.parent / "mirror" / "miniwiki" / DUMP, mirror / "miniwiki" / DUMP)
    assert run_by_itself(fetched.with_settings(DUMPS_URL=mirror.as_uri())).passed
