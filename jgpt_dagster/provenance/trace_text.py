"""The longest verbatim spans of a text in the training data, with the documents that they stand in."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jgpt_dagster.lm.data.span_index import SpanIndex, maximal_matches
from jgpt_dagster.lm.data.token_files import TOKENS, map_tokens
from jgpt_dagster.lm.data.training_set import TokenShard
from jgpt_dagster.lm.release.generation import prompt_text
from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer
from jgpt_dagster.provenance.document_table import DocumentTable
from jgpt_dagster.provenance.labels import Label, find_output, parse_label
from jgpt_dagster.provenance.sources import SourceDocument, Sources
from jgpt_dagster.provenance.training_run import TraceError, TrainingRun
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.safe_path import child_path

SPAN_INDEX = "_span_index"


@dataclass(frozen=True)
class TracedSpan:
    """A verbatim span: its text, its tokens `start … stop - 1` of the query, its occurrences, and some documents."""

    text: str
    start: int
    stop: int
    count: int
    documents: Sequence[SourceDocument]


@dataclass(frozen=True)
class TracedText:
    """A text as training would have read it: its tokens, and its spans in the training data, in order."""

    tokens: int
    spans: Sequence[TracedSpan]

    @property
    def covered(self) -> int:
        """Tokens of the text that lie in some span."""
        return len({token for span in self.spans for token in range(span.start, span.stop)})


def trace_text(
    root: DataRoot, run: TrainingRun, tokenizer: TextTokenizer, text: str, *, minimum: int, documents: int
) -> TracedText:
    """Return the longest spans of at least `minimum` tokens of a text, with up to `documents` documents for each.

    A span lies within one document, and begins and ends between two tokens. Held-out documents are searched too. Raises
    TraceError, with the command that makes them, if token files have no index.
    """
    ids = tokenizer.encode(prompt_text(tokenizer, text))
    opened = list(open_indexes(root, run))
    lengths = np.zeros(len(ids), np.int64)
    for _, index in opened:
        lengths = np.maximum(lengths, index.longest_matches(ids))
    sources = Sources(root, run.root)
    spans = []
    for match in maximal_matches(lengths, minimum):
        span = ids[match.start : match.start + match.length]
        count, found = 0, list[SourceDocument]()
        for file, index in opened:
            count += index.count(span)
            if (missing := documents - len(found)) > 0 and (places := index.positions(span, missing)):
                found += _documents(run, sources, file, places, len(span))
        spans.append(TracedSpan(tokenizer.decode(span), match.start, match.start + match.length, count, found))
    return TracedText(len(ids), spans)


def open_indexes(root: DataRoot, run: TrainingRun) -> Iterator[tuple[TokenShard, SpanIndex]]:
    """Yield each token file that a run was trained on with its index. Raises TraceError if one has none."""
    for file in run.training_set.token_files:
        label = parse_label(file.label)
        tokens = find_output(run.root, label)
        index = root.directory(index_label(label).asset, label.dump, label.shard)
        manifest = index.manifest()
        if tokens is None or manifest is None or manifest.recipe.inputs.get(file.label) != tokens[1].data_sha256:
            why = "has no index" if manifest is None else "has an index of other tokens"
            assets = dict.fromkeys(index_label(parse_label(each.label)).asset for each in run.training_set.token_files)
            commands = ["  " + shlex.join(["jgpt", "run", "--dump", run.dump, "--to", asset]) for asset in assets]
            raise TraceError("\n".join([f"{file.label} {why}. Make those of all token files with:", *commands]))
        path = child_path(run.root.path, *file.path.split("/"))
        yield file, SpanIndex.open(index.path, map_tokens(path / TOKENS, file.tokens))


def index_label(tokens: Label) -> Label:
    """Return the label of the index of a token file."""
    return tokens._replace(asset=tokens.asset.removesuffix("_tokens") + SPAN_INDEX)


def _documents(
    run: TrainingRun, sources: Sources, file: TokenShard, places: Sequence[int], length: int
) -> list[SourceDocument]:
    table = DocumentTable(child_path(run.root.path, *file.path.split("/")))
    keys = [document.key for place in places for document in table.in_range(place, place + length)]
    known = sources.documents(file, {*keys})
    return [known[key] for key in dict.fromkeys(keys)]
