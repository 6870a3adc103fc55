import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.data.data_loader import (
    BatchError,
    PackedDataset,
    document_positions,
    samples_of_step,
    shuffled_index,
)
from jgpt_dagster.lm.data.token_files import TokenFileError
from jgpt_dagster.lm.data.training_set import build_training_set
from jgpt_dagster.lm.model.gpt2 import gpt2_config
from jgpt_dagster_tests.support.token_samples import write_shard

CONTEXT = 16
FIRST = [533, 969, 0, 471, 286, 888, 624, 901]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("root")
    chance = random.Random(0)
    shards, first = [], 3
    for number in range(3):
        lengths = [chance.choice([1, 2, 3, 9, 40, 90]) for _ in range(200)]
        shards.append(write_shard(root, "wikipedia", f"{number:03d}", lengths, first, first_key=200 * number))
        first += sum(lengths)
    (root / "training_set").mkdir()
    build_training_set(
        shards,
        {"wikipedia": 1.3},
        0.05,
        vocab_size=65_000,
        eos_id=2,
        tokenizer_sha256="t" * 64,
        data_root=root,
        directory=root / "training_set",
    )
    return root


@pytest.fixture(scope="module")
def packed(root) -> PackedDataset:
    return PackedDataset(root / "training_set", root, CONTEXT)


def all_training_tokens(root: Path, packed: PackedDataset) -> np.ndarray:
    """The training documents one after the other, read without the loader."""
    spans = packed.training_set.train_spans()
    files = [np.fromfile(root / file.path / "tokens.bin", "<u2") for file in packed.training_set.token_files]
    rows = zip(spans["shard"], spans["offset"], spans["length"], strict=True)
    return np.concatenate([files[shard][offset : offset + length] for shard, offset, length in rows])


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 700))
def test_an_epoch_is_a_permutation_of_the_blocks(seed, epoch, blocks):
    assert sorted(shuffled_index(seed, epoch, index, blocks) for index in range(blocks)) == list(range(blocks))


@given(st.integers(0, 2**60), st.integers(1, 2**60))
def test_the_order_needs_no_table_whatever_the_number_of_blocks(index, blocks):
    assert 0 <= shuffled_index(1, 0, index % blocks, blocks) < blocks


def test_the_order_never_changes_between_releases():
    assert [shuffled_index(1, 0, index, 1000) for index in range(8)] == FIRST


def test_seeds_and_epochs_give_orders_that_have_nothing_in_common():
    blocks = 5000
    orders = [
        np.array([shuffled_index(seed, epoch, index, blocks) for index in range(blocks)])
        for seed, epoch in ((1, 0), (1, 1), (2, 0))
    ]
    orders.append(np.arange(blocks))
    for one in range(4):
        for other in range(one):
            assert np.count_nonzero(orders[one] == orders[other]) < 10
            assert abs(np.corrcoef(orders[one], orders[other])[0, 1]) < 0.05
            steps = np.abs(np.diff(orders[one]))
            assert np.count_nonzero(steps == 1) < 10 or one == 3


def test_blocks_are_the_training_documents_one_after_the_other(root, packed):
    tokens = all_training_tokens(root, packed)
    assert packed.tokens == len(tokens)
    assert len(packed) == (len(tokens) - 1) // CONTEXT
    for index in range(len(packed)):
        assert packed.block(index).tolist() == tokens[index * CONTEXT : (index + 1) * CONTEXT + 1].tolist()


def test_an_epoch_trains_on_every_token_once_but_for_the_tail(root, packed):
    tokens = all_training_tokens(root, packed)
    epoch = packed.batch(range(len(packed)), seed=5)
    assert epoch.dtype == np.int64
    assert epoch.shape == (len(packed), CONTEXT + 1)
    used = len(packed) * CONTEXT
    assert len(tokens) - 1 - used < CONTEXT
    assert sorted(epoch[:, :-1].ravel()) == sorted(tokens[:used])
    assert sorted(epoch[:, 1:].ravel()) == sorted(tokens[1 : used + 1])


