from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.exclusions.phrase_search import PhraseSearch

TEXTS = st.text(alphabet="あいう \n𠮷", max_size=40)


@given(text=TEXTS, phrases=st.lists(st.text(alphabet="あいう\n𠮷", min_size=1, max_size=12), max_size=6))
def test_the_first_phrase_that_a_text_holds_is_found(text: str, phrases: list[str]) -> None:
    expected = next((number for number, phrase in enumerate(phrases) if phrase in text), None)
    assert PhraseSearch(enumerate(phrases)).first(text) == expected


def test_thousands_of_phrases_are_looked_for_at_once() -> None:
    phrases = [f"これは{number:05d}番目の設問です" for number in range(5000)]
    search = PhraseSearch(enumerate(phrases))
    assert search.first("前置き。" + phrases[4321] + "後書き") == 4321
    assert search.first("これは99999番目の設問です") is None
