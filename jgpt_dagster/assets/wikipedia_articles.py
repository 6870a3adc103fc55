"""`wikipedia_articles`: the cleaned text of a dump's articles."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.column_metadata import column_metadata
from jgpt_dagster.assets.dump_errors import published_fault
from jgpt_dagster.assets.exclusions import TextExclusions
from jgpt_dagster.assets.left_out_metadata import left_out_metadata
from jgpt_dagster.assets.materialize import (
    Materialization,
    StageConfig,
    materialize,
    progress,
    reuse_facts,
)
from jgpt_dagster.assets.metadata import preview, table
from jgpt_dagster.assets.previous_dump import previous_articles
from jgpt_dagster.assets.stage_pictures import left_out, page_outcomes, reuse
from jgpt_dagster.assets.wikipedia_dump import SHARD_RANGES
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.corpus.exclusions.screen import Screen
from jgpt_dagster.corpus.left_out.ledger import LedgerRow, LedgerWriter
from jgpt_dagster.corpus.rejected_rows import RejectedLog
from jgpt_dagster.corpus.row_reuse import PreviousRows, ReuseStats
from jgpt_dagster.corpus.wikipedia.articles import (
    ArticleRow,
    ArticleTotals,
    CleanFunction,
    Lines,
    PageCounts,
    read_articles,
)
from jgpt_dagster.corpus.wikipedia.leftover_markup import per_thousand
from jgpt_dagster.corpus.wikipedia.multistream import ShardRanges, read_range, read_siteinfo
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikipedia.xml_cache import cached_xml_name, read_cached_xml
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import TemplateLibrary
from jgpt_dagster.corpus.wikitext.template_rules import read_rules, rules_setting
from jgpt_dagster.corpus.wikitext.template_store import FILES as TEMPLATE_FILES
from jgpt_dagster.corpus.wikitext.template_store import open_templates
from jgpt_dagster.orchestration.partitions import corpus_partitions, shard_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.artifact import ArtifactError
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.storage.parquet_artifact import REJECTED, ParquetArtifact
from jgpt_dagster.storage.text_cells import TextCell

CODE_VERSION = "5"

PreviousArticles = PreviousRows[tuple[int, str, TextCell, LedgerRow]]


def build_wikipedia_articles(corpus: Corpus) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_articles` of a dated corpus."""

    @stage_asset(
        corpus.text_asset,
        group=corpus.name,
        kinds={"parquet", "python"},
        code_version=CODE_VERSION,
        partitions=corpus_partitions(corpus),
        deps=[f"{corpus.name}_dump"],
        metadata=column_metadata(corpus.text_schema),
    )
    def wikipedia_articles(
        context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore
    ) -> Materialization:
        """One row an article: page id, revision id, title and the lines of its cleaned text, the title first.

        An article whose revision an earlier dump has too is taken from there. What cleaning left out of each article is
        in a file beside the shard; `jgpt text report` shows its sums.
        """
        key = shard_key(context, corpus)
        target = store.parquet(corpus.text_asset, *key)
        dump = _Dump(store, store.directory(f"{corpus.name}_dump", key.dump))
        part = dump.ranges.shards[int(key.shard)]
        site = read_siteinfo(dump.path, dump.ranges)
        rules = read_rules(store.root.location) if store.profile == "clean" else {}
        base = Recipe(
            stage=corpus.text_asset,
            code_version=CODE_VERSION,
            settings={
                "text": store.profile,
                "namespaces": sha256_value(sorted(site.namespaces.items())),
                **dump.templates_setting(),
                **rules_setting(rules),
            },
            inputs={"pages": part.sha256},
            libraries=library_versions("pyarrow", "wikiextractor" if store.profile == "seed" else "babel"),
        )
        plan = TextExclusions(store, corpus).plan(target, base)

        def make(target: ParquetArtifact, recipe: Recipe) -> Mapping[str, Any]:
            if facts := plan.copied(force=config.force):
                return facts
            screen = plan.exclusions.screen()
            final = partial(screen.recipe, base)
            counts, totals = PageCounts(), ArticleTotals()
            previous: PreviousArticles = PreviousRows([])
            if not config.force:
                previous = previous_articles(context, store, corpus, key, base)
            stats = ReuseStats(previous.rate, previous.full_seconds)
            library = dump.templates(site) if store.profile == "seed" else None
            cached_xml = dump.cached_xml(int(key.shard)) if library and part.length else None
            bar = progress(context, target, "articles", size=cached_xml.stat().st_size if cached_xml else part.length)
            if cached_xml:
                chunks = read_cached_xml(cached_xml, bar.count_input_bytes)
            else:
                chunks = read_range(dump.path, part, bar.count_input_bytes)
            fault = f"materialize {corpus.name}_dump with `force: true`"
            with ExitStack() as opened:
                rejected = opened.enter_context(RejectedLog(store.scratch_path))
                ledger = None
                if store.profile == "clean":
                    ledger = opened.enter_context(LedgerWriter.open(target.account_path, final))
                    cleaner = article_cleaner(store.profile, site, library, rules, ledger.report)
                else:
                    cleaner = article_cleaner(store.profile, site, library)
                opened.enter_context(published_fault(fault))
                clean = _reusing(cleaner, previous, stats, ledger)
                rows = read_articles(chunks, clean, counts, rejected, source=target.label, expected_pages=part.pages)
                kept = _kept(screen, rows if part.length else iter(()), ledger)
                made = target.write(
                    corpus.text_schema,
                    totals.count(bar.track(kept)),
                    final,
                    lambda: {
                        **_page_counts(counts, screen),
                        **asdict(totals),
                        **({"account": ledger.counts()} if ledger else {}),
                    },
                    lambda: screen.kept_beside(REJECTED, rejected),
                    ledger.finish if ledger else None,
                )
            return {**reuse_facts(stats), **plan.facts(made)}

        return materialize(
            context,
            store,
            target,
            plan.recipe,
            make,
            force=config.force,
            describe=lambda made: {
                **page_outcomes(made.counts),
                **(left_out(made.counts["account"]["left_out"]) if "account" in made.counts else {}),
                **reuse(store, lambda dump: store.parquet(corpus.text_asset, dump, key.shard), key.dump),
                **_describe(target, made.counts),
            },
        )

    return wikipedia_articles


