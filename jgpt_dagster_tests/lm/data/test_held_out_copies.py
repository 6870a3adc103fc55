"""Held out means held out: a held-out document with a copy in what is trained on is found, whatever corpus has it."""

import random
from pathlib import Path

import pytest

from jgpt_dagster.corpus.duplicates.signatures import SIGNATURES, signature_row
from jgpt_dagster.corpus.duplicates.sketches import DeduplicationSettings
from jgpt_dagster.lm.data import held_out_copies
from jgpt_dagster.lm.data.held_out_copies import HeldOutCopy, SignedShard, find_held_out_copies
from jgpt_dagster.lm.data.training_set import HELD_OUT_COPIES, TrainingSet, TrainingSetError
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster.lm.data.validation_data import scored_order, validation_blocks
from jgpt_dagster.runtime.worker_pool import map_in_process
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import write_rows
from jgpt_dagster_tests.lm.data.test_document_split import held_out_keys
from jgpt_dagster_tests.support.token_samples import write_shard

SHARE = 0.1
HELD_OUT = {corpus: sorted(held_out_keys(corpus, range(300), SHARE)) for corpus in ("wikipedia", "cc100")}


def text(chooser: random.Random, characters: int) -> str:
    return "".join(chr(chooser.randrange(0x4E00, 0x9000)) for _ in range(characters))


def corpora() -> dict[str, dict[int, list[str]]]:
    """Return 300 different documents of two corpora, by their keys."""
    chooser = random.Random(1)
    return {corpus: {key: [text(chooser, 60) for _ in range(5)] for key in range(300)} for corpus in HELD_OUT}


def signed(
    folder: Path, documents: dict[str, dict[int, list[str]]], weights: dict[str, float] | None = None
) -> list[SignedShard]:
    """Write tokens and signatures of two shards of each corpus, each with one half of the keys."""
    shards = []
    for corpus, of_corpus in documents.items():
        for first in (0, 150):
            keys = range(first, first + 150)
            tokens = write_shard(folder, corpus, f"{first:03d}", [20] * 150, first_key=first)
            sketches = DeduplicationSettings().sketches([of_corpus[key] for key in keys])
            path = folder / f"{corpus}-{first}.parquet"
            write_rows(path, SIGNATURES, map(signature_row, keys, sketches), Recipe("signatures", "1"), dict)
            shards.append(SignedShard(tokens, folder / tokens.path, path, (weights or {}).get(corpus, 1.0)))
    return shards


def found(folder: Path, shards: list[SignedShard]) -> list[HeldOutCopy]:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return list(find_held_out_copies(shards, SHARE, scratch, map_in_process))


def shard_of(key: int) -> int:
    return int(key >= 150)


def a_trained_key(corpus: str, above: int) -> int:
    return next(key for key in range(above, 300) if key not in HELD_OUT[corpus])


def test_what_stands_nowhere_else_is_scored(tmp_path: Path) -> None:
    assert all(len(keys) > 15 for keys in HELD_OUT.values())
    assert found(tmp_path, signed(tmp_path, corpora())) == []


@pytest.mark.parametrize("group", [1, 1 << 22], ids=["one batch at a time", "all at once"])
def test_copies_and_paragraphs_are_found_in_every_corpus_and_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    monkeypatch.setattr(held_out_copies, "_GROUP_HASHES", group)
    documents = corpora()
    near, quoted, own = HELD_OUT["wikipedia"][0], HELD_OUT["wikipedia"][-1], HELD_OUT["cc100"][3]
    near_copy, quoting, own_copy = (a_trained_key(*at) for at in (("cc100", 200), ("cc100", 3), ("cc100", 50)))
    documents["cc100"][near_copy] = [*documents["wikipedia"][near][:4], documents["wikipedia"][near][4] + "終わり。"]
    documents["cc100"][quoting][2:4] = documents["wikipedia"][quoted][1:3]
    documents["cc100"][own_copy] = documents["cc100"][own]
    copies = {(copy.shard, copy.key): copy for copy in found(tmp_path, signed(tmp_path, documents))}
    assert set(copies) == {(shard_of(near), near), (shard_of(quoted), quoted), (2 + shard_of(own), own)}
    of_near, of_quoted, of_own = copies.values()
    assert (of_near.copy_shard, of_near.copy_key) == (2 + shard_of(near_copy), near_copy)
    assert of_near.bands > 0 and of_near.repeated_characters == 240
    assert of_quoted[2:] == (2 + shard_of(quoting), quoting, 0, 120)
    assert of_own[2:] == (2 + shard_of(own_copy), own_copy, 14, 300)


