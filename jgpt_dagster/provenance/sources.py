"""What a document of a token file is: its page or its place in the source, and how to look at it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import numpy as np

from jgpt_dagster.corpus.schemas import ORIGIN
from jgpt_dagster.corpus.wikipedia.multistream import ShardRanges, read_siteinfo
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.training_set import TokenShard
from jgpt_dagster.provenance.chain import SHARD_RANGES
from jgpt_dagster.provenance.dump_index import streams_of_pages
from jgpt_dagster.provenance.labels import Label, find_output, parse_label
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import parse_json
from jgpt_dagster.storage.parquet import read_batches

_ROWS = 8192


@dataclass(frozen=True)
class SourceDocument:
    """A document by what its source says of it. `link` is the page's permanent link, or the document's URL."""

    corpus: str
    key: int
    title: str = ""
    revision: int | None = None
    link: str = ""
    place: str = ""

    @property
    def name(self) -> str:
        """A name for people."""
        if self.revision is not None:
            return f"{self.corpus} page {self.key}, revision {self.revision}: {self.title}"
        return f"{self.corpus} document {self.key}{f': {self.title}' if self.title else ''}"


class Sources:
    """Looks documents up in the text that token files were made of, as far as a root still has it."""

    def __init__(self, root: DataRoot, trained_on: DataRoot) -> None:
        self._root, self._trained_on = root, trained_on
        self.site = cache(self._read_site)
        """Returns the address of a wiki, by corpus and dump; empty if the dump is not here."""

    def documents(self, file: TokenShard, keys: Collection[int]) -> Mapping[int, SourceDocument]:
        """Return what is known of documents of a token file; without titles if their text is not here any more."""
        label = parse_label(file.label)
        found = {key: SourceDocument(file.corpus, key, place=self._place(label, key)) for key in keys}
        if text := self.text_of(file):
            found |= {document.key: document for document in self._rows(text, file.corpus, label, keys)}
        return found

    def text_of(self, file: TokenShard) -> Artifact | None:
        """Return the text that a token file was made of; None if a root does not have it any more."""
        tokens = find_output(self._trained_on, parse_label(file.label))
        for _ in range(2):  # tokens of segmented text of text
            inputs = tokens[1].recipe.inputs if tokens else {}
            made_of = [(label, sha256) for label, sha256 in inputs.items() if label != "tokenizer"]
            if len(made_of) != 1:
                return None
            tokens = find_output(self._root, parse_label(made_of[0][0]), made_of[0][1])
        return tokens[0] if tokens else None

    def with_title(self, file: TokenShard, title: str) -> list[int]:
        """Return the pages of a token file that have this title."""
        text = self.text_of(file)
        if text is None or parse_label(file.label).dump is None:
            return []
        return [
            key.as_py()
            for batch in read_batches(text.path, ["page_id", "title"], _ROWS)
            for key, name in zip(batch["page_id"], batch["title"].to_pylist(), strict=True)
            if name == title
        ]

    def stream_of(self, label: Label, key: int) -> tuple[str, int, int] | None:
        """Return where a page is in its dump: file, offset and length in bytes of its bz2 stream; None if unknown."""
        found = find_output(self._root, Label(label.asset.removesuffix("_tokens") + "_dump", label.dump))
        if label.dump is None or found is None:
            return None
        output, manifest = found
        indexes = [name for name in manifest.files if name.endswith("-multistream-index.txt.bz2")]
        dumps = [name for name in manifest.files if name.endswith("-multistream.xml.bz2")]
        if not (indexes and dumps):
            return None
        stream = streams_of_pages(output.path / indexes[0], manifest.files[dumps[0]].size, {key}).get(key)
        return (dumps[0], *stream) if stream else None

    def _rows(self, text: Artifact, corpus: str, label: Label, keys: Collection[int]) -> Iterator[SourceDocument]:
        import pyarrow.parquet as pq

        names = pq.read_schema(text.path).names
        key_column = "page_id" if label.dump else "document_id"
        columns = [key_column, *(name for name in ("revision_id", "title", *ORIGIN) if name in names)]
        wanted = np.array(sorted(keys))
        for batch in read_batches(text.path, columns, _ROWS):
            for row in np.flatnonzero(np.isin(batch[key_column].to_numpy(), wanted)):
                values = {name: batch[name][int(row)].as_py() for name in columns}
                key = values[key_column]
                if label.dump:
                    link = self._permanent_link(label, values["revision_id"])
                    yield SourceDocument(corpus, key, values["title"], values["revision_id"], link)
                else:
                    yield SourceDocument(
                        corpus, key, values.get("id") or "", None, values.get("url") or "", self._place(label, key)
                    )

    def _place(self, label: Label, key: int) -> str:
        """Return in words where an undated document is in its source; empty for a page."""
        if label.dump is not None:
            return ""
        found = find_output(self._root, Label(label.asset.removesuffix("_tokens") + "_dump"))
        return f"document {key:,} of {next(iter(found[1].files))}" if found else f"document {key:,} of its folder"

    def _permanent_link(self, label: Label, revision: int) -> str:
        site = self.site(label.asset.removesuffix("_tokens"), label.dump)
        return f"{site}/w/index.php?oldid={revision}" if site else ""

    def _read_site(self, corpus: str, dump: str) -> str:
        """Return the address of a wiki as its dump gives it, without a path; empty if the dump is not here."""
        found = find_output(self._root, Label(f"{corpus}_dump", dump))
        if found is None:
            return ""
        output, manifest = found
        name = next((name for name in manifest.files if name.endswith("-multistream.xml.bz2")), None)
        if name is None:
            return ""
        try:
            ranges = ShardRanges.from_dict(parse_json((output.path / SHARD_RANGES).read_bytes()))
            base = urlsplit(read_siteinfo(output.path / name, ranges).base)
        except (OSError, ValueError, KeyError, TypeError, JgptError):
            return ""
        return f"{base.scheme}://{base.netloc}" if base.scheme in ("http", "https") and base.netloc else ""
