"""Whether the files of one output are what its manifest says: every file, and nothing else."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from jgpt_dagster.provenance.finding import Finding, Kind
from jgpt_dagster.storage import parquet
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.directory_artifact import CHECKS, MANIFEST, RUN, SIGNATURE, DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.sealed_json import read_sealed_json

OnRead = Callable[[int], None]

_HUB_FILES = (".gitattributes",)
"""What model hubs add to a directory that is downloaded from them."""


def verify_output(artifact: Artifact, on_read: OnRead = lambda size: None) -> Iterator[Finding]:
    """Yield what is wrong with the files of an output that lies on this machine.

    Every file is hashed; `on_read` is called with the number of bytes after each read.
    """
    manifest = artifact.manifest()
    directory = isinstance(artifact, DirectoryArtifact)
    if manifest is None:
        file = artifact.path / MANIFEST if directory else artifact.path
        what = "is missing or damaged" if directory else "is missing, or its footer is damaged"
        yield _finding("damaged", artifact, file, f"{file} {what}")
    else:
        verify_files = _verify_directory if directory else _verify_parquet
        yield from verify_files(artifact, manifest, on_read)
    for record in (artifact.run_path, artifact.verdicts_path):
        if record.is_file():
            yield from verify_sealed(record, artifact.label)


def verify_sealed(path: Path, output: str) -> Iterator[Finding]:
    """Yield what is wrong with a sealed file; one without a seal, of an earlier version, must be JSON."""
    try:
        read_sealed_json(path.read_bytes())
    except (OSError, ValueError) as error:
        yield Finding("damaged", output, str(path), f"{path} is damaged: {error}")


def own_files(artifact: Artifact, manifest: Manifest | None) -> list[Path]:
    """Return every file that may lie on disk as part of an output."""
    records = [artifact.run_path, artifact.verdicts_path]
    if isinstance(artifact, DirectoryArtifact):
        named = [artifact.path / name for name in manifest.files] if manifest else []
        return [artifact.path / MANIFEST, artifact.path / SIGNATURE, *records, *named]
    names = [name for name in manifest.files if name != parquet.DATA] if manifest else []
    return [artifact.path, *records, *(parquet.sidecar_path(artifact.path, name) for name in names)]


def hashed_bytes(artifact: Artifact) -> int:
    """Return the number of bytes that `verify_output` reads, as far as the manifest says."""
    manifest = artifact.manifest()
    return sum(entry.size for entry in manifest.files.values()) if manifest else 0


def _verify_directory(artifact: Artifact, manifest: Manifest, on_read: OnRead) -> Iterator[Finding]:
    for name, entry in manifest.files.items():
        if mismatch := entry.mismatch(artifact.path / name, on_read):
            yield _finding("damaged", artifact, artifact.path / name, mismatch)
    for path in _below(artifact.path):
        name = str(path.relative_to(artifact.path))
        if path.is_symlink():
            yield _finding("unlisted", artifact, path, f"{path} is a link")
        elif name not in (*manifest.files, MANIFEST, RUN, CHECKS, SIGNATURE, *_HUB_FILES):
            yield _finding("unlisted", artifact, path, f"{path} is not listed in {MANIFEST}")


def _verify_parquet(artifact: Artifact, manifest: Manifest, on_read: OnRead) -> Iterator[Finding]:
    expected, path = manifest.files[parquet.DATA], artifact.path
    try:
        found = parquet.data_entry(path, on_read)
        if found != expected:
            problem = f"{path} holds data of sha256 {found.sha256[:16]}…, expected {expected.sha256[:16]}…"
            yield _finding("damaged", artifact, path, problem)
    except (OSError, parquet.NotParquetError) as error:
        yield _finding("damaged", artifact, path, f"{path} cannot be read: {error}")
    for name, entry in manifest.files.items():
        sidecar = parquet.sidecar_path(path, name)
        if name != parquet.DATA and (mismatch := entry.mismatch(sidecar, on_read)):
            yield _finding("damaged", artifact, sidecar, mismatch)


def _below(directory: Path) -> Iterator[Path]:
    """Yield every file and link below a directory, in order."""
    for folder, folders, names in os.walk(directory):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        yield from (Path(folder, name) for name in sorted([*names, *links]))


def _finding(kind: Kind, artifact: Artifact, path: Path, problem: str) -> Finding:
    return Finding(kind, artifact.label, str(path), problem)
