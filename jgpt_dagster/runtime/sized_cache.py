"""A cache of the results of a function of a text, bounded by their size and not by their number."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def cached_by_size(function: Callable[[str], T], max_size: int, size: Callable[[str, T], int]) -> Callable[[str], T]:
    """Return `function` with a cache of the results used last, as many as have a total `size` of `max_size`.

    `size(text, result)` is in any unit. A result larger than a sixteenth of `max_size` is not cached: it would evict
    too many.
    """
    results: OrderedDict[str, T] = OrderedDict()
    total = 0

    def cached(text: str) -> T:
        nonlocal total
        if text in results:
            results.move_to_end(text)
            return results[text]
        result = function(text)
        if (added := size(text, result)) <= max_size // 16:
            results[text] = result
            total += added
            while total > max_size:
                total -= size(*results.popitem(last=False))
        return result

    return cached
