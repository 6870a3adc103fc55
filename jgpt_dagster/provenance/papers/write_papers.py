"""Writing the papers of a release, and what each is."""

from pathlib import Path

from jgpt_dagster.provenance.papers.bill_of_materials import bill_of_materials
from jgpt_dagster.provenance.papers.croissant import croissant
from jgpt_dagster.provenance.papers.release_facts import ReleaseFacts
from jgpt_dagster.provenance.papers.training_content import training_content
from jgpt_dagster.storage.atomic_write import write_json

CROISSANT, BILL_OF_MATERIALS, TRAINING_CONTENT = "croissant.json", "bom.cdx.json", "training_content.md"

PAPERS = {
    CROISSANT: "the training set, as Croissant 1.1",
    BILL_OF_MATERIALS: "the model, its data sets and libraries, as CycloneDX 1.6",
    TRAINING_CONTENT: "the summary of training content that EU law asks of publishers",
}


def write_papers(directory: Path, facts: ReleaseFacts) -> None:
    """Write all papers of a release into its directory."""
    write_json(directory / CROISSANT, croissant(facts))
    write_json(directory / BILL_OF_MATERIALS, bill_of_materials(facts))
    (directory / TRAINING_CONTENT).write_text(training_content(facts), encoding="utf-8")
