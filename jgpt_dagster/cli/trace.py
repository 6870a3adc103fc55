"""`jgpt trace`: from steps to documents, and from documents to steps."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from jgpt_dagster.cli.deployment import open_deployment
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError

if TYPE_CHECKING:
    from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer
    from jgpt_dagster.provenance.sources import SourceDocument
    from jgpt_dagster.provenance.trace import TracedDocument, TracedSample
    from jgpt_dagster.provenance.trace_text import TracedText
    from jgpt_dagster.settings import Settings

_SHOWN_USES = 20


@click.command()
@click.option("--step", type=click.IntRange(min=1), help="Show the documents that a step read.")
@click.option("--token", type=click.IntRange(min=0), help="Show those of the sample with this token of the run.")
@click.option("--page", type=int, help="Show the steps that read a page of the wiki, by its page id.")
@click.option("--document", metavar="CORPUS:ID", help="Show the steps that read a document of a corpus.")
@click.option("--title", help="Show the steps that read the page with this title.")
@click.option(
    "--text",
    is_flag=False,
    flag_value="",
    help="Find the longest spans of a text in the training data; alone, with --step or --token: print what was read.",
)
@click.option(
    "--min-tokens", default=8, show_default=True, type=click.IntRange(min=1), help="With a --text: the shortest span."
)
@click.option(
    "--documents", default=5, show_default=True, type=click.IntRange(min=0), help="With a --text: documents to name."
)
@click.option("--dump", help="Dump whose model is traced; default the newest with one.")
def trace(
    step: int | None,
    token: int | None,
    page: int | None,
    document: str | None,
    title: str | None,
    text: str | None,
    min_tokens: int,
    documents: int,
    dump: str | None,
) -> None:
    """Trace the training of the model JGPT_MODEL, to the page and revision, and from a page to the exact steps."""
    given = (step, token, page, document, title, text or None)
    if sum(option is not None for option in given) != 1:
        raise click.UsageError("Give one of --step, --token, --page, --document, --title and --text TEXT.")
    settings = open_deployment()
    from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
    from jgpt_dagster.provenance.trace import documents_with_title, trace_document, trace_samples
    from jgpt_dagster.provenance.training_run import open_run

    root = settings.root
    run = open_run(root, settings.scratch_directory, dump or _newest_dump(settings), settings.model)
    if step is not None or token is not None:
        samples = run.samples_of(step) if step is not None else [run.sample_of_token(token or 0)]
        tokenizer = load_tokenizer(run.root.directory("tokenizer").path) if text is not None else None
        for sample in trace_samples(root, run, samples):
            _say(_sample_lines(sample, tokenizer))
        return
    if text:
        from jgpt_dagster.provenance.trace_text import trace_text

        tokenizer = load_tokenizer(run.root.directory("tokenizer").path)
        _say(_text_lines(trace_text(root, run, tokenizer, text, minimum=min_tokens, documents=documents)))
        return
    corpus = next(corpus.name for corpus in settings.corpora if corpus.dated)
    wanted = [(corpus, page)] if page is not None else [_parse_document(document)] if document else []
    if title is not None:
        wanted = list(documents_with_title(root, run, title))
        if not wanted:
            raise JgptError(f"The training set {run.dump} has no page with the title {title!r}.")
    for name, key in wanted:
        _say(_document_lines(trace_document(root, run, name, key)))


def _newest_dump(settings: "Settings") -> str:
    dumps = [
        dump
        for dump in settings.root.dumps("training_set")
        if settings.model in settings.root.models("pretrained_model", dump)
        or (settings.scratch_directory / "pretrained_model" / f"dump={dump}" / f"model={settings.model}").is_dir()
    ]
    if not dumps:
        raise JgptError(f"{settings.root.location} holds no model {settings.model}. Train one with `jgpt run`.")
    return dumps[-1]


def _parse_document(text: str | None) -> tuple[str, int]:
    corpus, _, key = (text or "").rpartition(":")
    if not corpus or not key.isdecimal():
        raise click.BadParameter("Give a corpus and a number, such as cc100:17.", param_hint="--document")
    return corpus, int(key)


def _sample_lines(sample: "TracedSample", tokenizer: "TextTokenizer | None") -> Iterator[str]:
    yield f"step {sample.step:,}, sample {sample.sample:,} (epoch {sample.epoch + 1}, block {sample.block:,})"
    for part in sample.parts:
        whole = "all" if (part.start, part.stop) == (0, part.length) else f"tokens {part.start:,} to {part.stop - 1:,}"
        yield f"  {whole} of {part.length:,} of {part.source.name}"
        yield from (f"    {line}" for line in _ways(part.source))
    if tokenizer is not None:
        yield "  text:"
        yield from (f"  | {line}" for line in _text(tokenizer, sample).splitlines())


def _text_lines(traced: "TracedText") -> Iterator[str]:
    yield f"{traced.covered:,} of {traced.tokens:,} tokens lie in {len(traced.spans):,} spans of the training data"
    for span in traced.spans:
        times = "time" if span.count == 1 else "times"
        yield f"  {span.text!r}: {span.stop - span.start:,} tokens, {span.count:,} {times}"
        for source in span.documents:
            yield f"    {source.name}" + "".join(f" {way}" for way in _ways(source))


def _text(tokenizer: "TextTokenizer", sample: "TracedSample") -> str:
    """Return the text of a sample, with `</s>` where documents end."""
    parts, start = list[str](), 0
    for end in [*(index for index, token in enumerate(sample.ids) if token == tokenizer.eos_id), len(sample.ids)]:
        parts.append(tokenizer.decode(sample.ids[start:end]))
        start = end + 1
    return "</s>\n".join(parts)


def _document_lines(traced: "TracedDocument") -> Iterator[str]:
    document = traced.document
    yield traced.source.name
    yield from (f"  {line}" for line in _ways(traced.source))
    if traced.stream:
        name, offset, length = traced.stream
        yield f"  in {name}: bytes {offset:,} to {offset + length - 1:,}"
    yield (
        f"  in {traced.file.label}: tokens {document.offset:,} to {document.offset + document.length - 1:,} "
        f"({document.length:,})"
    )
    steps = len({use.step for use in traced.uses})
    yield f"  {traced.fate}" + (f": {len(traced.uses):,} samples in {steps:,} steps" if traced.uses else "")
    for use in traced.uses[:_SHOWN_USES]:
        yield (
            f"    step {use.step:,} (epoch {use.epoch + 1}, sample {use.sample:,}): tokens {use.start:,} to "
            f"{use.stop - 1:,}; {_checkpoints(use.checkpoint_before, use.checkpoint_after)}"
        )
    if len(traced.uses) > _SHOWN_USES:
        yield f"    and {len(traced.uses) - _SHOWN_USES:,} more samples"


def _checkpoints(before: int | None, after: int | None) -> str:
    first = "no checkpoint before it is kept" if before is None else f"checkpoint {before:,} had not seen it then"
    return f"{first}, {'none after it is kept' if after is None else f'checkpoint {after:,} has'}"


def _ways(source: "SourceDocument") -> Iterator[str]:
    """Yield how to look at a document at its source."""
    yield from (way for way in (source.link, source.place) if way)


def _say(lines: Iterator[str] | Sequence[str]) -> None:
    for line in lines:
        say(line)
