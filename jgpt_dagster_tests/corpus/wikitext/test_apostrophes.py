"""Promises of apostrophes: those of the text stay, those of the markup can be told from them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.wikitext.apostrophes import with_literal_apostrophes
from jgpt_dagster.corpus.wikitext.placeholders import escape_literal


def shown(line: str) -> str:
    return re.sub("''+", "", with_literal_apostrophes(line)).replace(escape_literal("'"), "'")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("雑誌 ''Orbit'''s 春号と新聞L''''équipe'''は古い。", "雑誌 Orbit's 春号と新聞L'équipeは古い。"),
        ("''Orbit'''s", "Orbit's"),
        ("'''Orbit''''s", "Orbit's"),
        ("'''太字'''と''斜体''と'''''両方'''''", "太字と斜体と両方"),
        ("''a'' '''b''' don't", "a b don't"),
        ("''one'' and '''two '''three a'''b ''x", "one and two three a'b x"),  # the word of one letter
        ("'''''''seven'''''", "''seven"),
        ("'''開いたまま", "開いたまま"),
    ],
)
def test_an_apostrophe_beside_italics_or_bold_stays(line: str, text: str) -> None:
    assert shown(line) == text


def test_every_line_is_balanced_on_its_own() -> None:
    assert shown("''Orbit'''s\n'''太字'''\n''a''") == "Orbit's\n太字\na"


@given(st.text(alphabet="' ab\n"))
def test_nothing_but_apostrophes_changes(text: str) -> None:
    kept = with_literal_apostrophes(text)
    assert kept.replace(escape_literal("'"), "'") == text
    assert all(len(run) in (2, 3, 5) for run in re.findall("''+", kept))
