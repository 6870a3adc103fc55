"""What `clean` shows of templates: an argument, nothing, or no sentence where a word of it would be missing."""

import pytest

from jgpt_dagster_tests.corpus.test_wikitext import clean


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("{{UK}}と{{COL}}と{{ KSA }}、{{flag|UAE}}", "イギリスとコロンビアとサウジアラビア、アラブ首長国連邦"),
        ("{{USA1912}}と{{flag|FRA1794}}と{{RUS1883}}", "アメリカ合衆国とフランスとロシア帝国"),
        ("{{Vie}}{{Fin}}ハノイ", "ハノイ"),
    ],
)
def test_a_country_code_in_capitals_shows_the_country_whatever_its_year(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]
