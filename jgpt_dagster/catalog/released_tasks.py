"""What a released model reaches on tasks, for its card: `jgpt evaluate --tasks` scores a release that is there."""

import json
from collections.abc import Mapping
from typing import Any

from jgpt_dagster.catalog.evaluated_models import TASK_EVALUATION, TASKS, release_fingerprint, task_output
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Manifest

_FIGURES = ("items", "accuracy", "accuracy_low", "accuracy_high", "chance")


def tasks_of_release(root: DataRoot, dump: str, release: Manifest) -> dict[str, dict[str, Any]]:
    """Return the figures of each task that the model of a release was scored on, under whichever name.

    Of two scores on a task, the one on more items counts. Raises ArtifactError if an evaluation is damaged.
    """
    model = release_fingerprint(release)
    found: dict[str, dict[str, Any]] = {}
    for name in root.keys("name", TASK_EVALUATION, dump):
        output = task_output(root, dump, name)
        manifest = output.manifest()
        if manifest is None or manifest.recipe.inputs.get("model") != model:
            continue
        output.verified()
        scores: Mapping[str, Any] = json.loads((output.path / TASKS).read_text())["tasks"]
        for task, figures in scores.items():
            if task not in found or figures["items"] > found[task]["items"]:
                found[task] = {name: figures[name] for name in _FIGURES}
    return found
