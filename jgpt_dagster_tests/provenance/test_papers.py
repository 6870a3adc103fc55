"""Papers of a release hold what their formats ask. They say what is in the data root, or that it is not known."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.catalog.corpora import Corpus, Folder, configured_corpora
from jgpt_dagster.corpus.web.corpus_description import CorpusDescription
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.release.licences import model_licence
from jgpt_dagster.lm.release.model_card import Score
from jgpt_dagster.provenance.chain import Chain, Step
from jgpt_dagster.provenance.papers.check_papers import check_papers
from jgpt_dagster.provenance.papers.croissant import croissant
from jgpt_dagster.provenance.papers.release_facts import ReleaseFacts
from jgpt_dagster.provenance.papers.training_content import training_content
from jgpt_dagster.provenance.papers.write_papers import (
    BILL_OF_MATERIALS,
    CROISSANT,
    PAPERS,
    TRAINING_CONTENT,
    write_papers,
)
from jgpt_dagster.provenance.statement import PROVENANCE, Statement, read_statement
from jgpt_dagster.storage.hashing import sha256_file
from jgpt_dagster.storage.manifest import FileEntry
from jgpt_dagster_tests.support.deployments import DUMP, Deployment
from jgpt_dagster_tests.support.hostile_text import MARKUP
from jgpt_dagster_tests.support.markdown import active

pytestmark = pytest.mark.slow


@pytest.fixture
def validators() -> None:
    for library in ("mlcroissant", "cyclonedx"):
        pytest.importorskip(library, reason=f"{library} is not installed (extra `papers`)")


@pytest.fixture
def release(finished: Deployment) -> Path:
    return finished.root.directory("release", DUMP, model="tiny").path


@pytest.fixture
def statement(release: Path) -> Statement:
    return read_statement((release / PROVENANCE).read_bytes())


@pytest.fixture
def facts(finished: Deployment, statement: Statement) -> ReleaseFacts:
    """What papers of the release are made of."""
    model = finished.root.directory("pretrained_model", DUMP, model="tiny").verified()
    return ReleaseFacts(
        name="a model",
        dump=DUMP,
        licence=model_licence({"cc-by-sa-4.0"}),
        corpora=configured_corpora("samplewiki", "file:///ja.txt.xz", {}),
        descriptions={},
        chain=statement.chain,
        model=model,
        scores=[Score("held-out", "held-out documents", "bits_per_character", "bits per character", 4.2)],
        interval=(4.1, 4.3),
        files={"model.safetensors": FileEntry(1, "0" * 64)},
    )


def read(release: Path, name: str) -> Any:
    return json.loads((release / name).read_text())


def test_validators_find_nothing_in_the_papers_and_name_what_is_broken(
    validators: None, release: Path, finished: Deployment, tmp_path: Path
) -> None:
    assert check_papers(release) == []
    assert "valid" in finished.invoke("papers", release, "--check")
    copy = Path(shutil.copytree(release, tmp_path / "copy"))
    for name, key, problem in ((CROISSANT, "license", "recommended"), (BILL_OF_MATERIALS, "bomFormat", "required")):
        value = read(copy, name)
        del value[key]
        (copy / name).write_text(json.dumps(value))
        (found,) = [line for line in check_papers(copy) if name in line]
        assert key in found and problem in found
    for name in (CROISSANT, BILL_OF_MATERIALS):
        whole = (copy / name).read_bytes()
        for garbled in (b"", b"{}", b"[]", b"\xff", whole[:-9]):
            (copy / name).write_bytes(garbled)
            assert any(line.startswith(name) for line in check_papers(copy)), (name, garbled)
        (copy / name).write_bytes(whole)
    (copy / TRAINING_CONTENT).unlink()
    assert check_papers(copy) == [f"{TRAINING_CONTENT} is missing"]


def test_croissant_opens_the_tables_of_a_data_root(
    validators: None, release: Path, finished: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlcroissant

    root = finished.copy(tmp_path / "data").data
    path = Path(shutil.copyfile(release / CROISSANT, root / CROISSANT))
    dataset = mlcroissant.Dataset(jsonld=str(path))
    counts = {}
    for records in dataset.metadata.record_sets:
        rows = list(dataset.records(records.uuid))
        counts[records.uuid] = len(rows)
        assert rows and rows[0].keys() == {field.uuid for field in records.fields}
    data = finished.root.directory("training_set", DUMP).verified().counts
    assert counts["wikipedia"] + counts["cc100"] == counts["wikipedia_tokens"] + counts["cc100_tokens"]
    assert counts["wikipedia"] + counts["cc100"] == data["documents"]
    assert counts["held-out"] == data["validation_documents"]


def test_croissant_names_every_file_by_its_place_and_hash(release: Path, finished: Deployment) -> None:
    value = read(release, CROISSANT)
    files = {file["@id"]: file for file in value["distribution"] if file["@type"] == "cr:FileObject"}
    for place, file in files.items():
        assert sha256_file(finished.data / place) == file["sha256"], place
        assert file["contentUrl"] == place  # the sample's mirror is a folder, whose path is nobody's business
    assert {Path(place).parts[0] for place in files} == {
        *(f"{corpus}_{stage}" for corpus in ("wikipedia", "cc100") for stage in ("dump", "tokens")),
        "training_set",
    }
    sha1 = finished.root.directory("wikipedia_dump", DUMP).verified().counts["sha1"].values()
    assert all(any(digest in file["description"] for file in files.values()) for digest in sha1)


def test_the_bill_lists_the_model_with_its_files_data_sets_and_libraries(release: Path, statement: Statement) -> None:
    value = read(release, BILL_OF_MATERIALS)
    parts = {part["bom-ref"]: part for part in value["components"]}
    files = {name: digest for name, digest in statement.subjects.items() if name not in PAPERS}
    assert {part["name"]: part["hashes"][0]["content"] for part in parts.values() if part["type"] == "file"} == files
    card = value["metadata"]["component"]["modelCard"]
    assert [data["ref"] for data in card["modelParameters"]["datasets"]] == ["data:wikipedia", "data:cc100"]
    assert card["quantitativeAnalysis"]["performanceMetrics"][0]["slice"] == "held-out documents"
    libraries = {pair for step in statement.chain.steps for pair in step.manifest.recipe.libraries.items()}
    named = {
        (part["name"], part.get("version") or part["description"])
        for part in parts.values()
        if part["type"] == "library"
    }
    assert libraries <= named
    assert {*value["dependencies"][0]["dependsOn"]} < parts.keys()


def test_the_summary_names_each_source_and_that_cc100_names_no_domains(release: Path, statement: Statement) -> None:
    text = (release / TRAINING_CONTENT).read_text()
    for step in statement.chain.sources():
        assert all(entry.sha256 in text for name, entry in step.manifest.files.items() if name != "shards.json")
    assert "| domains | **not known**: the archive is text without addresses" in text
    assert "to be filled in by whoever publishes the model" in text
    assert "random weights; no earlier model" in text


@pytest.mark.parametrize("name", PAPERS)
def test_the_card_links_the_papers_and_the_statement_covers_them(
    release: Path, statement: Statement, name: str
) -> None:
    assert f"[{name}]({name})" in (release / "README.md").read_text()
    assert statement.subjects[name] == sha256_file(release / name)


def test_a_training_set_that_is_gone_is_told_and_the_papers_stay_valid(
    validators: None, facts: ReleaseFacts, tmp_path: Path
) -> None:
    kept = [step for step in facts.chain.steps if step.parsed.asset in ("pretrained_model", "evaluation", "tokenizer")]
    write_papers(tmp_path, replace(facts, chain=Chain(kept)))
    assert check_papers(tmp_path) == []
    assert "not known any more" in (tmp_path / TRAINING_CONTENT).read_text()


def test_what_a_folder_says_of_itself_is_literal(facts: ReleaseFacts) -> None:
    def shown(text: str) -> list[str]:
        told = CorpusDescription(text, text, text)
        return active(training_content(replace(facts, corpora=[corpus], descriptions={"news": told})))

    corpus = Corpus("news", Folder(Path("news")))
    for text in [*MARKUP, "https://evil.example/a_b"]:
        assert shown(text) == shown("plain"), text


def test_a_missing_validator_is_named_with_its_extra(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Callable[[str], None] = lambda name: None  # noqa: E731
    monkeypatch.setattr("jgpt_dagster.provenance.papers.check_papers.find_spec", missing)
    with pytest.raises(JgptError, match=r"pip install 'jgpt-dagster\[papers\]'"):
        check_papers(release)


def test_papers_tell_of_documents_that_were_taken_out(facts: ReleaseFacts) -> None:
    def taken_out(step: Step) -> Step:
        counts = {**step.manifest.counts, "excluded": 3}
        return replace(step, manifest=replace(step.manifest, counts=counts))

    told = "documents were taken out by name"
    assert told not in training_content(facts) + json.dumps(croissant(facts))
    texts = ("wikipedia_articles", "cc100_documents")
    steps = [taken_out(step) if step.parsed.asset in texts else step for step in facts.chain.steps]
    found = sum(step.parsed.asset in texts for step in steps)
    changed = replace(facts, chain=Chain(steps))
    assert f" {3 * found} {told}" in training_content(changed)
    assert f" {3 * found} {told}" in json.dumps(croissant(changed))
