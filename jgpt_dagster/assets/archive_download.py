"""`<corpus>_dump` of a corpus that is one archive: the verified download, such as `cc100_dump`."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize, progress
from jgpt_dagster.catalog.corpora import Archive, Corpus
from jgpt_dagster.corpus.fetch.decompress import XZ_MAGIC, DamagedFileError, require_xz
from jgpt_dagster.corpus.fetch.download import download_file
from jgpt_dagster.corpus.fetch.errors import DownloadError
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
        default="",
        pattern="^([0-9a-f]{64})?$",
        description="What the archive's sha256 must be, if known; it also accepts an archive that its publisher has "
        "replaced. JGPT_CC100_SHA256 comes first.",
    )


def build_archive_download(corpus: Corpus, archive: Archive) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_dump`."""
    asset = f"{corpus.name}_dump"

    @stage_asset(asset, group=corpus.name, kinds={"xz"}, code_version=CODE_VERSION)
    def archive_download(
        context: dg.AssetExecutionContext, config: ArchiveConfig, store: CorpusStore
    ) -> Materialization:
        """The archive `ja.txt.xz`. Its publisher gives no checksum: the sha256 of the first download is recorded here
        and required of later ones.
        """
        recipe = Recipe(stage=asset, code_version=CODE_VERSION, settings={"url": archive.recorded_url})
        incoming = store.root.path / ".incoming" / corpus.name

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            bar, download = progress(context, target, "B"), incoming / archive.file_name
            make_own_directory(incoming.parent)
            first = _first_sha256(target, archive)
            expected = archive.sha256 or config.sha256 or first
            with target.writing(recipe) as out:
                try:
                    entry = download_file(
                        archive.url,
                        download,
                        sha256=expected or None,
                        magic=XZ_MAGIC,
                        verify=require_xz,
                        on_progress=bar.update,
                    )
                except DownloadError as error:
                    if isinstance(error.__cause__, DamagedFileError):
                        raise JgptError(f"{error} Or set JGPT_CC100_URL to another copy.") from error
                    if expected != first or "sha256" not in str(error):
                        raise
                    raise JgptError(
                        f"{error} The expected sha256 is that of the first download, which is still here. If the "
                        f"publisher has replaced the archive, accept the new one: materialize {asset} with `force: "
                        "true` and its `sha256`."
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


def _first_sha256(target: DirectoryArtifact, archive: Archive) -> str:
    """Return the sha256 of what was downloaded from the same address before; empty if nothing was.

    A file of a file URL is the user's own, to be replaced at will.
    """
    manifest = target.manifest()
    if manifest is None or archive.url.startswith("file:") or manifest.recipe.settings["url"] != archive.recorded_url:
        return ""
    return str(manifest.counts.get("sha256", ""))
