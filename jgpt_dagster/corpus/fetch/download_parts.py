"""All unfinished downloads of one file: the part that is continued, and those that are kept until the file is whole.

A part is begun anew beside the others if the file on the server has changed, or if what was downloaded is not the file.
The others go once the file is whole and verified: until then, nobody knows which of them is right.
"""

from pathlib import Path

from jgpt_dagster.corpus.fetch.checksums import CHUNK_BYTES, ExpectedDigests
from jgpt_dagster.corpus.fetch.errors import DownloadError, TemporaryError
from jgpt_dagster.corpus.fetch.http_client import shown
from jgpt_dagster.corpus.fetch.partial_file import PartialFile, belongs_to, delete_part
from jgpt_dagster.storage.manifest import FileEntry

_MAX_PARTS = 4
_MAX_CHANGES = 3


def part_paths(target: Path) -> list[Path]:
    """Return all paths that parts of `target` may have: `<target>.part`, `<target>.part.2` and so on."""
    first = target.with_name(f"{target.name}.part")
    return [first, *(first.with_name(f"{first.name}.{number}") for number in range(2, _MAX_PARTS + 1))]


class DownloadParts:
    """The parts of one file; a context manager, which keeps those that are not empty."""

    def __init__(self, url: str, target: Path, expected: ExpectedDigests) -> None:
        """Open the part of this very file that was written last, else begin one."""
        self.url, self.target, self.expected = url, target, expected
        self.ask_whole = False
        """Whether the server's last answer to a range request was of no use."""
        self.received = 0
        """The bytes received since opening, without those given up."""
        mine = [path for path in part_paths(target) if belongs_to(path, url, expected)]
        self._untried = sorted(mine, key=lambda path: path.stat().st_mtime_ns)
        self._rejected: list[PartialFile] = []
        self._has_rejected = False
        self._changes = 0
        self.active = self._open_next()

    def __enter__(self) -> "DownloadParts":
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._rejected:
            # Without a hash, a part may be rejected because an answer that was cut short said that it was whole.
            if self.expected.has_hash and not part.drop_response():
                part.delete()
            part.close()
        self.active.close()

    def append(self, data: bytes) -> None:
        """Append bytes to the active part. Raises OSError if the disk is full."""
        self.active.append(data)
        self.received += len(data)

    def drop_response(self) -> None:
        """Give up the bytes of the last answer."""
        self.received -= self.active.drop_response()

    def begin_changed(self, prefix: int, validator: str | None, total: int | None) -> None:
        """Begin a part with the first `prefix` bytes of the active one, because the file on the server differs there.

        `validator` and `total` are those of the answer that shows it.

        Raises DownloadError if this happens again and again.
        """
        self._changes += 1
        if self._changes > _MAX_CHANGES:
            raise DownloadError(
                f"{shown(self.url)}: it has changed {self._changes} times while it was downloaded. What was downloaded "
                "is kept; run the same command again later, or use another mirror."
            )
        former = self.active
        self.active = self._new_part(former)
        self.active.begin_response(validator, total)
        if not self._has_rejected:
            self._untried.append(former.path)
        for offset in range(0, prefix, CHUNK_BYTES):
            self.active.append(former.read(offset, min(CHUNK_BYTES, prefix - offset)))
        former.close()

    def withdraw(self) -> None:
        """Give up the active part, which the last answer began, and return to the former one."""
        self.drop_response()
        self.active.close()
        self.active = self._open_next()

    def reject(self, reason: str) -> DownloadError | TemporaryError:
        """Return the error to raise because the complete active part is not the file.

        A TemporaryError if another part can be continued, or if the whole file has not been requested again yet. The
        rejected part stays until the end. Then the bytes of its last answer are given up; what earlier ones brought is
        kept.
        """
        was_requested_again = self._has_rejected and self.active.was_empty and not self._untried
        self._has_rejected = True
        if not was_requested_again:
            self._rejected.append(self.active)
            self.active = self._open_next()
            return TemporaryError(reason)
        self.active.drop_response()
        return DownloadError(
            f"{shown(self.url)}: {reason}, twice. Run the same command again; if this comes back the mirror's copy is "
            "damaged or being replaced: use another mirror or date."
        )

    def finish(self) -> FileEntry:
        """Rename the active part, which is the file, to the target and delete all others."""
        entry = self.active.move_to(self.target)
        for path in part_paths(self.target):
            delete_part(path)
        return entry

    def _open_next(self) -> PartialFile:
        return self._open(self._untried.pop()) if self._untried else self._new_part()

    def _new_part(self, former: PartialFile | None = None) -> PartialFile:
        """Begin a part at a free path or, if there is none, in place of the smallest one that is not `former`.

        One that may still become the file is replaced only if no complete part has been rejected.
        """
        paths = part_paths(self.target)
        free = [path for path in paths if not path.is_file() or path.is_symlink()]
        if free:
            path = free[0]
        elif self._rejected:
            rejected = self._rejected.pop(0)
            rejected.close()
            path = rejected.path
        else:
            path = min(
                (path for path in paths if not former or path != former.path), key=lambda path: path.stat().st_size
            )
            self._untried = [other for other in self._untried if other != path]
        delete_part(path)
        return self._open(path)

    def _open(self, path: Path) -> PartialFile:
        return PartialFile(path, self.url, self.expected)
