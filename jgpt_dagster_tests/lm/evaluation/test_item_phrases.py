import json
from pathlib import Path

from jgpt_dagster.lm.evaluation.item_phrases import read_phrases


def test_phrases_are_the_items_of_a_task_or_the_lines_of_any_other_file(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("一つ目の文。\n\n 二つ目の文。 \n一つ目の文。\n")
    assert read_phrases(tmp_path / "lines.txt") == ["一つ目の文。", "二つ目の文。"]
    (tmp_path / "own.jsonl").write_text(json.dumps({"prompt": "問いは\n何か", "choices": ["あ", "い"], "answer": 0}))
    assert read_phrases(tmp_path / "own.jsonl") == ["問いは", "何か"]
    question = {"q_id": 1, "question": "空の色は?", "label": 0, **{f"choice{n}": f"色{n}" for n in range(5)}}
    (tmp_path / "jcommonsenseqa-valid-v1.3.json").write_text(json.dumps(question))
    assert read_phrases(tmp_path / "jcommonsenseqa-valid-v1.3.json") == ["空の色は?"]
    assert read_phrases(tmp_path) == ["空の色は?", "問いは", "何か"]
