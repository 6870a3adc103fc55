"""The bits of token sequences under a model, scored in overlapping windows of its context."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jgpt_dagster.runtime.batching import batches

# Batches whose windows are sorted by length together, so that the windows of a batch are of nearly equal length.
_BATCHES_PER_SORT = 64


class Window(NamedTuple):
    """Inputs `start … stop - 1` of a sequence; the predictions of those from `scored` on are scored."""

    start: int
    scored: int
    stop: int


def windows(length: int, context: int) -> Iterator[Window]:
    """Cut a sequence of `length` inputs into windows of at most `context` that overlap by half.

    Every prediction is scored once. Outside the first window, each has at least half a context before it.
    """
    stop = min(length, context)
    yield Window(0, 0, stop)
    while stop < length:
        scored = stop
        stop = min(length, stop + context // 2)
        yield Window(stop - context, scored, stop)


def model_bits(
    model: Any, padding_id: int, sequences: Sequence[np.ndarray], batch_size: int, context: int
) -> list[float]:
    """Return the sum of -log2 p over all tokens of each sequence except the first, under a causal model.

    `batch_size` is in windows of `context` inputs. `padding_id` is any token: what follows a sequence changes nothing.
    """
    return _bits(model, padding_id, _excerpts(sequences, context), len(sequences), batch_size)


def continuation_bits(
    model: Any,
    padding_id: int,
    sequences: Sequence[np.ndarray],
    continuations: Sequence[int],
    batch_size: int,
    context: int,
) -> list[float]:
    """Return the sum of -log2 p over the last tokens of each sequence, as many as `continuations` says.

    Of a sequence that is longer than the context and one, its end is taken, as by lm-evaluation-harness.
    """
    excerpts = (
        _Excerpt(number, end, max(0, len(end) - 1 - continuation))
        for number, (tokens, continuation) in enumerate(zip(sequences, continuations, strict=True))
        for end in [tokens[-(context + 1) :]]
    )
    return _bits(model, padding_id, excerpts, len(sequences), batch_size)


class _Excerpt(NamedTuple):
    """The tokens of a window: its inputs and, shifted by one, its targets. `unscored` targets come first."""

    sequence: int
    tokens: np.ndarray
    unscored: int


def _bits(model: Any, padding_id: int, excerpts: Iterator[_Excerpt], sequences: int, batch_size: int) -> list[float]:
    totals = [0.0] * sequences
    for sortable in batches(excerpts, max_items=batch_size * _BATCHES_PER_SORT):
        sortable.sort(key=lambda excerpt: len(excerpt.tokens))
        for batch in batches(sortable, max_items=batch_size):
            for excerpt, bits in zip(batch, _excerpt_bits(model, padding_id, batch), strict=True):
                totals[excerpt.sequence] += bits
    return totals


def _excerpts(sequences: Sequence[np.ndarray], context: int) -> Iterator[_Excerpt]:
    for number, tokens in enumerate(sequences):
        if len(tokens) < 2:  # nothing to score; a batch of such sequences has no input
            continue
        for window in windows(len(tokens) - 1, context):
            yield _Excerpt(number, tokens[window.start : window.stop + 1], window.scored - window.start)


def _excerpt_bits(model: Any, padding_id: int, batch: list[_Excerpt]) -> list[float]:
    """Return the bits of the scored targets of each excerpt. Causal attention ignores the padding at the end."""
    import torch
    from torch.nn.functional import cross_entropy

    width = max(len(excerpt.tokens) for excerpt in batch)
    rows = np.full((len(batch), width), padding_id, dtype=np.int64)
    scored = np.zeros((len(batch), width - 1), dtype=bool)
    for row, mask, excerpt in zip(rows, scored, batch, strict=True):
        row[: len(excerpt.tokens)] = excerpt.tokens
        mask[excerpt.unscored : len(excerpt.tokens) - 1] = True
    with torch.inference_mode():
        tokens = torch.from_numpy(rows).to(model.device)
        logits = model(tokens[:, :-1], use_cache=False).logits.float()
        nats = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(len(batch), -1)
        scored_nats = nats.double() * torch.from_numpy(scored).to(model.device)
    return (scored_nats.sum(dim=1) / math.log(2)).tolist()
