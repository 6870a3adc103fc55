"""Any model is scored on the same held-out texts as the root's own, and both stand in one table."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from jgpt_dagster.catalog.evaluated_models import (
    FILE,
    ITEMS,
    SCORES,
    TASKS,
    EvaluatedModels,
    evaluation_output,
    task_output,
)
from jgpt_dagster.corpus.schemas import ARTICLES_SEGMENTED
from jgpt_dagster.lm.data.token_files import TokenFile
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.release.release_directory import CARD
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
from jgpt_dagster.provenance.verify_root import verify_root
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.support.deployments import (
    DUMP,
    LATER_DUMP,
    Deployment,
    Materialized,
    in_process_instance,
    mini_deployment,
    mini_pages,
)
from jgpt_dagster_tests.support.foreign_models import gpt_neox
from jgpt_dagster_tests.support.tables import rows_of

TEXTS = ["海に近い町である。人口は三万人。\n", "町の北に山がある。\n"]


@pytest.fixture(scope="module")
def evaluated(finished: Deployment, tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployment, Materialized]:
    """A copy of the finished deployment with its own release, n-grams and a model of another family evaluated."""
    folder = tmp_path_factory.mktemp("evaluated")
    deployment = finished.copy(folder / "data")
    models = EvaluatedModels(deployment.root)
    models.record("ours", deployment.root.directory("release", DUMP, model="tiny").path)
    models.record("theirs", gpt_neox(folder / "neox", TEXTS))
    results = [evaluate(deployment, name) for name in ("ours", "bigrams", "theirs")]
    assert [result.error for result in results] == [None] * 3
    assert all(all(result.checks.values()) and result.checks for result in results)
    return deployment, results[-1]


def evaluate(deployment: Deployment, name: str, **config: int) -> Materialized:
    in_process_instance().add_dynamic_partitions("name", [name])
    return deployment.materialize("foreign_evaluation", f"{DUMP}|{name}", **config)


def test_our_own_release_scores_from_raw_text_what_its_evaluation_says(
    evaluated: tuple[Deployment, Materialized],
) -> None:
    root = evaluated[0].root
    evaluation = root.directory("evaluation", DUMP, model="tiny").verified().counts
    found = evaluation_output(root, DUMP, "ours").verified().counts
    assert found["lost_characters"] == 0
    for name in ("documents", "tokens", "characters", "bytes"):
        assert found[name] == evaluation[name]
    assert found["bits_per_character"] == pytest.approx(evaluation["bits_per_character"], rel=1e-5)
    bigrams = evaluation_output(root, DUMP, "bigrams").verified().counts
    assert bigrams["bits_per_character"] == pytest.approx(evaluation["bigram_bits_per_character"], rel=1e-9)


def test_the_leaderboard_has_all_of_them_in_the_ui_and_on_the_terminal(
    evaluated: tuple[Deployment, Materialized],
) -> None:
    deployment, last = evaluated
    rows = rows_of(last.metadata["leaderboard"])
    assert [row[0] for row in rows] == ["bigrams", "ours", "theirs *"]
    assert "data:image/svg+xml," in str(last.metadata["leaderboard_chart"].value)
    assert "cannot be known" in str(last.metadata["note"].value)
    printed = deployment.invoke("leaderboard").splitlines()
    assert [line.split()[0] for line in printed[2:5]] == ["bigrams", "ours", "theirs"]
    (group,) = json.loads(deployment.invoke("leaderboard", "--json"))["held_out"]
    assert [model["name"] for model in group["models"]] == ["bigrams", "ours", "theirs"]
    assert len(group["differences"]) == 3


def test_an_evaluation_is_kept_until_what_it_scores_changes(
    evaluated: tuple[Deployment, Materialized],
) -> None:
    deployment, _ = evaluated
    assert "verified" in str(evaluate(deployment, "theirs").metadata["status"].value)
    assert evaluate(deployment, "theirs", max_characters=300).metadata["status"].value == "made"
    # Other texts are another table.
    assert deployment.invoke("leaderboard").count("held-out documents") == 2


def test_a_root_with_evaluations_is_verified_to_the_last_byte(
    evaluated: tuple[Deployment, Materialized], tmp_path: Path
) -> None:
    deployment = evaluated[0].copy(tmp_path / "data")
    root = deployment.root
    assert list(verify_root(root, deployment.data / ".scratch")) == []
    scores, record = evaluation_output(root, DUMP, "theirs").path / SCORES, deployment.data / FILE
    for path in (scores, record):
        damaged = path.read_bytes()[:-9] + b"#" + path.read_bytes()[-8:]
        path.unlink()
        path.write_bytes(damaged)
    found = list(verify_root(root, deployment.data / ".scratch"))
    assert [(finding.kind, finding.path) for finding in found] == [("damaged", str(record)), ("damaged", str(scores))]
    elsewhere = evaluation_output(root, LATER_DUMP, "theirs").path
    elsewhere.parent.mkdir()
    scores.parent.rename(elsewhere)
    assert ("misplaced", str(elsewhere)) in [(each.kind, each.path) for each in verify_root(root, deployment.data)]


def test_what_cannot_be_evaluated_is_told_in_one_line(
    evaluated: tuple[Deployment, Materialized], tmp_path: Path
) -> None:
    deployment, _ = evaluated
    assert "No model is called 'nobody'" in str(evaluate(deployment, "nobody").error)
    too_long = str(evaluate(deployment, "theirs", window=4096).error)
    assert "context is 128 tokens, the window 4,096" in too_long
    assert "is no directory" in deployment.try_invoke("evaluate", tmp_path / "nowhere").output
    assert "no training set of 20991231" in deployment.try_invoke("evaluate", "--dump", "20991231").output


def test_tasks_are_scored_from_the_files_of_the_user(
    evaluated: tuple[Deployment, Materialized], tmp_path: Path
) -> None:
    deployment, _ = evaluated
    assert "JGPT_TASKS names no folder" in str(deployment.materialize("task_evaluation", f"{DUMP}|theirs").error)
    pairs = [
        {"good_sentence": f"海に近い町{n}。", "bad_sentence": f"海を近い町{n}。", "phenomenon": "x"} for n in range(9)
    ]
    (tmp_path / "jblimp.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    asking = deployment.with_settings(TASKS=str(tmp_path))
    for name in ("ours", "bigrams", "theirs"):
        result = asking.materialize("task_evaluation", f"{DUMP}|{name}")
        assert result.error is None and result.checks == {"tasks_are_scored": True}
        assert rows_of(result.metadata["tasks"])[0][:2] == ("jblimp", "9")
    items = [json.loads(line) for line in (task_output(deployment.root, DUMP, "ours").path / ITEMS).open()]
    assert [item["item"] for item in items] == [f"jblimp.jsonl:{number}" for number in range(1, 10)]
    assert all(len(item["log_likelihoods"]) == 2 for item in items)
    assert {item["in_training"] for item in items} == {None}
    assert "verified" in str(asking.materialize("task_evaluation", f"{DUMP}|ours").metadata["status"].value)
    release = asking.root.directory("release", DUMP, model="tiny")
    assert "scored on jblimp since" in asking.invoke("status", "--dump", DUMP)
    assert asking.materialize("release", f"{DUMP}|tiny").error is None
    results = ModelCard.load(release.path / CARD).data.eval_results or []
    reached = json.loads((task_output(deployment.root, DUMP, "ours").path / TASKS).read_text())["tasks"]["jblimp"]
    (listed,) = [result for result in results if result.metric_type == "accuracy"]
    assert (listed.dataset_type, listed.metric_value) == ("jblimp", round(reached["accuracy"], 4))
    # The card is none of what the model is scored by, nor does a release go stale of its own card.
    for asset, key in (("task_evaluation", "ours"), ("release", "tiny")):
        assert "verified" in str(asking.materialize(asset, f"{DUMP}|{key}").metadata["status"].value)
    unknown = asking.materialize("task_evaluation", f"{DUMP}|ours", tasks=["nothing"])
    assert "has no task nothing. It has: jblimp." in str(unknown.error)
    *_, chance = asking.invoke("leaderboard").strip().splitlines()
    assert chance.split() == ["chance", "50.0%"]
    assert [finding for finding in verify_root(asking.root, asking.data / ".scratch") if finding.is_fault] == []
    (tmp_path / "jblimp.jsonl").write_text("{}\n")
    assert "jblimp.jsonl, line 1" in str(asking.materialize("task_evaluation", f"{DUMP}|ours").error)


def test_an_item_that_stands_in_the_training_data_is_marked_where_there_is_an_index(
    evaluated: tuple[Deployment, Materialized], tmp_path: Path
) -> None:
    pytest.importorskip("pydivsufsort")
    deployment, _ = evaluated
    root = deployment.root
    tokenizer = load_tokenizer(root.directory("tokenizer").path)
    document = TokenFile(root.directory("cc100_tokens", shard="000").path).document(0)
    known = tokenizer.decode(document[:-1]).split("\n")[0]
    lines = [{"prompt": text, "choices": ["a", "b"], "answer": 0} for text in (known, "龘靐齉爩麤灪龖厵")]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for shard in ("000", "001"):
        assert deployment.materialize("wikipedia_span_index", f"{DUMP}|{shard}").error is None
        assert deployment.materialize("cc100_span_index", shard).error is None
    asking = deployment.with_settings(TASKS=str(tmp_path))
    assert asking.materialize("task_evaluation", f"{DUMP}|bigrams").error is None
    items = [json.loads(line) for line in (task_output(root, DUMP, "bigrams").path / ITEMS).open()]
    assert [item["in_training"] for item in items] == [True, False]


@pytest.mark.slow
def test_under_seed_a_held_out_document_that_the_segmented_text_has_lost_is_named(tmp_path: Path) -> None:
    deployment = mini_deployment(tmp_path, mini_pages(60)).with_settings(TEXT="seed")
    deployment.materialize_text(DUMP)
    training_set = TrainingSet.open(deployment.root.directory("training_set", DUMP).path)
    held_out = training_set.held_out_documents()["key"].tolist()
    segmented = deployment.root.parquet("wikipedia_segmented", DUMP, "000")
    kept = [row for row in read_rows(segmented.path) if row[0] not in held_out]
    segmented.write(ARTICLES_SEGMENTED, iter(kept), segmented.verified().recipe, dict)
    error = str(evaluate(deployment, "bigrams").error)
    assert f"wikipedia_segmented {DUMP}|000 does not hold document" in error and "training_set again" in error
