from jgpt_dagster.runtime.batching import batches


def test_a_batch_is_full_at_the_item_that_reaches_the_number_of_items() -> None:
    assert [*batches("abcdefg", max_items=3)] == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert [*batches("abcdef", max_items=3)] == [["a", "b", "c"], ["d", "e", "f"]]


def test_a_batch_is_full_at_the_item_that_reaches_the_size() -> None:
    assert [*batches([1, 2, 3, 3, 4, 1], max_size=6, size=int)] == [[1, 2, 3], [3, 4], [1]]


def test_the_limit_that_is_reached_first_ends_the_batch() -> None:
    assert [*batches([1, 1, 1, 9, 1], max_items=2, max_size=9, size=int)] == [[1, 1], [1, 9], [1]]
    assert [*batches([9, 1, 1, 1], max_items=2, max_size=9, size=int)] == [[9], [1, 1], [1]]


def test_an_item_larger_than_a_batch_is_kept_whole() -> None:
    assert [*batches(["a", "b" * 100, "c"], max_size=10, size=len)] == [["a", "b" * 100], ["c"]]


def test_without_limits_everything_is_one_batch_and_nothing_is_none() -> None:
    assert [*batches(range(5))] == [[0, 1, 2, 3, 4]]
    assert [*batches([], max_items=1)] == []


def test_a_full_batch_is_yielded_before_another_item_is_taken() -> None:
    items = iter(range(10))
    assert next(batches(items, max_items=4)) == [0, 1, 2, 3]
    assert next(items) == 4
