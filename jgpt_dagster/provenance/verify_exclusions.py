"""Whether the corpora of a root, their tokens and the indexes of these still hold what is excluded.

The texts are matched again, from their first row to their last, and so is what was made of them. Dumps before the
newest one are not looked at here: `still_held` names those that hold something.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from jgpt_dagster.catalog.exclusions import Hit, hits_in, profile_of
from jgpt_dagster.corpus.exclusions.exclusion_list import ExclusionList
from jgpt_dagster.corpus.exclusions.matching import Matcher
from jgpt_dagster.corpus.exclusions.searched_text import searched_segmented
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.lm.data.token_files import TokenFile
from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer, load_tokenizer
from jgpt_dagster.provenance.excluded_documents import texts_of
from jgpt_dagster.provenance.labels import parse_label
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.parquet import read_rows


@dataclass
class Count:
    """The documents of an asset, of one dump if it has dumps, and how many of them are excluded."""

    asset: str
    dump: str | None
    documents: int = 0
    excluded: int = 0
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return a line for the user."""
        name = f"{self.asset} {self.dump or ''}".strip()
        found = f"{self.excluded:,} of {self.documents:,} documents are excluded"
        return "; ".join([f"{name}: {found}", *self.problems[:1]])

    @property
    def clean(self) -> bool:
        """Whether nothing excluded was found."""
        return not self.excluded and not self.problems


def count_excluded(root: DataRoot, exclusions: ExclusionList) -> list[Count]:
    """Return how much of what is excluded the newest dump and the corpora without dumps hold, by asset."""
    newest = max(root.dumps("*_articles"), default="")
    counts: dict[tuple[str, str | None], Count] = {}
    for corpus, text, manifest in texts_of(root):
        label = parse_label(text.label)
        if label.dump in (None, newest):
            shard = _Shard(root, corpus, text, manifest, exclusions)
            for asset, documents, excluded, problem in shard.counts():
                count = counts.setdefault((asset, label.dump), Count(asset, label.dump))
                count.documents += documents
                count.excluded += excluded
                count.problems += [problem] if problem else []
    return list(counts.values())


class _Shard:
    """A shard of text, and what was made of it."""

    def __init__(
        self, root: DataRoot, corpus: str, text: Artifact, manifest: Manifest, exclusions: ExclusionList
    ) -> None:
        self._root, self._corpus, self._text, self._manifest = root, corpus, text, manifest
        self._exclusions, self._label = exclusions, parse_label(text.label)
        self._profile: TextProfile = profile_of(manifest.recipe)
        self._matcher = Matcher(exclusions.active, corpus, self._profile)

    def counts(self) -> Iterator[tuple[str, int, int, str]]:
        """Yield each asset of the shard that is there, its documents, the excluded ones, and what is wrong."""
        try:
            yield self._text.asset, self._manifest.counts["rows"], len(self._hits), ""
            yield from self._segmented()
            yield from self._tokens()
        except (OSError, ValueError, pa.ArrowException) as error:
            yield self._text.asset, 0, 0, f"{self._text.label} or what was made of it cannot be read: {error}"

    def _segmented(self) -> Iterator[tuple[str, int, int, str]]:
        segmented = self._root.parquet(f"{self._corpus}_segmented", self._label.dump, self._label.shard)
        manifest = segmented.manifest()
        if manifest is None:
            return
        segmented.fetch(manifest)
        names = self._matcher.columns(pq.read_schema(segmented.path).names)
        excluded = 0
        for row in read_rows(segmented.path, names):
            values = dict(zip(names, row, strict=True))
            text = searched_segmented(values["lines"], self._profile) if "lines" in values else ""
            gone = row[0] not in self._keys
            excluded += gone or self._matcher.first_of(row[0], values.get("title", ""), None, text) is not None
        yield segmented.asset, manifest.counts["rows"], excluded, ""

    def _tokens(self) -> Iterator[tuple[str, int, int, str]]:
        tokens = self._root.directory(f"{self._corpus}_tokens", self._label.dump, self._label.shard)
        manifest = tokens.manifest()
        if manifest is None:
            return
        tokens.fetch(manifest)
        file = TokenFile(tokens.path)
        excluded = sum(self._is_excluded(file, row, int(key)) for row, key in enumerate(file.documents["key"]))
        yield tokens.asset, len(file), excluded, ""
        index = self._root.directory(f"{self._corpus}_span_index", self._label.dump, self._label.shard)
        made = index.manifest()
        if made is not None:
            current = made.recipe.inputs.get(tokens.recipe_label) == manifest.data_sha256
            dump = self._label.dump or max(self._root.dumps("*_articles"), default="latest")
            again = shlex.join(["jgpt", "run", "--dump", dump, "--to", index.asset])
            problem = "" if current else f"{index.label} is one of the tokens as they were before ({again})"
            yield index.asset, len(file), excluded, problem

    def _is_excluded(self, file: TokenFile, row: int, key: int) -> bool:
        """Return whether a document of a token file is excluded, as the text says too, or is not in the text any more.

        Under `seed` tokens do not say where lines end, and lose characters: there the segmented text is searched.
        """
        if key not in self._keys or key in self._excluded_keys:
            return True
        searched = self._matcher.reads_text and self._profile == "clean"
        text = self._tokenizer.decode(file.document(row)) if searched else ""
        return self._matcher.first_of(key, "", None, text) is not None

    @cached_property
    def _hits(self) -> list[Hit]:
        return list(hits_in(self._corpus, self._text, self._manifest, self._exclusions.active))

    @cached_property
    def _excluded_keys(self) -> set[int]:
        """The keys of what is excluded by something that tokens do not say, such as its title."""
        return {hit.key for hit in self._hits if hit.key is not None}

    @cached_property
    def _keys(self) -> set[int]:
        column = "page_id" if self._label.dump else "document_id"
        return {key for (key,) in read_rows(self._text.path, [column])}

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        tokenizer = self._root.directory("tokenizer")
        tokenizer.verified()
        return load_tokenizer(tokenizer.path)
