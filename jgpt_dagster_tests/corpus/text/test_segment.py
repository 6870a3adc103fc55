"""Promises of the whole way from lines to segmented sentences: nothing lost under `clean`, batches never show."""

import io
import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.segmenters import Segmenter, open_segmenter
from jgpt_dagster.corpus.text import segment as segment_module
from jgpt_dagster.corpus.text.normalize import normalizer
from jgpt_dagster.corpus.text.segment import SPACE_SYMBOL, SegmentCounts, restore_text, segment_documents
from jgpt_dagster.corpus.text.substitutions import VARIATION_SELECTORS
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster_tests.support.code_points import CODE_POINTS

ANY_LINE = st.text(st.characters(exclude_categories=[])) | st.text(
    alphabet=st.sampled_from("あ漢Ab1。．，！?「」() \u3000\xa0\t\n\u2581_\ud800〜~ー\ufe0f\U000e0100")
)
DOCUMENTS = st.lists(st.lists(ANY_LINE))


@pytest.fixture(scope="module")
def mecab() -> Iterator[Segmenter]:
    with open_segmenter("mecab") as segmenter:
        yield segmenter


def segmented(segmenter: Segmenter, profile: TextProfile, *lines: str) -> list[list[str]]:
    (document,) = segment_documents([list(lines)], profile, segmenter)
    return document


def test_a_document_becomes_lines_of_sentences_of_words(mecab: Segmenter) -> None:
    assert segmented(mecab, "clean", "吾輩", "", "吾輩は猫である。名前はまだ無い。") == [
        ["吾輩"],
        ["吾輩 は 猫 である 。", "名前 は まだ 無い 。"],
    ]


def test_clean_writes_a_space_of_the_text_at_the_head_of_the_next_word(mecab: Segmenter) -> None:
    assert segmented(mecab, "clean", "I love New York! Do you? はい。") == [
        ["I ▁love ▁New ▁York !", "▁Do ▁you ?", "はい 。"],
    ]


def test_seed_leaves_spaces_out(mecab: Segmenter) -> None:
    assert segmented(mecab, "seed", "New York\xa0City! Yes.") == [["New York City !", "Yes ."]]


def test_seed_takes_a_carriage_return_for_the_end_of_a_line_as_the_recipe_does(mecab: Segmenter) -> None:
    text = "前の文。（括弧\rの中。）次の文。\r\r\n終わり。\r"
    lines = io.TextIOWrapper(io.BytesIO(text.encode())).read().split("\n")
    apart = [sentence for line in segmented(mecab, "seed", *lines) for sentence in line]
    assert segmented(mecab, "seed", text) == [apart]
    assert apart == ["前 の 文 。", "( 括弧", "の 中 。", ") 次の 文 。", "終わり 。"]


def test_the_two_profiles_differ_where_the_recipe_is_known_to_be_at_fault(mecab: Segmenter) -> None:
    line = "期間は，１９９０年～２０００年である．次に"
    assert segmented(mecab, "seed", line) == [["期間 は , 1990 年 2000 年 である . 次に"]]
    assert segmented(mecab, "clean", line) == [["期間 は 、 1990 年 〜 2000 年 である 。", "次に"]]


def test_words_of_other_scripts_stay_words(mecab: Segmenter) -> None:
    assert segmented(mecab, "clean", "Москва столица России", "naïve café au lait") == [
        ["Москва ▁столица ▁России"],
        ["naïve ▁café ▁au ▁lait"],
    ]


def test_a_variation_selector_stays_in_the_word_and_sentence_of_its_character(mecab: Segmenter) -> None:
    assert segmented(mecab, "clean", "葛\U000e0100城だ！\ufe0e次の猫。\ufe0e。", "犬。\ufe0e") == [
        ["葛\U000e0100 城 だ ！\ufe0e", "次の 猫 。\ufe0e 。"],
        ["犬 。\ufe0e"],
    ]


@given(DOCUMENTS)
def test_no_word_begins_with_a_variation_selector(mecab: Segmenter, documents: list[list[str]]) -> None:
    begins = re.compile(f"(?:^|[ {SPACE_SYMBOL}])[{VARIATION_SELECTORS}]")
    for document in segment_documents(documents, "clean", mecab):
        assert not [sentence for line in document for sentence in line if begins.search(sentence)]


def test_a_space_symbol_of_the_text_is_replaced_and_counted(mecab: Segmenter) -> None:
    lines = ["グラフ▁▂▁ a b"]
    (document,) = segment_documents([lines], "clean", mecab)
    counts = SegmentCounts()
    counts.add(lines, document)
    assert restore_text(document) == "グラフ_▂_ a b\n"
    assert counts.own_space_symbols == 2


