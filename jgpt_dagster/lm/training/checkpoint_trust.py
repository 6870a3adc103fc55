"""Which checkpoints may be loaded: those that this user's training has written under this data root.

DeepSpeed's files are pickles, and loading a pickle runs the code in it. So the manifest of a checkpoint carries a keyed
hash (HMAC-SHA256, RFC 2104) of all that it lists. The key is a file of the data root, `.keys/checkpoints-<uid>.key`,
that its owner alone can read; if the data root is a URL, it is a file of the working copy in the scratch directory.
The hash does not help against somebody who can exchange a file after it was verified, so the scratch directory must not
be writable by others either.
"""

import hmac
import json
import os
import secrets
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.atomic_write import atomic_file
from jgpt_dagster.storage.directory_artifact import MANIFEST
from jgpt_dagster.storage.file_creation import OWNER_ONLY
from jgpt_dagster.storage.file_lock import file_lock
from jgpt_dagster.storage.hashing import canonical_json
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.sealed_json import read_sealed_json
from jgpt_dagster.storage.trusted_path import find_other_writer

SHARED_SCRATCH = "JGPT_SHARED_SCRATCH"
"""The variable that allows a scratch directory that others can write to."""

_SIGNATURE = "hmac_sha256"
_KEY_BYTES = 32


class UntrustedError(JgptError):
    """A checkpoint, key or scratch directory that somebody else may have written."""


def require_own_scratch(run: Path) -> None:
    """Raise UntrustedError if others can write to the directory of a run, unless JGPT_SHARED_SCRATCH allows it."""
    if os.environ.get(SHARED_SCRATCH, "").strip().lower() in ("1", "true", "t", "yes", "y", "on"):
        return
    if reason := find_other_writer(run):
        raise UntrustedError(
            f"{reason}: others could put a checkpoint into {run}, and loading a checkpoint runs the code in it. Take "
            "that right away (chmod go-w), or point JGPT_SCRATCH at a directory of your own; if you trust all who can "
            f"write there with your account, set {SHARED_SCRATCH}=1."
        )


def signing_key(data_root: Path) -> bytes:
    """Return this user's key of a data root, which is made at the first call.

    Raises UntrustedError if the key file is no plain file of this user's that nobody else can read.
    """
    path = data_root / ".keys" / f"checkpoints-{os.geteuid()}.key"
    with file_lock(path.with_suffix(".lock")):
        if not os.path.lexists(path):
            with atomic_file(path, mode=OWNER_ONLY) as stream:
                stream.write(secrets.token_hex(_KEY_BYTES).encode() + b"\n")
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused_key(path, error.strerror or type(error).__name__) from error
    with open(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _refused_key(path, "it is no file")
        if found.st_uid != os.geteuid():
            raise _refused_key(path, f"it belongs to user {found.st_uid}")
        if found.st_mode & 0o077:
            raise _refused_key(path, f"others have rights to it (mode {stat.S_IMODE(found.st_mode):04o})")
        text = stream.read(2 * _KEY_BYTES + 2)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise _refused_key(path, f"it does not hold {2 * _KEY_BYTES} hexadecimal digits")
    return key


def _refused_key(path: Path, reason: str) -> UntrustedError:
    return UntrustedError(
        f"{path}, the key of the checkpoints, cannot be trusted: {reason}. If nobody else can have read or changed it, "
        f"mend it with `chmod 600 {shlex.quote(str(path))}`; otherwise delete it, and start the run again with "
        "`force: true`."
    )


def signed(manifest: Manifest, key: bytes) -> dict[str, Any]:
    """Return the manifest of a checkpoint as JSON-like values, with its keyed hash."""
    values = manifest.to_dict()
    return {**values, _SIGNATURE: _signature(values, key)}


def read_signed_manifest(checkpoint: Path, key: bytes, data_root: Path) -> Manifest:
    """Return the manifest of a checkpoint that this key has signed and that holds nothing else than what it lists.

    Sizes and hashes of the files remain to be compared. Raises UntrustedError with the reason.
    """
    values = _read_values(checkpoint)
    signature = values.pop(_SIGNATURE, None)
    if not (isinstance(signature, str) and hmac.compare_digest(signature.encode(), _signature(values, key).encode())):
        made_by = "is not signed" if signature is None else "is signed with another key than that of this data root"
        command = [data_root, checkpoint.parent.parent]
        raise UntrustedError(
            f"it {made_by}: it may come from elsewhere, and loading it runs the code in it. If you made it yourself "
            "with an earlier version or under another data root, accept it with\n  python -m "
            f"jgpt_dagster.lm.training.sign_checkpoints {shlex.join(map(str, command))}"
        )
    return _checked(checkpoint, values)


def read_unsigned_manifest(checkpoint: Path) -> Manifest:
    """Return the manifest of a checkpoint, whoever wrote it. Raises UntrustedError if it does not fit the files."""
    values = _read_values(checkpoint)
    values.pop(_SIGNATURE, None)
    return _checked(checkpoint, values)


def _read_values(checkpoint: Path) -> dict[str, Any]:
    try:
        return read_sealed_json((checkpoint / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise UntrustedError(f"{checkpoint / MANIFEST} is missing or unreadable") from error


def _checked(checkpoint: Path, values: Mapping[str, Any]) -> Manifest:
    """Return the manifest of these values if the checkpoint's directory holds exactly the files that it lists.

    DeepSpeed opens whatever has the name of one of its files, so one that is not listed must not be there.
    """
    try:
        manifest = Manifest.from_dict(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UntrustedError(f"{checkpoint / MANIFEST} is not a manifest: {error}") from error
    for directory, folders, names in os.walk(checkpoint):
        for name in (*folders, *names):
            path = Path(directory, name)
            relative = str(path.relative_to(checkpoint))
            if path.is_symlink():
                raise UntrustedError(f"{path} is a link")
            if name in names and relative not in manifest.files and relative != MANIFEST:
                raise UntrustedError(f"{path} is not listed in its manifest")
    return manifest


def _signature(values: Mapping[str, Any], key: bytes) -> str:
    # As it will be read again: tuples become lists.
    return hmac.new(key, canonical_json(json.loads(json.dumps(values))).encode(), "sha256").hexdigest()
