"""`wikipedia_dump` and `wikipedia_articles`: a verified dump, and the cleaned text of its articles."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

from jgpt_dagster.assets.column_schemas import column_metadata
from jgpt_dagster.assets.materialize import (
    StageConfig,
    as_dagster_failure,
    materialize,
    preview,
    progress,
    reuse_facts,
    table,
)
from jgpt_dagster.assets.previous_dump import previous_articles
from jgpt_dagster.corpus.fetch.decompress import DamagedFileError, bz2_chunks
from jgpt_dagster.corpus.fetch.download import download_file
from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror
from jgpt_dagster.corpus.row_reuse import PreviousRows, ReuseStats
from jgpt_dagster.corpus.schemas import ARTICLES
from jgpt_dagster.corpus.wikipedia.articles import ArticleTotals, CleanFunction, PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.leftover_markup import per_thousand
from jgpt_dagster.corpus.wikipedia.multistream import (
    DumpFormatError,
    IndexMismatchError,
    ShardRanges,
    read_range,
    read_siteinfo,
    split_dump,
)
from jgpt_dagster.corpus.wikipedia.page_xml import PageXmlError, parse_siteinfo
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikipedia.xml_cache import cached_xml_name, decompress_and_cache, read_cached_xml
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import TemplateLibrary
from jgpt_dagster.corpus.wikitext.template_store import FILES, TemplateCounts, collect_templates, open_templates
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.partitions import (
    dump_and_shard,
    dump_partitions,
    dump_shard_partitions,
    require_dump_key,
)
from jgpt_dagster.orchestration.resources import CorpusStore, Mirror
from jgpt_dagster.storage.artifact import ArtifactError
from jgpt_dagster.storage.atomic_write import link_or_copy, write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import Manifest, Recipe, library_versions
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact

DUMP_CODE_VERSION = "1"
ARTICLES_CODE_VERSION = "4"

_PLAN = "shards.json"


@dg.asset(
    group_name="wikipedia",
    kinds={"bz2"},
    partitions_def=dump_partitions,
    code_version=DUMP_CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def wikipedia_dump(
    context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore, mirror: Mirror
) -> dg.MaterializeResult:
    """The multistream dump of one date with its index, verified by the sizes and sha1 sums of the mirror.

    Its `shards.json` cuts the dump into byte ranges of whole bz2 streams and carries the hash of each, so that a shard
    reads and verifies its own bytes only. Under the profile `seed` the dump's templates lie beside it, collected in one
    pass, and the XML of each shard, which that pass has decompressed. A dump that is here is not asked for again:
    mirrors drop old ones.
    """
    dump = context.partition_key
    target = store.directory("wikipedia_dump", dump)
    seed = store.profile == "seed"
    with as_dagster_failure():
        require_dump_key(dump)
    recipe = Recipe(
        stage="wikipedia_dump",
        code_version=DUMP_CODE_VERSION,
        settings={
            "wiki": store.wiki,
            "dump": dump,
            "shards": store.shards,
            **({"templates": True, "unpacked": True} if seed else {}),
        },
        libraries=library_versions("wikiextractor") if seed else {},
    )

    # Parts of an unfinished download must outlive a kill, so they wait outside of the directory being written.
    incoming = store.root.path / ".incoming" / f"{store.wiki}-{dump}"

    def make(target: DirectoryArtifact, recipe: Recipe) -> None:
        files = DumpMirror(mirror.dumps_url, store.wiki).files(dump)
        with target.writing(recipe) as out:
            for file in files:
                bar = progress(context, target, "B", file.size)
                entry = download_file(
                    file.url, incoming / file.name, size=file.size, sha1=file.sha1, on_progress=bar.update
                )
                # A link, so that a kill from here on does not cost the download.
                link_or_copy(incoming / file.name, out.path / file.name)
                out.record_entry(file.name, entry)
            paths = [incoming / file.name for file in files]
            with _as_published("run the same command again"):
                site = _required_wiki(store, paths[0])
                plan = split_dump(paths[0], paths[1] if len(paths) > 1 else None, store.shards)
                templates = _collected(context, target, paths[0], plan, site, out.path) if seed else None
            write_json(out.path / _PLAN, plan.to_dict())
            out.counts = {
                "bytes": files[0].size,
                "pages": sum(shard.pages or 0 for shard in plan.shards) if len(files) > 1 else None,
                "shards_with_pages": sum(1 for shard in plan.shards if shard.length),
                "sha1": {file.name: file.sha1 for file in files if file.sha1},
                **({"templates": asdict(templates)} if templates else {}),
            }

    def let_go(_: Manifest) -> Mapping[str, Any]:
        """Delete the download, which the finished dump holds; a run killed at this point left it behind."""
        shutil.rmtree(incoming, ignore_errors=True)
        return {}

    return materialize(context, store, target, recipe, make, force=config.force, describe=let_go)


@dg.asset(
    group_name="wikipedia",
    kinds={"parquet", "python"},
    partitions_def=dump_shard_partitions,
    deps=["wikipedia_dump"],
    metadata=column_metadata(ARTICLES),
    code_version=ARTICLES_CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def wikipedia_articles(
    context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore
) -> dg.MaterializeResult:
    """One row an article: page id, revision id, title and the lines of its cleaned text, the title first.

    An article of which an earlier dump has the same revision is taken from there.
    """
    dump, shard = dump_and_shard(context.partition_key)
    target = store.parquet("wikipedia_articles", dump, shard)
    with as_dagster_failure():
        source, plan = _planned_dump(store, dump)
        part = plan.shards[int(shard)]
        site = read_siteinfo(source, plan)
        recipe = Recipe(
            stage="wikipedia_articles",
            code_version=ARTICLES_CODE_VERSION,
            settings={
                "text": store.profile,
                "namespaces": sha256_value(sorted(site.namespaces.items())),
                **_templates_setting(store, dump),
            },
            inputs={"pages": part.sha256},
            libraries=library_versions("pyarrow", *(("wikiextractor",) if store.profile == "seed" else ())),
        )

        def make(target: ParquetArtifact, recipe: Recipe) -> Mapping[str, Any]:
            counts, rejected, totals = PageCounts(), list[dict[str, Any]](), ArticleTotals()
            earlier = PreviousRows([]) if config.force else previous_articles(context, store, dump, recipe)
            tally = ReuseStats(earlier.rate)
            library = _templates(store, dump, site) if store.profile == "seed" else None
            clean = _reusing(article_cleaner(store.profile, site, library), earlier, tally)
            unpacked = _unpacked(store, dump, int(shard)) if library and part.length else None
            bar = progress(context, target, "articles", size=unpacked.stat().st_size if unpacked else part.length)
            rows = (
                read_articles(
                    read_cached_xml(unpacked, bar.count_input_bytes)
                    if unpacked
                    else read_range(source, part, bar.count_input_bytes),
                    clean,
                    counts,
                    rejected,
                    source=target.label,
                    expected_pages=part.pages,
                )
                if part.length
                else iter(())
            )
            with _as_published("materialize wikipedia_dump with `force: true`"):
                target.write(
                    ARTICLES,
                    totals.count(bar.track(rows)),
                    recipe,
                    lambda: {**asdict(counts), **asdict(totals)},
                    lambda: rejected,
                )
            return reuse_facts(tally)

        return materialize(
            context,
            store,
            target,
            recipe,
            make,
            force=config.force,
            describe=lambda made: _describe(target, made.counts),
        )


def _planned_dump(store: CorpusStore, dump: str) -> tuple[Path, ShardRanges]:
    """Return the dump file and its shard plan; of the dump, each shard verifies its own bytes as it reads them."""
    artifact = store.directory("wikipedia_dump", dump)
    plan = ShardRanges.from_dict(json.loads(artifact.verified_file(_PLAN).read_text()))
    return artifact.unverified_file(f"{store.wiki}-{dump}-pages-articles-multistream.xml.bz2"), plan


def _collected(
    context: dg.AssetExecutionContext,
    target: DirectoryArtifact,
    dump: Path,
    plan: ShardRanges,
    site: SiteInfo,
    folder: Path,
) -> TemplateCounts:
    """Write the dump's templates, and the XML of its shards, to `folder`."""
    bar = progress(context, target, "B", dump.stat().st_size)
    return collect_templates(decompress_and_cache(dump, plan, folder, bar.advance), site, folder, str(dump))


