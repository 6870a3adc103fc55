"""Word segmentation: the engines, and the function that opens one by name.

The engines follow the JUMAN word standard but agree only at 96.9 F1: a corpus, its tokenizer and inference need the
same one, which `Segmenter.fingerprint` identifies.
"""

import re
import shlex
from importlib.metadata import entry_points

from jgpt_dagster.corpus.segmenters.base import Segmenter, SegmenterError

_GROUP = "jgpt_dagster.segmenters"

__all__ = ["Segmenter", "SegmenterError", "open_segmenter", "restore_step", "segmenter_names"]


def segmenter_names() -> list[str]:
    """Return the names of all engines: those of this package, and those that other packages add as entry points."""
    return ["mecab", "jumanpp", *sorted(entry_points(group=_GROUP).names)]


def open_segmenter(name: str) -> Segmenter:
    """Open an engine, which the caller closes. Raises SegmenterError if it is missing or broken."""
    if name == "mecab":
        from jgpt_dagster.corpus.segmenters.mecab import MecabSegmenter

        return MecabSegmenter()
    if name == "jumanpp":
        from jgpt_dagster.corpus.segmenters.jumanpp import JumanppSegmenter

        return JumanppSegmenter()
    for added in entry_points(group=_GROUP, name=name):
        segmenter: Segmenter = added.load()()
        return segmenter
    raise SegmenterError(
        f"No segmenter is called {name!r}. Set JGPT_SEGMENTER to one of {', '.join(segmenter_names())}, or install the "
        f"package that adds it (entry points {_GROUP})."
    )


def restore_step(fingerprint: str) -> str:
    """Return the command or the step that brings back the engine with this fingerprint."""
    if mecab := re.match(r"mecab fugashi-(\S+) jumandic ", fingerprint):
        return f"pip install --force-reinstall {shlex.quote(f'fugashi=={mecab[1]}')} jumandic"
    if jumanpp := re.match(r"jumanpp (.+) model ", fingerprint):
        return f"export PATH=DIRECTORY:$PATH\n  with Juman++ {jumanpp[1]} and the same model in DIRECTORY"
    return "install the version that the fingerprint names"
