"""What holds excluded documents although the newest corpora do not: sources, older outputs, tokenizers, models."""

import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jgpt_dagster.catalog.exclusions import exclusions_of_shard
from jgpt_dagster.corpus.exclusions.exclusion_list import ExclusionList
from jgpt_dagster.provenance.excluded_documents import texts_of
from jgpt_dagster.provenance.exposure import ExposedModel, HeldTokens
from jgpt_dagster.provenance.labels import Label, parse_label
from jgpt_dagster.provenance.root_files import outputs_of
from jgpt_dagster.storage.data_root import DataRoot


class Holder(NamedTuple):
    """Something that holds excluded documents: its kind, its name, and in words what it holds and what can be done."""

    kind: str
    name: str
    why: str


def still_held(
    root: DataRoot, exclusions: ExclusionList, tokens: Sequence[HeldTokens], models: Sequence[ExposedModel]
) -> Iterator[Holder]:
    """Yield what holds excluded documents; `tokens` and `models` are those with any of them."""
    newest = max(root.dumps("*_articles"), default="")
    yield from _texts(root, exclusions, newest)
    yield from _tokenizer(root, exclusions)
    yield from _word_counts(root, exclusions)
    for file in tokens:
        dump = parse_label(file.label).dump
        if file.path.startswith("trained_on/"):
            yield Holder("training data", file.path, "models were trained on it; jgpt prune deletes that of no model")
        elif dump and dump < newest:
            yield Holder("older dump", file.label, _remake(dump))
    for model in models:
        yield from _model(model)
    if (root.path / ".dagster").is_dir() and (tokens or models):
        yield Holder("records", ".dagster", "previews of first documents in the records of runs")


def _texts(root: DataRoot, exclusions: ExclusionList, newest: str) -> Iterator[Holder]:
    sources = dict[str, str]()
    for corpus, shard, manifest in texts_of(root):
        found = exclusions_of_shard(root, corpus, shard, manifest, exclusions)
        if not (found.applied or found.pending):
            continue
        dump = parse_label(shard.label).dump
        source = str(Label(f"{corpus}_dump", dump))
        if root.directory(f"{corpus}_dump", dump).manifest():
            sources[source] = "the source as it was published, which is never changed"
        else:
            sources[f"the source of {corpus}"] = "a folder, or a download that is not here: nothing changes it"
        if found.pending and dump and dump < newest:
            yield Holder("older dump", shard.label, _remake(dump))
    for name, why in sources.items():
        yield Holder("source", name, why)


def _tokenizer(root: DataRoot, exclusions: ExclusionList) -> Iterator[Holder]:
    tokenizer = root.directory("tokenizer").manifest()
    inputs = tokenizer.recipe.inputs if tokenizer else {}
    if any(_held(root, exclusions, parse_label(label), sha256) for label, sha256 in inputs.items()):
        why = "its vocabulary was learned from text with them; retrain: true replaces it, and makes all tokens stale"
        yield Holder("tokenizer", "tokenizer", why)


def _word_counts(root: DataRoot, exclusions: ExclusionList) -> Iterator[Holder]:
    for output, manifest in outputs_of(root, "_word_counts"):
        inputs = manifest.recipe.inputs.items()
        if any(_held(root, exclusions, parse_label(label), sha256) for label, sha256 in inputs):
            yield Holder("word counts", output.label, "its words; only a new tokenizer reads it: delete its folder")


def _held(root: DataRoot, exclusions: ExclusionList, segmented: Label, sha256: str) -> bool:
    """Return whether segmented text with this data had documents that are excluded now."""
    corpus = segmented.asset.removesuffix("_segmented")
    text = root.parquet(f"{corpus}_{'articles' if segmented.dump else 'documents'}", segmented.dump, segmented.shard)
    manifest = text.manifest()
    if manifest is None:
        return bool(exclusions.active)  # nobody can tell
    found = exclusions_of_shard(root, corpus, text, manifest, exclusions)
    now = root.parquet(segmented.asset, segmented.dump, segmented.shard).manifest()
    is_current = now and now.recipe.inputs.get(text.recipe_label) == manifest.data_sha256
    if is_current and now and now.data_sha256 == sha256 and not found.pending:
        return False
    return bool(found.applied or found.pending)


def _model(model: ExposedModel) -> Iterator[Holder]:
    if model.unknown:
        yield Holder("model", model.label, "its training data is gone, so nobody can tell whether it read them")
    elif model.through:
        yield Holder("model", model.label, f"it was started from {model.through}")
    elif model.documents and model.finished:
        yield Holder("model", model.label, f"{len(model.steps):,} steps read {len(model.documents):,} of the documents")
    for step in model.checkpoints:
        yield Holder("checkpoint", f"{model.label} at step {step}", "it comes after the first of these steps")
    if model.release:
        yield Holder("release", model.release, "it has the weights of this model")


def _remake(dump: str) -> str:
    command = shlex.join(["jgpt", "run", "--dump", dump, "--to", "training_set"])
    return f"made before; {command} makes it without them"