def test_a_sentence_or_two_in_common_is_no_copy(tmp_path: Path) -> None:
    documents = corpora()
    quoted = HELD_OUT["wikipedia"][0]
    documents["wikipedia"][quoted].append(text(random.Random(2), 70))
    documents["cc100"][a_trained_key("cc100", 0)][0] = documents["wikipedia"][quoted][5]
    assert found(tmp_path, signed(tmp_path, documents)) == []


def test_only_what_is_trained_on_counts(tmp_path: Path) -> None:
    """A copy that is held out as well, or in a corpus that is left out, teaches the model nothing."""
    documents = corpora()
    article = HELD_OUT["wikipedia"][0]
    documents["cc100"][HELD_OUT["cc100"][0]] = documents["wikipedia"][article]
    shards = signed(tmp_path, documents)
    assert found(tmp_path, shards) == []
    documents["cc100"][a_trained_key("cc100", 0)] = documents["wikipedia"][article]
    (tmp_path / "left out").mkdir()
    assert found(tmp_path, signed(tmp_path / "left out", documents, {"cc100": 0.0})) == []
    (tmp_path / "in use").mkdir()
    assert len(found(tmp_path, signed(tmp_path / "in use", documents))) == 2


def build(folder: Path, shards: list[SignedShard], copies: list[HeldOutCopy]) -> TrainingSet:
    directory = folder / "training_set"
    directory.mkdir()
    tokens, weights = [shard.tokens for shard in shards], {"wikipedia": 1.0, "cc100": 1.0}
    return build_training_set(
        tokens,
        weights,
        SHARE,
        vocab_size=32_000,
        eos_id=2,
        tokenizer_sha256="t" * 64,
        data_root=folder,
        directory=directory,
        copies=copies,
    )


def test_copies_stay_held_out_and_are_counted_and_not_scored(tmp_path: Path) -> None:
    shards = signed(tmp_path, corpora())
    key = HELD_OUT["wikipedia"][2]
    copy = HeldOutCopy(shard_of(key), key, 2, 7, 3, 100)
    made = build(tmp_path, shards, [copy])
    opened = TrainingSet.open(made.directory)
    assert opened.counts == made.counts and opened.counts.unscored_documents == 1
    documents = opened.held_out_documents()
    unscored = ~documents["scored"]
    assert documents["key"][unscored].tolist() == [key] and documents["shard"][unscored].tolist() == [copy.shard]
    assert {name: values.tolist() for name, values in opened.held_out_copies().items()} == {
        name: [value] for name, value in copy._asdict().items()
    }
    assert len(scored_order(opened, documents)) == len(documents["key"]) - 1 == opened.counts.validation_documents - 1
    blocks = validation_blocks(opened, opened.open_tokens(tmp_path), 19, 1000)
    assert len(blocks) == 20 * (opened.counts.validation_documents - 1) // 19


def test_without_copies_the_files_are_as_before(tmp_path: Path) -> None:
    made = build(tmp_path, signed(tmp_path, corpora()), [])
    assert "unscored" not in (made.directory / "training_set.json").read_text()
    assert not (made.directory / HELD_OUT_COPIES).exists()
    opened = TrainingSet.open(made.directory)
    assert opened.held_out_documents()["scored"].all()
    assert not any(len(column) for column in opened.held_out_copies().values())


def test_a_training_set_of_which_nothing_would_be_scored_is_refused(tmp_path: Path) -> None:
    shards = signed(tmp_path, corpora())
    copies = [
        HeldOutCopy(2 * place + shard_of(key), key, 0, 0, 1, 0)
        for place, keys in enumerate(HELD_OUT.values())
        for key in keys
    ]
    with pytest.raises(TrainingSetError, match=r"each of the \d+ documents held out .* nothing would be scored"):
        build(tmp_path, shards, copies)
