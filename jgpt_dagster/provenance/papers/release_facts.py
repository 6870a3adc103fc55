"""What papers say of a release: its files, its scores, and each corpus with its source, sizes and licence."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from jgpt_dagster.catalog.attribution import wiki_licence, wiki_site
from jgpt_dagster.catalog.corpora import Archive, Corpus, Folder, WikiDumps
from jgpt_dagster.catalog.output_catalog import TRAINING_SET
from jgpt_dagster.corpus.web.corpus_description import CorpusDescription
from jgpt_dagster.lm.release.licences import NOT_STATED, ModelLicence
from jgpt_dagster.lm.release.model_card import Score
from jgpt_dagster.provenance.chain import SHARD_RANGES, Chain, Step
from jgpt_dagster.provenance.labels import PAGES, SOURCE_FILES, dump_of_pages
from jgpt_dagster.storage.manifest import FileEntry, Manifest

_LICENCE_PAGES = {
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "cc-by-sa-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
}
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<url>[^)]+)\)")
# An address that Markdown shows as it is.
_WEB = re.compile(r"https?://([A-Za-z0-9./:%?=&#+~-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9]))+")


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from. `licence` is an identifier or NOT_STATED; empty if terms of use stand in its place.

    `page` and `terms_page` are addresses; empty if there is none.
    """

    title: str
    page: str
    licence: str
    terms: str
    terms_page: str

    @classmethod
    def of(cls, corpus: Corpus, dump: str, description: CorpusDescription | None) -> "Source":
        """Return the source of a corpus; `description` is that of a folder, `dump` the date of a wiki's dump."""
        match corpus.source:
            case WikiDumps(wiki):
                licence = wiki_licence(wiki) or NOT_STATED
                return cls(
                    f"{wiki}, dump of {dump}", wiki_site(wiki), licence, licence, _LICENCE_PAGES.get(licence, "")
                )
            case Archive() as archive:
                terms = _LINK.search(archive.terms)
                words, page = (terms["text"], terms["url"]) if terms else (archive.terms, "")
                return cls(archive.title, archive.homepage, "", words, page)
            case Folder():
                if description is None:
                    return cls(f"text files of the folder {corpus.name}", "", NOT_STATED, NOT_STATED, "")
                name, source, licence = description.name, description.source, description.licence
                page = source if _WEB.fullmatch(source) else ""
                title = name if page else f"{name}, from {source}"
                return cls(title, page, licence, licence, _LICENCE_PAGES.get(licence, ""))


@dataclass(frozen=True)
class SourceFile:
    """A downloaded file.

    `sha1` is the checksum that its publisher gives, `url` its address there; empty if there is none. `place` is where
    it lies in a data root.
    """

    name: str
    entry: FileEntry
    sha1: str
    url: str
    place: str


@dataclass(frozen=True)
class CorpusFacts:
    """A corpus of the training set: its source, and the steps behind its token files, as far as the chain has them.

    `steps` are by asset, in the order of shards.
    """

    corpus: Corpus
    source: Source
    steps: Mapping[str, Sequence[Step]]

    @property
    def text(self) -> Sequence[Step]:
        """The shards of its cleaned documents."""
        return self.steps.get(self.corpus.text_asset, ())

    @property
    def tokens(self) -> Sequence[Step]:
        """Its token files, with the tables of their documents."""
        return self.steps.get(self.corpus.tokens_asset, ())

    def total(self, count: str) -> int | None:
        """Return the sum of a count over all token files; None if they are not in the chain."""
        return sum(step.manifest.counts[count] for step in self.tokens) if self.tokens else None

    def left_out(self) -> Mapping[str, int]:
        """Return how many documents of the source were left out, by the reason; without those of no document."""
        found: dict[str, int] = {}
        for step in self.text:
            for name, count in step.manifest.counts.items():
                if (name in ("rejected", "excluded") or name.startswith("dropped_")) and count:
                    found[name] = found.get(name, 0) + count
        return found

    def files(self) -> Iterator[SourceFile]:
        """Yield the files that were downloaded."""
        for step in self.steps.get(self.corpus.source_asset or "", ()):
            place = place_of(step)
            for name, entry in sorted(step.manifest.files.items()):
                if name != SHARD_RANGES and not name.endswith(".jsonl"):
                    sha1 = step.manifest.counts.get("sha1", {}).get(name, "")
                    yield SourceFile(name, entry, sha1, self._address(step, name), f"{place}/{name}")

    def _address(self, step: Step, name: str) -> str:
        if isinstance(self.corpus.source, WikiDumps) and self.source.page:
            return f"https://dumps.wikimedia.org/{self.corpus.source.wiki}/{step.parsed.dump}/{name}"
        url = step.manifest.recipe.settings.get("url", "")
        return url if _WEB.fullmatch(url) else ""


