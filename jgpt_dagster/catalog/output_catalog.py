"""Every output of a deployment: which assets there are, and the artifact of each partition on disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact

TOKENIZER = "tokenizer"
TRAINING_SET = "training_set"

MODEL_ASSETS = ("pretrained_model", "evaluation", "release")
"""The assets of one model of one dump, in the order in which they are made."""

GPU_ASSETS = frozenset({"pretrained_model", "evaluation", "foreign_evaluation", "task_evaluation"})
"""The assets whose runs go to the GPU queue."""


def text_assets(corpora: Sequence[Corpus]) -> list[str]:
    """Return the assets from the sources of corpora to the training set, in the order in which they are made."""
    return [*(asset for corpus in corpora for asset in corpus.assets), TOKENIZER, TRAINING_SET]


@dataclass(frozen=True)
class OutputCatalog:
    """The outputs of a data root for given corpora, shard keys and model: the one that commands and sensors make."""

    root: DataRoot
    corpora: tuple[Corpus, ...]
    shards: tuple[str, ...]
    model: str

    @property
    def dated_corpora(self) -> list[Corpus]:
        """The corpora that come in dated dumps."""
        return [corpus for corpus in self.corpora if corpus.dated]

    @property
    def undated_corpora(self) -> list[Corpus]:
        """The corpora that all dumps share."""
        return [corpus for corpus in self.corpora if not corpus.dated]

    def source(self, corpus: Corpus, dump: str) -> DirectoryArtifact | None:
        """Return the downloaded source of a corpus, of one dump if it is dated; None if nothing is downloaded."""
        if corpus.source_asset is None:
            return None
        return self.root.directory(corpus.source_asset, dump if corpus.dated else None)

    def shard(self, corpus: Corpus, asset: str, dump: str | None, shard: str) -> Artifact:
        """Return the output of one shard of an asset of a corpus; `dump` counts for a dated corpus alone."""
        date = dump if corpus.dated else None
        if asset == corpus.tokens_asset:
            return self.root.directory(asset, date, shard)
        return self.root.parquet(asset, date, shard)

    def all_shards(self, corpus: Corpus, asset: str, dump: str | None) -> list[Artifact]:
        """Return the outputs of all shards of an asset of a corpus."""
        return [self.shard(corpus, asset, dump, shard) for shard in self.shards]

    @property
    def tokenizer(self) -> DirectoryArtifact:
        """The tokenizer, which all dumps share."""
        return self.root.directory(TOKENIZER)

    def training_set(self, dump: str) -> DirectoryArtifact:
        """Return the training set of a dump."""
        return self.root.directory(TRAINING_SET, dump)

    def models(self, dump: str) -> list[str]:
        """Return the names of the models of a dump: the one in use, then all others that have anything on disk."""
        on_disk = {name for asset in MODEL_ASSETS for name in self.root.models(asset, dump)}
        return [self.model, *sorted(on_disk - {self.model})]

    def model_outputs(self, dump: str, model: str | None = None) -> list[Artifact]:
        """Return what a model of a dump consists of: weights, evaluation, release; by default the model in use."""
        return [self.root.directory(asset, dump, model=model or self.model) for asset in MODEL_ASSETS]

    def shared_outputs(self) -> list[Artifact]:
        """Return the outputs that all dumps share, in the order of the graph."""
        return [*(artifact for corpus in self.undated_corpora for artifact in self._of(corpus, "")), self.tokenizer]

    def dump_outputs(self, dump: str) -> list[Artifact]:
        """Return the outputs of one dump, in the order of the graph."""
        of_corpora = (artifact for corpus in self.dated_corpora for artifact in self._of(corpus, dump))
        of_models = (output for model in self.models(dump) for output in self.model_outputs(dump, model))
        return [*of_corpora, self.training_set(dump), *of_models]

    def _of(self, corpus: Corpus, dump: str) -> Iterator[Artifact]:
        if source := self.source(corpus, dump):
            yield source
        for asset in corpus.shard_assets:
            yield from self.all_shards(corpus, asset, dump)
