"""What a model was trained on: documents, characters and tokens of each corpus, those held out included."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from jgpt_dagster.catalog.output_catalog import TRAINING_SET
from jgpt_dagster.lm.data.token_files import TOKENS
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.storage.data_root import DataRoot


@dataclass(frozen=True)
class CorpusAccount:
    """The size of a corpus: `characters` of its normalised text without the `</s>` that `tokens` include."""

    documents: int = 0
    characters: int = 0
    tokens: int = 0

    def __add__(self, other: "CorpusAccount") -> "CorpusAccount":
        return CorpusAccount(
            self.documents + other.documents, self.characters + other.characters, self.tokens + other.tokens
        )


def training_data_account(root: DataRoot, dump: str, sha256: str | None) -> Mapping[str, CorpusAccount]:
    """Return the account of each corpus in the training set of a dump with this hash, by the name of the corpus.

    It is empty if the training set or one of its token files is not in `root` any more, or has been made again since.
    """
    data = root.directory(TRAINING_SET, dump)
    manifest = data.manifest()
    if manifest is None or manifest.data_sha256 != sha256:
        return {}
    data.verified()
    accounts = defaultdict[str, CorpusAccount](CorpusAccount)
    for file in TrainingSet.open(data.path).token_files:
        manifest = root.directory_by_label(file.label).manifest()
        if manifest is None or manifest.files[TOKENS].sha256 != file.sha256:
            return {}
        counts = manifest.counts
        accounts[file.corpus] += CorpusAccount(counts["documents"], counts["characters"], counts["tokens"])
    return dict(accounts)
