"""The corpora of a deployment: where each comes from, which stages it goes through, what a model card says of it.

`configured_corpora` is the one place where a corpus is added. Assets, checks, sensors, status, retention and the model
card are built from its list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from jgpt_dagster.corpus import schemas
from jgpt_dagster.errors import JgptError


@dataclass(frozen=True)
class WikiDumps:
    """Dated dumps of a MediaWiki, by its database name (`jawiki`)."""

    wiki: str


@dataclass(frozen=True)
class Archive:
    """One `.txt.xz` archive to download: a paragraph a line, an empty line between documents.

    `title`, `homepage` and `terms`, all in Markdown, are what a model card says of it. `unpacked_ratio` is the size of
    the text over that of the archive. `sha256` is what the archive must have; empty if that is not known.
    """

    url: str
    file_name: str
    title: str
    homepage: str
    terms: str
    unpacked_ratio: int
    sha256: str = ""

    @property
    def recorded_url(self) -> str:
        """The URL as recipes record it: the publisher's own as http, as earlier versions had it, whichever is used."""
        return self.url.replace("https://data.statmt.org/", "http://data.statmt.org/", 1)


FOLDER_FINGERPRINT = "folder_fingerprint"
"""Key in the run record of a folder's documents: what `text_folder.folder_fingerprint` returned for the folder."""


@dataclass(frozen=True)
class Folder:
    """Text files below a folder, which are read where they lie."""

    path: Path


@dataclass(frozen=True)
class Corpus:
    """One source of documents and the assets that lead from it to token files.

    A *dated* corpus has an output of every stage for each dump; any other has one for all dumps.
    """

    name: str
    source: WikiDumps | Archive | Folder

    @property
    def dated(self) -> bool:
        """Whether the corpus comes in dated dumps."""
        return isinstance(self.source, WikiDumps)

    @property
    def document_noun(self) -> str:
        """What a document of this corpus is called in messages and in the names of checks."""
        return "article" if self.dated else "document"

    @property
    def key_column(self) -> str:
        """The column that identifies a document: the same number in every dump."""
        return "page_id" if self.dated else "document_id"

    @property
    def text_schema(self) -> pa.Schema:
        """The columns of `text_asset`."""
        if self.dated:
            return schemas.ARTICLES
        return schemas.FOLDER_DOCUMENTS if isinstance(self.source, Folder) else schemas.DOCUMENTS

    @property
    def segmented_schema(self) -> pa.Schema:
        """The columns of `segmented_asset`."""
        return schemas.ARTICLES_SEGMENTED if self.dated else schemas.DOCUMENTS_SEGMENTED

    @property
    def source_asset(self) -> str | None:
        """The asset that downloads the source; None if there is nothing to download."""
        return None if isinstance(self.source, Folder) else f"{self.name}_dump"

    @property
    def text_asset(self) -> str:
        """The asset that holds one row of cleaned lines for each document."""
        return f"{self.name}_{self.document_noun}s"

    @property
    def segmented_asset(self) -> str:
        """The asset that holds the sentences and words of each document."""
        return f"{self.name}_segmented"

    @property
    def tokens_asset(self) -> str:
        """The asset that holds the token ids of each document."""
        return f"{self.name}_tokens"

    @property
    def word_counts(self) -> str:
        """The asset that counts the words of each shard for the tokenizer. Made when needed: it is none of `assets`."""
        return f"{self.name}_word_counts"

    @property
    def span_index(self) -> str:
        """The asset that finds text in the token ids. Made on demand: it is none of `assets`."""
        return f"{self.name}_span_index"

    @property
    def signatures(self) -> str:
        """The name of the output with the hashes by which copies of the documents in `text_asset` are found."""
        return f"{self.name}_signatures"

    @property
    def source_signatures(self) -> str:
        """The name of the same for all documents of the source, by which those of `text_asset` are selected."""
        return f"{self.name}_source_signatures"

    @property
    def duplicates(self) -> str:
        """The name of the output that says which copies were dropped, and what of."""
        return f"{self.name}_duplicates"

    @property
    def shard_assets(self) -> tuple[str, str, str]:
        """The sharded assets, in the order in which they are made."""
        return self.text_asset, self.segmented_asset, self.tokens_asset

    @property
    def assets(self) -> tuple[str, ...]:
        """All assets of this corpus, in the order in which they are made."""
        return (*([self.source_asset] if self.source_asset else []), *self.shard_assets)


def configured_corpora(
    wiki: str, cc100_url: str, folders: Mapping[str, Path], cc100_sha256: str = ""
) -> tuple[Corpus, ...]:
    """Return the corpora of a deployment, in the order in which training reads their shards.

    An empty `cc100_url` leaves CC-100 out, an empty `cc100_sha256` says that its hash is not known; `folders` maps
    names of further corpora to the folders that hold them.
    """
    corpora = [Corpus("wikipedia", WikiDumps(wiki))]
    if cc100_url:
        archive = Archive(
            url=cc100_url,
            file_name="ja.txt.xz",
            title="CC-100",
            homepage="https://data.statmt.org/cc-100/",
            terms="[Common Crawl terms of use](https://commoncrawl.org/terms-of-use)",
            unpacked_ratio=5,  # 15.9 GB of xz hold 75 GB of text
            sha256=cc100_sha256,
        )
        corpora.append(Corpus("cc100", archive))
    return (*corpora, *(Corpus(name, Folder(path)) for name, path in folders.items()))


RESERVED_NAMES = ("wikipedia", "cc100")
"""Names that a folder corpus cannot take."""


def corpus_named(corpora: tuple[Corpus, ...], name: str) -> Corpus:
    """Return a corpus by its name. Raises JgptError, listing the names, if there is no such corpus."""
    for corpus in corpora:
        if corpus.name == name:
            return corpus
    raise JgptError(f"No corpus is called {name!r}. The corpora are: {', '.join(corpus.name for corpus in corpora)}.")
