"""`cc100_dump` and `cc100_documents`: the verified archive, and its documents dealt to shards in one pass."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.documents import Source, build_documents
from jgpt_dagster.assets.materialize import StageConfig, materialize, progress
from jgpt_dagster.corpus.fetch.decompress import DamagedFileError, require_xz
from jgpt_dagster.corpus.fetch.download import download_file
from jgpt_dagster.corpus.web.cc100 import DocumentRow, read_documents
from jgpt_dagster.corpus.web.rejected_documents import RejectedRows
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.resources import CorpusStore, Mirror
from jgpt_dagster.storage.atomic_write import link_or_copy
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest, Recipe

DUMP_CODE_VERSION = "1"

_ARCHIVE = "ja.txt.xz"
# 15.9 GB of xz hold 75 GB of text.
_UNPACKED = 5


class Cc100DumpConfig(StageConfig):
    """Run config of the CC-100 archive."""

    sha256: str = Field(
        default="", pattern="^([0-9a-f]{64})?$", description="What the archive's sha256 must be, if known."
    )


@dg.asset(
    group_name="cc100",
    kinds={"xz"},
    code_version=DUMP_CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def cc100_dump(
    context: dg.AssetExecutionContext, config: Cc100DumpConfig, store: CorpusStore, mirror: Mirror
) -> dg.MaterializeResult:
    """The archive `ja.txt.xz`. Its publisher gives no checksum: the sha256 is recorded here and required ever after."""
    target = store.directory("cc100_dump")
    recipe = Recipe(stage="cc100_dump", code_version=DUMP_CODE_VERSION, settings={"url": mirror.cc100_url})

    incoming = store.root.path / ".incoming" / "cc100"

    def make(target: DirectoryArtifact, recipe: Recipe) -> None:
        bar = progress(context, target, "B")
        with target.writing(recipe) as out:
            entry = download_file(
                mirror.cc100_url, incoming / _ARCHIVE, sha256=config.sha256 or None, on_progress=bar.update
            )
            try:
                require_xz(incoming / _ARCHIVE)
            except DamagedFileError as error:
                (incoming / _ARCHIVE).unlink()
                raise JgptError(
                    f"{mirror.cc100_url}: {error}. It is deleted; an earlier archive is still here. Run the same "
                    "command again later, or set JGPT_CC100_URL to another copy."
                ) from error
            link_or_copy(incoming / _ARCHIVE, out.path / _ARCHIVE)
            out.record_entry(_ARCHIVE, entry)
            out.counts = {"bytes": entry.size, "sha256": entry.sha256}

    def let_go(_: Manifest) -> Mapping[str, Any]:
        """Delete the download, which the finished output holds; a run killed at this point left it behind."""
        shutil.rmtree(incoming, ignore_errors=True)
        return {}

    return materialize(context, store, target, recipe, make, force=config.force, describe=let_go)


def _archive(store: CorpusStore) -> Source:
    archive = store.directory("cc100_dump")
    path = archive.path / _ARCHIVE

    def read(rejected: RejectedRows, on_read: Callable[[int], None]) -> Iterator[DocumentRow]:
        try:
            yield from read_documents(path, rejected, on_read=on_read)
        except DamagedFileError as error:
            raise JgptError(
                f"{error}. The archive is as the server sent it: materialize cc100_dump with `force: true`, from "
                "another copy (JGPT_CC100_URL) if this comes back."
            ) from error

    inputs, size = {archive.label: archive.verified().data_sha256}, path.stat().st_size
    return Source(inputs, size, _UNPACKED * size, read)


cc100_documents = build_documents("cc100", _archive, deps=["cc100_dump"])
