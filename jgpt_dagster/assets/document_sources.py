"""Where the documents of a corpus without dumps are read from: a downloaded archive, or a folder of text files."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from jgpt_dagster.catalog.corpora import FOLDER_FINGERPRINT, Archive, Corpus, Folder
from jgpt_dagster.corpus.fetch.decompress import DamagedFileError
from jgpt_dagster.corpus.rejected_rows import RejectedRows
from jgpt_dagster.corpus.web.cc100 import DocumentRow, read_documents
from jgpt_dagster.corpus.web.corpus_description import read_description
from jgpt_dagster.corpus.web.text_folder import TextFolder
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.resources import CorpusStore


@dataclass(frozen=True)
class DocumentSource:
    """One pass over the documents of a corpus, and what identifies them.

    `inputs` are the inputs of a recipe; `size` is in bytes, `unpacked_size` about the bytes of text. `read` takes a log
    of rejected documents and a callback for the bytes read; document ids ascend from 0, rejected documents included.
    `counts` are further counts of the source, `facts` what belongs into the record of a run that reads it.
    """

    inputs: Mapping[str, str]
    size: int
    unpacked_size: int
    read: Callable[[RejectedRows, Callable[[int], None]], Iterator[DocumentRow]]
    counts: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def open_source(store: CorpusStore, corpus: Corpus) -> DocumentSource:
    """Return the documents of a corpus without dumps. Raises JgptError if its source is missing or damaged."""
    if isinstance(corpus.source, Archive):
        return _open_archive(store, corpus, corpus.source)
    if isinstance(corpus.source, Folder):
        return _open_folder(corpus.source)
    raise TypeError(f"{corpus.name} comes in dumps")


def _open_archive(store: CorpusStore, corpus: Corpus, source: Archive) -> DocumentSource:
    archive = store.directory(f"{corpus.name}_dump")
    path = archive.path / source.file_name

    def read(rejected: RejectedRows, on_read: Callable[[int], None]) -> Iterator[DocumentRow]:
        try:
            yield from read_documents(path, rejected, on_read=on_read)
        except DamagedFileError as error:
            raise JgptError(
                f"{error}. The archive is as the server sent it: delete {archive.path} and materialize "
                f"{corpus.name}_dump again, from another copy (JGPT_CC100_URL) if this comes back."
            ) from error

    inputs, size = {archive.recipe_label: archive.verified().data_sha256}, path.stat().st_size
    return DocumentSource(inputs, size, source.unpacked_ratio * size, read)


def _open_folder(source: Folder) -> DocumentSource:
    read_description(source.path)  # a malformed one would be found only after training, by the release
    folder = TextFolder.open(source.path)
    return DocumentSource(
        {"files": folder.sha256},
        folder.size,
        folder.unpacked_size,
        lambda rejected, on_read: folder.documents(rejected, on_read=on_read),
        {
            "files": len(folder.files),
            "files_passed_over": folder.skipped_files,
            **({"files_refused": len(folder.refused)} if folder.refused else {}),
        },
        {FOLDER_FINGERPRINT: folder.fingerprint},
    )
