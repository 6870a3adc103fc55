"""The cache that is bounded by size: what it calls again, and that few large results cannot fill it."""

from jgpt_dagster.runtime.sized_cache import cached_by_size


def test_results_used_last_are_kept_and_the_others_are_made_again() -> None:
    called: list[str] = []

    def double(text: str) -> str:
        called.append(text)
        return text * 2

    cached = cached_by_size(double, 64, lambda text, result: len(text) + len(result))
    for text in ("a", "b", "a"):
        assert cached(text) == text * 2
    assert called == ["a", "b"]
    for number in range(20):  # each has a size of 3
        cached(chr(ord("A") + number))
    cached("b")
    cached("T")
    assert called[-2:] == ["T", "b"]


def test_a_large_result_is_not_kept_and_evicts_none() -> None:
    called: list[str] = []
    cached = cached_by_size(lambda text: called.append(text), 64, lambda text, _: len(text))
    for text in ("a", "x" * 5, "x" * 5, "a"):
        cached(text)
    assert called == ["a", "x" * 5, "x" * 5]