def test_the_next_epoch_starts_where_the_last_ended_in_another_order(packed):
    first, second = (packed.batch(range(epoch * len(packed), (epoch + 1) * len(packed)), seed=5) for epoch in (0, 1))
    assert not np.array_equal(first, second)
    assert sorted(map(tuple, first)) == sorted(map(tuple, second))


@given(st.integers(0, 10**9), st.integers(1, 64), st.sampled_from([1, 2, 3, 8]))
def test_ranks_divide_a_step_and_steps_follow_each_other(step, share, world):
    batch = share * world
    ranks = [samples_of_step(step, batch, rank, world) for rank in range(world)]
    assert [sample for rank in ranks for sample in rank] == list(range(step * batch, (step + 1) * batch))
    assert {len(rank) for rank in ranks} == {share}


def test_ranks_and_micro_batches_see_what_one_process_sees(packed):
    whole = packed.batch(samples_of_step(7, 24), seed=3)
    parts = [
        packed.batch(samples[start : start + 3], seed=3)
        for rank in range(4)
        for samples in [samples_of_step(7, 24, rank, 4)]
        for start in (0, 3)
    ]
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_restart_continues_as_if_nothing_had_happened(root, packed):
    steps = range(0, 3 * len(packed) // 8)
    unbroken = [packed.batch(samples_of_step(step, 8), seed=3) for step in steps]
    for step in steps[:: len(packed) // 8 or 1]:
        restarted = PackedDataset(root / "training_set", root, CONTEXT)
        assert np.array_equal(restarted.batch(samples_of_step(step, 8), seed=3), unbroken[step])


def test_unequal_shares_are_refused():
    with pytest.raises(BatchError, match="10 sequences cannot be shared equally by 4"):
        samples_of_step(0, 10, 0, 4)


def test_blocks_outside_the_set_are_refused(packed):
    for index in (-1, len(packed)):
        with pytest.raises(IndexError):
            packed.block(index)


def test_too_few_tokens_for_one_block_are_an_error(root, packed):
    with pytest.raises(BatchError, match="do not fill one block"):
        PackedDataset(root / "training_set", root, packed.tokens)
    assert len(PackedDataset(root / "training_set", root, packed.tokens - 1)) == 1


def test_a_token_file_that_was_cut_is_refused(root, packed, tmp_path):
    (tmp_path / "wikipedia_tokens").symlink_to(root / "wikipedia_tokens")
    PackedDataset(root / "training_set", tmp_path, CONTEXT)
    with pytest.raises(TokenFileError, match=r"shard=000/tokens\.bin is missing"):
        PackedDataset(root / "training_set", tmp_path / "elsewhere", CONTEXT)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_masked_documents_in_a_packed_block_have_the_logits_that_they_have_alone(attention: str) -> None:
    torch.manual_seed(0)
    config = gpt2_config("tiny", 50, bos_id=1, eos_id=2, context=24)
    config._attn_implementation = attention
    model = GPT2LMHeadModel(config).eval()
    rest, document, another = torch.randint(3, 50, (5,)), torch.randint(3, 50, (7,)), torch.randint(3, 50, (9,))
    end = torch.tensor([2])
    documents = [rest, torch.cat([end, document]), end, torch.cat([end, another])]
    packed = torch.cat(documents)[None]
    positions = torch.from_numpy(document_positions(packed.numpy(), eos_id=2))
    with torch.no_grad():
        masked = model(packed, position_ids=positions, use_cache=False).logits[0]
        alone = torch.cat([model(tokens[None], use_cache=False).logits[0] for tokens in documents])
        open_to_all = model(packed, use_cache=False).logits[0]
    torch.testing.assert_close(masked, alone, rtol=0, atol=1e-5)
    assert not torch.allclose(open_to_all, alone, atol=1e-2)
