"""Accept the checkpoints of a run: `python -m jgpt_dagster.lm.training.sign_checkpoints DATA_ROOT RUN_DIRECTORY`.

For checkpoints that an earlier version has written, or that come from another data root. Loading a checkpoint runs the
code in it, so sign only those that you have made yourself, on a disk to which nobody else could write.
"""

import sys
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.training.checkpoint_trust import (
    read_unsigned_manifest,
    require_own_scratch,
    signed,
    signing_key,
)
from jgpt_dagster.storage.directory_artifact import MANIFEST, DirectoryArtifact
from jgpt_dagster.storage.sealed_json import write_sealed_json


def sign_checkpoints(data_root: Path, run: Path) -> list[Path]:
    """Sign each intact checkpoint of a run with this user's key of a data root; return their directories.

    Raises UntrustedError if others can write to the run's directory, JgptError if a checkpoint is damaged.
    """
    require_own_scratch(run)
    key = signing_key(data_root)
    checkpoints = sorted(path for path in (run / "checkpoints").glob("step=*") if path.is_dir())
    for path in checkpoints:
        manifest = read_unsigned_manifest(path)
        if mismatch := DirectoryArtifact("checkpoint", "", path).find_mismatch(manifest):
            raise JgptError(f"{path} is damaged: {mismatch}. Delete it, then run the same command again.")
        write_sealed_json(path / MANIFEST, signed(manifest, key), internal=True)
    return checkpoints


def main(arguments: list[str]) -> int:
    """Sign the checkpoints that the arguments name; return the exit code."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        found = sign_checkpoints(*map(Path, arguments))
    except JgptError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(f"signed {path}" for path in found) or f"{arguments[1]} has no checkpoints")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
