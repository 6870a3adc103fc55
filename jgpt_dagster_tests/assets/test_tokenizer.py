from collections import Counter
from pathlib import Path

import pytest

from jgpt_dagster.assets.tokenizer import _count_words_of_shard
from jgpt_dagster.corpus.schemas import DOCUMENTS_SEGMENTED
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
    words = Counter[str]()
    for numbered in enumerate((shard.asset, shard.path) for shard in dealt(root, shards)):
        for batch in _count_words_of_shard(root, share, numbered).batches():
            words.update(dict(batch))
    return words


def test_the_sample_does_not_depend_on_the_number_of_shards(tmp_path):
    one, three = (counted(tmp_path / str(shards), shards, 0.4) for shards in (1, 3))
    assert one == three
    assert one["文書"] == pytest.approx(80, abs=28)  # four standard deviations


def test_a_share_of_one_is_every_document(tmp_path):
    assert counted(tmp_path, 1, 1.0) == Counter(word for _, [[text]] in DOCUMENTS for word in text.split())
