"""A mirror in a folder that publishes, withdraws, lies and is down, read by the real client through a file URL."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Literal

WIKI = "miniwiki"
POISON = "poisoned"
"""The word in a dump whose articles fail their check."""

Lie = Literal["sums", "status", "missing file"]
LIES: tuple[Lie, ...] = ("sums", "status", "missing file")


class FakeMirror:
    """The dumps of one wiki by date."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._away = folder, folder.with_name(f"{folder.name} that is down")
        self.honest = dict[str, str]()
        (folder / WIKI).mkdir(parents=True)

    @property
    def url(self) -> str:
        return self._folder.as_uri()

    @property
    def down(self) -> bool:
        return self._away.exists()

    def go_down(self) -> None:
        self._folder.rename(self._away)

    def come_back(self) -> None:
        self._away.rename(self._folder)

    def publish(self, date: str, text: str) -> None:
        """Publish a dump whole and with its true sums."""
        name = f"{WIKI}-{date}-pages-articles-multistream.xml.bz2"
        body = f"{date} {text}\n".encode()
        self._write(date, name, body, {"size": len(body), "sha1": hashlib.sha1(body).hexdigest()})
        self.honest[date] = text

    def lie(self, date: str, lie: Lie) -> None:
        """Announce a dump as finished that is not what is announced."""
        name = f"{WIKI}-{date}-pages-articles-multistream.xml.bz2"
        body = b"<html>It works!</html>"
        self._write(date, name, body, {"size": 1000, "sha1": hashlib.sha1(b"").hexdigest()})
        if lie == "status":
            (self._of(date) / "dumpstatus.json").write_bytes(body)
        elif lie == "missing file":
            (self._of(date) / name).unlink()
        self.honest.pop(date, None)

    def withdraw(self, date: str) -> None:
        shutil.rmtree(self._of(date))
        self.honest.pop(date, None)

    def dates(self) -> list[str]:
        return sorted(path.name for path in self._of("").iterdir())

    def _of(self, date: str) -> Path:
        return (self._away if self.down else self._folder) / WIKI / date

    def _write(self, date: str, name: str, body: bytes, entry: dict[str, str | int]) -> None:
        # A finished download may be a hard link to the file, so it is replaced and never written into.
        shutil.rmtree(self._of(date), ignore_errors=True)
        self._of(date).mkdir()
        (self._of(date) / name).write_bytes(body)
        job = {"status": "done", "updated": "2025-01-01 00:00:00", "files": {name: entry}}
        (self._of(date) / "dumpstatus.json").write_text(json.dumps({"jobs": {"articlesmultistreamdump": job}}))