def _templates_setting(store: CorpusStore, dump: str) -> dict[str, str]:
    """Return the hash of the templates of a dump, where articles are made with them: a changed one makes all anew."""
    if store.profile != "seed":
        return {}
    artifact = store.directory("wikipedia_dump", dump)
    manifest = artifact.manifest()
    if manifest is None or not manifest.files.keys() >= set(FILES):
        raise ArtifactError(
            f"{artifact.label} was made without its templates. Make it again with:\n  {artifact.rebuild_command}"
        )
    return {"templates": sha256_value([manifest.files[name].sha256 for name in FILES])}


def _templates(store: CorpusStore, dump: str, site: SiteInfo) -> TemplateLibrary:
    artifact = store.directory("wikipedia_dump", dump)
    for name in FILES:
        artifact.verified_file(name)
    return open_templates(artifact.path, site)


def _unpacked(store: CorpusStore, dump: str, shard: int) -> Path:
    """Return the file with the XML of a shard, which is there under `seed`."""
    return store.directory("wikipedia_dump", dump).verified_file(cached_xml_name(shard))


def _reusing(
    clean: CleanFunction, earlier: PreviousRows[tuple[int, str, list[str]]], tally: ReuseStats
) -> CleanFunction:
    """Return a cleaner that takes the lines of an unchanged revision from an earlier dump."""

    def cleaned(page_id: int, revision_id: int, title: str, text: str) -> list[str]:
        found = earlier.seek(page_id)
        if found is not None and found[:2] == (revision_id, title):
            tally.count_reused(len(text))
            return found[2]
        return tally.measure(lambda: clean(page_id, revision_id, title, text), 1, len(text))

    return cleaned


