"""`tokenizer`: trained once from the segmented corpora, then frozen."""

import resource
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any, cast, get_args

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.document_signatures import map_for
from jgpt_dagster.assets.materialize import Materialization, materialize, progress
from jgpt_dagster.assets.metadata import preview
from jgpt_dagster.assets.word_counts import words_of
from jgpt_dagster.catalog.output_catalog import TOKENIZER
from jgpt_dagster.corpus.segmenters import restore_step
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.tokenizer.bpe_training import (
    TokenizerSettings,
    require_trainable,
    train_tokenizer,
)
from jgpt_dagster.lm.tokenizer.text_tokenizer import (
    Encodes,
    TextTokenizer,
    TokenizerMismatchError,
    load_tokenizer,
    require_profile_encodes,
    save_tokenizer,
)
from jgpt_dagster.orchestration.partitions import known_dumps
from jgpt_dagster.orchestration.resources import CorpusStore, SegmenterResource
from jgpt_dagster.runtime.resource_limits import available_memory
from jgpt_dagster.storage.artifact import ArtifactError
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest, Recipe, library_versions
from jgpt_dagster.storage.safe_path import require_form

CODE_VERSION = "1"

_DEFAULT_ENCODES: dict[TextProfile, Encodes] = {"seed": "words", "clean": "text"}

_FINGERPRINT_SHOWN = 60


class TokenizerConfig(dg.Config):
    """Run config of the tokenizer; the figures are the published recipe's."""

    dump: str = Field(
        default="", description="Dump to train on; by default the newest dump whose articles are segmented."
    )
    vocab_size: int = Field(
        default=32_000, ge=300, le=65_535, description="Largest number of tokens, special ones included."
    )
    min_frequency: int = Field(
        default=1, ge=1, le=1_000_000, description="Least number of occurrences of a pair that is merged."
    )
    limit_alphabet: int = Field(
        default=5_000, ge=1, le=65_535, description="Largest number of characters that get a token of their own."
    )
    sample_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the documents to train on, chosen by a hash of corpus and id. Training takes some 165 "
        "bytes of memory for each distinct word; a smaller share limits that, at the cost of rare tokens.",
    )
    max_memory: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="GB (10^9 bytes) that training may take. A text that needs more is refused once its words are "
        "counted, with the figures. By default what this machine or container has.",
    )
    encodes: str | None = Field(
        default=None,
        pattern=f"^({'|'.join(get_args(Encodes))})$",
        description="What is encoded: `words` that the segmenter has cut, as in the published recipe, or `text` as it "
        "is, so that word borders guide only the learning of the vocabulary. By default what the present tokenizer "
        "encodes; of a new one, `text` under `clean`, and `words` under `seed`, which has nothing else.",
    )
    retrain: bool = Field(
        default=False,
        description="Replace the present tokenizer. Every token file and model made with it becomes stale. Settings "
        "that are not given are those of the present one.",
    )


