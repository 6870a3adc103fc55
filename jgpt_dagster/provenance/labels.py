"""Labels of outputs in recipes, and the outputs of a data root that they name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jgpt_dagster.catalog.evaluated_models import EVALUATIONS
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Manifest

PAGES = "pages"
"""The input of an article shard: the byte range of the dump."""

SOURCE_FILES = "files"
"""The input of the documents of a folder: the hash of its text files, which are no output."""

# Inputs of evaluations: a model's directory and the files of a task, wherever they are.
_FROM_ELSEWHERE = ("model", "task")

_PARTITION = re.compile(r"(?:(?P<dump>\d{8})(?:\||$))?(?P<shard>\d{3})?")


class Label(NamedTuple):
    """The label of an output, in its parts."""

    asset: str
    dump: str | None = None
    shard: str | None = None
    model: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        keys = "|".join(key for key in self[1:] if key)
        return f"{self.asset} {keys}".strip()


def parse_label(label: str, model: str | None = None) -> Label:
    """Return the parts of a label; one of a model's output that names no model means `model`."""
    asset, _, partition = label.partition(" ")
    if asset in MODEL_ASSETS:
        dump, _, name = partition.partition("|")
        return Label(asset, dump, None, name or model)
    if asset in EVALUATIONS:
        dump, _, name = partition.partition("|")
        return Label(asset, dump, name=name)
    match = _PARTITION.fullmatch(partition)
    return Label(asset, *(match.group("dump", "shard") if match else (None, None)))


def is_output(label: str) -> bool:
    """Return whether an input that a recipe names is an output of the pipeline."""
    return label.partition(" ")[0] not in (PAGES, SOURCE_FILES, *_FROM_ELSEWHERE)


def dump_of_pages(articles: Label) -> Label:
    """Return the dump that a shard of articles was read from."""
    return Label(articles.asset.removesuffix("_articles") + "_dump", articles.dump)


def outputs_named(root: DataRoot, label: Label) -> Iterator[Artifact]:
    """Yield the directory and, if it has a shard, the Parquet file that may have this label."""
    yield root.directory(*label)
    if label.shard:
        yield root.parquet(label.asset, label.dump, label.shard)


def find_output(root: DataRoot, label: Label, sha256: str | None = None) -> tuple[Artifact, Manifest] | None:
    """Return a complete output with this label, and with data of this hash if one is given; None if there is none.

    What models were trained on counts, where it is kept.
    """
    for place in (root, *kept_roots(root)):
        for output in outputs_named(place, label):
            manifest = output.manifest()
            if manifest and sha256 in (None, manifest.data_sha256):
                return output, manifest
    return None


def kept_roots(root: DataRoot) -> Iterator[DataRoot]:
    """Yield the roots below `trained_on`, which hold what models were trained on."""
    for path in sorted(Path(root.path).glob("trained_on/dump=*/*")):
        if not path.name.startswith(".") and path.is_dir():
            yield DataRoot(path)
