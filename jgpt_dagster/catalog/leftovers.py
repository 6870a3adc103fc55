"""What nothing refers to: checkpoints of finished and of removed models, and what dead processes have left."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from jgpt_dagster.catalog.training_data_links import links_label, unused_links
from jgpt_dagster.lm.training.metrics_files import RESULT
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.file_lock import file_lock, try_acquire
from jgpt_dagster.storage.partition_lock import lock_path
from jgpt_dagster.storage.safe_path import has_form

_DAY = 24 * 3600.0
# Writers hold the lock of their output; this is for one of another host, whose lock may not be seen here.
_IDLE_DAYS = 600 / _DAY
_ABANDONED_DAYS = 30.0
_KEYS = re.compile(r"(dump|shard|model)=(\d{8}(?=/|\.|$)|\d{3}(?=/|\.|$)|[a-z0-9][a-z0-9._-]*)")


@dataclass(frozen=True)
class Leftover:
    """A file or directory that can go, with its bytes, why, and the label of the output whose lock protects it."""

    path: Path
    size: int
    reason: str
    output: str | None

    def line(self) -> str:
        """Return a line for the user."""
        return f"  {self.path}  {self.size / 1e6:.1f} MB  ({self.reason})"

    def delete(self, root: DataRoot) -> bool:
        """Delete it unless a run works on its output; return whether it was deleted.

        A path that is a link loses only the link.
        """
        with ExitStack() as stack:
            if self.output is not None:
                lock = file_lock(lock_path(root.path, self.output))
                if not try_acquire(lock):
                    return False
                stack.callback(lock.release)
            if self.path.is_dir() and not self.path.is_symlink():
                shutil.rmtree(self.path)
            else:
                self.path.unlink(missing_ok=True)
            return True


def find_leftovers(root: DataRoot, scratch: Path) -> list[Leftover]:
    """Return everything below a data root and its scratch directory that nothing refers to."""
    return [
        *_training_runs(root, scratch),
        *_training_data(root, scratch),
        *_downloads(root),
        *_temporary_files(root, scratch),
    ]


def _training_runs(root: DataRoot, scratch: Path) -> Iterator[Leftover]:
    """Yield the training runs whose model is finished or whose dump is gone, and those that were set aside."""
    for of_dump in sorted(scratch.glob("pretrained_model/dump=*")):
        dump = of_dump.name.removeprefix("dump=")
        for run in sorted(of_dump.iterdir()) if has_form("dump", dump) else ():
            model = run.name.removeprefix("model=")
            if run.name.startswith(".model=") and ".aside" in run.name:
                yield _leftover(run, "set aside", None)
            elif run.name.startswith("model=") and has_form("model", model):
                output = root.directory("pretrained_model", dump, model=model)
                manifest = output.manifest()
                if manifest and (run / RESULT).exists() and output.find_mismatch(manifest) is None:
                    yield _leftover(run, f"{output.label} is finished", output.label)
                elif not manifest and dump not in root.dumps() and _is_untouched(run, _IDLE_DAYS):
                    yield _leftover(run, f"the dump of {dump} is removed", output.label)


def _training_data(root: DataRoot, scratch: Path) -> Iterator[Leftover]:
    """Yield the former training data of models that were trained again since."""
    for dump, links in unused_links(root, scratch):
        if _is_untouched(links, _IDLE_DAYS):
            yield _leftover(links, "no model was trained on it", links_label(dump))


def _downloads(root: DataRoot) -> Iterator[Leftover]:
    """Yield the parts of downloads that the finished dump holds, or that nobody has continued for a month."""
    incoming = root.path / ".incoming"
    for folder in sorted(incoming.iterdir()) if incoming.is_dir() else ():
        wiki, _, dump = folder.name.rpartition("-")
        if wiki and has_form("dump", dump):
            whole = root.directory("wikipedia_dump", dump).manifest() is not None
            label = root.directory("wikipedia_dump", dump).label
        else:
            whole, label = False, f"{folder.name}_dump"
        if whole or _is_untouched(folder, _ABANDONED_DAYS):
            yield _leftover(folder, "the dump is whole" if whole else "not continued for 30 days", label)


def _temporary_files(root: DataRoot, scratch: Path) -> Iterator[Leftover]:
    """Yield what killed writers have left beside their outputs: see `atomic_write`."""
    for top in dict.fromkeys((root.path, scratch)):
        for path in sorted(_hidden(top)):
            if path.name.endswith((".tmp", ".old")) and _is_untouched(path, _IDLE_DAYS):
                yield _leftover(path, "left by a process that was killed", _label(path.relative_to(top)))


def _hidden(top: Path) -> Iterator[Path]:
    """Yield the hidden entries below a directory, without going into hidden ones or following links."""
    for folder, names, files in os.walk(top):
        yield from (Path(folder, name) for name in (*names, *files) if name.startswith("."))
        names[:] = [name for name in names if not name.startswith(".")]


def _label(path: Path) -> str:
    """Return the label of the output that a temporary path, relative to its root, belongs to."""
    keys = dict(_KEYS.findall(path.as_posix().removesuffix(".tmp").removesuffix(".old")))
    asset = path.parts[0].removeprefix(".").removesuffix(".tmp").removesuffix(".old")
    partition = "|".join(keys[kind] for kind in ("dump", "shard", "model") if kind in keys)
    return f"{asset} {partition}".strip()


def _leftover(path: Path, reason: str, output: str | None) -> Leftover:
    files = [path] if path.is_file() or path.is_symlink() else [file for file in path.rglob("*") if file.is_file()]
    return Leftover(path, sum(file.lstat().st_size for file in files), reason, output)


def _is_untouched(path: Path, days: float) -> bool:
    """Return whether nothing at or below a path has changed for some days."""
    newest = max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
    return time.time() - newest > days * _DAY
