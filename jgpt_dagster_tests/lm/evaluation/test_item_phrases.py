import json
from pathlib import Path

import pytest

from jgpt_dagster.lm.evaluation.item_phrases import read_phrases
from jgpt_dagster.lm.evaluation.task_items import TaskError


def test_phrases_are_the_items_of_a_task_or_the_lines_of_any_other_file(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("一つ目の文。\n\n 二つ目の文。 \n一つ目の文。\n")
    assert read_phrases(tmp_path / "lines.txt") == ["一つ目の文。", "二つ目の文。"]
    (tmp_path / "own.jsonl").write_text(json.dumps({"prompt": "問いは\n何か", "choices": ["あ", "い"], "answer": 0}))
    assert read_phrases(tmp_path / "own.jsonl") == ["問いは", "何か"]
    question = {"q_id": 1, "question": "空の色は?", "label": 0, **{f"choice{n}": f"色{n}" for n in range(5)}}
    (tmp_path / "jcommonsenseqa-valid-v1.3.json").write_text(json.dumps(question))
    assert read_phrases(tmp_path / "jcommonsenseqa-valid-v1.3.json") == ["空の色は?"]
    assert read_phrases(tmp_path) == ["空の色は?", "問いは", "何か"]


def test_a_file_of_lines_may_lie_beside_yaml_files_of_anything(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "chart.yaml").write_text("{{ no YAML\n")
    (tmp_path / "lines.txt").write_text("一つ目の文。\n")
    assert read_phrases(tmp_path / "lines.txt") == ["一つ目の文。"]
    (tmp_path / "own.yaml").write_text("task: own\n")
    with pytest.raises(TaskError, match=r"own.yaml is no definition"):
        read_phrases(tmp_path / "lines.txt")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes("銀行\n".encode("shift_jis"))
    with pytest.raises(TaskError, match=r"lines.txt is not UTF-8"):
        read_phrases(tmp_path / "lines.txt")
