"""Finding the releases of a data root."""

import shlex
from pathlib import Path

from jgpt_dagster.catalog.good_outputs import judge, required_checks
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.data_root import DataRoot


def newest_release(root: DataRoot, model: str, dump: str | None = None) -> Path:
    """Return the directory of a model's release: that of `dump`, or the newest whose check has not failed.

    Raises JgptError if there is none, and ArtifactError if it is damaged.
    """
    dumps = reversed(root.dumps("release")) if dump is None else [dump]
    for date in dumps:
        release = root.directory("release", date, model=model)
        manifest = release.manifest()
        if manifest and (dump or judge(release, manifest, required_checks(())).quality != "failed"):
            release.verified()
            return release.path
    raise JgptError(
        f"{root.location / 'release'} holds no release of model {model}{f' and dump {dump}' if dump else ''}. "
        f"Make one with:\n  jgpt run --dump {shlex.quote(dump or 'latest')}"
    )
