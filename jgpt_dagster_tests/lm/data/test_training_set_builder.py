import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jgpt_dagster.lm.data.integer_tables import read_columns
from jgpt_dagster.lm.data.training_set import (
    TokenShard,
    TrainingSet,
    TrainingSetError,
)
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster_tests.lm.data.test_document_split import held_out_keys
from jgpt_dagster_tests.support.token_samples import write_shard

SHARE = 0.1


@pytest.fixture
def shards(tmp_path: Path) -> list[TokenShard]:
    chance = random.Random(0)
    lengths = [[chance.choice([1, 2, 5, 30]) for _ in range(400)] for _ in range(3)]
    return [
        write_shard(tmp_path, "wikipedia", "000", lengths[0]),
        write_shard(tmp_path, "wikipedia", "001", lengths[1], first_key=400),
        write_shard(tmp_path, "cc100", "000", lengths[2]),
    ]


def build(
    root: Path,
    shards: list[TokenShard],
    weights: dict[str, float] | None = None,
    share: float = SHARE,
    name: str = "training_set",
    tokenizer: str = "t" * 64,
) -> TrainingSet:
    directory = root / name
    directory.mkdir()
    return build_training_set(
        shards,
        weights or {"wikipedia": 1.0, "cc100": 1.0},
        share,
        vocab_size=32_000,
        eos_id=2,
        tokenizer_sha256=tokenizer,
        data_root=root,
        directory=directory,
    )


def trained_documents(root: Path, shards: list[TokenShard], training_set: TrainingSet) -> list[tuple[str, int]]:
    """Corpus and key of every training document, as often as it is trained on, from spans and document tables alone."""
    spans = training_set.train_spans()
    tables = [read_columns(root / shard.path / "documents.parquet", ["key", "offset", "length"]) for shard in shards]
    found = []
    for index, offset, length in zip(spans["shard"], spans["offset"], spans["length"], strict=True):
        table = tables[index]
        inside = (table["offset"] >= offset) & (table["offset"] < offset + length)
        assert table["length"][inside].sum() == length
        found += [(shards[index].corpus, int(key)) for key in table["key"][inside]]
    return found


def all_documents(root: Path, shards: list[TokenShard]) -> dict[tuple[str, int], int]:
    tables = [
        (shard.corpus, read_columns(root / shard.path / "documents.parquet", ["key", "length"])) for shard in shards
    ]
    return {
        (corpus, int(key)): int(length)
        for corpus, table in tables
        for key, length in zip(table["key"], table["length"], strict=True)
    }


def held_out_documents(shards: list[TokenShard], training_set: TrainingSet) -> list[tuple[str, int]]:
    rows = training_set.held_out_documents()
    return [(shards[index].corpus, int(key)) for index, key in zip(rows["shard"], rows["key"], strict=True)]


def test_every_document_is_trained_on_or_held_out_or_empty(tmp_path: Path, shards: list[TokenShard]) -> None:
    result = build(tmp_path, shards)
    documents = all_documents(tmp_path, shards)
    trained = trained_documents(tmp_path, shards, result)
    held = held_out_documents(shards, result)

    filled = [document for document, length in documents.items() if length > 1]
    assert sorted(trained + held) == sorted(filled)
    for corpus in ("wikipedia", "cc100"):
        expected = held_out_keys(corpus, range(800), SHARE)
        assert {key for name, key in held if name == corpus} <= expected
        assert not {key for name, key in trained if name == corpus} & expected
    counts = result.counts
    assert counts.train_documents == len(trained)
    assert counts.validation_documents == len(held)
    assert counts.skipped_documents == len(documents) - len(filled)
    assert counts.train_tokens == sum(documents[document] for document in trained)
    assert counts.validation_tokens == sum(documents[document] for document in held)


def test_adjacent_training_documents_are_one_span(tmp_path: Path, shards: list[TokenShard]) -> None:
    spans = build(tmp_path, shards).train_spans()
    same_shard = spans["shard"][1:] == spans["shard"][:-1]
    touching = spans["offset"][:-1] + spans["length"][:-1] == spans["offset"][1:]
    assert not (same_shard & touching).any()


