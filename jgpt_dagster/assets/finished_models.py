"""What becomes of a finished model when its inputs, settings or libraries change: it stays until somebody retrains it.

A model costs days. An upgraded library or another default makes it stale, which is reported; it is never a reason to
train it again. Its evaluation and its release stay with it.
"""

import shlex
from collections.abc import Container
from itertools import count

import dagster as dg

from jgpt_dagster.assets.materialize import tell
from jgpt_dagster.assets.pretraining_config import SIZE_FIELDS
from jgpt_dagster.catalog.output_catalog import TRAINING_SET
from jgpt_dagster.catalog.training_data_links import training_data_root
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe


def model_recipe(
    context: dg.AssetExecutionContext, target: DirectoryArtifact, recipe: Recipe, given: Container[str]
) -> Recipe:
    """Return the recipe of the finished model at `target`, which stays, or `recipe` if no complete one is there.

    `given` are the settings that this run asks for by name. Raises JgptError if the finished model has others of them:
    it is not what was asked for. Raises it too for a damaged model that another recipe made: this run would make
    another model in its place.
    """
    manifest = target.manifest()
    if manifest is None or manifest.recipe == recipe:
        return recipe
    made, changes = manifest.recipe, "; ".join(manifest.recipe.changes(recipe))
    dump = target.partition.partition("|")[0]
    retrain = shlex.join(["jgpt", "run", "--dump", dump, "--retrain"])
    if mismatch := target.find_mismatch(manifest):
        raise JgptError(
            f"{target.label} is damaged: {mismatch}. It cannot be trained again as it was: {changes}. Restore its "
            f"files, or replace it by another model with\n  {retrain}"
        )
    contradicted = [
        f"{name} {made.settings.get(name)}, and this run asks for {value}"
        for name, value in recipe.settings.items()
        if name in given and made.settings.get(name) != value
    ]
    if contradicted:
        raise JgptError(
            f"{target.label} was trained with {'; '.join(contradicted)}. Train another model beside it under a name of "
            "its own (JGPT_MODEL=NAME, with `preset:` in the run config), or replace it with `jgpt run --retrain`."
        )
    begin = shlex.join(["jgpt", "run", "--dump", dump, "--warm-start", "auto"])
    size = [f"pretrained_model.{field}={made.settings.get(name)}" for field, name in SIZE_FIELDS.items()]
    tell(
        context,
        target,
        f"{target.label} is stale and stays as it is: {changes}. Replace it with\n  {retrain}\nor train on beside it "
        f"under a name of its own with\n  export JGPT_MODEL={shlex.quote(_free_name(target))}\n"
        f"  jgpt config set {shlex.join(size)}\n  {begin}",
    )
    return made


def model_data_root(store: CorpusStore, model: DirectoryArtifact, dump: str) -> tuple[DataRoot, str | None]:
    """Return the root with the data that a model was trained on, and the hash of its training set, None if unknown.

    It is the data root, or the links that the model keeps if its training set has been made again since.
    """
    sha256 = model.verified().recipe.inputs.get(f"{TRAINING_SET} {dump}")
    return training_data_root(store.root, dump, sha256), sha256


def _free_name(target: DirectoryArtifact) -> str:
    """Return a name for another model beside one: its own with the first number that is free."""
    names = (f"{target.model}-{number}" for number in count(2))
    return next(name for name in names if not target.path.with_name(f"model={name}").exists())


def recipe_of_dependent(
    target: DirectoryArtifact,
    recipe: Recipe,
    model: DirectoryArtifact,
    source: DirectoryArtifact,
    made_with: str | None,
) -> Recipe:
    """Return the recipe for what is made of a finished model and of `source`, which the model must have been made with.

    `made_with` is the hash of `source` that the model knows. If `source` has been made again since, an output of this
    very model stays. Raises JgptError if there is none: a new one would pass for something that it is not.
    """
    if recipe.inputs[source.recipe_label] == made_with:
        return recipe
    manifest = target.manifest()
    if manifest and manifest.recipe.inputs.get(model.recipe_label) == recipe.inputs[model.recipe_label]:
        return manifest.recipe
    raise JgptError(
        f"{source.label} has been made again since {model.label} was trained, so {target.label} cannot be made of "
        "both. Train the model again with `jgpt run --retrain`, or another one under a name of its own (JGPT_MODEL)."
    )
