"""The order of samples: a pseudo-random permutation of the blocks in each epoch, computed index by index."""

from functools import lru_cache
from hashlib import blake2b
from math import isqrt

_ROUNDS = 6
_UINT64_MASK = (1 << 64) - 1


def shuffled_index(seed: int, epoch: int, index: int, blocks: int) -> int:
    """Return the block at position `index` of an epoch, in a pseudo-random permutation of `0 … blocks - 1`.

    A Feistel network permutes a rectangle just larger than `blocks` and is applied until its output falls inside (Black
    and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). It takes constant time and no memory, and gives the
    same order in every version of every library.
    """
    width, height = _rectangle(blocks)
    keys = _round_keys(seed, epoch)
    while True:
        row, column = divmod(index, width)
        for even, odd in zip(keys[::2], keys[1::2], strict=True):
            column = (column + _splitmix64(row ^ even)) % width
            row = (row + _splitmix64(column ^ odd)) % height
        index = row * width + column
        if index < blocks:
            return index


def position_of_block(seed: int, epoch: int, block: int, blocks: int) -> int:
    """Return the position of a block in an epoch, the inverse of `shuffled_index`: its rounds, taken back in turn."""
    width, height = _rectangle(blocks)
    keys = _round_keys(seed, epoch)
    index = block
    while True:
        row, column = divmod(index, width)
        for even, odd in zip(keys[-2::-2], keys[::-2], strict=True):
            row = (row - _splitmix64(column ^ odd)) % height
            column = (column - _splitmix64(row ^ even)) % width
        index = row * width + column
        if index < blocks:
            return index


def _rectangle(blocks: int) -> tuple[int, int]:
    """Return width and height of the rectangle that is permuted."""
    width = isqrt(blocks - 1) + 1
    return width, -(-blocks // width)


@lru_cache(maxsize=4)
def _round_keys(seed: int, epoch: int) -> tuple[int, ...]:
    digest = blake2b(f"{seed}/{epoch}".encode(), digest_size=8 * _ROUNDS).digest()
    return tuple(int.from_bytes(digest[i : i + 8], "big") for i in range(0, len(digest), 8))


def _splitmix64(value: int) -> int:
    """Return the output of SplitMix64 (Steele, Lea and Flood, 2014) for a state."""
    value = (value + 0x9E3779B97F4A7C15) & _UINT64_MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _UINT64_MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _UINT64_MASK
    return value ^ (value >> 31)
