"""Promises of the layer before the engines: pieces join to their line and stay within the limits, for any line."""

import re

import pytest
from hypothesis import given

from jgpt_dagster.corpus.segmenters.piece_splitting import (
    MAX_BYTES,
    MAX_RUN,
    is_standalone,
    split_by_character_class,
    split_into_pieces,
)
from jgpt_dagster_tests.support.hostile_text import ANY_TEXT, AWKWARD_TEXT, HOSTILE_LINES


def check_pieces(line: str) -> None:
    pieces = split_into_pieces(line)
    assert "".join(pieces) == line
    assert all(pieces)
    for piece in pieces:
        if not is_standalone(piece):
            assert len(piece.encode()) <= MAX_BYTES
            assert not re.search("[\x00-\x20\x7f-\xa0\u2581\ufeff]", piece)
            assert not any(map(str.isspace, piece))
            assert max(map(len, split_by_character_class(piece))) <= MAX_RUN


@given(ANY_TEXT)
def test_any_line_is_cut_into_pieces_within_the_limits(line: str) -> None:
    check_pieces(line)


@given(AWKWARD_TEXT)
def test_an_awkward_line_is_cut_into_pieces_within_the_limits(line: str) -> None:
    check_pieces(line)
    check_pieces(line * 200)


@pytest.mark.parametrize("line", HOSTILE_LINES)
def test_a_hostile_line_is_cut_into_pieces_within_the_limits(line: str) -> None:
    check_pieces(line)


def test_every_character_that_is_a_space_or_a_control_stands_apart() -> None:
    for code in range(0x110000):
        character = chr(code)
        if character.isspace() or code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000:
            assert is_standalone(character), f"U+{code:04X}"
            assert split_into_pieces(f"前{character}後") == ["前", character, "後"], f"U+{code:04X}"


def test_an_ordinary_line_stays_in_one_piece() -> None:
    line = "彼は「New型のﾃｽﾄ😀を1,234回」行った（笑）。" * 20
    assert split_into_pieces(line) == [line]


def test_limits_fall_between_characters() -> None:
    assert [*map(len, split_into_pieces("猫a" * 2000))] == [2048, 1952]
    assert [*map(len, split_into_pieces("a" * 250))] == [100, 100, 50]
    assert [*map(len, split_into_pieces("猫" + "a" * 100 + "猫"))] == [101, 1]


@given(ANY_TEXT)
def test_the_fallback_loses_nothing(text: str) -> None:
    assert "".join(split_by_character_class(text)) == text


def test_the_fallback_makes_a_word_of_a_run_of_one_class() -> None:
    assert split_by_character_class("漢字かなカナーABC1.5，😀한국") == ["漢字", "かなカナー", "ABC1.5，", "😀한국"]
