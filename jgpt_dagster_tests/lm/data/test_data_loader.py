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
)
from jgpt_dagster.lm.data.token_files import TokenFileError
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster.lm.model.gpt2 import gpt2_config
from jgpt_dagster_tests.support.token_samples import write_shard

CONTEXT = 16


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
def packed(root: Path) -> PackedDataset:
    return PackedDataset(root / "training_set", root, CONTEXT)


def all_training_tokens(root: Path, packed: PackedDataset) -> np.ndarray:
    """Return the training documents one after the other, read without the loader."""
    spans = packed.training_set.train_spans()
    files = [np.fromfile(root / file.path / "tokens.bin", "<u2") for file in packed.training_set.token_files]
    rows = zip(spans["shard"], spans["offset"], spans["length"], strict=True)
    return np.concatenate([files[shard][offset : offset + length] for shard, offset, length in rows])


def test_blocks_are_the_training_documents_one_after_the_other(root: Path, packed: PackedDataset) -> None:
    tokens = all_training_tokens(root, packed)
    assert packed.tokens == len(tokens)
    assert len(packed) == (len(tokens) - 1) // CONTEXT
    for index in range(len(packed)):
        assert packed.block(index).tolist() == tokens[index * CONTEXT : (index + 1) * CONTEXT + 1].tolist()


def test_an_epoch_trains_on_every_token_except_the_tail_once(root: Path, packed: PackedDataset) -> None:
    tokens = all_training_tokens(root, packed)
    epoch = packed.batch(range(len(packed)), seed=5)
    assert epoch.dtype == np.int64
    assert epoch.shape == (len(packed), CONTEXT + 1)
    used = len(packed) * CONTEXT
    assert len(tokens) - 1 - used < CONTEXT
    assert sorted(epoch[:, :-1].ravel()) == sorted(tokens[:used])
    assert sorted(epoch[:, 1:].ravel()) == sorted(tokens[1 : used + 1])


def test_the_next_epoch_starts_where_the_last_ended_in_another_order(packed: PackedDataset) -> None:
    first, second = (packed.batch(range(epoch * len(packed), (epoch + 1) * len(packed)), seed=5) for epoch in (0, 1))
    assert not np.array_equal(first, second)
    assert sorted(map(tuple, first)) == sorted(map(tuple, second))


@given(st.integers(0, 10**9), st.integers(1, 64), st.sampled_from([1, 2, 3, 8]))
def test_ranks_divide_a_step_and_steps_follow_each_other(step: int, share: int, world: int) -> None:
    batch = share * world
    ranks = [samples_of_step(step, batch, rank, world) for rank in range(world)]
    assert [sample for rank in ranks for sample in rank] == list(range(step * batch, (step + 1) * batch))
    assert {len(rank) for rank in ranks} == {share}


def test_ranks_and_micro_batches_take_the_samples_of_one_process(packed: PackedDataset) -> None:
    whole = packed.batch(samples_of_step(7, 24), seed=3)
    parts = [
        packed.batch(samples[start : start + 3], seed=3)
        for rank in range(4)
        for samples in [samples_of_step(7, 24, rank, 4)]
        for start in (0, 3)
    ]
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_restarted_loader_continues_with_the_same_samples(root: Path, packed: PackedDataset) -> None:
    steps = range(0, 3 * len(packed) // 8)
    unbroken = [packed.batch(samples_of_step(step, 8), seed=3) for step in steps]
    for step in steps[:: len(packed) // 8 or 1]:
        restarted = PackedDataset(root / "training_set", root, CONTEXT)
        assert np.array_equal(restarted.batch(samples_of_step(step, 8), seed=3), unbroken[step])


def test_a_batch_that_the_ranks_cannot_share_equally_is_refused() -> None:
    with pytest.raises(BatchError, match="10 sequences cannot be shared equally by 4"):
        samples_of_step(0, 10, 0, 4)


def test_blocks_outside_the_set_are_refused(packed: PackedDataset) -> None:
    for index in (-1, len(packed)):
        with pytest.raises(IndexError):
            packed.block(index)


def test_too_few_tokens_for_one_block_are_an_error(root: Path, packed: PackedDataset) -> None:
    with pytest.raises(BatchError, match="do not fill one block"):
        PackedDataset(root / "training_set", root, packed.tokens)
    assert len(PackedDataset(root / "training_set", root, packed.tokens - 1)) == 1


def test_a_missing_token_file_is_refused(root: Path, packed: PackedDataset, tmp_path: Path) -> None:
    (tmp_path / "wikipedia_tokens").symlink_to(root / "wikipedia_tokens")
    PackedDataset(root / "training_set", tmp_path, CONTEXT)
    with pytest.raises(TokenFileError, match=r"shard=000/tokens\.bin is missing"):
        PackedDataset(root / "training_set", tmp_path / "elsewhere", CONTEXT)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_document_masking_gives_the_logits_of_each_document_alone(attention: str) -> None:
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
