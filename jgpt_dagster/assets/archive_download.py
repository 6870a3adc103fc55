"""`<corpus>_dump` of a corpus that is one archive: the verified download, such as `cc100_dump`."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize, progress
from jgpt_dagster.catalog.corpora import Archive, Corpus
from jgpt_dagster.corpus.fetch.decompress import DamagedFileError, require_xz
from jgpt_dagster.corpus.fetch.download import download_file
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.atomic_write import link_or_copy
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.file_creation import make_own_directory, remove_own_directory
from jgpt_dagster.storage.manifest import Manifest, Recipe

CODE_VERSION = "1"


class ArchiveConfig(StageConfig):
    """Run config of the archive."""

    sha256: str = Field(
        default="", pattern="^([0-9a-f]{64})?$", description="What the archive's sha256 must be, if known."
    )


def build_archive_download(corpus: Corpus, archive: Archive) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_dump`."""
    asset = f"{corpus.name}_dump"

    @stage_asset(asset, group=corpus.name, kinds={"xz"}, code_version=CODE_VERSION)
    def archive_download(
        context: dg.AssetExecutionContext, config: ArchiveConfig, store: CorpusStore
    ) -> Materialization:
        """The archive `ja.txt.xz`. Its publisher gives no checksum: the sha256 is recorded here and required later."""
        recipe = Recipe(stage=asset, code_version=CODE_VERSION, settings={"url": archive.url})
        incoming = store.root.path / ".incoming" / corpus.name

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            bar, download = progress(context, target, "B"), incoming / archive.file_name
            make_own_directory(incoming.parent)
            with target.writing(recipe) as out:
                entry = download_file(archive.url, download, sha256=config.sha256 or None, on_progress=bar.update)
                try:
                    require_xz(download)
                except DamagedFileError as error:
                    download.unlink()
                    raise JgptError(
                        f"{archive.url}: {error}. It is deleted; an earlier archive is still here. Run the same "
                        "command again later, or set JGPT_CC100_URL to another copy."
                    ) from error
                link_or_copy(download, out.path / archive.file_name)
                out.record_entry(archive.file_name, entry)
                out.counts = {"bytes": entry.size, "sha256": entry.sha256}

        def delete_download(_: Manifest) -> Mapping[str, Any]:
            """Delete the download, which the finished output holds; a run killed at this point left it behind."""
            remove_own_directory(incoming)
            return {}

        target = store.directory(asset)
        return materialize(context, store, target, recipe, make, force=config.force, describe=delete_download)

    return archive_download
