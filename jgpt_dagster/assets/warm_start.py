"""Warm start: the model of an earlier dump that a training run starts from."""

from collections.abc import Mapping
from typing import NamedTuple

import dagster as dg

from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.partitions import model_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest


class InitialModel(NamedTuple):
    """The model that a run starts from, and the sha256 of its data when it was chosen."""

    artifact: DirectoryArtifact
    sha256: str

    def require_unchanged(self) -> None:
        """Raise JgptError unless the model is complete and still the one that was chosen."""
        found = self.artifact.verified().data_sha256
        if found != self.sha256:
            raise JgptError(
                f"{self.artifact.label} has been made again since this run started from it: sha256 {found[:16]}…, "
                f"expected {self.sha256[:16]}…. Start over with `force: true`."
            )


def initial_model(
    context: dg.AssetExecutionContext, store: CorpusStore, recorded: Mapping[str, str], training_set: Manifest
) -> InitialModel | None:
    """Return the model of the same name of the newest earlier dump that has one with the same tokenizer, or None.

    `recorded` are the inputs of the run if it has started. It keeps the model that it started from: neither a newer
    model of an earlier dump nor the removal of that dump makes it stale.
    """
    key = model_key(context)
    for label, sha256 in recorded.items():
        asset, _, dump = label.partition(" ")
        if asset == "pretrained_model":
            return InitialModel(store.model_directory(asset, dump, key.model), sha256)
    for dump in reversed([dump for dump in store.root.dumps("pretrained_model") if dump < key.dump]):
        model = store.model_directory("pretrained_model", dump, key.model)
        manifest = model.manifest()
        if manifest is None:
            continue
        if _tokenizer(store, dump, manifest) == training_set.recipe.inputs["tokenizer"]:
            return InitialModel(model, manifest.data_sha256)
        context.log.warning(f"training does not start from {model.label}: it is not known to have the same tokenizer")
    return None


def _tokenizer(store: CorpusStore, dump: str, model: Manifest) -> str | None:
    """Return the identity of a model's tokenizer; None if the training set that it was trained on is gone."""
    training_set = store.directory("training_set", dump)
    manifest = training_set.manifest()
    if manifest is None or model.recipe.inputs.get(training_set.recipe_label) != manifest.data_sha256:
        return None
    return manifest.recipe.inputs["tokenizer"]
