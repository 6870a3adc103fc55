"""What engines share: an answer that is not the text of its piece is never taken, whatever the answers beside it."""

from collections.abc import Sequence

import pytest

from jgpt_dagster.corpus.segmenters.base import PieceSegmenter, SegmenterError


class Answering(PieceSegmenter):
    """Gives the answers that it was made with."""

    fingerprint = "answering 1"

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self._given = list(answers)

    def close(self) -> None:
        pass

    def _split(self, pieces: Sequence[str]) -> list[str]:
        return self._given


@pytest.mark.parametrize(
    ("answers", "spaced", "fallbacks"),
    [
        (["猫 が", "いる ね"], ["猫 が", "いる ね"], 0),
        (["猫 が", ""], ["猫 が", "いるね"], 1),
        (["猫", "が いる ね"], ["猫 が", "いるね"], 2),  # a word of one line with the other
        (["猫 が\nいる ね", ""], ["猫 が", "いるね"], 2),
        (["いる ね", "猫 が"], ["猫 が", "いるね"], 2),
    ],
)
def test_an_answer_is_taken_for_its_own_piece_alone(answers: list[str], spaced: list[str], fallbacks: int) -> None:
    segmenter = Answering(*answers)
    assert segmenter.segment_joined(["猫が", "いるね"]) == spaced
    assert segmenter.fallbacks == fallbacks


def test_a_number_of_answers_other_than_that_of_the_pieces_is_an_error() -> None:
    with pytest.raises(SegmenterError, match="answering 1: 2 pieces of text went in, 1 came out"):
        Answering("猫 が").segment_joined(["猫が", "いるね"])