@dataclass(frozen=True)
class ReleaseFacts:
    """What papers are made of. `model` is the manifest of the trained model, `files` are those of the release so far.

    `corpora` are those that the model was trained on, `descriptions` what folders among them say of themselves.
    `interval` are the limits of the bits per character of all held-out documents; None if there are too few.
    """

    name: str
    dump: str
    licence: ModelLicence
    corpora: Sequence[Corpus]
    descriptions: Mapping[str, CorpusDescription]
    chain: Chain
    model: Manifest
    scores: Sequence[Score]
    interval: tuple[float, float] | None
    files: Mapping[str, FileEntry]

    @cached_property
    def training_set(self) -> Step | None:
        """The training set that the model was trained on; None if it is gone."""
        label = f"{TRAINING_SET} {self.dump}"
        sha256 = self.model.recipe.inputs.get(label)
        return self.chain.find(label, sha256) if sha256 else None

    @cached_property
    def text(self) -> Sequence[CorpusFacts]:
        """The corpora that the model was trained on."""
        behind = steps_behind(self.chain, self.training_set) if self.training_set else []
        return [
            CorpusFacts(
                corpus,
                Source.of(corpus, self.dump, self.descriptions.get(corpus.name)),
                {
                    asset: sorted((step for step in behind if step.parsed.asset == asset), key=lambda step: step.label)
                    for asset in corpus.assets
                },
            )
            for corpus in self.corpora
        ]

    @property
    def libraries(self) -> list[tuple[str, str]]:
        """Name and version of each library, or engine with its fingerprint, that shaped any output of the chain."""
        recipes = [self.model.recipe, *(step.manifest.recipe for step in self.chain.steps)]
        return sorted({pair for recipe in recipes for pair in recipe.libraries.items()})

    @property
    def total_tokens(self) -> int | None:
        """The tokens of the training set, those held out included; None if it is gone."""
        if self.training_set is None:
            return None
        counts = self.training_set.manifest.counts
        return int(counts["train_tokens"] + counts["validation_tokens"])


def place_of(step: Step) -> str:
    """Return where an output lies in a data root: its directory, or its Parquet file."""
    asset, dump, shard, model, _ = step.parsed
    name = f"shard={shard}{'.parquet' if 'data' in step.manifest.files else ''}" if shard else ""
    return "/".join(filter(None, (asset, dump and f"dump={dump}", name, model and f"model={model}")))


def steps_behind(chain: Chain, step: Step) -> list[Step]:
    """Return the steps that one was made of, directly or not, without the tokenizer and what that was made of."""
    found: dict[str, Step] = {}
    due = [step]
    while due:
        current = due.pop()
        for label, sha256 in current.manifest.recipe.inputs.items():
            if label in ("tokenizer", SOURCE_FILES):
                continue
            if label == PAGES:
                wanted = str(dump_of_pages(current.parsed))
                made_of = next((step for step in chain.steps if step.label == wanted), None)
            else:
                made_of = chain.find(label, sha256)
            if made_of and made_of.label not in found:
                found[made_of.label] = made_of
                due.append(made_of)
    return list(found.values())