def test_weights_repeat_and_thin_out_training_documents_only(tmp_path: Path, shards: list[TokenShard]) -> None:
    # With a large share held out, thinning by the hash that holds out would leave far too few.
    plain = build(tmp_path, shards, share=0.4)
    mixed = build(tmp_path, shards, {"wikipedia": 2.5, "cc100": 0.5}, share=0.4, name="mixed")
    times = Counter(trained_documents(tmp_path, shards, mixed))
    expected = trained_documents(tmp_path, shards, plain)

    wikipedia = [times[document] for document in expected if document[0] == "wikipedia"]
    cc100 = [times[document] for document in expected if document[0] == "cc100"]
    assert set(wikipedia) == {2, 3} and 0.4 < np.mean(wikipedia) - 2 < 0.6
    assert set(cc100) == {0, 1} and 0.4 < np.mean(cc100) < 0.6
    assert mixed.counts.train_documents == sum(times.values())
    assert held_out_documents(shards, mixed) == held_out_documents(shards, plain)


def test_a_weight_of_zero_leaves_a_corpus_to_validation(tmp_path: Path, shards: list[TokenShard]) -> None:
    result = build(tmp_path, shards, {"wikipedia": 1, "cc100": 0})
    assert {corpus for corpus, _ in trained_documents(tmp_path, shards, result)} == {"wikipedia"}
    assert {corpus for corpus, _ in held_out_documents(shards, result)} == {"wikipedia", "cc100"}


def test_validation_rows_have_all_columns_of_the_document_table(tmp_path: Path, shards: list[TokenShard]) -> None:
    rows = build(tmp_path, shards).held_out_documents()
    assert list(rows) == ["shard", "key", "offset", "length", "characters", "bytes", "scored"]
    assert np.array_equal(rows["bytes"], (rows["length"] - 1) * 6)


def test_the_manifest_reads_back_as_it_was_written(tmp_path: Path, shards: list[TokenShard]) -> None:
    result = build(tmp_path, shards)
    assert TrainingSet.open(tmp_path / "training_set") == result
    manifest = json.loads((tmp_path / "training_set" / "training_set.json").read_text())
    assert manifest["token_files"][0]["path"] == "wikipedia_tokens/shard=000"
    assert manifest["train_tokens"] == result.counts.train_tokens
    assert "directory" not in manifest


def test_the_same_shards_give_the_same_bytes(tmp_path: Path, shards: list[TokenShard]) -> None:
    for name in ("one", "two"):
        build(tmp_path, shards, name=name)
    for file in ("training_set.json", "train.parquet", "validation.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_tokens_of_another_tokenizer_are_refused_by_name(tmp_path: Path, shards: list[TokenShard]) -> None:
    with pytest.raises(TrainingSetError, match=r"wikipedia_tokens 000 was made with tokenizer tttt.*now nnnn"):
        build(tmp_path, shards, tokenizer="n" * 64)


def test_a_shard_of_another_size_than_stated_is_refused_by_name(tmp_path: Path, shards: list[TokenShard]) -> None:
    other = write_shard(tmp_path / "other", "cc100", "000", [5, 5])
    shards[2] = TokenShard(**{**vars(shards[2]), "path": f"other/{other.path}"})
    with pytest.raises(TrainingSetError, match=r"cc100_tokens 000: .*lists 2 documents of 10 tokens, expected 400"):
        build(tmp_path, shards)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_a_share_that_is_not_between_0_and_1_is_refused(tmp_path: Path, shards: list[TokenShard], share: float) -> None:
    with pytest.raises(TrainingSetError, match="validation_share"):
        build(tmp_path, shards, share=share)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_an_impossible_weight_is_refused(tmp_path: Path, shards: list[TokenShard], weight: float) -> None:
    with pytest.raises(TrainingSetError, match=r"weights\['cc100'\] is"):
        build(tmp_path, shards, {"wikipedia": 1, "cc100": weight})


def test_a_corpus_without_weight_is_refused(tmp_path: Path, shards: list[TokenShard]) -> None:
    with pytest.raises(TrainingSetError, match=r"weights\['cc100'\] is None"):
        build(tmp_path, shards, {"wikipedia": 1})


def test_no_held_out_document_is_an_error_that_suggests_a_share(tmp_path: Path, shards: list[TokenShard]) -> None:
    with pytest.raises(TrainingSetError, match=r"none of [\d,]+ documents is held out.*Raise it"):
        build(tmp_path, shards, share=1e-9)


def test_no_training_document_is_an_error(tmp_path: Path, shards: list[TokenShard]) -> None:
    with pytest.raises(TrainingSetError, match="no document is left to train on"):
        build(tmp_path, shards, {"wikipedia": 0, "cc100": 0})
