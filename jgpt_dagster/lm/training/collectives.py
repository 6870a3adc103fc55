"""Python objects exchanged between the processes of a run."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch.distributed as dist

from jgpt_dagster.errors import JgptError

T = TypeVar("T")


def broadcast_from_rank0(find: Callable[[], T]) -> T:
    """Return what rank 0 finds, in every process. A JgptError raised there is raised in all of them."""
    found: list[T | JgptError | None] = [None]
    if dist.get_rank() == 0:
        try:
            found = [find()]
        except JgptError as error:
            found = [error]
    dist.broadcast_object_list(found)
    if isinstance(found[0], JgptError):
        raise found[0]
    return cast(T, found[0])


def all_gather(value: T) -> list[T]:
    """Return the values of all processes by rank, in every process."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
