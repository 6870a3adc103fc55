"""Word segmentation: the engines and the one function that opens them by name.

The engines follow the JUMAN word standard but agree at 96.9 F1 only: a corpus, its tokenizer and inference need the
same one. `Segmenter.fingerprint` is what tells.
"""

from typing import Literal

from jgpt_dagster.corpus.segmenters.base import Segmenter, SegmenterError

SegmenterName = Literal["mecab", "jumanpp"]

__all__ = ["Segmenter", "SegmenterError", "SegmenterName", "open_segmenter"]


def open_segmenter(name: SegmenterName) -> Segmenter:
    """Opens the engine `name`; the caller closes it. Raises SegmenterError if the engine is not there or is broken."""
    if name == "mecab":
        from jgpt_dagster.corpus.segmenters.mecab import MecabSegmenter

        return MecabSegmenter()
    if name == "jumanpp":
        from jgpt_dagster.corpus.segmenters.jumanpp import JumanppSegmenter

        return JumanppSegmenter()
    raise SegmenterError(f"No segmenter is called {name!r}. Set JGPT_SEGMENTER to mecab or jumanpp.")
