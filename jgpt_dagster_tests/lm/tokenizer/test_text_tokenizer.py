import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, train_tokenizer
from jgpt_dagster.lm.tokenizer.text_tokenizer import (
    Encodes,
    SegmentedDocument,
    TextTokenizer,
    TokenizerError,
    TokenizerMismatchError,
    document_text,
    encoder_text,
    load_tokenizer,
    save_tokenizer,
)
from jgpt_dagster_tests.support.token_samples import counted_words, segmented_documents

HOSTILE = [
    [["</s> <s> <unk> <0x41> <0xE3> 𠮷 野家"], ["👨‍👩‍👧‍👦 é が"]],
    [["a</s>b <0xE3><0x81>"]],
    [],
    [["猫"], ["猫", "猫"]],
]

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda word: not any(map(str.isspace, word))
)
documents_of_any_text = st.lists(
    st.lists(st.lists(words, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=3), max_size=4
)


def make(directory: Path, profile: TextProfile, encodes: Encodes = "words") -> Path:
    tokenizer, _ = train_tokenizer(
        counted_words(segmented_documents(200)), profile, TokenizerSettings(400, 1, 60), encodes
    )
    save_tokenizer(tokenizer, directory, profile, "mecab", "mecab 1 with dictionary 1", encodes)
    return directory


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[TextProfile, Path]:
    return {profile: make(tmp_path_factory.mktemp(profile), profile) for profile in ("clean", "seed")}


@pytest.fixture(scope="module")
def clean(directories: dict[TextProfile, Path]) -> TextTokenizer:
    return load_tokenizer(directories["clean"])


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    """A tokenizer that encodes text."""
    return load_tokenizer(make(tmp_path_factory.mktemp("text"), "clean", "text"))


@pytest.fixture(scope="module")
def seed(directories: dict[TextProfile, Path]) -> TextTokenizer:
    return load_tokenizer(directories["seed"])


@given(documents_of_any_text)
def test_clean_decodes_to_the_exact_text(clean: TextTokenizer, document: SegmentedDocument) -> None:
    [ids] = clean.encode_documents([document])
    assert clean.decode(ids) == document_text(document, "clean")
    assert clean.unk_id not in ids


@given(st.text())
@example("</s><s><unk><0x0A><0x0a><0x+a>\n\r\u2581 \u00a0\u3000\x00\ufffd")
def test_text_of_any_characters_comes_back_and_holds_no_special_token(text: TextTokenizer, written: str) -> None:
    ids = text.encode(written)
    assert text.decode(ids) == written
    assert not {text.unk_id, 1, text.eos_id} & {*ids.tolist()}


def test_text_of_documents_is_encoded_whatever_its_words(text: TextTokenizer) -> None:
    documents: list[SegmentedDocument] = [
        [["吾輩 は 猫", "である ▁York"], ["猫"]],
        [["吾 輩は猫で", "ある▁ York"], ["猫"]],
    ]
    one, other = text.encode_documents(documents)
    assert one.tolist() == other.tolist() == [*text.encode("吾輩は猫である York\n猫\n"), text.eos_id]
    assert text.decode(one) == document_text(documents[0], "clean") == "吾輩は猫である York\n猫\n"


def test_words_guide_only_the_learning_of_text(clean: TextTokenizer, text: TextTokenizer) -> None:
    tokens, of_words = (
        [tokenizer.token(index) for index in range(tokenizer.vocab_size)] for tokenizer in (text, clean)
    )
    assert tokens == [token.replace("\u2581", " ") for token in of_words]
    (ids,) = text.encode_documents([[["吾輩 は 猫"]]])
    assert text.decode(ids) == "吾輩は猫\n"


def test_the_segmenter_is_asked_for_only_where_words_are_encoded(text: TextTokenizer) -> None:
    text.require_segmenter("jumanpp", "Juman++ 2")


def test_a_tokenizer_that_does_not_encode_what_it_says_is_refused(tmp_path: Path) -> None:
    directory = make(tmp_path / "tokenizer", "clean", "text")
    path = directory / "segmentation.json"
    said = json.loads(path.read_text())
    assert said["encodes"] == "text"
    for wrong in ({**said, "encodes": "words"}, {**said, "profile": "seed"}, {**said, "encodes": "bytes"}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(TokenizerError, match="Materialize tokenizer"):
            load_tokenizer(directory)


@given(st.lists(documents_of_any_text, max_size=4))
def test_every_document_has_one_end_token_which_is_its_last(
    clean: TextTokenizer, documents: list[SegmentedDocument]
) -> None:
    for ids in clean.encode_documents(documents):
        assert np.flatnonzero(ids == clean.eos_id).tolist() == [len(ids) - 1]


def test_text_that_spells_special_or_byte_tokens_is_encoded_as_characters(
    clean: TextTokenizer, seed: TextTokenizer
) -> None:
    for tokenizer in (clean, seed):
        for document, ids in zip(HOSTILE, tokenizer.encode_documents(HOSTILE), strict=True):
            assert np.count_nonzero(ids == tokenizer.eos_id) == 1
            if tokenizer is clean:
                assert tokenizer.decode(ids) == document_text(document, "clean")


def test_clean_writes_a_line_end_after_each_line_and_none_between_sentences(clean: TextTokenizer) -> None:
    [ids] = clean.encode_documents([[["猫 は", "▁York"], ["猫"]]])
    assert clean.decode(ids) == "猫は York\n猫\n"
    assert np.count_nonzero(ids == clean.encode("\n")[0]) == 2


def test_seed_joins_sentences_and_turns_unknown_characters_into_unk(seed: TextTokenizer) -> None:
    [ids] = seed.encode_documents([[["猫 は", "鬱 猫"]]])
    assert ids.tolist().count(seed.unk_id) == 1
    assert seed.decode(ids) == "猫は猫"


def test_a_prompt_is_encoded_without_line_end_and_end_token(clean: TextTokenizer) -> None:
    [document] = clean.encode_documents([[["吾輩 は 猫"]]])
    assert clean.encode("吾輩 は 猫").tolist() == document.tolist()[:-2]


@pytest.mark.parametrize("profile", ["clean", "seed"])
def test_auto_tokenizer_opens_the_directory_with_the_same_ids_and_text(
    directories: dict[TextProfile, Path], profile: TextProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    ours = load_tokenizer(directories[profile])
    theirs = AutoTokenizer.from_pretrained(directories[profile], local_files_only=True)
    documents = [*segmented_documents(50, seed=1), *HOSTILE]
    for document, ids in zip(documents, ours.encode_documents(documents), strict=True):
        assert [*theirs(encoder_text(document, profile))["input_ids"], theirs.eos_token_id] == ids.tolist()
        decoded = str(theirs.decode(ids.tolist(), skip_special_tokens=True))
        assert (decoded if profile == "clean" else decoded.replace(" ", "")) == ours.decode(ids)
    assert set(theirs("猫")) == {"input_ids", "attention_mask"}
    assert (theirs.unk_token, theirs.bos_token, theirs.eos_token) == ("<unk>", "<s>", "</s>")
    assert (theirs.unk_token_id, theirs.bos_token_id, theirs.eos_token_id) == (0, 1, 2)
    assert len(theirs) == ours.vocab_size


def test_every_id_has_its_own_token(clean: TextTokenizer) -> None:
    assert len({clean.token(index) for index in range(clean.vocab_size)}) == clean.vocab_size
    with pytest.raises(IndexError):
        clean.token(clean.vocab_size)


def test_the_directory_names_profile_and_segmenter(directories: dict[TextProfile, Path], clean: TextTokenizer) -> None:
    assert json.loads((directories["clean"] / "segmentation.json").read_text()) == {
        "profile": "clean",
        "segmenter": "mecab",
        "fingerprint": "mecab 1 with dictionary 1",
    }
    assert (clean.profile, clean.segmenter, clean.segmenter_fingerprint) == (
        "clean",
        "mecab",
        "mecab 1 with dictionary 1",
    )


def test_the_same_training_gives_the_same_directory(directories: dict[TextProfile, Path], tmp_path: Path) -> None:
    again = make(tmp_path / "again", "clean")
    files = sorted(path.name for path in again.iterdir())
    assert files == ["segmentation.json", "tokenizer.json", "tokenizer_config.json"]
    assert all((again / name).read_bytes() == (directories["clean"] / name).read_bytes() for name in files)
    assert load_tokenizer(again).sha256 == load_tokenizer(directories["clean"]).sha256


def test_profiles_have_different_identities(clean: TextTokenizer, seed: TextTokenizer) -> None:
    assert clean.sha256 != seed.sha256


def test_text_of_another_engine_is_refused_and_both_are_named(clean: TextTokenizer) -> None:
    clean.require_segmenter("mecab", "mecab 1 with dictionary 1")
    with pytest.raises(
        TokenizerMismatchError, match=r"mecab 1 with dictionary 1.*jumanpp.*Juman\+\+ 2.*JGPT_SEGMENTER"
    ):
        clean.require_segmenter("jumanpp", "Juman++ 2")


@pytest.mark.parametrize("name", ["tokenizer.json", "segmentation.json"])
def test_a_damaged_directory_is_named(tmp_path: Path, name: str) -> None:
    directory = make(tmp_path / "tokenizer", "clean")
    (directory / name).write_text("{")
    with pytest.raises(TokenizerError, match=f"{directory}.*Materialize tokenizer"):
        load_tokenizer(directory)


def test_real_text_is_decoded_exactly(web_documents: list[SegmentedDocument], tmp_path: Path) -> None:
    documents = web_documents
    tokens = {}
    for encodes in get_args(Encodes):
        settings = TokenizerSettings(8000, 1, 2000)
        tokenizer, counts = train_tokenizer(counted_words(documents), "clean", settings, encodes)
        assert counts["characters_distinct"] > counts["alphabet"]
        save_tokenizer(tokenizer, tmp_path, "clean", "mecab", "mecab 1", encodes)
        loaded = load_tokenizer(tmp_path)
        encoded = loaded.encode_documents(documents)
        tokens[encodes] = sum(map(len, encoded))
        for document, ids in zip(documents, encoded, strict=True):
            assert loaded.decode(ids) == document_text(document, "clean")
            assert loaded.unk_id not in ids
    assert tokens["text"] < tokens["words"]
