import json
import os
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.evaluation.task_items import TaskError, find_tasks, read_items

# Made in the forms of the public repositories.
FORMS: dict[str, list[dict[str, Any]]] = {
    "jblimp.jsonl": [
        {"ID": "1", "good_sentence": "猫が鳴く。", "bad_sentence": "猫を鳴く。", "type": "x",
         "phenomenon": "argument structure", "phenomenon-2": "", "paradigm": "case"},
    ],
    "jcola-in_domain_valid-v1.0.json": [
        {"uid": 1, "source": "made", "label": 0, "diacritic": "*", "sentence": "猫を鳴く。", "original": "猫を鳴く。"},
    ],
    "jcommonsenseqa-valid-v1.3.json": [
        {"q_id": 1, "question": "空の色は？", **{f"choice{n}": c for n, c in enumerate("赤青黄白黒")}, "label": 1},
    ],
    "jnli-valid-v1.3.json": [
        {"sentence_pair_id": "0", "yjcaptions_id": "1", "sentence1": "猫がいる。",
         "sentence2": "動物がいる。", "label": "entailment"},
    ],
    "own.jsonl": [
        {"prompt": "一たす一は", "choices": ["二", "三"], "answer": 0},
        {"prompt": "二たす一は", "choices": ["二", "三"], "answer": "三"},
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, records in FORMS.items():
        (tmp_path / name).write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    (tmp_path / "JMMLU").mkdir()
    (tmp_path / "JMMLU" / "astronomy.csv").write_text('"地球の衛星は、何か",月,火星,金星,太陽,A\n')
    return tmp_path


def test_every_public_form_becomes_questions_with_the_right_answer(folder: Path) -> None:
    found = {definition.task: list(read_items(definition)) for definition in find_tasks(folder)}
    shown = {
        task: [(item.context, item.choices, item.choices[item.answer]) for item in items]
        for task, items in found.items()
    }
    assert shown == {
        "jblimp": [("", ("猫が鳴く。", "猫を鳴く。"), "猫が鳴く。")],
        "jcola": [("次の文は日本語として自然ですか。\n文:猫を鳴く。\n答え:", ("いいえ", "はい"), "いいえ")],
        "jcommonsenseqa": [("質問:空の色は？\n答え:", tuple("赤青黄白黒"), "青")],
        "jmmlu": [("質問:地球の衛星は、何か\n答え:", ("月", "火星", "金星", "太陽"), "月")],
        "jnli": [("前提:猫がいる。\n仮説:動物がいる。\n関係:", ("含意", "矛盾", "中立"), "含意")],
        "own": [("一たす一は", ("二", "三"), "二"), ("二たす一は", ("二", "三"), "三")],
    }
    assert found["jblimp"][0].group == "argument structure" and found["jblimp"][0].text == "猫が鳴く。"
    assert found["own"][1].place == "own.jsonl:2"


def test_a_definition_in_the_folder_is_a_task_and_replaces_one_of_its_name(folder: Path) -> None:
    (folder / "jcola.yaml").write_text(
        "task: jcola\ndata: jcola*.json\ndoc_to_text: '{{sentence}}'\n"
        "doc_to_choice: ['悪い', '良い']\ndoc_to_target: label\n"
    )
    (item,) = read_items(next(task for task in find_tasks(folder) if task.task == "jcola"))
    assert item.context == "猫を鳴く。" and item.choices == ("悪い", "良い")
    assert item.delimiter == " "


@pytest.mark.parametrize(("answer", "right"), [("A", "1"), ("B", "2"), ("C", "3"), ("D", "0")])
def test_an_index_that_a_template_makes_is_none_of_the_choices(folder: Path, answer: str, right: str) -> None:
    (folder / "JMMLU" / "astronomy.csv").write_text(f"一に一を足すと何か,1,2,3,0,{answer}\n")
    (item,) = read_items(next(task for task in find_tasks(folder) if task.task == "jmmlu"))
    assert item.choices[item.answer] == right


@pytest.mark.parametrize(
    ("choices", "answer", "index"),
    [(["2", "1"], "1", 1), (["a", "b"], "1", 1), ([0, 1], 1, 1), (["a", "b", "a"], "a", 0), (["a", "ab"], "ab", 1)],
)
def test_an_answer_is_an_index_or_a_choice(folder: Path, choices: list[Any], answer: Any, index: int) -> None:
    line = json.dumps({"prompt": "", "choices": choices, "answer": answer})
    (folder / "own.jsonl").write_bytes(b"\xef\xbb\xbf\r\n" + line.encode() + b"\r\n\r\n")
    (item,) = read_items(next(task for task in find_tasks(folder) if task.task == "own"))
    assert (item.answer, item.place) == (index, "own.jsonl:2")


def test_files_are_found_under_the_names_of_their_repositories(tmp_path: Path) -> None:
    for name, known in {
        "validated_minimal_pairs.jsonl": "jblimp.jsonl",
        "jcola-v1.0/in_domain_valid-v1.0.json": "jcola-in_domain_valid-v1.0.json",
        "jcommonsenseqa-v1.3/valid-v1.3.json": "jcommonsenseqa-valid-v1.3.json",
        "jnli-v1.3/valid-v1.3.json": "jnli-valid-v1.3.json",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("".join(json.dumps(record) + "\n" for record in FORMS[known]))
        (tmp_path / name).with_name("train-v1.3.json").write_text("{}\n")  # nothing that is asked
    found = {definition.task: list(read_items(definition)) for definition in find_tasks(tmp_path)}
    assert {task: len(items) for task, items in found.items()} == dict.fromkeys(
        ("jblimp", "jcola", "jcommonsenseqa", "jnli"), 1
    )


def test_choices_that_are_all_the_same_are_no_mistake_of_the_user(folder: Path) -> None:
    # JMMLU has such an item, of clock times that a spreadsheet has lost.
    (folder / "JMMLU" / "astronomy.csv").write_text("何日か,午前0時,午前0時,午前0時,午前0時,B\n")
    (item,) = read_items(next(task for task in find_tasks(folder) if task.task == "jmmlu"))
    assert item.answer == 1


def test_pairs_without_a_phenomenon_have_no_groups(folder: Path) -> None:
    (folder / "jblimp.jsonl").write_text('{"good_sentence": "a", "bad_sentence": "b"}\n')
    (item,) = read_items(next(task for task in find_tasks(folder) if task.task == "jblimp"))
    assert item.group == ""


_X = "task: x\ndata: own.jsonl\ndoc_to_text: '{{prompt}}'\n"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("own.jsonl", '{"prompt": "x", "choices": ["a", "b"], "answer": 2}\n', r"own.jsonl, line 1: .* its answer 2"),
        ("own.jsonl", '{"prompt": "x", "choices": ["a", "b"], "answer": "c"}\n', r"line 1: it is no item of own"),
        ("own.jsonl", '{"prompt": "x", "choices": ["a", "b"], "answer": 0}\n{\n', r"line 2 is no JSON"),
        ("own.jsonl", '{"prompt": "x", "choices": "ab", "answer": 0}\n', r"its choices are 'ab'"),
        (
            "own.jsonl",
            '{"prompt": "x", "choices": ["a", null], "answer": 0}\n',
            r"\['a', None\], expected a list of texts",
        ),
        ("own.jsonl", '{"prompt": "x", "choices": ["a"], "answer": 0}\n', r"its choices are \['a'\]"),
        ("own.jsonl", '{"prompt": "x", "choices": ["a", "b"], "answer": true}\n', r"its answer is True, expected"),
        ("own.jsonl", '{"prompt": "x", "choices": ["a", "b"], "answer": 1.0}\n', r"its answer is 1.0, expected"),
        (
            "own.jsonl",
            '{"prompt": "x", "choices": [1, 2], "answer": 1}\n',
            r"an index or one of .*: give the choices as text",
        ),
        ("own.jsonl", '{"prompt": null, "choices": ["a", "b"], "answer": 0}\n', r"None stands where text is expected"),
        ("own.jsonl", '{"prompt": ["x"], "choices": ["a", "b"], "answer": 0}\n', r"\['x'\] stands where text is"),
        (
            "own.jsonl",
            '{"prompt": "\\ud800", "choices": ["a", "b"], "answer": 0}\n',
            r"line 1: .*surrogates not allowed",
        ),
        ("own.jsonl", "[" * 100_000, r"line 1 is no JSON: maximum recursion depth"),
        ("jblimp.jsonl", '{"good_sentence": "a"}\n', r"line 1: .*'bad_sentence' is undefined"),
        ("jcola-x.json", '{"sentence": "a"}\n', r"line 1: .* it has no field label"),
        ("x.yaml", _X + "doc_to_choice: nope\ndoc_to_target: 0\n", r"'nope' is neither a field of it nor a list"),
        ("x.yaml", _X + "doc_to_choice: [yes, no]\ndoc_to_target: 0\n", r"doc_to_choice is .* \(in quotes\)"),
        ("x.yaml", _X + "doc_to_choice: choices\ndoc_to_target: 1.5\n", r"doc_to_target is text or an index"),
        ("x.yaml", _X + "doc_to_choice: choices\n", r"x.yaml .*: doc_to_target is missing"),
        ("x.yaml", "- task\n", r"x.yaml is no definition of a task: it is no mapping"),
        (
            "x.yaml",
            "task: x\ndata: ''\ndoc_to_text: ''\ndoc_to_choice: c\ndoc_to_target: 0\n",
            r"data is a list of text",
        ),
        ("own.jsonl", '{"question": "x"}\n', r"its lines lack answer, choices, prompt"),
        ("jnli-valid-v1.3.json", '{"sentence1": "x", "label": "entailment"}\n', r"line 1: .*'sentence2' is undefined"),
        ("JMMLU/astronomy.csv", "問い,月,火星,A\n", r"line 1 has 4 columns, expected 6"),
        ("x.yaml", "task: x\ndata: '../*.json'\ndoc_to_text: ''\ndoc_to_choice: c\ndoc_to_target: 0\n", r"leads out"),
        ("x.yaml", "task: x\nrun: y\n", r"x.yaml is no definition of a task: unknown run"),
        (
            "x.yaml",
            "task: 1\ndata: x\ndoc_to_text: ''\ndoc_to_choice: c\ndoc_to_target: 0\n",
            r"x.yaml .*: task is text",
        ),
        (
            "x.yaml",
            "task: x\ndata: x\ndoc_to_text: 1\ndoc_to_choice: c\ndoc_to_target: 0\n",
            r"x.yaml .*: doc_to_text is text",
        ),
        ("jblimp.jsonl", "\n", r"jblimp.jsonl: there is no item of jblimp"),
        ("own.jsonl", "\n", r"its lines lack"),
        (
            "x.yaml",
            "task: x\ndata: own.jsonl\ndoc_to_choice: choices\ndoc_to_target: answer\n"
            "doc_to_text: \"{{ ''.__class__.__mro__ }}\"\n",
            r"is unsafe",
        ),
    ],
)
def test_what_is_not_of_its_form_is_named_with_its_line(folder: Path, name: str, content: str, why: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(TaskError, match=why):
        for definition in find_tasks(folder):
            list(read_items(definition))


@pytest.mark.parametrize("name", ["own.jsonl", "JMMLU/astronomy.csv", "x.yaml"])
def test_a_file_in_another_encoding_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes("task: 銀行\n".encode("shift_jis"))
    with pytest.raises(TaskError, match=name):
        for definition in find_tasks(folder):
            list(read_items(definition))


def test_a_folder_without_a_task_says_which_files_are_known(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="jblimp"):
        find_tasks(tmp_path)
    with pytest.raises(TaskError, match="is no directory"):
        find_tasks(tmp_path / "nowhere")


REAL = pytest.mark.skipif("not os.environ.get('JGPT_TEST_DATA')", reason="JGPT_TEST_DATA names no folder")


@REAL
def test_the_public_files_are_read_whole() -> None:
    found = {task.task: list(read_items(task)) for task in find_tasks(Path(os.environ["JGPT_TEST_DATA"]) / "eval")}
    assert {task: len(items) for task, items in found.items()} == {"jcola": 865, "jcommonsenseqa": 1119, "jnli": 2434}
