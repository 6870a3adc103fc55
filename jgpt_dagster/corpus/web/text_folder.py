"""A folder of text files as a corpus: `*.txt` holds one document, `*.jsonl` one a line, in the field `text`.

The fields `url`, `license`, `date` and `id` of a line say where its document comes from.

Either may be compressed (`.gz`, `.xz`). Files are read in the order of their paths below the folder; other files are
skipped and counted. A link that leads out of the folder, and what is no file (a FIFO, socket or device), is rejected
like a document that cannot be read: whoever may write to the folder must not choose what else this process reads.
"""

import gzip
import json
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from jgpt_dagster.corpus.fetch.decompress import DamagedFileError, xz_chunks
from jgpt_dagster.corpus.rejected_rows import RejectedRows
from jgpt_dagster.corpus.schemas import ORIGIN
from jgpt_dagster.corpus.web.cc100 import MAX_DOCUMENT_BYTES, DocumentRow
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.hashing import known_or_computed, sha256_stream, sha256_value

_KINDS = (".txt", ".jsonl")
_COMPRESSIONS = ("", ".gz", ".xz")
_ENDINGS = tuple(kind + compression for kind in _KINDS for compression in _COMPRESSIONS)
# The paths of so many files take 2 GB. Documents in files of their own belong into a .jsonl, one a line, long before.
_FILE_LIMIT = 4_000_000
_CHUNK = 1 << 20
# Bytes of text for each compressed byte.
_COMPRESSION_RATIO = 5


class TextFolderError(JgptError):
    """A folder that cannot be read completely, has no text files, or changed while it was read."""


@dataclass(frozen=True)
class TextFolder:
    """The files of a folder at the time it was opened; `sha256` covers their paths and contents.

    `skipped_files` is the number of other files; `refused` has the reason for each of `files` that is not read. As long
    as `folder_fingerprint` returns `fingerprint`, nothing has changed.
    """

    path: Path
    files: Sequence[Path]
    refused: Mapping[Path, str]
    skipped_files: int
    sha256: str
    fingerprint: str
    _states: Mapping[Path, tuple[int, int]]

    @classmethod
    def open(cls, path: Path) -> "TextFolder":
        """Hash the files of a folder. Raises TextFolderError if it has none, or if some cannot be read."""
        files, skipped = _text_files(path)
        fingerprint = _fingerprint(path, files)  # before they are read: what changes meanwhile has another one
        states = {file: _state(file) for file in files}
        contents, refused = dict[str, str](), dict[Path, str]()
        for file in files:
            try:
                with open_below(path, file) as stream:
                    contents[str(file.relative_to(path))] = known_or_computed(
                        file, None, partial(sha256_stream, stream)
                    )
            except RefusedFile as error:
                contents[str(file.relative_to(path))] = refused[file] = str(error)
                del states[file]  # what is behind a link may change at any time
        return cls(path, files, refused, skipped, sha256_value(contents), fingerprint, states)

    @property
    def size(self) -> int:
        """The size of all files in bytes."""
        return sum(size for size, _ in self._states.values())

    @property
    def unpacked_size(self) -> int:
        """The approximate size of the decompressed text in bytes."""
        sizes = self._states.items()
        return sum(size if file.suffix in _KINDS else size * _COMPRESSION_RATIO for file, (size, _) in sizes)

    def documents(
        self,
        rejected: RejectedRows,
        *,
        limit_bytes: int = MAX_DOCUMENT_BYTES,
        on_read: Callable[[int], None] = lambda size: None,
    ) -> Iterator[DocumentRow]:
        """Yield id, lines and origin of each document, holding no more than one in memory; empty lines are left out.

        The id is the document's position, counted from 0 and including rejected documents: one that is larger than
        `limit_bytes`, not UTF-8, without text, or not a JSON object with a string `text` goes to `rejected` as
        {document_id, reason}. Empty lines of JSON-lines files do not count. The origin is the text or whole number in
        each field of `schemas.ORIGIN`, None where there is none. `on_read` is called with the number of
        bytes after each read.

        Raises DamagedFileError if a compressed file is truncated or corrupt, TextFolderError if files have changed.
        """
        document_id = 0
        for file in self.files:
            if file in self.refused:
                reason = f"{file.relative_to(self.path)}: {self.refused[file]}"
                rejected.append({"document_id": document_id, "reason": reason})
                document_id += 1
                continue
            by_line = any(file.name.endswith(f".jsonl{compression}") for compression in _COMPRESSIONS)
            for number, content in enumerate(_parts(self._chunks(file, on_read), by_line, limit_bytes), start=1):
                if by_line and not (content is None or content.strip()):
                    continue
                try:
                    yield document_id, *_document(content, by_line, limit_bytes)
                except ValueError as error:
                    place = f"{file.relative_to(self.path)}{f', line {number}' if by_line else ''}"
                    rejected.append({"document_id": document_id, "reason": f"{place}: {error}"})
                document_id += 1
        if {file: _state(file) for file in self._states} != self._states:
            raise self._changed()

    def _chunks(self, file: Path, on_read: Callable[[int], None]) -> Iterator[bytes]:
        """Yield the decompressed content of a file, at most 1 MiB a time."""
        try:
            raw = open_below(self.path, file)
        except RefusedFile as error:
            raise self._changed() from error
        with raw:
            if file.suffix == ".xz":
                # By its descriptor, since what has this name now may be another file.
                opened = Path(f"/proc/self/fd/{raw.fileno()}")
                try:
                    yield from xz_chunks(opened, on_read)
                except DamagedFileError as error:
                    raise DamagedFileError(str(error).replace(str(opened), str(file))) from error
                return
            stream = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw
            read = 0
            while chunk := _read(stream, file):
                on_read(raw.tell() - read)
                read = raw.tell()
                yield chunk

    def _changed(self) -> TextFolderError:
        return TextFolderError(f"{self.path} was changed while it was read. Run it again once nobody writes there.")


