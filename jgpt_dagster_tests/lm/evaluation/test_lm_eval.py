"""Log-likelihoods are those of lm-evaluation-harness (extra `eval`) for the same definitions, models and items."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.evaluation.task_items import definition_values, find_tasks, read_items
from jgpt_dagster.lm.evaluation.task_scores import score_task
from jgpt_dagster.lm.evaluation.text_models import open_text_model
from jgpt_dagster_tests.lm.evaluation.foreign import save

pytest.importorskip("lm_eval", reason="lm-eval is not installed (extra `eval`)")

WORDS = ["吾輩は猫である", "名前はまだ無い", "東京大学", "二人", "とんと見当がつかぬ", "New York", "2025年"]

# With lm-eval's own delimiter, and choices that look like indices.
NUMBERS = """
task: numbers
data: numbers.jsonl
doc_to_text: "{{sum}}"
doc_to_choice: names
doc_to_target: "{{'ABCD'.index(key)}}"
"""


def write_items(folder: Path) -> None:
    """Write items in the forms of JBLiMP and JCommonsenseQA, and of JSON lines."""
    pairs = [{"good_sentence": f"{a}。{b}", "bad_sentence": f"{b}{a}", "phenomenon": "x"} for a in WORDS for b in WORDS]
    questions = [
        {"question": f"{word}？", **{f"choice{n}": WORDS[(n + k) % 7] for n in range(5)}, "label": k % 5}
        for k, word in enumerate(WORDS)
    ]
    plain = [{"prompt": f"{word} ", "choices": [f" {one}" for one in WORDS[:3]], "answer": 1} for word in WORDS]
    numbers = [{"sum": f"{n}+1=", "names": ["1", "3", "22", "0"], "key": "ABCD"[n]} for n in range(4)]
    (folder / "numbers.yaml").write_text(NUMBERS)
    for name, rows in (
        ("jblimp.jsonl", pairs),
        ("jcommonsenseqa-valid.json", questions),
        ("plain.jsonl", plain),
        ("numbers.jsonl", numbers),
    ):
        (folder / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt_neox", "llama"])
def test_log_likelihoods_and_accuracies_are_those_of_lm_eval(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folder, directory = tmp_path / "tasks", save(tmp_path, family, context=64)
    folder.mkdir()
    write_items(folder)
    generation = directory / "generation_config.json"  # begins with another token than the tokenizer's
    generation.write_text(json.dumps({**json.loads(generation.read_text()), "bos_token_id": 9}))
    # It would read the definitions of all its tasks for each of ours.
    tasks = TaskManager(include_defaults=False)
    theirs = HFLM(pretrained=str(directory), device="cpu", batch_size=4, dtype="float32")
    with open_text_model(directory) as ours:
        for definition in find_tasks(folder):
            scores = score_task(ours, list(read_items(definition)), batch=8)
            config: dict[str, Any] = {
                **{
                    name: value
                    for name, value in definition_values(definition).items()
                    if name in ("task", "doc_to_text", "doc_to_choice", "doc_to_target", "target_delimiter")
                },
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"test": str(definition.files[0])}},
                "test_split": "test",
                "output_type": "multiple_choice",
                "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
            }
            found = simple_evaluate(
                model=theirs, tasks=[ConfigurableTask(config=config)], task_manager=tasks, bootstrap_iters=0
            )
            assert found is not None
            samples = sorted(found["samples"][definition.task], key=lambda sample: sample["doc_id"])
            expected = [[value for value, _ in sample["filtered_resps"]] for sample in samples]
            assert len(expected) == len(scores.items)
            for values, of_lm_eval in zip(scores.log_likelihoods, expected, strict=True):
                assert list(values) == pytest.approx([float(value) for value in of_lm_eval], abs=1e-4)
            figures, results = scores.to_dict(), found["results"][definition.task]
            assert figures["accuracy"] == pytest.approx(results["acc,none"])
            assert figures["accuracy_by_character"] == pytest.approx(results["acc_norm,none"])
    assert os.environ["HF_HUB_OFFLINE"] == "1"
