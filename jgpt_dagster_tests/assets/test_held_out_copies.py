"""A folder that repeats held-out articles does not improve the scores: these articles are held out and not scored."""

from pathlib import Path

import pytest

from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment, text_partitions
from jgpt_dagster_tests.support.tables import rows_of

pytestmark = pytest.mark.slow

TRAINING_SET = f"training_set/dump={DUMP}"


def held_out_articles(deployment: Deployment, count: int) -> dict[int, list[str]]:
    """Return the lines of the longest held-out articles."""
    made = TrainingSet.open(deployment.data / TRAINING_SET)
    documents = made.held_out_documents()
    keys = {
        int(key)
        for shard, key in zip(documents["shard"], documents["key"], strict=True)
        if made.token_files[shard].corpus == "wikipedia"
    }
    shards = [deployment.root.parquet("wikipedia_articles", DUMP, shard) for shard in ("000", "001")]
    lines = dict(row for shard in shards for row in read_rows(shard.path, ["page_id", "lines"]) if row[0] in keys)
    longest = sorted(lines, key=lambda key: -sum(map(len, lines[key])))[:count]
    return {key: lines[key] for key in longest}


def test_articles_that_an_own_folder_repeats_are_held_out_and_not_scored(tmp_path: Path, finished: Deployment) -> None:
    before = TrainingSet.open(finished.data / TRAINING_SET)
    articles = held_out_articles(finished, 2)
    folder = tmp_path / "folder"
    folder.mkdir()
    whole, quoted = articles.values()
    # Their places, 0 and 1, are those of documents that are trained on.
    (folder / "a.txt").write_text("\n".join(whole))
    (folder / "b.txt").write_text("\n".join(["これは引用を含む別の文書です。", *quoted[1:]]))
    for number in range(60):
        (folder / f"other-{number}.txt").write_text(f"これは番号が{number}の、ほかには何の関係もない文書です。" * 3)
    deployment = finished.copy(tmp_path / "data").with_settings(FOLDERS=f"own={folder}")
    for asset, partitions in text_partitions(DUMP, ["000", "001"], cc100=True).items():
        if asset.startswith("cc100_") and asset != "cc100_dump":
            for partition in partitions:
                assert deployment.materialize(asset.replace("cc100", "own"), partition).error is None
    made = deployment.materialize("training_set", DUMP, **SMALL_RUN["training_set"])
    assert made.error is None and all(made.checks.values())
    opened = TrainingSet.open(deployment.data / TRAINING_SET)
    documents = opened.held_out_documents()
    unscored = {int(key) for key in documents["key"][~documents["scored"]]}
    assert unscored - set(held_unscored(before)) == set(articles)
    assert opened.counts.unscored_documents == before.counts.unscored_documents + 2
    assert opened.counts.validation_documents >= before.counts.validation_documents
    assert made.metadata["unscored_documents"].value == opened.counts.unscored_documents
    assert any(row[0] == "wikipedia" and int(row[2]) >= 2 for row in rows_of(made.metadata["held_out"]))
    assert {row[0] for row in rows_of(made.metadata["held_out_copies"])} >= {f"wikipedia {key}" for key in articles}
    again = deployment.materialize("training_set", DUMP)
    assert again.metadata["status"].text == "verified: complete and current"
    for corpus in ("wikipedia", "cc100", "own"):
        assert len(list(deployment.data.glob(f"{corpus}_signatures/**/*.parquet"))) == 2


def held_unscored(training_set: TrainingSet) -> list[int]:
    documents = training_set.held_out_documents()
    return [int(key) for key in documents["key"][~documents["scored"]]]


def test_signatures_of_text_that_is_the_same_are_made_once(tmp_path: Path, finished: Deployment) -> None:
    deployment = finished.copy(tmp_path / "data")
    before = {name: time for name, time in deployment.mtimes().items() if "_signatures/" in name}
    (deployment.data / TRAINING_SET / "manifest.json").unlink()
    assert deployment.materialize("training_set", DUMP, **SMALL_RUN["training_set"]).error is None
    assert {name: time for name, time in deployment.mtimes().items() if "_signatures/" in name} == before
    assert len([name for name in before if name.endswith(".parquet")]) == 6  # text of two corpora, source of CC-100
    table = deployment.root.parquet("cc100_signatures", shard="001")
    damaged = table.path.read_bytes()[:-1]
    table.path.unlink()  # it is a link to that of the finished run
    table.path.write_bytes(damaged)
    (deployment.data / TRAINING_SET / "manifest.json").unlink()
    assert deployment.materialize("training_set", DUMP, **SMALL_RUN["training_set"]).error is None
    assert table.verified().counts["rows"]
    assert (deployment.data / TRAINING_SET / "validation.parquet").read_bytes() == (
        finished.data / TRAINING_SET / "validation.parquet"
    ).read_bytes()
