"""A stage is told on lines that fit a terminal of 80 columns."""

from jgpt_dagster.cli.stage_lines import stage_lines
from jgpt_dagster.orchestration.local_runner import StageResult


def test_what_was_verified_and_made_and_why() -> None:
    long = "validation_share was 0.005, is 0.01; the version of its code was 1, is 2; pyarrow was 20.0.0, is 21.0.0"
    cases = [
        (StageResult("tokenizer", 1, {}), "tokenizer            verified"),
        (StageResult("release", 0, {"it was not there": 1}), "release              made (it was not there)"),
        (StageResult("cc100_tokens", 61, {"new": 3}), "cc100_tokens         3 made (new), 61 verified"),
        (StageResult("cc100_tokens", 64, {}), "cc100_tokens         64 verified"),
        (StageResult("training_set", 0, {long: 1}), "training_set         made"),
    ]
    for result, begins in cases:
        lines = stage_lines(result, 12_345.6)
        assert lines[0].rstrip().startswith(begins) and lines[0].endswith("12345.6 s")
        assert all(len(line) <= 80 for line in lines)
    assert " ".join(line.strip() for line in lines[1:]) == long
    several = stage_lines(StageResult("cc100_tokens", 60, {"new": 3, long: 1}), 1)
    assert several[0].startswith("cc100_tokens         4 made, 60 verified") and several[1] == "  3 made: new"
