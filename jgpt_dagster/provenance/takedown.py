"""The receipt of a takedown: what new entries of the list take out, and who has had it until then."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.exclusions.exclusion_list import Exclusion, ExclusionList
from jgpt_dagster.provenance.excluded_documents import found_documents, keys_of
from jgpt_dagster.provenance.exposure import ExposedModel, exposed_models, token_files_with
from jgpt_dagster.provenance.near_copies import dropped_copies, has_signatures, kept_copies
from jgpt_dagster.provenance.root_files import RECEIPTS
from jgpt_dagster.provenance.still_held import still_held
from jgpt_dagster.provenance.takedown_page import page_of
from jgpt_dagster.storage.atomic_write import atomic_file
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.file_creation import make_directory
from jgpt_dagster.storage.object_store import upload
from jgpt_dagster.storage.sealed_json import write_sealed_json

Receipt = Mapping[str, Any]


def take_receipt(root: DataRoot, scratch: Path, exclusions: ExclusionList, entries: Sequence[Exclusion]) -> Receipt:
    """Return what entries of a list, which need not be written yet, take out of a root, and who has had it."""
    documents = list(found_documents(root, entries))
    keys = keys_of(documents, entries)
    tokens = list(token_files_with(root, keys))
    models = exposed_models(root, scratch, keys)
    return {
        "entries": [asdict(entry) for entry in entries],
        "documents": [asdict(document) for document in documents],
        "near_copies": {
            "compared": has_signatures(root),
            "dropped": [asdict(copy) for copy in dropped_copies(root, keys)],
            "kept": [asdict(copy) for copy in kept_copies(root, keys)],
        },
        "tokens": [asdict(file) for file in tokens],
        "models": [_model(model) for model in models],
        "still_held": [holder._asdict() for holder in still_held(root, exclusions, tokens, models)],
    }


def write_receipt(root: DataRoot, receipt: Receipt, exclusions: ExclusionList) -> tuple[Path, Path]:
    """Write a receipt and its page to the root, named for the date and the list; return their paths."""
    folder = root.path / RECEIPTS
    make_directory(folder)
    stem = f"{receipt['entries'][-1]['added']}-{exclusions.digest[:8]}"
    data, page = folder / f"{stem}.json", folder / f"{stem}.md"
    write_sealed_json(data, receipt)
    with atomic_file(page) as stream:
        stream.write(("\n".join(page_of(receipt)) + "\n").encode())
    if root.remote is not None:
        for path in (data, page):
            upload(path, root.remote / RECEIPTS / path.name)
    return data, page


def _model(model: ExposedModel) -> dict[str, Any]:
    return {**asdict(model), "label": model.label, "steps": model.steps}
