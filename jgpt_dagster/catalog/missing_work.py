"""What is missing on disk for a dump and can be made now, as work items that one run each can do.

Disk decides: an output counts as present if it is complete and its blocking checks have passed. One that was never
checked is work too: its run verifies it, finds it up to date and checks it. Only manifests and verdicts are read here;
each stage verifies its inputs by their hashes when it runs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.good_outputs import judge, required_checks
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import Manifest


@dataclass(frozen=True)
class WorkItem:
    """Missing outputs that one run can make: several stages of one shard, or several shards of one stage.

    `inputs` identifies the data on disk that they will be made from; it is empty for a download.
    """

    outputs: tuple[Artifact, ...]
    inputs: str = ""

    @property
    def assets(self) -> list[str]:
        """The asset keys of the outputs, in the order of the graph."""
        return list(dict.fromkeys(output.asset for output in self.outputs))

    @property
    def partitions(self) -> list[str]:
        """The partition keys of the outputs, in order; empty for an unpartitioned asset."""
        return list(dict.fromkeys(output.partition for output in self.outputs if output.partition))

    @property
    def name(self) -> str:
        """A name for messages, such as `wikipedia_articles+wikipedia_segmented 20250801|003`."""
        ends = "…".join(dict.fromkeys((*self.partitions[:1], *self.partitions[-1:])))
        return f"{'+'.join(self.assets)} {ends}".strip()

    @property
    def key(self) -> str:
        """The identity of the work: the same outputs from the same inputs."""
        return f"{self.name} from {self.inputs[:16]}" if self.inputs else self.name


@dataclass(frozen=True)
class DumpWork:
    """What can be made for a dump now, in the order of the graph, and the first failed check of its text, in words."""

    items: list[WorkItem]
    failure: str = ""


def missing_work(catalog: OutputCatalog, dump: str) -> list[WorkItem]:
    """Return what can be made for a dump now, in the order of the graph; empty once its training set is there."""
    return work_of_dump(catalog, dump).items


def work_of_dump(catalog: OutputCatalog, dump: str) -> DumpWork:
    """Return what can be made for a dump now; nothing once its training set is there.

    All stages of a shard go into one run, because starting a run costs more than most of them take in a refresh. What
    needs every shard (a tokenizer, if there is none, and the training set) waits until all shards are there.
    """
    disk = _Disk(catalog, dump)
    training_set = catalog.training_set(dump)
    if training_set.manifest():
        # What it was made from may have been removed since to free space.
        items = [] if disk.has(training_set) else list(disk.training_set_check())
    else:
        text = [item for corpus in catalog.corpora for item in disk.corpus_work(corpus)]
        items = [*text, *disk.tokenizer_work(), *disk.training_set_work()]
    return DumpWork(items, disk.failure)


def missing_model_work(catalog: OutputCatalog, dump: str) -> WorkItem | None:
    """Return the work that leads from the training set of a dump to its release; None if there is none to do.

    A model that is there is not trained again, whatever it was trained with.
    """
    disk = _Disk(catalog, dump)
    training_set = catalog.training_set(dump).manifest()
    outputs = catalog.model_outputs(dump)
    missing = [index for index, output in enumerate(outputs) if not disk.has(output)]
    if training_set is None or not missing or not disk.has(catalog.training_set(dump)):
        return None
    return WorkItem(tuple(outputs[missing[0] :]), sha256_value([training_set.data_sha256, catalog.model]))


class _Disk:
    """The good outputs on disk, each looked at once, and the work that is missing in one part of the graph."""

    def __init__(self, catalog: OutputCatalog, dump: str) -> None:
        self._catalog, self._dump = catalog, dump
        self._required = required_checks(catalog.corpora)
        self._manifests: dict[Artifact, Manifest | None] = {}
        self._good: dict[Artifact, bool] = {}
        self.failure = ""
        """The first failed check of an output of the dump, among those that were looked at."""

    def has(self, artifact: Artifact) -> bool:
        """Return whether an output is complete and good."""
        if artifact not in self._good:
            manifest = self._manifest(artifact)
            judgement = judge(artifact, manifest, self._required) if manifest else None
            self._good[artifact] = judgement is not None and judgement.quality == "good"
            if judgement and judgement.quality == "failed" and artifact.partition.startswith(self._dump):
                self.failure = self.failure or f"{artifact.label}: {judgement.reason}"
        return self._good[artifact]

    def corpus_work(self, corpus: Corpus) -> Iterator[WorkItem]:
        """Yield the work from a corpus's source to its tokens."""
        source = self._catalog.source(corpus, self._dump)
        if corpus.dated:
            for shard in self._catalog.shards:
                yield from self._shard_work(source, self._stages(corpus, corpus.shard_assets, shard))
            return
        if source and not self.has(source):
            yield WorkItem((source,))
        else:
            # One pass over the source writes all shards that are missing.
            text = self._catalog.all_shards(corpus, corpus.text_asset, None)
            yield from self._item(text, [source] if source else [])
        for shard in self._catalog.shards:
            text_shard, *stages = self._stages(corpus, corpus.shard_assets, shard)
            yield from self._shard_work(text_shard, stages)

    def tokenizer_work(self) -> Iterator[WorkItem]:
        """Yield the training of a tokenizer once every shard is segmented, from text that is good."""
        segmented = self._every(lambda corpus: corpus.segmented_asset)
        if all(map(self.has, [*self._every(lambda corpus: corpus.text_asset), *segmented])):
            yield from self._item([self._catalog.tokenizer], segmented)

    def training_set_work(self) -> Iterator[WorkItem]:
        """Yield the training set once every shard has its tokens, and all that they were made of is good."""
        tokens = self._every(lambda corpus: corpus.tokens_asset)
        stages = (
            shard
            for corpus in self._catalog.corpora
            for asset in corpus.shard_assets
            for shard in self._catalog.all_shards(corpus, asset, self._dump)
        )
        if all(map(self.has, [*stages, self._catalog.tokenizer])):
            yield from self._item([self._catalog.training_set(self._dump)], tokens)

    def training_set_check(self) -> Iterator[WorkItem]:
        """Yield the check of a training set that was made before checks were recorded."""
        yield from self._item([self._catalog.training_set(self._dump)], [])

    def _shard_work(self, source: Artifact | None, stages: Sequence[Artifact]) -> Iterator[WorkItem]:
        """Yield what is missing of a shard whose source is there; tokens need the tokenizer too."""
        if source and self.has(source):
            tokenizer = self._catalog.tokenizer
            possible = stages if self.has(tokenizer) else stages[:-1]
            yield from self._item(possible, [source, *stages, tokenizer])

    def _item(self, outputs: Sequence[Artifact], inputs: Sequence[Artifact]) -> Iterator[WorkItem]:
        """Yield the work of making those outputs that are missing, if any are."""
        if missing := [output for output in outputs if not self.has(output)]:
            manifests = {source.recipe_label: self._manifest(source) for source in inputs}
            found = {label: manifest.data_sha256 for label, manifest in manifests.items() if manifest}
            yield WorkItem(tuple(missing), sha256_value(found))

    def _stages(self, corpus: Corpus, assets: Sequence[str], shard: str) -> list[Artifact]:
        return [self._catalog.shard(corpus, asset, self._dump, shard) for asset in assets]

    def _every(self, asset_of: Callable[[Corpus], str]) -> list[Artifact]:
        """Return all shards of one stage, of every corpus."""
        return [
            shard
            for corpus in self._catalog.corpora
            for shard in self._catalog.all_shards(corpus, asset_of(corpus), self._dump)
        ]

    def _manifest(self, artifact: Artifact) -> Manifest | None:
        if artifact not in self._manifests:
            self._manifests[artifact] = artifact.manifest()
        return self._manifests[artifact]
