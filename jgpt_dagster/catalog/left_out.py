"""What cleaning left out of a dump: the sum over the accounts of its shards."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.corpus.left_out.figures import Figures, summed
from jgpt_dagster.corpus.left_out.ledger import read_figures
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.manifest import ACCOUNT


@dataclass
class DumpAccount:
    """The sum over the shards that have an account, their articles, and the labels of those that have none."""

    figures: Figures = field(default_factory=Figures)
    articles: int = 0
    shards: int = 0
    missing: list[str] = field(default_factory=list)


def account_of_dump(catalog: OutputCatalog, corpus: Corpus, dump: str) -> DumpAccount:
    """Return the account of a dump. Raises ArtifactError for a damaged shard, JgptError if no shard has an account."""
    account = DumpAccount()

    def shards() -> Iterator[Figures]:
        for shard in catalog.shards:
            articles = catalog.root.parquet(corpus.text_asset, dump, shard)
            manifest = articles.manifest()
            if manifest is None or ACCOUNT not in manifest.files:
                account.missing.append(articles.label)
                continue
            articles.verified()
            account.shards += 1
            account.articles += manifest.counts["rows"]
            yield from read_figures(articles.account_path)

    account.figures = summed(shards())
    if not account.shards:
        command = catalog.root.parquet(corpus.text_asset, dump, catalog.shards[0]).rebuild_command
        raise JgptError(
            f"No shard of {corpus.text_asset} {dump} has an account of what was left out. Shards that are made by this "
            f"version under JGPT_TEXT=clean have one: `jgpt run` makes those that are missing, and this command, with "
            f"`force: true`, the first one again:\n  {command}"
        )
    return account
