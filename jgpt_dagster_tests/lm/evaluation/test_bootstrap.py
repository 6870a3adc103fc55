import numpy as np

from jgpt_dagster.lm.evaluation.bootstrap import bootstrap_interval


def test_the_interval_covers_the_ratio_narrows_with_more_documents_and_needs_ten() -> None:
    random = np.random.default_rng(1)
    sizes = random.integers(100, 1000, 2000)
    values = sizes * random.normal(4.0, 0.5, 2000)
    wide, narrow = bootstrap_interval(values[:50], sizes[:50]), bootstrap_interval(values, sizes)
    assert wide is not None and narrow is not None
    assert narrow.low < values.sum() / sizes.sum() < narrow.high
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3
    assert bootstrap_interval(values, sizes) == narrow
    assert bootstrap_interval(values[:9], sizes[:9]) is None
