"""What the page of a release shows: size, score, a text that it wrote, how to load it, and its card."""

import json
import re
from collections.abc import Mapping
from typing import Any

import dagster as dg

from jgpt_dagster.assets.evaluation import EVALUATION, SAMPLES, scores_picture
from jgpt_dagster.assets.metadata import picture
from jgpt_dagster.literal_text import code_block, one_line
from jgpt_dagster.lm.evaluation.score_charts import with_ends
from jgpt_dagster.lm.release.model_card import LOSS_CURVE, LOSS_PICTURE
from jgpt_dagster.lm.release.release_directory import CARD
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact

_LINK_TO_FILE = re.compile(r"\[([a-z_.]+)\]\(\1\)")

# In lines that fit the column of values where the browser is 1,280 pixels wide.
_LOADING = """# in the data root
from jgpt_dagster import lm
model = lm.Release.open(
  "{folder}/"
  "{name}")
model.generate("日本の海で")"""


def release_page(release: DirectoryArtifact, model: DirectoryArtifact, scores: DirectoryArtifact) -> Mapping[str, Any]:
    """Return the metadata of a release from its files, the manifest of its model, and its evaluation."""
    evaluation = json.loads((scores.path / EVALUATION).read_text())
    samples = json.loads((scores.path / SAMPLES).read_text())[:1]
    trained = model.manifest()
    return {
        **({"parameters": f"{trained.counts['parameters']:,}"} if trained else {}),
        "bits_per_character": with_ends(evaluation["total"], "bits_per_character", places=3),
        "scores_as_bars": scores_picture(evaluation),
        **({"sample": one_line(samples[0]["text"])} if samples else {}),
        "load_it": dg.MetadataValue.md(code_block(_loading(release), "python")),
        "model_card": _card(release),
    }


def _loading(release: DirectoryArtifact) -> str:
    """Return code that opens a release and runs where the data root is the working directory."""
    return _LOADING.format(folder="/".join(release.path.parts[-3:-1]), name=release.path.name)


def _card(release: DirectoryArtifact) -> dg.MarkdownMetadataValue:
    """Return the card without the header for model hubs, with its picture in place of the file beside it.

    Links to other files beside it lead nowhere in the UI: their names stay.
    """
    _, _, body = (release.path / CARD).read_text().split("---\n", 2)
    curve = picture("Loss over the steps of the training", (release.path / LOSS_CURVE).read_text())
    return dg.MetadataValue.md(_LINK_TO_FILE.sub(r"`\1`", body.replace(LOSS_PICTURE, curve.value or "")))
