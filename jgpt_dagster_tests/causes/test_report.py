"""What a training process says of its end arrives whole at the process that launched it; the telling report wins."""

import itertools

import pytest

from jgpt_dagster.causes.report import Kind, Report, most_telling, read_report


@pytest.mark.parametrize("cause", ["the disk is full", "two\nlines of 日本語 and \x1b[2J", ""])
def test_a_report_comes_back_from_a_line_of_output(cause: str, capfd: pytest.CaptureFixture[str]) -> None:
    report = Report("failed", cause, rank=3)
    report.send()
    (line,) = capfd.readouterr().err.splitlines()
    assert read_report(line) == report
    assert read_report(f"[host2] {line}") == report, "launchers may put the name of a host before it"


def test_a_long_report_is_one_write_of_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    Report("crashed", "漢" * 100_000).send()
    (line,) = capfd.readouterr().err.splitlines()
    found = read_report(line)
    assert len(line) < 4096 and found and found.cause.startswith("漢漢") and found.cause.endswith("…")


@pytest.mark.parametrize("line", ["step 3/8  loss 7.6", "jgpt-cause: {", 'jgpt-cause: {"kind": 1}', "jgpt-cause: []"])
def test_other_output_is_no_report(line: str) -> None:
    assert read_report(line) is None


def test_what_failed_explains_a_run_before_those_that_it_took_along() -> None:
    kinds: list[Kind] = ["interrupted", "lost peer", "crashed", "failed"]
    reports = [Report(kind, kind, rank) for rank, kind in enumerate(kinds)]
    for some in itertools.permutations(reports, 3):
        best = most_telling(some)
        assert best and kinds.index(best.kind) == max(kinds.index(report.kind) for report in some)
    assert most_telling([Report("failed", "b", 1), Report("failed", "a", 0)]) == Report("failed", "a", 0)
    assert most_telling([]) is None
