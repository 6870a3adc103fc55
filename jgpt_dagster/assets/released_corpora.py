"""What a release says of its text: the corpora that its model was trained on, and what folders say of themselves."""

from collections.abc import Mapping, Sequence

from jgpt_dagster.catalog.corpora import Corpus, Folder
from jgpt_dagster.catalog.output_catalog import TRAINING_SET
from jgpt_dagster.corpus.web.corpus_description import CorpusDescription, read_description
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact


def trained_on(
    store: CorpusStore, root: DataRoot, dump: str, model: DirectoryArtifact, target: DirectoryArtifact
) -> list[str]:
    """Return the names of the corpora that a model was trained on: the deployment may have others since.

    Raises JgptError if its training set is not in `root` any more, and no release of this model says it.
    """
    manifest, data, released = model.verified(), root.directory(TRAINING_SET, dump), target.manifest()
    names = [corpus.name for corpus in store.corpora]
    made = data.manifest()
    if made and made.data_sha256 == manifest.recipe.inputs.get(data.recipe_label):
        weights = made.recipe.settings["weights"]
        return [name for name in names if name in weights] + sorted(weights.keys() - {*names})
    if released and released.recipe.inputs.get(model.recipe_label) == manifest.data_sha256:
        return list(released.recipe.settings["corpora"])
    if made is None:  # removed to free space
        return names
    raise JgptError(
        f"{data.label} has been made again since {model.label} was trained, so the card of {target.label} cannot say "
        "what it was trained on. Train the model again with `jgpt run --retrain`, or another one under a name of its "
        "own (JGPT_MODEL)."
    )


def descriptions_of(corpora: Sequence[Corpus], target: DirectoryArtifact) -> Mapping[str, CorpusDescription]:
    """Return what folders say of themselves, by the name of the corpus: now, or if one is gone, in the last release.

    Raises CorpusDescriptionError.
    """
    released = target.manifest()
    recorded = released.recipe.settings.get("descriptions", {}) if released else {}
    found = dict[str, CorpusDescription]()
    for corpus in corpora:
        name, source = corpus.name, corpus.source
        if not isinstance(source, Folder):
            continue
        if source.path.is_dir():
            description = read_description(source.path)
        else:
            description = CorpusDescription(**recorded[name]) if name in recorded else None
        if description:
            found[name] = description
    return found
