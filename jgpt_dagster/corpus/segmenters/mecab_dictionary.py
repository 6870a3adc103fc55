"""Pruning of a compiled MeCab dictionary for segmentation: the same words in two thirds of the time.

MeCab makes a lattice node of every entry whose surface occurs in the text, and compares each node with all nodes that
end where it begins. JumanDIC has up to 44 entries with one surface, most of which differ only in reading or base form.
Of entries with the same surface and the same two connection ids, only the cheapest is ever on the path that MeCab
chooses, and of equally cheap ones the first. The others are removed here, and so are all features, which only serve to
print more than words.

The format is that of MeCab 0.996 (dictionary.cpp, darts.h): a header of 72 bytes, a double array, tokens, features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

_HEADER = np.dtype(
    [
        ("magic", "<u4"),  # size of the file, XOR _MAGIC
        ("version", "<u4"),
        ("type", "<u4"),
        ("entries", "<u4"),
        ("left_ids", "<u4"),
        ("right_ids", "<u4"),
        ("array_bytes", "<u4"),
        ("token_bytes", "<u4"),
        ("feature_bytes", "<u4"),
        ("reserved", "<u4"),
        ("charset", "S32"),
    ]
)
_MAGIC, _VERSION = 0xEF718F77, 102

# A unit with a negative base is the end of a surface: -base - 1 is its first token << 8 | the number of its tokens.
_UNIT = np.dtype([("base", "<i4"), ("check", "<u4")])

_TOKEN = np.dtype(
    [("left", "<u2"), ("right", "<u2"), ("pos", "<u2"), ("cost", "<i2"), ("feature", "<u4"), ("compound", "<u4")]
)

_NO_FEATURE = b"*\0\0\0"


@contextmanager
def pruned_dictionary(directory: Path) -> Iterator[Path]:
    """Yield a temporary directory with the pruned dictionary of `directory`, for MeCab to open.

    MeCab maps the files, so they may be deleted once it is open. With JumanDIC this takes 39 MB of temporary files and
    a tenth of a second. Raises ValueError if `sys.dic` is not a dictionary of this format, and OSError.
    """
    with TemporaryDirectory(prefix="jgpt-mecab-") as folder:
        for file in directory.iterdir():
            (Path(folder) / file.name).symlink_to(file.resolve())
        system = Path(folder) / "sys.dic"
        system.unlink()
        write_pruned(directory / "sys.dic", system)
        yield Path(folder)


def write_pruned(path: Path, target: Path) -> None:
    """Write the dictionary at `path` to `target` without features and without entries that no cheapest path uses.

    Raises ValueError if it is not a dictionary of this format.
    """
    with open(path, "rb") as file:
        header = np.frombuffer(file.read(_HEADER.itemsize), _HEADER).copy()
        size = path.stat().st_size
        parts = sum(int(header[name].sum()) for name in ("array_bytes", "token_bytes", "feature_bytes"))
        whole = len(header) == 1 and header["magic"] ^ _MAGIC == size == header.nbytes + parts
        if not whole or header["version"] != _VERSION:
            raise ValueError(f"{path} is not a whole dictionary of MeCab's version {_VERSION}")
        units = np.fromfile(file, _UNIT, int(header["array_bytes"][0]) // _UNIT.itemsize)
        tokens = np.fromfile(file, _TOKEN, int(header["token_bytes"][0]) // _TOKEN.itemsize)
    ends = np.flatnonzero(units["base"] < 0)
    packed = -units["base"][ends].astype(np.int64) - 1
    first, count = packed >> 8, packed & 0xFF
    surface = np.repeat(np.arange(len(ends)), count)
    entries = np.repeat(first, count) + np.arange(len(surface)) - np.repeat(np.cumsum(count) - count, count)
    useful = _cheapest(surface, tokens[entries])
    tokens = tokens[entries[useful]]
    tokens["feature"] = 0
    count = np.bincount(surface[useful], minlength=len(ends))
    units["base"][ends] = -((np.cumsum(count) - count) << 8 | count) - 1
    header["entries"], header["token_bytes"], header["feature_bytes"] = len(tokens), tokens.nbytes, len(_NO_FEATURE)
    header["magic"] = (header.nbytes + units.nbytes + tokens.nbytes + len(_NO_FEATURE)) ^ _MAGIC
    with open(target, "wb") as out:
        for part in (header, units, tokens):
            part.tofile(out)
        out.write(_NO_FEATURE)


def _cheapest(surface: NDArray[np.int64], all_tokens: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return a mask of the tokens that are the first of the cheapest with their surface and connection ids."""
    rivals = np.flatnonzero((np.diff(surface, prepend=-1) == 0) | (np.diff(surface, append=-1) == 0))
    surface, tokens = surface[rivals], all_tokens[rivals]
    order = np.lexsort((tokens["cost"], tokens["right"], tokens["left"], surface))  # stable: the first stays first
    kind = np.stack([surface[order], tokens["left"][order], tokens["right"][order]])
    dearer = order[1:][(kind[:, 1:] == kind[:, :-1]).all(axis=0)]
    cheapest = np.ones(len(all_tokens), bool)
    cheapest[rivals[dearer]] = False
    return cheapest
