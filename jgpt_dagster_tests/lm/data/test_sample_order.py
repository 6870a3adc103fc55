import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.lm.data.sample_order import position_of_block, shuffled_index

FIRST = [533, 969, 0, 471, 286, 888, 624, 901]


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 700))
def test_an_epoch_is_a_permutation_of_the_blocks(seed: int, epoch: int, blocks: int) -> None:
    assert sorted(shuffled_index(seed, epoch, index, blocks) for index in range(blocks)) == list(range(blocks))


@given(st.integers(0, 2**60), st.integers(1, 2**60))
def test_an_index_is_found_without_a_table_for_any_number_of_blocks(index: int, blocks: int) -> None:
    assert 0 <= shuffled_index(1, 0, index % blocks, blocks) < blocks


def test_the_order_never_changes_between_releases() -> None:
    assert [shuffled_index(1, 0, index, 1000) for index in range(8)] == FIRST


def test_seeds_and_epochs_give_unrelated_orders() -> None:
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


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 2**50), st.integers(0, 2**60))
def test_the_order_is_inverted_without_a_search(seed: int, epoch: int, blocks: int, number: int) -> None:
    position = number % blocks
    assert position_of_block(seed, epoch, shuffled_index(seed, epoch, position, blocks), blocks) == position
