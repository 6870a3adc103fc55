"""What differs between two dumps, models or releases: pages, data, settings, learning curves, held-out bits, tasks.

A `Side` is what is compared: a dump of the root, its model, or a model directory from elsewhere. Held-out bits are of
evaluations that lie in the root; `jgpt compare` makes them first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.evaluated_models import EvaluatedModels, default_name, read_entries, read_tasks
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, TOKENIZER, TRAINING_SET
from jgpt_dagster.catalog.training_data_links import training_data_root
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.document_split import split_hashes, threshold
from jgpt_dagster.lm.data.integer_tables import read_columns
from jgpt_dagster.lm.data.token_files import DOCUMENTS, TOKENS
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.evaluation.leaderboard import Difference, Entry, paired_difference
from jgpt_dagster.lm.training.metrics_files import read_metrics
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.parquet import read_batches
from jgpt_dagster.storage.safe_path import child_path, has_form

_OF_ROOT = re.compile(r"(?P<dump>[0-9]{8})(\|(?P<model>[a-z0-9][a-z0-9._-]{0,62}))?")


@dataclass(frozen=True)
class Side:
    """One of the two: a dump and its model in the root, or `directory`, a model from elsewhere.

    `name` is that of its evaluation; None if there is no released model.
    """

    label: str
    dump: str | None = None
    model: str | None = None
    directory: Path | None = None
    name: str | None = None

    @property
    def place(self) -> tuple[object, ...]:
        """What distinguishes it from another side."""
        return (self.dump, self.model) if self.dump else (self.directory and self.directory.resolve(),)


def parse_side(root: DataRoot, text: str, default_model: str) -> Side:
    """Return what a word of the command line stands for: `DUMP`, `DUMP|MODEL`, `MODEL`, or a model's directory.

    `MODEL` is the newest release of that name, `DUMP` that of `default_model` of the dump if there is one. Raises
    JgptError if it is none of them.
    """
    if match := _OF_ROOT.fullmatch(text):
        dump, model = match["dump"], match["model"] or default_model
        if root.directory(TRAINING_SET, dump).manifest() is None:
            raise JgptError(f"{root.location} holds no training set of {dump}. Its dumps are: {_listed(root)}.")
        if match["model"] and model not in (known := sorted(root.models("pretrained_model", dump))):
            raise JgptError(f"{root.location} holds no model {model} of {dump}. It has: {', '.join(known) or 'none'}.")
        return _of_root(root, text, dump, model)
    directory = Path(text)
    if directory.is_dir():
        parts = dict(part.split("=", 1) for part in directory.resolve().parts[-2:] if "=" in part)
        if parts.keys() == {"dump", "model"} and directory.resolve().is_relative_to(root.path.resolve()):
            return _of_root(root, text, parts["dump"], parts["model"])
        return Side(text, directory=directory, name=EvaluatedModels(root).name_for(directory))
    if has_form("model", text):
        dumps = [dump for dump in reversed(root.dumps("release")) if _release(root, dump, text).manifest()]
        if dumps:
            return _of_root(root, text, dumps[0], text)
    raise JgptError(
        f"{text!r} is neither a dump of this root ({_listed(root)}), nor DUMP|MODEL, nor the name of a released model, "
        "nor a model's directory."
    )


def compare(root: DataRoot, corpora: tuple[Corpus, ...], before: Side, after: Side, dump: str) -> dict[str, Any]:
    """Return all differences as JSON values; a part that has nothing to compare is missing.

    Held-out bits and tasks are those of evaluations on `dump`.

    Raises ArtifactError for a damaged output.
    """
    found: dict[str, Any] = {"before": before.label, "after": after.label}
    found["without_release"] = [side.label for side in (before, after) if not side.name]
    found["from_elsewhere"] = [side.label for side in (before, after) if not side.dump]
    if before.dump and after.dump:
        if before.dump != after.dump:
            found["pages"] = {
                corpus.name: _pages(root, corpus, before.dump, after.dump) for corpus in corpora if corpus.dated
            }
        found["data"] = {"before": _data(root, before.dump), "after": _data(root, after.dump)}
        found["recipes"] = _recipes(root, before, after)
        found["curves"] = {"before": _curves(root, before), "after": _curves(root, after)}
    if before.name and after.name:
        entries = {entry.name: entry for entry in read_entries(root, dump)}
        if before.name in entries and after.name in entries:
            found["held_out"] = _held_out(root, before, after, entries[before.name], entries[after.name])
        tasks = read_tasks(root, dump)
        if before.name in tasks and after.name in tasks:
            old, new = tasks[before.name], tasks[after.name]
            found["tasks"] = {
                task: {"before": old[task], "after": new[task]} for task in sorted(old.keys() & new.keys())
            }
    return found


def difference_to_last(root: DataRoot, dump: str, name: str) -> Difference | None:
    """Return by how much a model of a dump is worse than that of the same name of the newest earlier dump.

    Both are scored on the documents of `dump`. None if either was not evaluated, or in another way.
    """
    entries = {entry.name: entry for entry in read_entries(root, dump)}
    new = entries.get(name)
    for model in root.models("release", dump):
        if new is None or name != default_name(_release(root, dump, model).path):
            continue
        for date in reversed(root.dumps("release")):
            old = entries.get(default_name(_release(root, date, model).path)) if date < dump else None
            if old:
                rows = _held_out_from(root, date, model, new)
                same_way = (old.texts, old.window) == (new.texts, new.window) and rows.any()
                return paired_difference(new.bits[rows], old.bits[rows], new.bytes[rows]) if same_way else None
    return None


def unchanged_documents(root: DataRoot, before: str, after: str) -> set[tuple[str, int]] | None:
    """Return corpus and key of the documents that are held out, with the same tokens, in two dumps.

    None if the token files of either have been made again since its training set.
    """
    old, new = (_held_out_tokens(root, dump) for dump in (before, after))
    if old is None or new is None:
        return None
    return {place for place, tokens in new.items() if place in old and np.array_equal(old[place], tokens)}


def _of_root(root: DataRoot, label: str, dump: str, model: str) -> Side:
    released = _release(root, dump, model).manifest() is not None
    path = _release(root, dump, model).path
    return Side(label, dump, model, path if released else None, default_name(path) if released else None)


def _release(root: DataRoot, dump: str, model: str) -> Any:
    return root.directory("release", dump, model=model)


def _listed(root: DataRoot) -> str:
    return ", ".join(root.dumps(TRAINING_SET)) or "none"


def _pages(root: DataRoot, corpus: Corpus, before: str, after: str) -> dict[str, int]:
    """Return how many articles were added, edited and removed; `same_text` counts edits that left the text alone."""
    old, new = (_revisions(root, corpus, dump) for dump in (before, after))
    edited = [page for page in new.keys() & old.keys() if new[page][0] != old[page][0]]
    return {
        "before": len(old),
        "after": len(new),
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "edited": len(edited),
        "edited_with_the_same_text": sum(new[page][1] == old[page][1] for page in edited),
    }


def _revisions(root: DataRoot, corpus: Corpus, dump: str) -> dict[int, tuple[int, int]]:
    """Return the revision of each article, and a hash of its lines in this process."""
    found = {}
    folder = child_path(root.path, corpus.text_asset, f"dump={dump}")
    for path in sorted(folder.glob("shard=*.parquet")):
        root.parquet(corpus.text_asset, dump, path.stem.removeprefix("shard=")).verified()
        for batch in read_batches(path, [corpus.key_column, "revision_id", "lines"]):
            pages, revisions, lines = (batch.column(index).to_pylist() for index in range(3))
            for page, revision, text in zip(pages, revisions, lines, strict=True):
                found[page] = (revision, hash(tuple(text)))
    return found


def _data(root: DataRoot, dump: str) -> dict[str, dict[str, int]]:
    """Return documents, characters and tokens by corpus of what a training set was made of, held-out ones included."""
    counts: dict[str, dict[str, int]] = {}
    training_set = root.directory(TRAINING_SET, dump)
    training_set.verified()
    for file in TrainingSet.open(training_set.path).token_files:
        columns = read_columns(root.directory_by_label(file.label).path / DOCUMENTS, ["characters", "length"])
        of_corpus = counts.setdefault(file.corpus, {"documents": 0, "characters": 0, "tokens": 0})
        of_corpus["documents"] += len(columns["length"])
        of_corpus["characters"] += int(columns["characters"].sum())
        of_corpus["tokens"] += int(columns["length"].sum())
    return counts


def _recipes(root: DataRoot, before: Side, after: Side) -> dict[str, list[str]]:
    """Return the settings and versions that differ, in words, by asset; without those whose recipes agree."""
    found = {}
    for asset in (TOKENIZER, TRAINING_SET, *MODEL_ASSETS):
        recipes = []
        for side in (before, after):
            of_dump = None if asset == TOKENIZER else side.dump
            output = root.directory(asset, of_dump, model=side.model if asset in MODEL_ASSETS else None)
            recipes.append(manifest.recipe if (manifest := output.manifest()) else None)
        if recipes[0] and recipes[1]:
            inputs = dict(recipes[1].inputs)  # other data is what the other parts are about
            same_inputs = type(recipes[0])(**{**vars(recipes[0]), "inputs": inputs})
            if changes := same_inputs.changes(recipes[1]):
                found[asset] = changes
    return found


def _curves(root: DataRoot, side: Side) -> dict[str, list[list[float]]]:
    """Return training and held-out loss by step."""
    if side.dump is None or side.model is None:
        return {}
    rows = read_metrics(root.directory("pretrained_model", side.dump, model=side.model).path)
    return {
        name: [[row["step"], row[name]] for row in rows if name in row]
        for name in ("loss", "validation_loss")
        if any(name in row for row in rows)
    }


def _held_out_tokens(root: DataRoot, dump: str) -> dict[tuple[str, int], np.ndarray] | None:
    training_set = TrainingSet.open(root.directory(TRAINING_SET, dump).path)
    for file in training_set.token_files:
        manifest = root.directory_by_label(file.label).manifest()
        if manifest is None or manifest.files[TOKENS].sha256 != file.sha256:
            return None
    files, documents = training_set.open_tokens(root.path), training_set.held_out_documents()
    return {
        (training_set.token_files[shard].corpus, key): files[shard][offset : offset + length]
        for shard, key, offset, length in zip(
            *(documents[name].tolist() for name in ("shard", "key", "offset", "length")), strict=True
        )
    }


def _held_out_from(root: DataRoot, dump: str, model: str, entry: Entry) -> np.ndarray:
    """Return which documents of an evaluation were held out when a model was trained, or would have been.

    They are all unless the share that is held out has been changed in between. Raises ArtifactError if what the model
    was trained on is missing or damaged.
    """
    manifest = root.directory("pretrained_model", dump, model=model).manifest()
    sha256 = manifest.recipe.inputs.get(f"{TRAINING_SET} {dump}") if manifest else None
    output = training_data_root(root, dump, sha256).directory(TRAINING_SET, dump)
    output.verified()
    limit = threshold(TrainingSet.open(output.path).validation_share)
    rows = np.zeros(len(entry.keys), bool)
    for corpus in np.unique(entry.corpora):
        of_corpus = entry.corpora == corpus
        rows[of_corpus] = split_hashes(str(corpus), entry.keys[of_corpus]) < limit
    return rows


def _held_out(root: DataRoot, before: Side, after: Side, old: Entry, new: Entry) -> dict[str, Mapping[str, Any]]:
    """Return the bits of both on all documents that neither was trained on, and, if it is known, by what is new."""
    if (old.texts, old.window) != (new.texts, new.window):
        return {}
    places = list(zip(new.corpora.tolist(), new.keys.tolist(), strict=True))
    untrained = np.ones(len(places), bool)
    for side in (before, after):
        if side.dump and side.model:
            untrained &= _held_out_from(root, side.dump, side.model, new)
    groups = {"all": untrained}
    if before.dump and after.dump and before.dump != after.dump:
        same = unchanged_documents(root, before.dump, after.dump)
        if same is not None:
            common = np.array([place in same for place in places])
            groups |= {"common": untrained & common, "new or edited": untrained & ~common}
    return {
        name: {
            "documents": int(rows.sum()),
            "characters": int(new.characters[rows].sum()),
            "before": float(old.bits[rows].sum() / new.bytes[rows].sum()),
            "after": float(new.bits[rows].sum() / new.bytes[rows].sum()),
            **_difference(old, new, rows),
        }
        for name, rows in groups.items()
        if rows.any()
    }


def _difference(old: Entry, new: Entry, rows: np.ndarray) -> dict[str, Any]:
    found = paired_difference(new.bits[rows], old.bits[rows], new.bytes[rows])
    low, high = found.interval or (None, None)
    return {"difference": found.value, "low": low, "high": high, "real": found.real}
