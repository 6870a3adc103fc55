"""From a prompt as a person types it to natural text: segments as the corpus was, and generates.

The one place outside of `assets/` where the text and the model library meet.
"""

from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.tokenizer.text_tokenizer import LINE_END, encoder_text, load_tokenizer
from jgpt_dagster.storage.data_root import DataRoot


def generate_from_text(model_dir: Path, tokenizer_dir: Path, prompt: str, **sampling: Any) -> str:
    """Return the prompt and what the model makes of it, as natural text without segmentation spaces.

    `sampling` is passed on to `lm.generation.generate`. Raises TokenizerMismatchError where the installed segmenter is
    not the one that the tokenizer was trained with.
    """
    from jgpt_dagster.lm.release.generation import generate

    tokenizer = load_tokenizer(tokenizer_dir)
    with open_segmenter(tokenizer.segmenter) as segmenter:
        tokenizer.require_segmenter(tokenizer.segmenter, segmenter.fingerprint)
        (document,) = segment_documents([prompt.splitlines()], tokenizer.profile, segmenter)
    # The prompt's last line goes on: it has no end yet.
    segmented = encoder_text(document, tokenizer.profile).removesuffix(LINE_END)
    return generate(model_dir, tokenizer_dir, segmented, **sampling)


def newest_release(root: DataRoot, model: str, dump: str | None = None) -> Path:
    """Return the directory of the release of a dump, by default of the newest one that has any.

    Raises JgptError where there is none.
    """
    dumps = [dump] if dump else reversed(root.dumps("release"))
    for date in dumps:
        release = root.directory("release", date, model=model)
        if release.manifest() is not None:
            release.verified()
            return release.path
    raise JgptError(
        f"{root.location / 'release'} holds no release of model {model}{f' and dump {dump}' if dump else ''}. "
        "Make one with:\n  jgpt run --dump YYYYMMDD"
    )
