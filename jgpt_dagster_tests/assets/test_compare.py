"""The comparison of two dumps says what a refresh brought; a worse model is warned of."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.catalog.comparison import (
    Side,
    compare,
    difference_to_last,
    parse_side,
    unchanged_documents,
)
from jgpt_dagster.catalog.comparison_report import curves_svg, to_markdown
from jgpt_dagster.catalog.corpora import configured_corpora
from jgpt_dagster.catalog.evaluated_models import EvaluatedModels
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.token_files import DOCUMENTS, TOKENS
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.sample.pack import WIKI, read_pages
from jgpt_dagster.storage.directory_artifact import MANIFEST
from jgpt_dagster.storage.sealed_json import write_sealed_json
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, Deployment, Materialized, in_process_instance
from jgpt_dagster_tests.support.foreign_models import gpt_neox

CORPORA = configured_corpora(WIKI, "x", {})
# A model that knows nothing stands for that of the later dump.
REFRESHED = f"tiny-{LATER_DUMP}"


@pytest.fixture(scope="module")
def compared(
    refreshed: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Deployment, dict[str, Any], Materialized]:
    """A deployment with two dumps and models of both that were scored on the later one, and their comparison."""
    folder = tmp_path_factory.mktemp("compared")
    deployment = refreshed.copy(folder / "data")
    root, models = deployment.root, EvaluatedModels(deployment.root)
    worse = gpt_neox(root.directory("release", LATER_DUMP, model="tiny").path, ["町である。\n"])
    (worse / "manifest.json").write_text("{}")
    sides = [parse_side(root, f"{dump}|tiny", "tiny") for dump in (DUMP, LATER_DUMP)]
    sides[1] = replace(sides[1], name=REFRESHED, directory=worse)
    for side in sides:
        assert side.name and side.directory
        models.record(side.name, side.directory)
        in_process_instance().add_dynamic_partitions("name", [side.name])
        result = deployment.materialize("foreign_evaluation", f"{LATER_DUMP}|{side.name}")
        assert result.error is None
    return deployment, compare(root, CORPORA, sides[0], sides[1], LATER_DUMP), result


def test_pages_are_counted_as_the_two_dumps_have_them(
    compared: tuple[Deployment, dict[str, Any], Materialized],
) -> None:
    deployment, found, _ = compared
    pages = found["pages"]["wikipedia"]
    old, new = ({page.id: page.revision_id for page in read_pages(dump)} for dump in (DUMP, LATER_DUMP))
    assert pages["after"] == pages["before"] + pages["added"] - pages["removed"]
    assert 0 < pages["added"] <= len(new.keys() - old.keys())
    assert pages["removed"] > 0
    assert 0 < pages["edited"] <= sum(old[page] != new[page] for page in old.keys() & new.keys())
    assert pages["edited_with_the_same_text"] < pages["edited"]
    for side, dump in (("before", DUMP), ("after", LATER_DUMP)):
        files = TrainingSet.open(deployment.root.directory("training_set", dump).path).token_files
        assert sum(corpus["tokens"] for corpus in found["data"][side].values()) == sum(file.tokens for file in files)


def test_bits_are_told_apart_by_what_is_new(compared: tuple[Deployment, dict[str, Any], Materialized]) -> None:
    deployment, found, _ = compared
    held_out = dict(found["held_out"])
    total = held_out.pop("all")
    same = unchanged_documents(deployment.root, DUMP, LATER_DUMP)
    assert same and 0 < held_out["common"]["documents"] <= len(same)
    assert total["documents"] == sum(figures["documents"] for figures in held_out.values())
    assert total["characters"] == sum(figures["characters"] for figures in held_out.values())
    for figures in (total, *held_out.values()):
        assert figures["difference"] == pytest.approx(figures["after"] - figures["before"])
    assert total["real"] and total["low"] > 0


def test_tokens_that_were_made_again_since_are_not_taken_for_those_of_a_training_set(
    compared: tuple[Deployment, dict[str, Any], Materialized], tmp_path: Path
) -> None:
    deployment = compared[0].copy(tmp_path / "data")
    tokens = deployment.root.directory("wikipedia_tokens", DUMP, "000")
    manifest, content = tokens.verified(), (tokens.path / TOKENS).read_bytes()
    documents = (tokens.path / DOCUMENTS).read_bytes()
    with tokens.writing(manifest.recipe) as out:
        (out.path / TOKENS).write_bytes(content[2:] + content[:2])
        (out.path / DOCUMENTS).write_bytes(documents)
        out.counts = manifest.counts
    assert unchanged_documents(deployment.root, DUMP, LATER_DUMP) is None


def test_documents_that_one_of_the_models_was_trained_on_are_left_out(
    compared: tuple[Deployment, dict[str, Any], Materialized], tmp_path: Path
) -> None:
    deployment = compared[0].copy(tmp_path / "data")
    data = deployment.root.directory("training_set", DUMP)
    manifest = data.verified()
    files = {name: (data.path / name).read_bytes() for name in manifest.files}
    made = json.loads(files["training_set.json"])
    files["training_set.json"] = json.dumps({**made, "validation_share": made["validation_share"] / 2}).encode()
    with data.writing(manifest.recipe) as out:
        for name, content in files.items():
            (out.path / name).write_bytes(content)
        out.counts = manifest.counts
    model = deployment.root.directory("pretrained_model", DUMP, model="tiny")
    trained = model.verified()
    inputs = {**trained.recipe.inputs, f"training_set {DUMP}": data.verified().data_sha256}
    before, after = (parse_side(deployment.root, f"{dump}|tiny", "tiny") for dump in (DUMP, LATER_DUMP))
    sides = (before, replace(after, name=REFRESHED))
    # The training set was made again, with another share; the model was not.
    assert compare(deployment.root, CORPORA, *sides, LATER_DUMP)["held_out"]["all"] == compared[1]["held_out"]["all"]
    recipe = replace(trained.recipe, inputs=inputs)
    write_sealed_json(model.path / MANIFEST, replace(trained, recipe=recipe).to_dict())
    found = compare(deployment.root, CORPORA, *sides, LATER_DUMP)["held_out"]
    assert 0 < found["all"]["documents"] < compared[1]["held_out"]["all"]["documents"]
    margin = difference_to_last(deployment.root, LATER_DUMP, REFRESHED)
    assert margin and margin.value == pytest.approx(found["all"]["difference"])


def test_a_refreshed_model_that_is_worse_is_warned_of(
    compared: tuple[Deployment, dict[str, Any], Materialized],
) -> None:
    deployment, found, result = compared
    assert result.checks == {"bits_are_finite": True, "not_worse_than_last": False}
    assert f"{found['held_out']['all']['difference']:+.4f}" in str(result.descriptions["not_worse_than_last"])
    earlier = deployment.materialize("foreign_evaluation", f"{LATER_DUMP}|tiny-{DUMP}")
    assert earlier.checks["not_worse_than_last"]


def test_the_report_has_every_part_and_both_curves_in_one_picture(
    compared: tuple[Deployment, dict[str, Any], Materialized],
) -> None:
    _, found, _ = compared
    report = to_markdown(found)
    for part in ("## Pages", "## Documents", "## Settings", "![loss by step](curves.svg)", "| common |", "real)"):
        assert part in report
    assert "cannot be known" not in report
    assert "cannot be known" in to_markdown({**found, "from_elsewhere": ["/models/other"]})
    bare = to_markdown({**found, "without_release": [LATER_DUMP]})
    assert f"Nothing is scored: {LATER_DUMP} has no released model." in bare
    assert "| `" not in report.split("| common |")[1]  # figures with a sign are no code
    svg = curves_svg(found["curves"])
    assert svg.count("<path") == 5 and svg.count("held out ") >= 2


def test_what_is_not_there_is_named(compared: tuple[Deployment, dict[str, Any], Materialized], tmp_path: Path) -> None:
    deployment, _, _ = compared
    for before, after, why in (
        (DUMP, "20991231", "holds no training set of 20991231. Its dumps are: 20260101, 20260120."),
        (DUMP, "nothing", "is neither a dump of this root (20260101, 20260120), nor DUMP|MODEL"),
        (DUMP, f"{DUMP}|tiny", "are the same: there is nothing to compare"),
        (tmp_path, f"{tmp_path}/../{tmp_path.name}", "are the same: there is nothing to compare"),
        (DUMP, f"{DUMP}|small", f"holds no model small of {DUMP}. It has: tiny."),
    ):
        result = deployment.try_invoke("compare", before, after)
        assert result.code == 1 and why in " ".join(result.output.split())
    other = tmp_path / "Other Model"
    other.mkdir()
    refused = deployment.try_invoke("compare", DUMP, other)
    assert refused.code == 1 and "holds no model: config.json is missing" in refused.output
    with pytest.raises(JgptError, match="No model is called"):  # no later model is refused its name
        EvaluatedModels(deployment.root).directory("other-model")
    assert parse_side(deployment.root, str(other), "tiny") == Side(str(other), directory=other, name="other-model")
