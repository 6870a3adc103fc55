"""Models of a hub: downloaded by name, without anything that could run."""

import re
from pathlib import Path

from jgpt_dagster.lm.evaluation.model_directory import READ
from jgpt_dagster.lm.model.presets import ModelError

_HUB_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}(@[\w./-]{1,200})?")


def model_path(name: str) -> Path:
    """Return the directory that a path names, or that of a model of a hub (`OWNER/NAME`, `OWNER/NAME@REVISION`).

    A model of a hub is downloaded, weights as safetensors only, unless it has been before. Raises ModelError.
    """
    if Path(name).exists() or not _HUB_NAME.fullmatch(name):
        return Path(name)
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(READ)))
    except Exception as error:  # a hub, or the way to it, may refuse in any way
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            f"{name} is neither a directory nor a model that the hub gives: {lines[0] if lines else error!r}"
        ) from error