def folder_fingerprint(path: Path) -> str:
    """Return a hash of the names, sizes and times of a folder's text files, without reading them.

    The same one means the same content; another one may still be of the same content. Raises TextFolderError.
    """
    return _fingerprint(path, _text_files(path)[0])


def _fingerprint(path: Path, files: Sequence[Path]) -> str:
    try:
        states = {str(file.relative_to(path)): [_times(file.lstat()), _times(file.stat())] for file in files}
    except OSError as error:
        raise TextFolderError(f"{error.filename}: {error.strerror}. All of {path} has to be readable.") from error
    return sha256_value(states)


def _times(found: os.stat_result) -> tuple[int, int, int]:
    """Return size and times; nobody can set the last of them (ctime) back."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _text_files(path: Path) -> tuple[list[Path], int]:
    """Return the text files of a folder in order, and the number of its other files. Raises TextFolderError."""
    found = sorted(islice(_files_below(path), _FILE_LIMIT + 1), key=str)
    if len(found) > _FILE_LIMIT:
        raise TextFolderError(f"{path} has more than {_FILE_LIMIT:,} files. Put many documents in one .jsonl file.")
    files = [file for file in found if file.name.endswith(_ENDINGS)]
    if not files:
        raise TextFolderError(
            f"{path} has no file that ends in {', '.join(_ENDINGS)}. Put some there, or name another."
        )
    if dangling := [file for file in files if not file.exists()]:
        raise TextFolderError(f"{dangling[0]} is a link to nothing. Mend or remove it.")
    return files, len(found) - len(files)


def _files_below(path: Path) -> Iterator[Path]:
    """Yield all files of a folder. Raises TextFolderError if a subfolder cannot be read or is a symbolic link, which
    may lead back to a parent folder.
    """

    def unreadable(error: OSError) -> None:
        raise TextFolderError(f"{error.filename}: {error.strerror}. All of {path} has to be readable.") from error

    for directory, folders, names in os.walk(path, onerror=unreadable):
        for folder in folders:
            if os.path.islink(os.path.join(directory, folder)):
                raise TextFolderError(
                    f"{directory}/{folder} is a link to a folder. Give that folder a name of its own in JGPT_FOLDERS, "
                    "or put it in the place of the link."
                )
        yield from (Path(directory, name) for name in names)


class RefusedFile(Exception):
    """A file that leads out of its folder, or is none."""


def open_below(folder: Path, file: Path) -> BinaryIO:
    """Open a file of a folder for reading. Raises RefusedFile if it is none, or if it lies outside of the folder.

    Where it lies is read from the open file: its name may lead elsewhere a moment later.
    """
    kind = file.stat().st_mode
    if not stat.S_ISREG(kind):  # opening a device may already do something
        raise RefusedFile("it is no file but a FIFO, socket, device or folder")
    stream = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb")
    place = Path(os.readlink(f"/proc/self/fd/{stream.fileno()}"))
    regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    if not regular or not place.is_relative_to(folder.resolve()):
        stream.close()
        raise RefusedFile("it is a link that leads out of the folder" if regular else "it is no file")
    return stream


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _document(content: bytes | None, by_line: bool, limit_bytes: int) -> tuple[list[str], *tuple[str | None, ...]]:
    """Return lines and origin of a document. Raises ValueError with the reason if it has to be rejected."""
    if content is None:
        raise ValueError(f"it has more than {limit_bytes:,} bytes")
    text = content.decode("utf-8-sig")
    fields: Mapping[str, Any] = {}
    if by_line:
        fields = _fields(text)
        text = fields["text"]
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not lines:
        raise ValueError("it has no text")
    return lines, *(_origin(fields.get(name)) for name in ORIGIN)


def _fields(line: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(line)
        text = fields["text"]
    except (ValueError, LookupError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise ValueError("it is no JSON object with a string `text`")
    text.encode()  # JSON can encode half of a surrogate pair, which is not text
    return cast(Mapping[str, Any], fields)


def _origin(value: Any) -> str | None:
    """Return a field that says where a document comes from; what is no text does not cost the document."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    try:
        return value if isinstance(value, str) and value.encode() else None
    except UnicodeEncodeError:
        return None


def _parts(chunks: Iterator[bytes], by_line: bool, limit_bytes: int) -> Iterator[bytes | None]:
    """Yield each line of a file, or the whole file as one part; None for a part over the limit."""
    pending, size = b"", 0
    for chunk in chunks:
        *complete, rest = chunk.split(b"\n") if by_line else [chunk]
        for part in complete:
            yield pending + part if size + len(part) <= limit_bytes else None
            pending, size = b"", 0
        size += len(rest)
        pending = pending + rest if size <= limit_bytes else b""
    if size or not by_line:
        yield pending if size <= limit_bytes else None


def _read(stream: Any, path: Path) -> bytes:
    try:
        return bytes(stream.read(_CHUNK))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DamagedFileError(f"{path}: damaged: {error}") from error
