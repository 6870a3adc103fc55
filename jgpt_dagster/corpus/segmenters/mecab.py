"""The MeCab engine, in this process: MeCab through fugashi, with JumanDIC from the PyPI package `jumandic`."""

import hashlib
import shlex
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.segmenters.base import PieceSegmenter, SegmenterError
from jgpt_dagster.corpus.segmenters.mecab_dictionary import pruned_dictionary

# All files of a compiled MeCab dictionary that the segmentation depends on.
_DICTIONARY_FILES = ("sys.dic", "matrix.bin", "char.bin", "unk.dic", "dicrc")


class MecabSegmenter(PieceSegmenter):
    """MeCab with JumanDIC inside this process.

    Raises SegmenterError if fugashi or the dictionary is not installed or does not load.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            import fugashi  # noqa: F401
            import jumandic
        except ImportError as error:
            raise SegmenterError(
                f"JGPT_SEGMENTER=mecab needs the Python packages fugashi and jumandic, and {error.name} is not "
                "installed. Run: pip install fugashi jumandic"
            ) from error
        self._dictionary = Path(jumandic.DICDIR)
        try:
            self._parse = _tagger(self._dictionary).parse
        except OSError as error:
            raise SegmenterError(
                f"MeCab's dictionary in {self._dictionary} cannot be prepared: {error}\n"
                "It takes 50 MB of the directory for temporary files; TMPDIR names another one. Where a file of the "
                "dictionary itself is missing, run: pip install --force-reinstall jumandic"
            ) from error
        except (RuntimeError, ValueError) as error:
            raise SegmenterError(
                f"MeCab cannot open the dictionary in {self._dictionary}: {error}\n"
                "Run: pip install --force-reinstall jumandic"
            ) from error

    @property
    def fingerprint(self) -> str:
        return f"mecab fugashi-{version('fugashi')} jumandic sha256:{_dictionary_sha256(self._dictionary)}"

    def close(self) -> None:
        """Do nothing: the dictionary stays mapped for the next segmenter of this process."""

    def _split(self, pieces: Sequence[str]) -> list[str]:
        try:
            return [*map(self._parse, pieces)]
        except UnicodeDecodeError:
            return [*map(self._in_parts, pieces)]

    def _in_parts(self, piece: str) -> str:
        """Return the words of a piece, split before each character inside which MeCab would end a word.

        The dictionary has such a word: で and two thirds of a hiragana, which matches in text like 匹でっ敬.
        """
        try:
            words: str = self._parse(piece)
        except UnicodeDecodeError as error:
            text = piece.encode()
            ends = accumulate(map(len, error.object.split()))
            cuts = {len(text[:end].decode(errors="ignore").encode()) for end in ends if not _is_between(text, end)}
            parts = [text[start:end].decode() for start, end in pairwise(sorted(cuts | {0, len(text)}))]
            return " ".join(map(self._in_parts, parts)) if len(parts) > 1 else ""
        return words


def _is_between(text: bytes, place: int) -> bool:
    """Return whether an offset is between two characters of UTF-8 or at the end."""
    return place >= len(text) or text[place] & 0xC0 != 0x80


@lru_cache(maxsize=1)
def _tagger(directory: Path) -> Any:
    """Return the MeCab of this process: fugashi never frees one, so each more would map its dictionary once more."""
    import fugashi

    # wakati joins the words by one space in MeCab itself, a fifth faster than reading its nodes; no piece has a space.
    # GenericTagger because fugashi.Tagger supports only UniDic; -r /dev/null because of stray ~/.mecabrc.
    with pruned_dictionary(directory) as prepared:
        return fugashi.GenericTagger(f"-O wakati -r /dev/null -d {shlex.quote(str(prepared))}")


@lru_cache(maxsize=1)
def _dictionary_sha256(directory: Path) -> str:
    digest = hashlib.sha256()
    for name in _DICTIONARY_FILES:
        with open(directory / name, "rb") as file:
            digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