@given(DOCUMENTS)
def test_clean_gives_the_normalised_text_back(mecab: Segmenter, documents: list[list[str]]) -> None:
    normalize = normalizer("clean")
    for lines, document in zip(documents, segment_documents(documents, "clean", mecab), strict=True):
        kept = [text for line in lines if (text := normalize(line).replace(SPACE_SYMBOL, "_"))]
        assert ["".join(line).replace(" ", "").replace(SPACE_SYMBOL, " ") for line in document] == kept
        assert restore_text(document) == "".join(f"{text}\n" for text in kept)


@pytest.mark.parametrize("profile", ["seed", "clean"])
@given(documents=DOCUMENTS)
def test_words_are_apart_by_single_spaces_and_no_sentence_is_empty(
    mecab: Segmenter, profile: TextProfile, documents: list[list[str]]
) -> None:
    result = list(segment_documents(documents, profile, mecab))
    counts = SegmentCounts()
    for lines, document in zip(documents, result, strict=True):
        counts.add(lines, document)
    sentences = [sentence for document in result for line in document for sentence in line]
    assert len(result) == len(documents)
    assert all(line for document in result for line in document)
    assert all(all(sentence.split(" ")) for sentence in sentences)
    assert counts.lines == sum(map(len, result))
    assert counts.sentences == len(sentences)
    assert counts.words == sum(len(sentence.split(" ")) for sentence in sentences)


class Watched:
    """A segmenter that remembers how much it was given at a time."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self.fallbacks = 0
        self.batches: list[list[str]] = []

    def segment_joined(self, lines: Sequence[str]) -> list[str]:
        self.batches.append(list(lines))
        self.fallbacks += len(lines)
        return self.segmenter.segment_joined(lines)

    def __getattr__(self, name: str) -> object:
        return getattr(self.segmenter, name)


@given(documents=DOCUMENTS, batch_sentences=st.integers(1, 5), profile=st.sampled_from(["seed", "clean"]))
def test_the_result_does_not_depend_on_the_batch(
    mecab: Segmenter, documents: list[list[str]], batch_sentences: int, profile: TextProfile
) -> None:
    in_small_batches = list(segment_documents(documents, profile, mecab, batch_sentences))
    assert in_small_batches == list(segment_documents(documents, profile, mecab))


def test_no_batch_is_larger_than_its_limits(mecab: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_module, "_BATCH_CHARACTERS", 50)
    watched = Watched(mecab)
    documents = [["猫。" * 100], ["犬" * 70 + "。猿。"], [], ["鳥" * 30], ["魚" * 30]]
    list(segment_documents(documents, "clean", watched, batch_sentences=10))  # type: ignore[arg-type]
    assert max(map(len, watched.batches)) == 10
    # A batch is closed by the sentence that fills it.
    assert all(sum(map(len, batch[:-1])) < 50 for batch in watched.batches)


def test_documents_are_read_as_they_are_needed(mecab: Segmenter) -> None:
    read = 0

    def endless() -> Iterator[list[str]]:
        nonlocal read
        while True:
            read += 1
            yield ["吾輩は猫である。"] if read % 2 else []

    stream = segment_documents(endless(), "clean", mecab, batch_sentences=10)
    assert [next(stream) for _ in range(2)] == [[["吾輩 は 猫 である 。"]], []]
    assert read <= 20


SPLIT_ANY: dict[TextProfile, Callable[[str], list[str]]] = {
    "seed": segment_module._seed_splitter(),
    "clean": segment_module._clean_splitter(),
}


@given(line=ANY_LINE, profile=st.sampled_from(["seed", "clean"]))
def test_a_line_is_passed_over_only_where_it_is_a_sentence_as_it_stands(line: str, profile: TextProfile) -> None:
    assert segment_module._line_splitter(profile)(line) == SPLIT_ANY[profile](line)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["seed", "clean"])
@pytest.mark.parametrize("around", ["{}", "あ{}あ", "あ{}", "ー{}。"])
def test_no_character_is_passed_over_that_would_change(around: str, profile: TextProfile) -> None:
    split = segment_module._line_splitter(profile)
    for code in CODE_POINTS:
        line = around.format(chr(code))
        if split(line) == [line]:
            assert SPLIT_ANY[profile](line) == [line], f"U+{code:04X}"


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_a_line_that_is_a_sentence_as_it_stands_is_not_looked_at_twice(
    profile: TextProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(line: str) -> list[str]:
        raise AssertionError(line)

    monkeypatch.setattr(segment_module, f"_{profile}_splitter", lambda: refuse)
    split = segment_module._line_splitter(profile)
    for line in ("猫だ。", "コーヒー、猫(ネコ)", "そうか…!?", "。"):
        assert split(line) == [line]
