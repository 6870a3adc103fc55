"""`wikipedia_dump`: the verified dump of one date, with its shard ranges."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.dump_errors import published_fault
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize, progress
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.corpus.fetch.decompress import BZ2_MAGIC, bz2_chunks
from jgpt_dagster.corpus.fetch.download import download_file
from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror
from jgpt_dagster.corpus.wikipedia.multistream import ShardRanges, split_dump
from jgpt_dagster.corpus.wikipedia.page_xml import parse_siteinfo
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikipedia.xml_cache import decompress_and_cache
from jgpt_dagster.corpus.wikitext.template_store import TemplateCounts, collect_templates
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.partitions import dump_key, dump_partitions
from jgpt_dagster.orchestration.resources import CorpusStore, Mirror
from jgpt_dagster.storage.atomic_write import link_or_copy, write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.file_creation import make_own_directory, remove_own_directory
from jgpt_dagster.storage.manifest import Manifest, Recipe, library_versions
from jgpt_dagster.storage.safe_path import child_path

CODE_VERSION = "1"

SHARD_RANGES = "shards.json"
"""The file of a dump output that cuts it into shards."""


def build_wikipedia_dump(corpus: Corpus) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_dump` of a dated corpus."""
    asset = f"{corpus.name}_dump"

    @stage_asset(asset, group=corpus.name, kinds={"bz2"}, code_version=CODE_VERSION, partitions=dump_partitions)
    def wikipedia_dump(
        context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore, mirror: Mirror
    ) -> Materialization:
        """The multistream dump of one date with its index, verified by the sizes and sha1 sums of the mirror.

        Its `shards.json` cuts the dump into byte ranges of whole bz2 streams and holds the hash of each range, so that
        a shard reads and verifies its own bytes only. Under the profile `seed`, the dump's templates and the XML of
        each shard lie beside it, written in one pass. A dump on disk is never requested again: mirrors drop old ones.
        """
        dump = dump_key(context)
        seed = store.profile == "seed"
        recipe = Recipe(
            stage=asset,
            code_version=CODE_VERSION,
            settings={
                "wiki": store.wiki,
                "dump": dump,
                "shards": store.shards,
                **({"templates": True, "unpacked": True} if seed else {}),
            },
            libraries=library_versions("wikiextractor") if seed else {},
        )
        # Parts of an unfinished download must survive a kill, so they wait outside the directory being written.
        incoming = child_path(store.root.path, ".incoming", f"{store.wiki}-{dump}")

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            files = DumpMirror(mirror.dumps_url, store.wiki).files(dump)
            make_own_directory(incoming.parent)
            with target.writing(recipe) as out:
                for file in files:
                    bar = progress(context, target, "B", file.size)
                    entry = download_file(
                        file.url,
                        incoming / file.name,
                        size=file.size,
                        sha1=file.sha1,
                        magic=BZ2_MAGIC,
                        on_progress=bar.update,
                    )
                    # A link, so that a kill from here on does not cost the download.
                    link_or_copy(incoming / file.name, out.path / file.name)
                    out.record_entry(file.name, entry)
                paths = [incoming / file.name for file in files]
                with published_fault("run the same command again"):
                    site = _required_wiki(store, paths[0])
                    plan = split_dump(paths[0], paths[1] if len(paths) > 1 else None, store.shards)
                    templates = _collected(context, target, paths[0], plan, site, out.path) if seed else None
                write_json(out.path / SHARD_RANGES, plan.to_dict())
                out.counts = {
                    "bytes": files[0].size,
                    "pages": sum(shard.pages or 0 for shard in plan.shards) if len(files) > 1 else None,
                    "shards_with_pages": sum(1 for shard in plan.shards if shard.length),
                    "sha1": {file.name: file.sha1 for file in files if file.sha1},
                    **({"templates": asdict(templates)} if templates else {}),
                }

        def delete_download(_: Manifest) -> Mapping[str, Any]:
            """Delete the download, which the finished output holds; a run killed at this point left it behind."""
            remove_own_directory(incoming)
            return {}

        target = store.directory(asset, dump)
        return materialize(context, store, target, recipe, make, force=config.force, describe=delete_download)

    return wikipedia_dump


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


def _required_wiki(store: CorpusStore, dump: Path) -> SiteInfo:
    """Return the header of a dump, which must be one of the wiki that was asked for."""
    site = parse_siteinfo(bz2_chunks(dump), str(dump))
    if site.dbname != store.wiki:
        raise JgptError(
            f"{dump.name} is a dump of {site.dbname or 'a wiki without a name'}, expected {store.wiki} (JGPT_WIKI). "
            "Check JGPT_WIKI and JGPT_DUMPS_URL."
        )
    return site