@stage_asset(TOKENIZER, group="tokenizer", kinds={"huggingface", "python"}, code_version=CODE_VERSION)
def tokenizer(
    context: dg.AssetExecutionContext, config: TokenizerConfig, store: CorpusStore, segmenter: SegmenterResource
) -> Materialization:
    """The BPE tokenizer, in a directory that `AutoTokenizer.from_pretrained` opens.

    It is trained once, on the segmented shards of one dump and of the other corpora; every later run and refresh reuses
    it. Materializing it again verifies it. It deliberately has no edge to the corpora: a new dump must not make it
    stale. Its manifest records what it was trained on.
    """
    target = store.directory("tokenizer")
    present = target.manifest()
    encodes = _chosen(config, store.profile, present)
    frozen = present is not None and not config.retrain
    recipe = _verified(target).recipe if frozen else _recipe(store, segmenter, config, encodes, context.instance)

    def make(target: DirectoryArtifact, recipe: Recipe) -> dict[str, Any]:
        bar = progress(context, target, "characters")
        shards = [store.root.parquet_by_label(label) for label in recipe.inputs]
        settings = TokenizerSettings(config.vocab_size, config.min_frequency, config.limit_alphabet)
        require_trainable(settings, store.profile, encodes)
        with map_for(store, sum(shard.path.stat().st_size for shard in shards)) as ordered_map:
            words = words_of(context, store, shards, config.sample_share, ordered_map, bar.message)
        trained = train_tokenizer(words, store.profile, settings, encodes, _memory(config))
        with target.writing(recipe) as out:
            save_tokenizer(
                trained.tokenizer, out.path, store.profile, store.segmenter, recipe.libraries["segmenter"], encodes
            )
            out.counts = trained.counts
        # Linux counts in KiB. This is the peak of the whole process, including tokenizers trained in it before.
        return {"peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}

    return materialize(context, store, target, recipe, make, force=config.retrain, describe=lambda _: _describe(target))


def open_tokenizer(store: CorpusStore) -> tuple[TextTokenizer, Manifest]:
    """Return the frozen tokenizer and its manifest. Raises ArtifactError if it is missing or damaged."""
    artifact = store.directory("tokenizer")
    manifest = _verified(artifact)
    return _loaded(artifact.path, manifest.data_sha256), manifest


@lru_cache(maxsize=1)
def _loaded(path: Path, data_sha256: str) -> TextTokenizer:
    """Return the tokenizer in a directory with this data, which the caller has verified: many shards need it."""
    return load_tokenizer(path)


def require_tokenizer_engine(tokenizer: DirectoryArtifact, segmenter: str, fingerprint: str) -> None:
    """Raise TokenizerMismatchError if the frozen tokenizer encodes words of another engine than this one.

    Called before a sentence is segmented: words of another engine would replace good ones and could not be encoded. To
    a tokenizer of text, engines are equal.
    """
    manifest = tokenizer.manifest()
    if manifest and encodes_of(manifest) == "text":
        return
    frozen = manifest.recipe.libraries.get("segmenter", fingerprint) if manifest else fingerprint
    if frozen != fingerprint:
        raise TokenizerMismatchError(
            f"the tokenizer of this data root encodes words of the engine\n  {frozen}\n"
            f"and JGPT_SEGMENTER={segmenter} is now\n  {fingerprint}\n"
            "Nothing was segmented or overwritten. Put the tokenizer's engine back:\n"
            f"  {restore_step(frozen)}\n"
            "or use the new one in a new data root:\n  export JGPT_DATA=DIRECTORY\n"
            "or, in this one, segment every corpus again for a new tokenizer and new models, without the old one:\n"
            f"  {_removal(tokenizer)}"
        )


def _removal(artifact: DirectoryArtifact) -> str:
    """Return the step that takes an output out of the data root."""
    if artifact.remote is not None:
        return f"delete {artifact.remote}, and run\n  rm -r {shlex.quote(str(artifact.path))}"
    return f"mv {shlex.quote(str(artifact.path))} DIRECTORY"


def _verified(artifact: DirectoryArtifact) -> Manifest:
    try:
        return artifact.verified()
    except ArtifactError as error:
        if artifact.manifest() is None:
            raise
        raise ArtifactError(
            f"{error}\nwith `retrain: true` in its run config: a tokenizer is never replaced without it. Trained with "
            "the same settings on the same dump, it comes out the same."
        ) from error


def encodes_of(manifest: Manifest) -> Encodes:
    """Return what a tokenizer encodes; the recipes of the earliest do not say it."""
    return cast(Encodes, manifest.recipe.settings.get("encodes", "words"))


def _chosen(config: TokenizerConfig, profile: TextProfile, present: Manifest | None) -> Encodes:
    """Return what is to be encoded: as asked for, as present, or by the profile's default.

    Raises TokenizerMismatchError if the present tokenizer, which stays, encodes something else.
    """
    kept = encodes_of(present) if present else None
    asked = cast(Encodes | None, config.encodes)
    if asked and kept and asked != kept and not config.retrain:
        raise TokenizerMismatchError(
            f"the tokenizer of this data root encodes {kept}, and this run asks for `encodes: {asked}`: one root has "
            "one tokenizer, and every token file and model belongs to it. Leave `encodes` out to go on with it, or use "
            "a data root of its own (JGPT_DATA). `retrain: true` beside it in the run config replaces the tokenizer, "
            "and makes every token file and model stale."
        )
    encodes = asked or kept or _DEFAULT_ENCODES[profile]
    require_profile_encodes(profile, encodes)
    return encodes


def _recipe(
    store: CorpusStore,
    engine: SegmenterResource,
    config: TokenizerConfig,
    encodes: Encodes,
    instance: dg.DagsterInstance,
) -> Recipe:
    dump = config.dump or _newest_segmented_dump(store, instance)
    require_form("dump", dump)
    shards = [
        shard for corpus in store.corpora for shard in store.catalog.all_shards(corpus, corpus.segmented_asset, dump)
    ]
    manifests = {shard.recipe_label: shard.verified() for shard in shards}
    fingerprints = {manifest.recipe.libraries["segmenter"] for manifest in manifests.values()}
    with engine.open() as segmenter:
        if fingerprints != {segmenter.fingerprint}:
            raise JgptError(
                f"The shards were segmented by {' and '.join(sorted(fingerprints))}, the engine is now "
                f"{segmenter.fingerprint}. Segment all shards with one engine before a tokenizer is trained on them."
            )
    return Recipe(
        stage="tokenizer",
        code_version=CODE_VERSION,
        settings={
            "text": store.profile,
            "encodes": encodes,
            "vocab_size": config.vocab_size,
            "min_frequency": config.min_frequency,
            "limit_alphabet": config.limit_alphabet,
            "sample_share": config.sample_share,
        },
        inputs={label: manifest.data_sha256 for label, manifest in manifests.items()},
        libraries={**library_versions("tokenizers"), "segmenter": fingerprints.pop()},
    )


def _newest_segmented_dump(store: CorpusStore, instance: dg.DagsterInstance) -> str:
    for dump in reversed(known_dumps(instance)):
        shards = (
            shard
            for corpus in store.catalog.dated_corpora
            for shard in store.catalog.all_shards(corpus, corpus.segmented_asset, dump)
        )
        if all(shard.manifest() is not None for shard in shards):
            return dump
    raise ArtifactError(
        "No dump has all its shards of wikipedia_segmented yet, so there is nothing to train a tokenizer on. "
        "Segment one first, for example with:\n  jgpt run --dump latest --to wikipedia_segmented"
    )


def _memory(config: TokenizerConfig) -> int:
    """Return the bytes that training may take."""
    return available_memory() if config.max_memory is None else int(config.max_memory * 1e9)


def _describe(target: DirectoryArtifact) -> dict[str, Any]:
    tokenizer = load_tokenizer(target.path)
    ids = range(0, tokenizer.vocab_size, max(1, tokenizer.vocab_size // 12))
    return {
        "preview": preview(("id", "token"), [(str(index), tokenizer.token(index)) for index in ids]),
        "identity": tokenizer.sha256,
        "profile": tokenizer.profile,
        "encodes": tokenizer.encodes,
        # A full hash would make the table too wide; the manifest has it.
        "segmenter": tokenizer.segmenter_fingerprint[:_FINGERPRINT_SHOWN],
    }
