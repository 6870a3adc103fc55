"""An output is good if it is complete and every blocking check has passed; automation builds on nothing else."""

from pathlib import Path
from typing import Any

from jgpt_dagster.catalog.good_outputs import judge, required_checks
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.verdict import record_verdict


def test_the_required_checks_are_the_blocking_checks_of_the_definitions(tmp_path: Path) -> None:
    values: dict[str, Any] = {"data": tmp_path, "scratch": None, "folders": f"news={tmp_path}"}
    settings = Settings(**values)
    graph = build_definitions(settings).resolve_asset_graph()
    blocking: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        if graph.get_check_spec(key).blocking:
            blocking.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert required_checks(settings.corpora) == blocking


def test_an_output_is_unchecked_then_failed_or_good(tmp_path: Path) -> None:
    output = DataRoot(tmp_path).directory("text")
    with output.writing(Recipe(stage="text", code_version="1")) as out:
        (out.path / "content").write_text("text")
    required = {"text": frozenset({"one", "two"})}
    assert judge(output, output.verified(), required) == ("unchecked", "not checked yet: one, two")
    record_verdict(output, "one", True, "fine")
    assert judge(output, output.verified(), required) == ("unchecked", "not checked yet: two")
    record_verdict(output, "two", False, "3 are missing")
    assert judge(output, output.verified(), required) == ("failed", "check two failed: 3 are missing")
    record_verdict(output, "two", True, "none is missing")
    assert judge(output, output.verified(), required) == ("good", "")
    assert judge(output, output.verified(), {}) == ("good", ""), "an asset without blocking checks"
