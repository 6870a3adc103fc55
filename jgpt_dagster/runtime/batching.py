"""Batching: cutting a stream into lists that are bounded by their number of items, by their total size, or by both."""

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import TypeVar

T = TypeVar("T")


def batches(
    items: Iterable[T], *, max_items: float = inf, max_size: float = inf, size: Callable[[T], int] = lambda _: 0
) -> Iterator[list[T]]:
    """Yield the items in order, in non-empty lists; only the last list may be less than full.

    A list is full at the item that brings it to `max_items` items or to a total `size` of `max_size`, so one item of
    any size fits. No item is taken from the stream before the list in front of it has been yielded.
    """
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if len(batch) >= max_items or total >= max_size:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
