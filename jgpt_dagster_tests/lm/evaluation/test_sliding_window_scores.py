from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.lm.evaluation.sliding_window_scores import windows


@given(length=st.integers(1, 300), context=st.integers(2, 64))
def test_windows_score_each_prediction_once_with_half_a_context_before_it(length: int, context: int) -> None:
    scored: list[int] = []
    for window in windows(length, context):
        assert 0 <= window.start <= window.scored < window.stop <= length
        assert window.stop - window.start <= context
        assert window.start == 0 or window.scored - window.start >= context // 2
        scored += range(window.scored, window.stop)
    assert scored == list(range(length))
