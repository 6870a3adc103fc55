"""What of a release is made public: the files of its manifest, once they verify, its checks have passed and nothing in
them is private. Records of runs and of checks, which name hosts and runs, stay at home.
"""

import mmap
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from jgpt_dagster.catalog.good_outputs import failed_inputs, judge, required_checks
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, OutputCatalog
from jgpt_dagster.catalog.releases import newest_release
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.release.release_directory import check_release
from jgpt_dagster.storage.atomic_write import atomic_directory
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import MANIFEST, SIGNATURE, DirectoryArtifact
from jgpt_dagster.storage.disk_space import require_free_space

PublicFiles = Mapping[str, Path]
"""The files to publish, by their names there."""

_TEXT = (".json", ".md", ".svg", ".txt", ".yaml")
# Formats of weights keep their metadata in front; what follows are numbers.
_METADATA_BYTES = 1 << 24
# Shorter ones are found in numbers by chance.
_DISTINCT_BYTES = 8
_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b")
# A path is a whole one, and none inside of a URL of another machine.
_INSIDE_BEFORE = re.compile(rb"[\w./:-]\Z")
_INSIDE_AFTER = re.compile(rb"[\w-]")


class PublicationError(JgptError):
    """A release that is not to be published as it is."""


def publishable_release(catalog: OutputCatalog, dump: str | None, *, unchecked: bool = False) -> DirectoryArtifact:
    """Return the release of the model in use for `dump`, by default the newest whose check has not failed.

    Every file has the hash of the manifest, and every check of the release and of what it was made from has passed;
    `unchecked` admits a release that was made although checks of its model had failed, as its card says.

    Raises PublicationError, ArtifactError and GgufError if the release is damaged, and JgptError if there is none.
    """
    path = newest_release(catalog.root, catalog.model, dump)
    date = path.parent.name.removeprefix("dump=")
    release = catalog.root.directory("release", date, model=catalog.model)
    manifest, required = release.verified(), required_checks(catalog.corpora)
    judgement = judge(release, manifest, required)
    if judgement.quality == "failed":
        raise PublicationError(f"{release.label}: {judgement.reason}. Make it again with\n  {release.rebuild_command}")
    if judgement.quality == "unchecked":
        check = shlex.join(["jgpt", "run", "--dump", date])
        raise PublicationError(f"{release.label} is {judgement.reason}. Check it with\n  {check}\nand publish it then.")
    outputs = (*catalog.shared_outputs(), *catalog.dump_outputs(date), *catalog.model_outputs(date))
    failed = failed_inputs(release, {output.recipe_label: output for output in outputs}, required)
    failed = sorted({*failed, *manifest.recipe.settings.get("unchecked", [])})
    if failed and not unchecked:
        raise PublicationError(
            f"{'; '.join(failed)}. {release.label} is not published. Make again what failed, or publish it all the "
            "same with --unchecked."
        )
    check_release(release.path)
    return release


def public_files(release: DirectoryArtifact, private: Mapping[str, str]) -> PublicFiles:
    """Return the files of a release that are published: those of its manifest, the manifest, and its signature if any.

    `private` are texts that must not be in them, by what they are (`this host's name`). Raises PublicationError, naming
    the first file that has one; the text itself is not shown.
    """
    manifest = release.manifest()
    assert manifest is not None  # noqa: S101  # publishable_release has verified it
    files = {name: release.path / name for name in (*sorted(manifest.files), MANIFEST)}
    if (release.path / SIGNATURE).is_file():
        files[SIGNATURE] = release.path / SIGNATURE
    for path in files.values():
        for what in _found(path, private):
            raise PublicationError(
                f"{path} holds {what}, which is not published. Take it out of where it comes from (`grep` finds it in "
                f"the file), and make the release again with\n  {release.rebuild_command}"
            )
    return files


def private_texts(root: DataRoot, release: DirectoryArtifact) -> dict[str, str]:
    """Return what the data root and its records of runs tell of the machine, by what it is."""
    dump = release.partition.partition("|")[0]
    texts = {"the path of the data root": str(root.path), "the address of the data root": str(root.location)}
    for output in (root.directory(asset, dump, model=release.model) for asset in MODEL_ASSETS):
        record = output.run_record()
        texts[f"the id of the run that made {output.label}"] = str(record.get("run_id", ""))
        texts[f"the name of the host that made {output.label}"] = _distinct_host(str(record.get("host", "")))
    return texts


def write_copy(release: DirectoryArtifact, files: PublicFiles, directory: Path) -> None:
    """Write the files to a directory that does not exist yet or is empty; it appears whole or not at all.

    Raises PublicationError if it has content, DiskFullError if it does not fit, and ArtifactError if the copy differs.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise PublicationError(f"{directory} is not empty. Name a directory that is, or one that does not exist yet.")
    require_free_space(directory, sum(path.stat().st_size for path in files.values()), "the release", "--to")
    with atomic_directory(directory.absolute()) as copy:
        for name, path in files.items():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / name)
        DirectoryArtifact(release.asset, release.partition, copy).verified()


def sizes(files: PublicFiles) -> Mapping[str, int]:
    """Return the size of each file in bytes."""
    return {name: path.stat().st_size for name, path in files.items()}


def _distinct_host(host: str) -> str:
    """Return the name of a host unless it may as well be a word of a card: `gpu1` is none, `tiny` may be one."""
    return host if re.search(r"[\d.-]", host) and len(host) >= _DISTINCT_BYTES else ""


def _found(path: Path, private: Mapping[str, str]) -> Iterator[str]:
    """Yield what of `private` is in a file, and tokens of the hub, whoever's they are."""
    size, text = path.stat().st_size, path.suffix in _TEXT
    if size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = size if text else min(size, _METADATA_BYTES)
        for what, value in private.items():
            mark = value.encode()
            if mark.strip(b"/ ") and (text or len(mark) >= _DISTINCT_BYTES) and _is_in(content, mark, end):
                yield what
        if text and _TOKEN.search(content):
            yield "a token of a model hub"


def _is_in(content: mmap.mmap, mark: bytes, end: int) -> bool:
    """Return whether a text stands in the first `end` bytes by itself, not as a part of a word, path or address."""
    place = content.find(mark, 0, end)
    while place >= 0:
        before, after = content[max(0, place - 7) : place], content[place + len(mark) : place + len(mark) + 1]
        if (before == b"file://" or not _INSIDE_BEFORE.search(before)) and not _INSIDE_AFTER.match(after):
            return True
        place = content.find(mark, place + 1, end)
    return False