class _Dump:
    """The files of a dump output that its shards read. Raises ArtifactError if one is missing or damaged."""

    def __init__(self, store: CorpusStore, artifact: DirectoryArtifact) -> None:
        self._profile, self._artifact = store.profile, artifact
        self.ranges = ShardRanges.from_dict(json.loads(artifact.verified_file(SHARD_RANGES).read_text()))
        # Not hashed as a whole: each shard verifies its own bytes as it reads them.
        self.path = artifact.unverified_file(f"{store.wiki}-{artifact.partition}-pages-articles-multistream.xml.bz2")

    def templates_setting(self) -> dict[str, str]:
        """Return the hash of the dump's templates if articles are made with them: a changed one makes them stale."""
        if self._profile != "seed":
            return {}
        manifest = self._artifact.manifest()
        if manifest is None or not manifest.files.keys() >= set(TEMPLATE_FILES):
            raise ArtifactError(
                f"{self._artifact.label} was made without its templates. Make it again with:\n"
                f"  {self._artifact.rebuild_command}"
            )
        return {"templates": sha256_value([manifest.files[name].sha256 for name in TEMPLATE_FILES])}

    def templates(self, site: SiteInfo) -> TemplateLibrary:
        """Return the dump's templates, which are there under `seed`."""
        for name in TEMPLATE_FILES:
            self._artifact.verified_file(name)
        return open_templates(self._artifact.path, site)

    def cached_xml(self, shard: int) -> Path:
        """Return the file with the XML of a shard, which is there under `seed`."""
        return self._artifact.verified_file(cached_xml_name(shard))


def _reusing(
    clean: CleanFunction, previous: PreviousArticles, stats: ReuseStats, ledger: LedgerWriter | None
) -> Callable[[int, int, str, str], Lines]:
    """Return a cleaner that takes lines and account of an unchanged revision from an earlier dump."""

    def cleaned(page_id: int, revision_id: int, title: str, text: str) -> Lines:
        found = previous.seek(page_id)
        if found is not None and found[:2] == (revision_id, title):
            stats.count_reused(len(text))
            if ledger:
                ledger.append(found[3])
            return found[2]
        return stats.measure(lambda: clean(page_id, revision_id, title, text), 1, len(text))

    return cleaned


def _kept(
    screen: Screen, rows: Iterator[ArticleRow[Lines]], ledger: LedgerWriter | None
) -> Iterator[ArticleRow[Lines]]:
    """Yield the articles that are not excluded; the others lose their rows of the account."""
    for row in rows:
        if not screen.takes(row):
            yield row
        elif ledger:
            ledger.take_back()


def _page_counts(counts: PageCounts, screen: Screen) -> dict[str, int]:
    """Return the pages by outcome, those that are excluded as one of their own."""
    kept = replace(counts, articles=counts.articles - screen.rows, rejected=counts.rejected - screen.rejected)
    return {**asdict(kept), **screen.counts()}


def _describe(target: ParquetArtifact, counts: Mapping[str, Any]) -> Mapping[str, Any]:
    rows = [(title, " ⏎ ".join(lines[1:])) for title, lines in islice(read_rows(target.path, ["title", "lines"]), 4)]
    with target.rejected_path.open() as stream:
        rejected = [json.loads(line) for line in islice(stream, 5)]
    return {
        "preview": preview(("title", "lines"), rows),
        **(left_out_metadata(counts["account"]) if "account" in counts else {}),
        "faults_per_1000_lines": table(
            ["left behind", "lines in 1,000"],
            [
                (name.replace("_", " "), f"{rate:g}")
                for name, rate in per_thousand(counts["faults"], counts["lines"]).items()
            ],
        ),
        **(
            {
                "rejected_pages": preview(
                    ("page_id", "reason"), [(str(row["page_id"]), row["reason"]) for row in rejected]
                )
            }
            if rejected
            else {}
        ),
    }
