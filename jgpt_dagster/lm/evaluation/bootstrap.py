"""Bootstrap confidence intervals over documents."""

from typing import NamedTuple

import numpy as np

_RESAMPLES = 1000
_MIN_DOCUMENTS = 10


class Interval(NamedTuple):
    """The bounds of a 95 % confidence interval."""

    low: float
    high: float


def bootstrap_interval(values: np.ndarray, sizes: np.ndarray) -> Interval | None:
    """Return the percentile bootstrap interval of sum(values) / sum(sizes), given a value and a size per document.

    Documents are resampled with replacement, since the tokens of one document are not independent (Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). The resamples are the same in every call. Return
    None for fewer than ten documents.
    """
    if len(values) < _MIN_DOCUMENTS:
        return None
    random = np.random.default_rng(0)
    ratios = []
    for _ in range(_RESAMPLES):
        resample = random.integers(0, len(values), len(values))
        ratios.append(values[resample].sum() / sizes[resample].sum())
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Interval(float(low), float(high))
