"""`<corpus>_documents` of a corpus that JGPT_FOLDERS names: the text files of a folder, which stay where they are."""

from pathlib import Path

import dagster as dg

from jgpt_dagster.assets.documents import Source, build_documents
from jgpt_dagster.corpus.web.text_folder import TextFolder
from jgpt_dagster.orchestration.resources import CorpusStore


def build_folder_documents(corpus: str) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_documents`."""

    def opened(store: CorpusStore) -> Source:
        folder = TextFolder.open(Path(store.folders[corpus]))
        return Source(
            {"files": folder.sha256},
            folder.size,
            folder.unpacked_size,
            lambda rejected, on_read: folder.documents(rejected, on_read=on_read),
            {"files": len(folder.files), "files_passed_over": folder.skipped_files},
        )

    return build_documents(corpus, opened)
