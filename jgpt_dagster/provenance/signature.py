"""The signature of a release: `model.sig`, made and checked by `model-signing` over every file of the directory.

It is a Sigstore bundle around an in-toto statement of its own, made with a key or a certificate; no network is needed.
What belongs to a machine and not to the release (the record of a run, the verdicts of checks) is left out, and the
signature says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.atomic_write import temporary_path
from jgpt_dagster.storage.directory_artifact import CHECKS, RUN, SIGNATURE

_UNSIGNED_FILES = (SIGNATURE, RUN, CHECKS)


class SignatureError(JgptError):
    """A signature that cannot be made, or does not hold."""


@dataclass(frozen=True)
class Verifier:
    """What signatures are checked with: a public key, or the certificates that vouch for that of the signer."""

    public_key: Path | None = None
    certificates: tuple[Path, ...] = ()


def sign(directory: Path, private_key: Path, certificate: Path | None = None, chain: Sequence[Path] = ()) -> Path:
    """Sign a directory with an elliptic-curve key, and the certificate of it if given; return the signature's path.

    `chain` are the certificates between that one and the root. Raises SignatureError.
    """
    hashing, signing, _ = _library()
    path = directory / SIGNATURE
    path.unlink(missing_ok=True)
    config = signing.Config().set_hashing_config(hashing.Config().set_ignored_paths(paths=_UNSIGNED_FILES))
    # model-signing writes to the name that it is given; a signature must be whole or not there.
    temporary = temporary_path(directory.parent / f"{directory.name}.{SIGNATURE}")
    try:
        if certificate is None:
            config.use_elliptic_key_signer(private_key=private_key)
        else:
            config.use_certificate_signer(
                private_key=private_key, signing_certificate=certificate, certificate_chain=chain
            )
        config.sign(directory, temporary)
        temporary.replace(path)
    except Exception as error:  # the library raises what its own libraries raise
        temporary.unlink(missing_ok=True)
        raise SignatureError(
            f"{directory} cannot be signed: {error}. The key must be an elliptic-curve key in PEM without a password, "
            "such as `openssl ecparam -name prime256v1 -genkey -noout -out key.pem` makes; a certificate needs the key "
            "usage digitalSignature."
        ) from error
    return path


def check_signature(directory: Path, verifier: Verifier) -> None:
    """Return if the signature of a directory holds. Raises SignatureError with the reason if it does not."""
    hashing, _, verifying = _library()
    path = directory / SIGNATURE
    config = verifying.Config().set_hashing_config(hashing.Config().set_ignored_paths(paths=_UNSIGNED_FILES))
    try:
        if verifier.public_key is not None:
            config.use_elliptic_key_verifier(public_key=verifier.public_key)
        else:
            config.use_certificate_verifier(certificate_chain=verifier.certificates)
        config.verify(directory, path)
    except Exception as error:  # as above
        raise SignatureError(f"{path} does not hold: {str(error) or type(error).__name__}") from error


def is_signed(directory: Path) -> bool:
    """Return whether a directory has a signature, whosever it is."""
    return (directory / SIGNATURE).is_file()


def _library() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as error:
        raise SignatureError(
            "Signatures need the package model-signing. Install it with:\n  pip install 'jgpt-dagster[signing]'"
        ) from error
    return hashing, signing, verifying
