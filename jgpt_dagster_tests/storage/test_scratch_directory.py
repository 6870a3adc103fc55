"""The intermediate files of a step go with it, or with the next step of the same output."""

from pathlib import Path

from jgpt_dagster.storage.scratch_directory import scratch_directory


def test_what_a_killed_step_has_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    step = tmp_path / "training_set" / "dump=20260101"
    left = step.with_name(".dump=20260101.tmp")
    left.mkdir(parents=True)
    (left / "runs").touch()
    with scratch_directory(step, "a test") as folder:
        assert folder == left and list(folder.iterdir()) == [] and folder.stat().st_mode & 0o077 == 0
    assert not left.exists()
