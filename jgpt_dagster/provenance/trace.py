"""From a step of training to the documents that it read, and from a document to the steps that read it.

The order of samples is a permutation that can be inverted, so neither way needs a search. Of the tables, only the row
groups are read that hold the answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from jgpt_dagster.lm.data.document_split import split_documents
from jgpt_dagster.lm.data.token_files import TOKENS, map_tokens
from jgpt_dagster.lm.data.training_set import TokenShard
from jgpt_dagster.provenance.document_table import (
    Document,
    DocumentTable,
    Piece,
    pieces_of_ranges,
    positions_of_documents,
)
from jgpt_dagster.provenance.labels import parse_label
from jgpt_dagster.provenance.sources import SourceDocument, Sources
from jgpt_dagster.provenance.training_run import TraceError, TrainingRun
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.safe_path import child_path


@dataclass(frozen=True)
class TracedPart:
    """A part of a sample that comes of one document: tokens `start … stop - 1` of the document's `length`."""

    source: SourceDocument
    file: TokenShard
    start: int
    stop: int
    length: int


@dataclass(frozen=True)
class TracedSample:
    """A sample that a step took: its block, and the parts of documents in it. `ids` are its tokens, (context + 1,)."""

    sample: int
    step: int
    epoch: int
    block: int
    ids: np.ndarray
    parts: Sequence[TracedPart]


@dataclass(frozen=True)
class Use:
    """One reading of a document: a step, its epoch and sample, and the tokens of the document that were in it."""

    step: int
    epoch: int
    sample: int
    start: int
    stop: int
    checkpoint_before: int | None
    checkpoint_after: int | None


@dataclass(frozen=True)
class TracedDocument:
    """What became of a document: where its tokens are, and each use of it, in order. `fate` says what it was for."""

    source: SourceDocument
    file: TokenShard
    document: Document
    fate: str
    stream: tuple[str, int, int] | None = None
    uses: Sequence[Use] = field(default_factory=list)


def trace_samples(root: DataRoot, run: TrainingRun, samples: Sequence[int]) -> list[TracedSample]:
    """Return samples of a run with the documents in them. `root` is where their titles are looked up."""
    blocks = [run.block_of(sample) for sample in samples]
    ranges = [(block * run.context, (block + 1) * run.context + 1) for block in blocks]
    pieces = pieces_of_ranges(run.training_set.directory, ranges)
    documents = _documents_of_pieces(run, {piece for found in pieces for piece in found})
    sources, known = Sources(root, run.root), dict[tuple[int, int], SourceDocument]()
    for shard in sorted({shard for shard, _ in documents}):
        keys = {document.key for (number, _), found in documents.items() if number == shard for document in found}
        file = run.training_set.token_files[shard]
        known |= {(shard, key): source for key, source in sources.documents(file, keys).items()}
    return [
        TracedSample(
            sample,
            run.step_of(sample),
            sample // run.blocks,
            block,
            np.concatenate([_tokens(run, piece) for piece in found]),
            [
                TracedPart(
                    known[piece.shard, document.key],
                    run.training_set.token_files[piece.shard],
                    max(piece.start - document.offset, 0),
                    min(piece.stop - document.offset, document.length),
                    document.length,
                )
                for piece in found
                for document in documents[piece.shard, piece.start]
                if document.offset < piece.stop and document.offset + document.length > piece.start
            ],
        )
        for sample, block, found in zip(samples, blocks, pieces, strict=True)
    ]


def trace_document(root: DataRoot, run: TrainingRun, corpus: str, key: int) -> TracedDocument:
    """Return what a run did with a document of a corpus, by its page id or document id.

    Raises TraceError if no token file of the run's training set has it.
    """
    for shard, file in enumerate(run.training_set.token_files):
        if file.corpus == corpus and _may_hold(root, run, file, key):
            document = DocumentTable(child_path(run.root.path, *file.path.split("/"))).with_key(key)
            if document is not None:
                return _traced(root, run, shard, document)
    raise TraceError(
        f"The training set {run.dump} has no document {key} of {corpus}: it is not in the source, or was left out of "
        f"the text. `shard=NNN.rejected.jsonl` and `{corpus}_duplicates` say why."
    )


def documents_with_title(root: DataRoot, run: TrainingRun, title: str) -> Iterator[tuple[str, int]]:
    """Yield corpus and page id of each page of the training set with a title."""
    sources = Sources(root, run.root)
    for file in run.training_set.token_files:
        yield from ((file.corpus, key) for key in sources.with_title(file, title))


def _traced(root: DataRoot, run: TrainingRun, shard: int, document: Document) -> TracedDocument:
    file, sources = run.training_set.token_files[shard], Sources(root, run.root)
    source = sources.documents(file, [document.key])[document.key]
    stream = sources.stream_of(parse_label(file.label), document.key)
    split = split_documents(
        file.corpus,
        np.array([document.key]),
        np.array([document.length]),
        run.training_set.weights[file.corpus],
        run.training_set.validation_share,
    )
    if split.empty[0]:
        return TracedDocument(source, file, document, "empty", stream)
    if split.held_out[0]:
        return TracedDocument(source, file, document, "held out", stream)
    (positions,) = positions_of_documents(run.training_set.directory, shard, [document])
    uses = sorted(uses_of(run, document, positions), key=lambda use: (use.sample, use.start))
    return TracedDocument(source, file, document, "trained on" if positions else "left out", stream, uses)


def uses_of(run: TrainingRun, document: Document, positions: Sequence[int]) -> Iterator[Use]:
    """Yield each sample that had tokens of a document, as input or as target."""
    for position in positions:
        # The first token of a block is also the last target of the one before.
        first = max((position - 1) // run.context, 0)
        last = min((position + document.length - 1) // run.context, run.blocks - 1)
        for block in range(first, last + 1):
            start = max(block * run.context - position, 0)
            stop = min((block + 1) * run.context + 1 - position, document.length)
            for sample in run.uses_of_block(block):
                step = run.step_of(sample)
                yield Use(step, sample // run.blocks, sample, start, stop, *run.checkpoints_around(step))


def _may_hold(root: DataRoot, run: TrainingRun, file: TokenShard, key: int) -> bool:
    """Return whether a token file may have a document: documents without a dump are dealt out by their numbers."""
    label = parse_label(file.label)
    if label.dump is not None or label.shard is None:
        return True
    shards = sum(other.corpus == file.corpus for other in run.training_set.token_files)
    return key % shards == int(label.shard)


def _documents_of_pieces(run: TrainingRun, pieces: set[Piece]) -> dict[tuple[int, int], list[Document]]:
    found: dict[tuple[int, int], list[Document]] = {}
    table, of_shard = None, -1
    for piece in sorted(pieces):
        if table is None or of_shard != piece.shard:
            directory = child_path(run.root.path, *run.training_set.token_files[piece.shard].path.split("/"))
            table, of_shard = DocumentTable(directory), piece.shard
        documents = {document.offset: document for document in table.in_range(piece.start, piece.stop)}
        before = found.get((piece.shard, piece.start), [])
        found[piece.shard, piece.start] = [*{**{d.offset: d for d in before}, **documents}.values()]
    return found


def _tokens(run: TrainingRun, piece: Piece) -> np.ndarray:
    file = run.training_set.token_files[piece.shard]
    tokens = map_tokens(child_path(run.root.path, *file.path.split("/"), TOKENS), file.tokens)
    return np.array(tokens[piece.start : piece.stop])
