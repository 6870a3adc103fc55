"""What pictures in the metadata of assets promise: the UI shows them in place, and while a training runs."""

import json
import re
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import dagster as dg
import numpy as np
import pytest

from jgpt_dagster.assets import live_training
from jgpt_dagster.assets.live_training import LiveTraining
from jgpt_dagster.assets.metadata import bars, curve, picture
from jgpt_dagster.assets.stage_pictures import document_lengths, document_outcomes, mixture, page_outcomes
from jgpt_dagster.charts.bar_chart import amounts
from jgpt_dagster.charts.drawing import SMALL
from jgpt_dagster.charts.line_chart import Level
from jgpt_dagster.lm.evaluation.score_charts import bigram_level, score_bars
from jgpt_dagster.lm.training.metrics_files import METRICS
from jgpt_dagster.lm.training.training_charts import loss_chart
from jgpt_dagster_tests.support.hostile_text import MARKUP
from jgpt_dagster_tests.support.markdown import active, tokens

LONG_RUN = [
    {"step": step, "tokens": step, "loss": 3 + 1e6 / (1e5 + step) + (step % 7) / 10}
    | ({"validation_loss": 3.4} if step % 5_000 == 0 else {})
    for step in range(0, 400_000, 100)
]
SCORE = {"bits_per_character": 5.1, "bits_per_character_low": 4.9, "bits_per_character_high": 5.4} | {
    "bigram_bits_per_character": 5.4,
    "unigram_bits_per_character": 7.4,
    "characters": 3_000,
    "tokens": 2_000,
}


def svg_of(value: dg.MarkdownMetadataValue) -> str:
    """Return the picture that a real parser finds, which is all that there is."""
    (address,) = active(value.value or "")
    assert [token.type for token in tokens(value.value or "") if token.type == "image"] == ["image"]
    kind, _, data = address.partition(",")
    assert kind == "data:image/svg+xml"
    svg = unquote(data)
    root = ElementTree.fromstring(svg)
    assert int(root.attrib["width"]) <= SMALL.width, "wider than the column of values at 1,280 pixels"
    return svg


def shown_in_place(value: dg.MarkdownMetadataValue) -> str:
    assert len(value.value or "") < 1_000
    return svg_of(value)


def test_the_pictures_of_a_long_run_and_of_many_amounts_are_shown_in_place() -> None:
    losses = loss_chart(LONG_RUN, [Level("bigrams 5.41", 5.41)])
    assert losses is not None
    svg = shown_in_place(curve("loss", losses))
    assert "held-out 3.40" in svg and len(re.findall("<path", svg)) == 4
    many = {f"a reason with many words {number}": 10**9 + number for number in range(40)}
    assert re.search("and [0-9]+ more", shown_in_place(bars("amounts", "characters", amounts(many))))


@pytest.mark.parametrize("text", MARKUP)
def test_text_in_a_picture_ends_neither_its_address_nor_its_markup(text: str) -> None:
    svg = svg_of(bars("amounts", text, amounts({text: 1})))
    assert not {element.tag.partition("}")[2] for element in ElementTree.fromstring(svg).iter()} - {
        "svg",
        "g",
        "text",
        "path",
    }


def test_outcomes_of_pages_and_documents_lengths_and_mixture_are_drawn_or_left_out() -> None:
    pages = {"pages": 1_234, "articles": 1_000, "redirects": 200, "other_namespaces": 34, "rejected": 0}
    svg = shown_in_place(page_outcomes(pages)["page_outcomes"])
    assert "1,234 pages" in svg and "redirects 200 (16.2%)" in svg and "rejected" not in svg
    documents = {"rows": 90, "rejected": 1, "dropped_too_short": 2, "dropped_near_duplicate": 7}
    assert "near duplicate 7 (7.0%)" in shown_in_place(document_outcomes(documents)["document_outcomes"])
    assert "tokens, from" in shown_in_place(document_lengths(np.array([9, 70, 5000]))["document_lengths"])
    assert "cc100 150 (60.0%)" in shown_in_place(mixture({"wikipedia": 100.0, "cc100": 150.0})["mixture_by_tokens"])
    assert document_lengths(np.array([], np.int64)) == {} and mixture({"wikipedia": 0}) == {}


def test_scores_have_intervals_and_bigrams_are_in_the_unit_of_the_loss() -> None:
    few = SCORE | {"bits_per_character_low": None, "bits_per_character_high": None}
    drawn = score_bars({"total": SCORE, "corpora": {"wikipedia": SCORE, "cc100": few}})
    assert [bar.label for bar in drawn] == [
        "model 5.100 (4.900 to 5.400)",
        "bigrams 5.400",
        "unigrams 7.400",
        "model, wikipedia 5.100 (4.900 to 5.400)",
        "model, cc100 5.100",
    ]
    assert len(score_bars({"total": SCORE, "corpora": {"wikipedia": SCORE}})) == 3
    # 5.4 bits for each of 1.5 characters of a token.
    assert bigram_level(SCORE).value == pytest.approx(5.4 * 1.5 * 0.6931, rel=1e-3)


def test_a_running_training_shows_its_loss_ever_more_rarely_and_survives_a_fault_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 10 * 86_400, 60))
    now = [0.0]

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["20260101|tiny"]))
    def model(context: dg.AssetExecutionContext) -> None:
        live = LiveTraining(context, tmp_path, clock=lambda: now[0])
        for now[0] in seconds:
            if now[0] == 600:
                rows = [json.dumps(row) for row in LONG_RUN[:50]]
                (tmp_path / METRICS).write_text("\n".join(rows) + '\n{"step": 51, "lo')
            with monkeypatch.context() as patched:
                if now[0] == 1_200:
                    patched.setattr(live_training, "read_metrics", lambda run: 1 / 0)
                live.look()

    result = dg.materialize([model], partition_key="20260101|tiny", instance=dg.DagsterInstance.ephemeral())
    assert result.success
    observations = result.get_asset_observation_events()
    assert 100 < len(observations) < 400
    first = observations[0].asset_observation_data.asset_observation
    assert first.partition == "20260101|tiny" and first.metadata["step"].value == 4_900
    so_far = first.metadata["loss_so_far"]
    assert isinstance(so_far, dg.MarkdownMetadataValue) and "training" in shown_in_place(so_far)


def test_a_large_picture_is_shown_on_a_click() -> None:
    assert len(picture("loss", "<svg>" + "x" * 1_000 + "</svg>").value or "") > 1_000
