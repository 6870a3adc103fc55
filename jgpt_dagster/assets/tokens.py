"""`<corpus>_tokens`: the token ids of a corpus's documents."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.materialize import (
    Materialization,
    StageConfig,
    materialize,
    progress,
    reuse_facts,
)
from jgpt_dagster.assets.metadata import preview
from jgpt_dagster.assets.previous_dump import previous_tokens, rows_before
from jgpt_dagster.assets.stage_pictures import document_lengths, reuse
from jgpt_dagster.assets.tokenizer import open_tokenizer
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.output_catalog import TOKENIZER, TRAINING_SET
from jgpt_dagster.corpus.row_reuse import PreviousRows, ReuseStats
from jgpt_dagster.lm.data.token_files import (
    EncodedDocument,
    TokenFile,
    document_batches,
    encode_documents,
    write_encoded,
)
from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer
from jgpt_dagster.orchestration.partitions import corpus_partitions, shard_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import read_text_rows
from jgpt_dagster.storage.text_cells import TextCell, to_lists

CODE_VERSION = "1"

PreviousTokens = PreviousRows[tuple[TextCell | None, EncodedDocument]]


def build_tokens(corpus: Corpus) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_tokens`."""
    description = (
        f"Token ids of a shard's {corpus.document_noun}s, each ending in `</s>`, as one flat uint16 file, with "
        "the place of each one."
    )
    if corpus.dated:
        description += "\n\nAn article whose segmented lines an earlier dump has too is taken from there."

    @stage_asset(
        corpus.tokens_asset,
        group=TRAINING_SET,
        kinds={"huggingface", "numpy"},
        code_version=CODE_VERSION,
        partitions=corpus_partitions(corpus),
        deps=[corpus.segmented_asset, TOKENIZER],
        description=description,
    )
    def tokens(context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore) -> Materialization:
        partition = shard_key(context, corpus)
        source = store.parquet(corpus.segmented_asset, *partition)
        target = store.directory(corpus.tokens_asset, *partition)
        segmented = source.verified()
        tokenizer, tokenizer_manifest = open_tokenizer(store)
        tokenizer.require_segmenter(store.segmenter, segmented.recipe.libraries["segmenter"])
        recipe = Recipe(
            stage=target.asset,
            code_version=CODE_VERSION,
            inputs={source.recipe_label: segmented.data_sha256, "tokenizer": tokenizer_manifest.data_sha256},
            libraries=library_versions("tokenizers", "pyarrow"),
        )

        def make(target: DirectoryArtifact, recipe: Recipe) -> Mapping[str, Any]:
            previous: PreviousTokens = PreviousRows([])
            if not config.force:
                own = rows_before(target, source, recipe)
                previous = previous_tokens(context, store, corpus, partition, recipe, own)
            stats = ReuseStats(previous.rate, previous.full_seconds)

            def encode(batch: Sequence[tuple[int, TextCell]]) -> list[EncodedDocument]:
                """Encode what the previous dump does not have, and return the documents in their order."""
                reused = [_reused(previous, key, lines, stats) for key, lines in batch]
                new = [keyed for keyed, found in zip(batch, reused, strict=True) if found is None]
                size = sum(lines.characters for _, lines in new)
                texts = zip((key for key, _ in new), to_lists(lines for _, lines in new), strict=True)
                made = iter(stats.measure(lambda: encode_documents(list(texts), tokenizer), len(new), size))
                return [next(made) if found is None else found for found in reused]

            bar = progress(context, target, "documents", segmented.counts["rows"])
            documents = bar.track(read_text_rows(source.path, [corpus.key_column, "lines"]))
            batched = document_batches(documents, lambda keyed: keyed[1].characters)
            with target.writing(recipe) as out:
                out.counts = write_encoded(map(encode, batched), tokenizer.unk_id, out.path)
            return reuse_facts(stats)

        return materialize(
            context,
            store,
            target,
            recipe,
            make,
            force=config.force,
            describe=lambda _: {
                **reuse(store, lambda dump: store.directory(target.asset, dump, partition.shard), partition.dump),
                **_describe(target, tokenizer),
            },
        )

    return tokens


def _reused(previous: PreviousTokens, key: int, lines: TextCell, stats: ReuseStats) -> EncodedDocument | None:
    """Return what there is for the same lines of the same document; None if they are new."""
    found = previous.seek(key)
    if found is None or found[0] not in (None, lines):
        return None
    stats.count_reused(lines.characters)
    return found[1]


def _describe(target: DirectoryArtifact, tokenizer: TextTokenizer) -> Mapping[str, Any]:
    file = TokenFile(target.path)
    samples = [(int(file.documents["key"][index]), file.document(index)) for index in range(min(4, len(file)))]
    return {
        **document_lengths(file.documents["length"]),
        "preview": preview(("document", "text"), [(str(key), tokenizer.decode(ids[:80])) for key, ids in samples]),
    }
