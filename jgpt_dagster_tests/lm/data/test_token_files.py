from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jgpt_dagster.lm.data.token_files import TokenFile, TokenFileError, map_tokens, write_tokens
from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, train_tokenizer
from jgpt_dagster.lm.tokenizer.text_tokenizer import (
    SegmentedDocument,
    TextTokenizer,
    document_text,
    load_tokenizer,
    save_tokenizer,
)
from jgpt_dagster_tests.support.token_samples import counted_words, segmented_documents

DOCUMENTS = [(7 * index, document) for index, document in enumerate(segmented_documents(300, seed=3))]


@pytest.fixture(scope="module", params=["clean", "seed"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    trained, _ = train_tokenizer(counted_words(segmented_documents(200)), request.param, TokenizerSettings(400, 1, 30))
    directory = tmp_path_factory.mktemp(request.param)
    save_tokenizer(trained, directory, request.param, "mecab", "mecab 1")
    return load_tokenizer(directory)


def test_the_table_locates_every_document(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    write_tokens(DOCUMENTS, tokenizer, tmp_path)
    file = TokenFile(tmp_path)
    assert len(file) == len(DOCUMENTS)
    assert file.documents["key"].tolist() == [key for key, _ in DOCUMENTS]
    for index, ids in enumerate(tokenizer.encode_documents([document for _, document in DOCUMENTS])):
        assert file.document(index).tolist() == ids.tolist()


def test_tokens_are_little_endian_uint16(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    write_tokens(DOCUMENTS[:1], tokenizer, tmp_path)
    [ids] = tokenizer.encode_documents([DOCUMENTS[0][1]])
    assert (tmp_path / "tokens.bin").read_bytes() == b"".join(int(i).to_bytes(2, "little") for i in ids)


def test_characters_and_bytes_are_those_of_the_unsegmented_text(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    write_tokens(DOCUMENTS, tokenizer, tmp_path)
    texts = [document_text(document, tokenizer.profile) for _, document in DOCUMENTS]
    rows = pq.read_table(tmp_path / "documents.parquet").to_pydict()
    assert rows["characters"] == [len(text) for text in texts]
    assert rows["bytes"] == [len(text.encode()) for text in texts]


def test_counts_add_up(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    counts = write_tokens(DOCUMENTS, tokenizer, tmp_path)
    rows = pq.read_table(tmp_path / "documents.parquet").to_pydict()
    ids = TokenFile(tmp_path).tokens
    assert counts == {
        "documents": len(DOCUMENTS),
        "tokens": len(ids),
        "unknown_tokens": np.count_nonzero(ids == 0),
        "characters": sum(rows["characters"]),
        "bytes": sum(rows["bytes"]),
        "tokens_per_character": round(len(ids) / sum(rows["characters"]), 4),
    }
    assert sum(rows["length"]) == len(ids)
    assert (counts["unknown_tokens"] > 0) == (tokenizer.profile == "seed")


def test_files_do_not_depend_on_the_batch(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    files = {}
    for most in (1, 7, 1000):
        (tmp_path / str(most)).mkdir()
        write_tokens(DOCUMENTS, tokenizer, tmp_path / str(most), batch_documents=most)
        files[most] = [(tmp_path / str(most) / name).read_bytes() for name in ("tokens.bin", "documents.parquet")]
    assert files[1] == files[7] == files[1000]


def test_documents_are_streamed(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    on_disk: list[int] = []

    def documents() -> Iterator[tuple[int, SegmentedDocument]]:
        for key, document in DOCUMENTS[:60]:
            on_disk.append((tmp_path / "tokens.bin").stat().st_size)
            yield key, document * 200

    write_tokens(documents(), tokenizer, tmp_path, batch_documents=4)
    assert on_disk[-1] > on_disk[len(on_disk) // 2] > 0


def test_a_shard_and_a_document_may_be_empty(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    assert write_tokens([], tokenizer, tmp_path)["documents"] == 0
    assert len(TokenFile(tmp_path)) == 0
    write_tokens([(5, [])], tokenizer, tmp_path)
    assert TokenFile(tmp_path).document(0).tolist() == [tokenizer.eos_id]


def test_a_file_of_the_wrong_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "tokens.bin"
    with pytest.raises(TokenFileError, match=rf"{path} is missing, expected 2 tokens in 4 bytes"):
        map_tokens(path, 2)
    path.write_bytes(b"123")
    with pytest.raises(TokenFileError, match=rf"{path} has 3 bytes, expected 2 tokens in 4 bytes"):
        map_tokens(path, 2)
