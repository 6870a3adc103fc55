from pathlib import Path

import numpy as np

from jgpt_dagster.lm.data.validation_data import held_out_order, validation_blocks
from jgpt_dagster_tests.support.training_runs import EOS, small_training_set

KEYS = [49, 55, 41, 72, 14, 11, 35, 13, 2, 31, 36]


def test_the_blocks_of_the_validation_loss_are_packed_held_out_documents(tmp_path: Path) -> None:
    training_set = small_training_set(tmp_path)
    files = training_set.open_tokens(tmp_path)
    blocks = validation_blocks(training_set, files, context=32, at_most=4)
    assert blocks.shape == (4, 33)
    assert blocks[0, 0] == EOS
    packed = np.concatenate([blocks[0], *blocks[1:, 1:]])
    held_out = training_set.held_out_documents()
    documents = {
        tuple(files[0][o : o + n].tolist()) for o, n in zip(held_out["offset"], held_out["length"], strict=True)
    }
    assert tuple(packed[1:62].tolist()) in documents
    assert (validation_blocks(training_set, files, context=32, at_most=2) == blocks[:2]).all()
    assert validation_blocks(training_set, files, context=100_000, at_most=2).shape[0] == 1


def test_the_order_of_held_out_documents_never_changes_between_releases(tmp_path: Path) -> None:
    training_set = small_training_set(tmp_path)
    documents = training_set.held_out_documents()
    order = held_out_order(training_set, documents)
    assert documents["key"][order].tolist() == KEYS
    # It does not depend on the order of the table.
    backwards = {name: values[::-1] for name, values in documents.items()}
    assert backwards["key"][held_out_order(training_set, backwards)].tolist() == KEYS
