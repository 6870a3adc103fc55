import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.lm.tokenizer.bpe_training import (
    TokenizerSettings,
    TrainedTokenizer,
    in_tokenizer_sample,
    require_trainable,
    train_tokenizer,
)
from jgpt_dagster.lm.tokenizer.merge_training import memory_of
from jgpt_dagster.lm.tokenizer.text_tokenizer import Encodes, SegmentedDocument, TokenizerError
from jgpt_dagster_tests.support.token_samples import WORDS, counted_words, segmented_documents

SMALL = TokenizerSettings(vocab_size=600, limit_alphabet=300)
# Two thousand equally frequent characters: every tie that the code leaves open is broken at random.
TIES = [[[" ".join(chr(0x4E00 + 7 * i % 2000) + chr(0x4E00 + 11 * i % 2000) for i in range(2000))]]]


def train(
    documents: list[SegmentedDocument],
    profile: TextProfile,
    settings: TokenizerSettings = SMALL,
    encodes: Encodes = "words",
) -> TrainedTokenizer:
    return train_tokenizer(counted_words(documents), profile, settings, encodes)


def vocabulary(tokenizer: Tokenizer) -> dict[str, int]:
    return tokenizer.get_vocab(with_added_tokens=True)


def test_seed_is_the_published_recipe_to_the_letter(tmp_path: Path) -> None:
    documents = segmented_documents(200)
    corpus = tmp_path / "wiki_mrph.txt"
    corpus.write_text("".join(f"{sentence}\n" for document in documents for line in document for sentence in line))
    recipe = Tokenizer(BPE(unk_token="<unk>"))
    recipe.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = BpeTrainer(
        vocab_size=600,
        min_frequency=1,
        special_tokens=["<unk>", "<s>", "</s>"],
        limit_alphabet=300,
        show_progress=False,
    )
    recipe.train([str(corpus)], trainer)

    assert train(documents, "seed").tokenizer.to_str() == recipe.to_str()


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_special_tokens_have_the_first_three_ids(profile: TextProfile) -> None:
    tokens = vocabulary(train(segmented_documents(50), profile).tokenizer)
    assert [tokens[token] for token in ("<unk>", "<s>", "</s>")] == [0, 1, 2]


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_the_vocabulary_fills_the_asked_size_without_gaps(profile: TextProfile) -> None:
    settings = TokenizerSettings(vocab_size=400, limit_alphabet=100)
    result = train(segmented_documents(500, words=[a + b for a in WORDS for b in WORDS]), profile, settings)
    assert result.counts["vocabulary"] == 400
    assert sorted(vocabulary(result.tokenizer).values()) == list(range(400))


def test_a_small_corpus_gives_a_smaller_vocabulary() -> None:
    result = train([[["猫"]]], "clean")
    assert result.counts["vocabulary"] == 3 + 1 + 256 + 1


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_among_equally_frequent_characters_the_lower_code_points_are_kept(profile: TextProfile) -> None:
    tokens = vocabulary(train(TIES, profile, TokenizerSettings(vocab_size=1000, limit_alphabet=500)).tokenizer)
    assert {ord(token) for token in tokens if len(token) == 1 and token != "\n"} == set(range(0x4E00, 0x4E00 + 500))


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_training_does_not_depend_on_the_division_of_documents(profile: TextProfile) -> None:
    documents = TIES + segmented_documents(300)
    settings = TokenizerSettings(vocab_size=1500, limit_alphabet=1000)
    whole = train(documents, profile, settings).tokenizer.to_str()
    words = counted_words(documents[200:]) + counted_words(documents[:7]) + counted_words(documents[7:200])
    assert train_tokenizer(words, profile, settings).tokenizer.to_str() == whole


@pytest.mark.parametrize("encodes", ["words", "text"])
def test_text_that_spells_a_reserved_token_never_becomes_one(encodes: Encodes) -> None:
    spelled = ["</s>", "<s>", "<unk>", "<0x41>", "<0x4a>", "<0x+a>", "a</s>b", "<0x41>x"]
    result = train(segmented_documents(300, words=[*WORDS, *spelled * 5]), "clean", encodes=encodes)
    merged = {left + right for left, right in json.loads(result.tokenizer.to_str())["model"]["merges"]}

    assert not merged & {*spelled}
    assert result.counts["dropped_tokens"] > 0
    result.tokenizer.encode_special_tokens = True
    reserved = {0, 1, 2, vocabulary(result.tokenizer)["<0x41>"]}
    for text in spelled:
        ids = result.tokenizer.encode(text, add_special_tokens=False).ids
        assert not reserved & {*ids}
        assert result.tokenizer.decode(ids) == text


def test_seed_has_no_tokenizer_of_text() -> None:
    with pytest.raises(TokenizerError, match="`text` needs `clean`"):
        train([[["猫"]]], "seed", encodes="text")


def test_the_coverage_of_the_alphabet_is_counted() -> None:
    counts = train([[["あ" * 90 + " " + "い" * 9, "う"]]], "clean", TokenizerSettings(300, 1, 2)).counts
    assert counts["characters"] == 100
    assert counts["characters_distinct"] == 3
    assert counts["alphabet"] == 2
    assert counts["alphabet_coverage"] == 0.99


def test_a_sample_has_its_share_of_each_corpus_and_is_a_subset_of_every_larger_one() -> None:
    def sample(corpus: str, share: float) -> set[int]:
        return {key for key in range(4000) if in_tokenizer_sample(corpus, key, share)}

    assert sample("wikipedia_segmented", 1.0) == set(range(4000))
    for corpus in ("wikipedia_segmented", "cc100_segmented"):
        assert len(sample(corpus, 0.25)) == pytest.approx(1000, abs=110)  # four standard deviations
        assert sample(corpus, 0.1) < sample(corpus, 0.25) < sample(corpus, 0.9)
    assert sample("wikipedia_segmented", 0.25) != sample("cc100_segmented", 0.25)


def test_a_vocabulary_that_uint16_cannot_hold_is_refused() -> None:
    with pytest.raises(TokenizerError, match=r"vocab_size=65,536.*65,535"):
        require_trainable(TokenizerSettings(vocab_size=65_536), "clean", "words")


def test_a_vocabulary_without_room_for_alphabet_and_bytes_is_refused() -> None:
    with pytest.raises(TokenizerError, match="Raise vocab_size to 5,260"):
        train([[["猫"]]], "clean", TokenizerSettings(vocab_size=5_200))


def test_text_that_needs_more_memory_than_allowed_is_refused_with_the_figures() -> None:
    words = counted_words(segmented_documents(20))
    characters = sum(len(word) for batch in words.batches() for word, _ in batch)
    needed = memory_of(characters)
    train_tokenizer(words, "clean", SMALL, max_memory=needed)
    with pytest.raises(TokenizerError, match=r"27 distinct words.* GB .* allows .* `sample_share` at 0\.099 times"):
        train_tokenizer(words, "clean", SMALL, max_memory=needed // 4)


def test_no_text_is_an_error() -> None:
    with pytest.raises(TokenizerError, match="no text"):
        train([[["  "]], []], "clean")