def _describe(target: ParquetArtifact, counts: Mapping[str, Any]) -> Mapping[str, Any]:
    rows = [(title, " ⏎ ".join(lines[1:])) for title, lines in islice(read_rows(target.path, ["title", "lines"]), 4)]
    rejected = [json.loads(line) for line in islice(target.rejected_path.open(), 5)]
    return {
        "preview": preview(rows),
        "faults_per_1000_lines": table(
            ["left behind", "lines in 1,000"],
            [
                (name.replace("_", " "), f"{rate:g}")
                for name, rate in per_thousand(counts["faults"], counts["lines"]).items()
            ],
        ),
        **({"rejected_pages": preview([(str(row["page_id"]), row["reason"]) for row in rejected])} if rejected else {}),
    }


@contextmanager
def _as_published(again: str) -> Iterator[None]:
    """Add to an error about a dump's content what can be done: its bytes are those that the mirror announced."""
    try:
        yield
    except (DamagedFileError, DumpFormatError, IndexMismatchError, PageXmlError) as error:
        raise JgptError(
            f"{str(error).rstrip('.')}. The dump is as its mirror announced it, so the fault was published with it: "
            f"take another date; or, once the mirror has a mended copy, {again}."
        ) from error


def _required_wiki(store: CorpusStore, dump: Path) -> SiteInfo:
    """Return the header of a dump, which must be one of the wiki that was asked for."""
    site = parse_siteinfo(bz2_chunks(dump), str(dump))
    if site.dbname != store.wiki:
        raise JgptError(
            f"{dump.name} is a dump of {site.dbname or 'a wiki without a name'}, expected {store.wiki} (JGPT_WIKI). "
            "Check JGPT_WIKI and JGPT_DUMPS_URL."
        )
    return site
