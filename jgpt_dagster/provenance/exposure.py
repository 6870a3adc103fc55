"""Which token files, models, checkpoints and releases hold given documents, and at which steps a model read them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jgpt_dagster.lm.data.document_split import split_documents
from jgpt_dagster.lm.data.integer_tables import read_columns
from jgpt_dagster.lm.data.token_files import DOCUMENTS
from jgpt_dagster.provenance.document_table import Document, positions_of_documents
from jgpt_dagster.provenance.labels import Label, kept_roots, parse_label
from jgpt_dagster.provenance.root_files import outputs_of
from jgpt_dagster.provenance.trace import uses_of
from jgpt_dagster.provenance.training_run import TraceError, TrainingDataGoneError, TrainingRun, inputs_of, open_run
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.safe_path import child_path, has_form

Keys = Mapping[str, Collection[int]]
"""Keys of documents by corpus."""


@dataclass(frozen=True)
class HeldTokens:
    """A token file with some of the documents: where it lies in the root, how many of them, and their tokens."""

    label: str
    path: str
    documents: int
    tokens: int


@dataclass(frozen=True)
class ReadDocument:
    """A document that a model was trained on, and the steps that read it, ascending."""

    corpus: str
    key: int
    steps: tuple[int, ...]


@dataclass(frozen=True)
class ExposedModel:
    """A model that has read some of the documents, or was started from one that has (`through`).

    `held_out` are documents that it is scored on and has not read. `checkpoints` are the steps of the kept checkpoints
    that had read some; `release` is the label of its release, if there is one. Of a model that is `unknown` nobody can
    tell what it has read: its training data is gone.
    """

    dump: str
    model: str
    finished: bool
    documents: tuple[ReadDocument, ...] = ()
    held_out: tuple[tuple[str, int], ...] = ()
    checkpoints: tuple[int, ...] = ()
    release: str | None = None
    through: str = ""
    unknown: bool = False

    @property
    def label(self) -> str:
        """The label of the weights."""
        return f"pretrained_model {self.dump}|{self.model}"

    @property
    def steps(self) -> list[int]:
        """The steps that read any of the documents, ascending."""
        return sorted({step for document in self.documents for step in document.steps})


def token_files_with(root: DataRoot, keys: Keys) -> Iterator[HeldTokens]:
    """Yield the token files of a root that have any of the documents, those that models were trained on included.

    Raises ArtifactError if a table of documents is damaged.
    """
    for place in (root, *kept_roots(root)):
        for output, _ in outputs_of(place, "_tokens"):
            wanted = keys.get(output.asset.removesuffix("_tokens"), ())
            if not wanted or not isinstance(output, DirectoryArtifact):
                continue
            if found := documents_of(output.verified_file(DOCUMENTS).parent, wanted):
                path = str(output.path.relative_to(root.path))
                yield HeldTokens(output.label, path, len(found), sum(document.length for document in found))


def documents_of(tokens: Path, keys: Collection[int]) -> list[Document]:
    """Return the documents of a token file that have one of these keys."""
    table = read_columns(tokens / DOCUMENTS, ["key", "offset", "length"])
    rows = np.flatnonzero(np.isin(table["key"], np.array(sorted(keys), np.int64)))
    return [Document(*(int(table[name][row]) for name in ("key", "offset", "length"))) for row in rows]


def exposed_models(root: DataRoot, scratch: Path, keys: Keys) -> list[ExposedModel]:
    """Return the models of a root, finished or in training, that have read any of the documents or been scored on any.

    Those that nobody can tell it of are among them.
    """
    exposed, unknown = list[ExposedModel](), list[ExposedModel]()
    for dump, model in _models(root, scratch):
        try:
            run = open_run(root, scratch, dump, model)
        except TrainingDataGoneError:
            finished, release = _is_finished(root, dump, model), _release(root, dump, model)
            unknown.append(ExposedModel(dump, model, finished, release=release, unknown=True))
            continue
        except TraceError:
            continue
        found = _exposed(root, run, keys)
        if found.documents or found.held_out:
            exposed.append(found)
    exposed += _started_from(root, scratch, {each.label for each in exposed if each.documents})
    known = {each.label for each in exposed}
    return [*exposed, *(each for each in unknown if each.label not in known)]


def _exposed(root: DataRoot, run: TrainingRun, keys: Keys) -> ExposedModel:
    read, held_out = list[ReadDocument](), list[tuple[str, int]]()
    data = run.training_set
    for shard, file in enumerate(data.token_files):
        wanted = keys.get(file.corpus, ())
        if not wanted:
            continue
        documents = documents_of(child_path(run.root.path, *file.path.split("/")), wanted)
        if not documents:
            continue
        numbers, lengths = (np.array([getattr(one, name) for one in documents]) for name in ("key", "length"))
        split = split_documents(file.corpus, numbers, lengths, data.weights[file.corpus], data.validation_share)
        held_out += [(file.corpus, one.key) for one, out in zip(documents, split.held_out, strict=True) if out]
        places = positions_of_documents(data.directory, shard, documents)
        for document, positions in zip(documents, places, strict=True):
            if steps := {use.step for use in uses_of(run, document, positions)}:
                read.append(ReadDocument(file.corpus, document.key, tuple(sorted(steps))))
    first = min((document.steps[0] for document in read), default=None)
    checkpoints = tuple(step for step in run.checkpoints if first is not None and step >= first)
    release = _release(root, run.dump, run.model)
    return ExposedModel(
        run.dump, run.model, run.finished, tuple(read), tuple(held_out), checkpoints, release if read else None
    )


def _started_from(root: DataRoot, scratch: Path, labels: set[str]) -> Iterator[ExposedModel]:
    """Yield the models that were started from one of these, directly or not."""
    sources = {
        (dump, model): _started_with(root, scratch, dump, model)
        for dump, model in _models(root, scratch)
        if str(Label("pretrained_model", dump, model=model)) not in labels
    }
    known, changed = set(labels), True
    while changed:
        changed = False
        for (dump, model), inputs in sources.items():
            label = str(Label("pretrained_model", dump, model=model))
            if label not in known and (through := next((each for each in inputs if each in known), None)):
                known.add(label)
                changed = True
                finished, release = _is_finished(root, dump, model), _release(root, dump, model)
                yield ExposedModel(dump, model, finished, release=release, through=through)


def _started_with(root: DataRoot, scratch: Path, dump: str, model: str) -> list[str]:
    """Return the labels of the models that a model, finished or in training, was started from."""
    labels = [str(parse_label(label, model)) for label in inputs_of(root, scratch, dump, model)]
    return [label for label in labels if label.startswith("pretrained_model ")]


def _is_finished(root: DataRoot, dump: str, model: str) -> bool:
    return root.directory("pretrained_model", dump, model=model).manifest() is not None


def _release(root: DataRoot, dump: str, model: str) -> str | None:
    release = root.directory("release", dump, model=model)
    return release.label if release.manifest() else None


def _models(root: DataRoot, scratch: Path) -> Sequence[tuple[str, str]]:
    """Return the dump and name of every model that is trained or in training."""
    made = {(dump, model) for dump in root.dumps("pretrained_model") for model in root.models("pretrained_model", dump)}
    runs = scratch.glob("pretrained_model/dump=*/model=*")
    keys = ((path.parent.name.removeprefix("dump="), path.name.removeprefix("model=")) for path in runs)
    running = {(dump, model) for dump, model in keys if has_form("dump", dump) and has_form("model", model)}
    return sorted(made | running)
