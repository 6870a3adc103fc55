"""What generated samples of a model have word for word from the training data, as a page of a release's metadata."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import dagster as dg

from jgpt_dagster.assets.evaluation import SAMPLES
from jgpt_dagster.literal_text import code_span, markdown_text
from jgpt_dagster.lm.data.span_index import SpanIndexError
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.provenance.sources import SourceDocument
from jgpt_dagster.provenance.trace_text import TracedSpan, trace_text
from jgpt_dagster.provenance.training_run import TraceError, TrainingDataNotFetchedError, open_run
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact

_SAMPLES = 3
_MINIMUM = 5
_DOCUMENTS = 2


def traced_samples(store: CorpusStore, dump: str, model: str, scores: DirectoryArtifact) -> Mapping[str, Any]:
    """Return the samples of an evaluation with their verbatim spans marked and linked.

    Nothing if there is no index of the training data, which is made on demand, or if the data is not on this machine.
    """
    try:
        run = open_run(store.root, store.scratch_path, dump, model)
        tokenizer = load_tokenizer(run.root.directory("tokenizer").path)
        parts = []
        for sample in json.loads((scores.path / SAMPLES).read_text())[:_SAMPLES]:
            text = sample["text"]
            traced = trace_text(store.root, run, tokenizer, text, minimum=_MINIMUM, documents=_DOCUMENTS)
            parts.append(marked_text(text, traced.spans))
    except (TraceError, TrainingDataNotFetchedError, SpanIndexError):
        return {}
    return {"traced_samples": dg.MetadataValue.md("\n\n---\n\n".join(parts))} if parts else {}


def marked_text(text: str, spans: Sequence[TracedSpan]) -> str:
    """Return a text as Markdown: its spans in bold, with counts and links to documents; none of it acts as markup."""
    return "".join(_pieces(text, spans))


def _pieces(text: str, spans: Sequence[TracedSpan]) -> Iterator[str]:
    done = 0
    for span in spans:
        start = text.find(span.text.strip(), done)
        if not span.text.strip() or start < 0:  # it overlaps the span before it, or was normalised
            continue
        yield from (f"{markdown_text(line)} " for line in text[done:start].splitlines() if line.strip())
        done = start + len(span.text.strip())
        named = ", ".join(map(_link, span.documents))
        yield f"**{code_span(text[start:done])}** ({span.count:,} ×: {named}) "
    yield from (f"{markdown_text(line)} " for line in text[done:].splitlines() if line.strip())


def _link(source: SourceDocument) -> str:
    if not source.link.startswith(("https://", "http://")):
        return markdown_text(source.name)
    return f"[{markdown_text(source.name)}](<{quote(source.link, safe=':/?&=%#~')}>)"
