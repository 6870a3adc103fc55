import pytest

from jgpt_dagster.corpus.exclusions.exclusion_list import ExclusionList
from jgpt_dagster.corpus.exclusions.matching import Matcher
from jgpt_dagster.corpus.text_profile import TextProfile

LINES = ["見出し", "ＡＢＣは（略）New York　だ。次の文。", "", "終わり"]


@pytest.mark.parametrize("profile", ["clean", "seed"])
@pytest.mark.parametrize(
    ("phrase", "found"),
    [
        ("ABCは(略)", True),
        ("ＡＢＣは（略）Ｎｅｗ York", True),
        ("だ。次の文", True),
        ("次の文。終わり", False),
        ("次の文。\n終わり", True),
        ("文。\n\n終", True),
        ("見出し終わり", False),
    ],
)
def test_a_phrase_is_found_in_the_normalised_text_within_its_lines(
    phrase: str, found: bool, profile: TextProfile
) -> None:
    entries = ExclusionList().with_added([("phrase", phrase)], "why", "2026-02-03").active
    assert (Matcher(entries, "cc100", profile).first(1, "", None, LINES) is not None) == found


def test_entries_apply_to_their_own_corpus_and_the_first_one_counts() -> None:
    values = [
        ("document", "cc100:1"),
        ("page", "1"),
        ("url", "https://a.org/*"),
        ("url", "https://a.org/1"),
        ("title", "町"),
    ]
    entries = ExclusionList().with_added(values, "why", "2026-02-03").active  # type: ignore[arg-type]
    cases = {
        ("cc100", 1, "", "https://a.org/1"): 1,
        ("cc100", 2, "町", "https://a.org/1"): 3,
        ("own", 1, "", None): None,
        ("wikipedia", 1, "町", None): 2,
        ("wikipedia", 2, "町", None): 5,
    }
    for (corpus, key, title, url), number in cases.items():
        entry = Matcher(entries, corpus, "clean").first(key, title, url, [])
        assert (entry.number if entry else None) == number
