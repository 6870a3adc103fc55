import lzma
import os
from pathlib import Path

import pytest

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.lm.tokenizer.text_tokenizer import SegmentedDocument


@pytest.fixture(scope="session")
def web_documents() -> list[SegmentedDocument]:
    """Documents of a real web corpus, segmented under `clean`."""
    if "JGPT_TEST_DATA" not in os.environ:
        pytest.skip("JGPT_TEST_DATA is not set")
    with lzma.open(Path(os.environ["JGPT_TEST_DATA"]) / "cc100" / "ja-cc100sample.txt.xz", "rt") as stream:
        source = [text.splitlines() for text in stream.read().split("\n\n")]
    with open_segmenter("mecab") as segmenter:
        return list(segment_documents(source, "clean", segmenter))
