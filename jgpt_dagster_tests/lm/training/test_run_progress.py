"""The directory of an unfinished run says at which step it was interrupted."""

from pathlib import Path

import pytest

from jgpt_dagster.lm.training.metrics_files import RESULT
from jgpt_dagster.lm.training.run_progress import interruption


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([], ""),
        (["checkpoints"], "interrupted before its first checkpoint, starts again with: again"),
        (["checkpoints/.step=00000009.tmp"], "interrupted before its first checkpoint, starts again with: again"),
        (["checkpoints/step=00000004", "checkpoints/step=00001200"], "interrupted at step 1,200, goes on with: again"),
        (["checkpoints/step=00000004", RESULT], ""),
    ],
)
def test_the_newest_checkpoint_says_where_a_run_goes_on(tmp_path: Path, made: list[str], said: str) -> None:
    for name in made:
        (tmp_path / "run" / name).mkdir(parents=True)
    assert interruption(tmp_path / "run", "again") == said
