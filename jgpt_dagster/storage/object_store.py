"""The object store behind a data root that is a URL: reading, downloading, uploading and deleting objects.

Locations are `UPath`s of universal_pathlib, so any file system of fsspec works. A missing object is a
FileNotFoundError; every other failure is an ObjectStoreError, because an outage must not look like missing data.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from upath import UPath

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.atomic_write import atomic_file
from jgpt_dagster.storage.file_creation import make_directory
from jgpt_dagster.storage.file_lock import lock_at, locked

_BLOCK = 8 << 20
# Of a manifest or record: a hundred times the largest.
_MAX_SMALL_BYTES = 64 << 20


class ObjectStoreError(JgptError):
    """The store that JGPT_DATA names cannot be reached or denies access."""


def open_remote(url: str) -> UPath:
    """Return the location of a URL. Raises ObjectStoreError if no installed package can open it."""
    try:
        # Other machines write too, so a cached listing goes stale.
        location = UPath(url, use_listings_cache=False)
        location.fs  # noqa: B018 - connects
        return location
    except Exception as error:
        raise ObjectStoreError(
            f"JGPT_DATA={url} cannot be opened: {error}. s3:// needs `pip install 'jgpt-dagster[s3]'`; other stores "
            "need the package of fsspec that knows them."
        ) from error


@contextmanager
def as_object_store_error(location: UPath | Path) -> Iterator[None]:
    """Let FileNotFoundError pass and turn every other failure of the store into an ObjectStoreError."""
    try:
        yield
    except (FileNotFoundError, JgptError):
        raise
    except Exception as error:
        if isinstance(location, UPath):
            raise ObjectStoreError(
                f"{location} cannot be reached: {str(error) or type(error).__name__}. Nothing was lost. Check the "
                "network and the store's credentials, then run the same command again."
            ) from error
        raise


def read_bytes(location: UPath | Path) -> bytes:
    """Return the content of a small object or file.

    Raises FileNotFoundError or ObjectStoreError, and ValueError for one of more than 64 MiB.
    """
    with as_object_store_error(location), location.open("rb") as stream:
        content: bytes = stream.read(_MAX_SMALL_BYTES + 1)
    if len(content) > _MAX_SMALL_BYTES:
        raise ValueError(f"{location} is larger than {_MAX_SMALL_BYTES:,} bytes")
    return content


def upload(file: Path, location: UPath) -> None:
    """Upload a file; the object appears complete or not at all. Raises ObjectStoreError."""
    with as_object_store_error(location):
        if not location.fs.async_impl:  # a file system with directories, unlike an object store
            location.parent.mkdir(parents=True, exist_ok=True)
        location.fs.put_file(str(file), location.path)


def delete(location: UPath) -> None:
    """Delete an object if it exists. Raises ObjectStoreError."""
    with as_object_store_error(location):
        location.unlink(missing_ok=True)


def download(location: UPath, file: Path, find_mismatch: Callable[[], str | None], limit: int) -> str | None:
    """Replace a local file by the object if `find_mismatch` finds one; return the mismatch of the object itself.

    An object of more than `limit` bytes is one. Processes of one machine that want the same object wait for the first,
    whose download serves them all. Raises ObjectStoreError and LockRefusedError.
    """
    make_directory(file.parent)
    with locked(lock_at(file.with_name(f".{file.name}.lock"))):
        if find_mismatch() is None:
            return None
        try:
            with atomic_file(file) as target, _opened(location) as source, as_object_store_error(location):
                _copy(source, target, limit)
        except FileNotFoundError:
            return f"{location} is missing"
        except _TooLargeError:
            return f"{location} is larger than the {limit:,} bytes that its manifest allows"
        mismatch = find_mismatch()
        return mismatch and mismatch.replace(str(file), str(location))


class _TooLargeError(JgptError):
    """An object that is larger than its manifest says."""


def _copy(source: BinaryIO, target: BinaryIO, limit: int) -> None:
    """Copy a stream to a file. Raises _TooLargeError, before it is stored, for more than `limit` bytes."""
    while chunk := source.read(_BLOCK):
        limit -= len(chunk)
        if limit < 0:
            raise _TooLargeError
        target.write(chunk)


@contextmanager
def _opened(location: UPath) -> Iterator[BinaryIO]:
    with as_object_store_error(location):
        stream = cast(BinaryIO, location.fs.open(location.path, "rb", block_size=_BLOCK))
    with stream:
        yield stream
