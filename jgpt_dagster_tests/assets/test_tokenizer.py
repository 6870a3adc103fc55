from collections import Counter
from pathlib import Path

import pytest

from jgpt_dagster.assets.word_counts import _count, _counted, _recipe
from jgpt_dagster.corpus.schemas import DOCUMENTS_SEGMENTED
from jgpt_dagster.lm.tokenizer.word_counts import WordCounts
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact

DOCUMENTS = [(number, [[f"文書 {number}"]]) for number in range(200)]


def dealt(root: Path, shards: int) -> list[ParquetArtifact]:
    artifacts = [DataRoot(root).parquet("cc100_segmented", shard=f"{number:03d}") for number in range(shards)]
    for number, artifact in enumerate(artifacts):
        artifact.write(
            DOCUMENTS_SEGMENTED, iter(DOCUMENTS[number::shards]), Recipe("cc100_segmented", "1"), lambda: {}, lambda: []
        )
    return artifacts


def counted(root: Path, shards: int, share: float) -> Counter[str]:
    """Count the words of the documents in a number of shards, as the asset does."""
    words = WordCounts()
    for shard in dealt(root, shards):
        target = DataRoot(root).directory("cc100_word_counts", shard=shard.partition)
        _count((shard, target, _recipe(shard, target, share)))
        words += _counted(target)
    return Counter(dict(row for batch in words.batches() for row in batch))


def test_the_sample_does_not_depend_on_the_number_of_shards(tmp_path):
    one, three = (counted(tmp_path / str(shards), shards, 0.4) for shards in (1, 3))
    assert one == three
    assert one["文書"] == pytest.approx(80, abs=28)  # four standard deviations


def test_a_share_of_one_is_every_document(tmp_path):
    assert counted(tmp_path, 1, 1.0) == Counter(word for _, [[text]] in DOCUMENTS for word in text.split())
