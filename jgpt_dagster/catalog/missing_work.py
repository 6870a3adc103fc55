"""What of a dump is missing on disk and can be made now, stage by stage up to its training set. Imports no Dagster.

Disk decides: an output counts as there when its manifest is. Only manifests are read here; each stage verifies its
inputs by their hashes when it runs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import Manifest

Whole = Callable[[Artifact], Manifest | None]

WIKIPEDIA_STAGES = ("wikipedia_articles", "wikipedia_segmented", "wikipedia_tokens")
MODEL_ASSETS = ("pretrained_model", "evaluation", "release")


def text_assets(corpus: str) -> tuple[str, ...]:
    """Return the assets of a corpus from its source to its tokens, in order; without the dump of Wikipedia."""
    if corpus == "wikipedia":
        return WIKIPEDIA_STAGES
    stages = tuple(f"{corpus}_{stage}" for stage in ("documents", "segmented", "tokens"))
    return ("cc100_dump", *stages) if corpus == "cc100" else stages


@dataclass(frozen=True)
class Work:
    """Missing outputs that one run can make: several stages of one shard, or several shards of one stage.

    `inputs` is the identity of what lies on disk that they will be made from; empty for a download.
    """

    outputs: tuple[Artifact, ...]
    inputs: str = ""

    @property
    def assets(self) -> list[str]:
        """The asset keys of the outputs, in the order of the graph."""
        return list(dict.fromkeys(output.asset for output in self.outputs))

    @property
    def partitions(self) -> list[str]:
        """The partition keys of the outputs, in order; none for an unpartitioned asset."""
        return list(dict.fromkeys(output.partition for output in self.outputs if output.partition))

    @property
    def name(self) -> str:
        """A name for people, such as `wikipedia_articles+wikipedia_segmented 20250801|003`."""
        ends = "…".join(dict.fromkeys((*self.partitions[:1], *self.partitions[-1:])))
        return f"{'+'.join(self.assets)} {ends}".strip()

    @property
    def key(self) -> str:
        """The same outputs from the same inputs are the same work."""
        return f"{self.name} from {self.inputs[:16]}" if self.inputs else self.name


def missing_work(root: DataRoot, corpora: Sequence[str], shards: Sequence[str], dump: str) -> list[Work]:
    """Return what can be made of a dump now, in the order of the graph; nothing once its training set is made.

    The stages of a shard go into one run, since starting a run costs more than most of them take in a refresh. What
    needs all shards (the tokenizer, where there is none, and the training set) waits until every one is whole.
    """
    return list(_missing_work(root, corpora, shards, dump, cache(lambda artifact: artifact.manifest())))


def missing_model_work(root: DataRoot, dump: str, model: str) -> Work | None:
    """Return the run that leads from the training set of a dump to its release; None where nothing can or need be made.

    A model that is there is not trained again, whatever it was trained with.
    """
    training_set = root.directory("training_set", dump).manifest()
    outputs = [root.directory(asset, dump, model=model) for asset in MODEL_ASSETS]
    missing = [index for index, output in enumerate(outputs) if output.manifest() is None]
    if training_set is None or not missing:
        return None
    return Work(tuple(outputs[missing[0] :]), sha256_value([training_set.data_sha256, model]))


def _missing_work(
    root: DataRoot, corpora: Sequence[str], shards: Sequence[str], dump: str, whole: Whole
) -> Iterator[Work]:
    training_set = root.directory("training_set", dump)
    if whole(training_set):
        return
    tokenizer = root.directory("tokenizer")
    segmented, tokens = list[Artifact](), list[Artifact]()

    def of_shard(source: Artifact, stages: Sequence[Artifact]) -> Iterator[Work]:
        segmented.append(stages[-2])
        tokens.append(stages[-1])
        possible = stages if whole(tokenizer) else stages[:-1]
        if whole(source):
            yield from _work([stage for stage in possible if not whole(stage)], [source, *stages, tokenizer], whole)

    dump_file = root.directory("wikipedia_dump", dump)
    for shard in shards:
        yield from of_shard(dump_file, [root.shard(asset, dump, shard) for asset in WIKIPEDIA_STAGES])
    for corpus in corpora:
        if corpus == "wikipedia":
            continue
        *downloads, first, segmented_asset, tokens_asset = text_assets(corpus)
        archives = [root.directory(download) for download in downloads]
        documents = [root.parquet(first, shard=shard) for shard in shards]
        if missing := [archive for archive in archives if not whole(archive)]:
            yield Work(tuple(missing))
        else:
            # One pass over the source writes all the shards that are missing.
            yield from _work([shard for shard in documents if not whole(shard)], archives, whole)
        for source, shard in zip(documents, shards, strict=True):
            yield from of_shard(source, [root.shard(asset, None, shard) for asset in (segmented_asset, tokens_asset)])
    if all(map(whole, segmented)):
        yield from _work([] if whole(tokenizer) else [tokenizer], segmented, whole)
    if all(map(whole, tokens)):
        yield from _work([training_set], tokens, whole)


def _work(missing: Sequence[Artifact], sources: Sequence[Artifact], whole: Whole) -> Iterator[Work]:
    """Yield the work of making what is missing, if anything is, from those of the sources that are whole."""
    if missing:
        found = {source.label: manifest.data_sha256 for source in sources if (manifest := whole(source))}
        yield Work(tuple(missing), sha256_value(found))
