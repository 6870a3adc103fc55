"""A glance says what Dagster would, or that only Dagster can say."""

from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.orchestration.instance_glance import InstanceGlance, glance


def test_a_glance_sees_what_dagster_has_recorded(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert glance(tmp_path) == InstanceGlance((), False, False)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("dump", ["20260101", "no date"])
        instance.add_dynamic_partitions("model", ["tiny"])
        run = instance.add_run(dg.DagsterRun("job", status=dg.DagsterRunStatus.STARTED))
        assert glance(tmp_path) == InstanceGlance(("20260101", "no date"), True, True)
        instance.report_run_failed(run, "for a reason")
        assert glance(tmp_path) == InstanceGlance(("20260101", "no date"), False, True)


def test_runs_that_have_all_succeeded_explain_nothing(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("{}")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_run(dg.DagsterRun("job", status=dg.DagsterRunStatus.SUCCESS))
        assert glance(tmp_path) == InstanceGlance((), False, False)


@pytest.mark.parametrize("config", ["storage: {postgres: {}}\n", "{", None])
def test_what_is_kept_elsewhere_or_cannot_be_read_is_for_dagster(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "dagster.yaml").write_text(config)
    assert glance(tmp_path) is None
    (tmp_path / "dagster.yaml").write_text("{}")
    (tmp_path / "history").mkdir()
    assert glance(tmp_path) is None
