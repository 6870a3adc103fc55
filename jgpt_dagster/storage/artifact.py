"""An output of one asset partition: where it is, whether it is complete, and whether it is up to date.

There are two kinds, `directory_artifact` and `parquet_artifact`; both are complete only with their manifest.

If the data root is a URL, an output is still made and read at a local path. The *published* output is the authoritative
one: an output is made locally and then uploaded, with what makes it complete last; before it is used, each local file
is checked against the published manifest by hash and downloaded if it differs.
"""

import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage import object_store
from jgpt_dagster.storage.manifest import Manifest, Recipe
from jgpt_dagster.storage.sealed_json import read_sealed_json

if TYPE_CHECKING:
    from upath import UPath


MADE_BECAUSE = "made_because"
"""Where the record of a run, and the metadata of what it made, say in words why that was made."""

NOT_THERE = "it was not there"
"""Why an output is made that is missing or incomplete."""


class ArtifactError(JgptError):
    """An input that a stage needs is missing, incomplete or different from its manifest."""


@dataclass(frozen=True)
class Artifact(ABC):
    """One output: the asset key, the partition key (empty for an unpartitioned asset) and the local path.

    `remote` is the published location, if the data root is a URL. `model` is the name of the model of a model's output.
    """

    asset: str
    partition: str
    path: Path
    remote: "UPath | None" = None
    model: str | None = None

    @property
    def location(self) -> "Path | UPath":
        """The authoritative location of the output."""
        return self.path if self.remote is None else self.remote

    @property
    def label(self) -> str:
        """The name in messages, such as `wikipedia_articles 20250801|003` or `release 20250801|tiny`."""
        return f"{self.asset} {self.partition}".strip()

    @property
    def recipe_label(self) -> str:
        """The name among the inputs of recipes: that of a model's output leaves the model out.

        What is made of a model has the same name, so that an output says nothing new with it.
        """
        return self.label if self.model is None else self.label.removesuffix(f"|{self.model}")

    @property
    def rebuild_command(self) -> str:
        """The shell command that makes this output again."""
        words = ["dagster", "asset", "materialize", "-m", "jgpt_dagster.definitions", "--select", self.asset]
        return shlex.join([*words, *(["--partition", self.partition] if self.partition else [])])

    def manifest(self) -> Manifest | None:
        """Return the manifest, not checked against the data; None if the output is incomplete.

        Raises ObjectStoreError if the store of a published output cannot be reached.
        """
        return self._manifest_at(self.location)

    @abstractmethod
    def _manifest_at(self, location: "Path | UPath") -> Manifest | None: ...

    @abstractmethod
    def find_mismatch(self, manifest: Manifest) -> str | None:
        """Compare the files with a manifest of this output; return the first mismatch in words, or None.

        A published file whose local copy is missing or different is downloaded.
        """

    def fetch(self, manifest: Manifest) -> None:
        """Download the files of a published output that differ here. What cannot be mended so is left to who reads."""
        if self.remote is not None:
            self.find_mismatch(manifest)

    @abstractmethod
    def upload(self) -> None:
        """Publish an output that was made here, if the data root is a URL; replace an old one.

        An interrupted upload leaves nothing that passes for complete.
        """

    @property
    def run_path(self) -> Path:
        """The local path of the volatile record of the run that made this output."""
        path: Path = self._run_record_path(self.path)
        return path

    @abstractmethod
    def _run_record_path(self, location: Any) -> Any:
        """Return the path of the run record for an output at `location`."""

    @property
    def verdicts_path(self) -> Path:
        """The local path of the record of what checks found (see `verdict`)."""
        path: Path = self._verdicts_path(self.path)
        return path

    @property
    def published_verdicts_path(self) -> "Path | UPath":
        """The authoritative location of that record."""
        path: Path | UPath = self._verdicts_path(self.location)
        return path

    @abstractmethod
    def _verdicts_path(self, location: Any) -> Any:
        """Return the path of the record of checks for an output at `location`."""

    @abstractmethod
    def remove(self) -> None:
        """Delete the output and every file that belongs to it."""

    def verified(self) -> Manifest:
        """Return the manifest after hashing every file it lists.

        Raises ArtifactError, naming the file, what was expected and the command that rebuilds it.
        """
        manifest = self.manifest()
        if manifest is None:
            raise ArtifactError(
                f"{self.label}: {self.location} is missing or incomplete. Make it with:\n  {self.rebuild_command}"
            )
        if mismatch := self.find_mismatch(manifest):
            raise self._damaged(mismatch)
        return manifest

    def _damaged(self, mismatch: str) -> ArtifactError:
        from jgpt_dagster.storage.damage import mark_damage  # it is about outputs of every kind

        mark_damage(self, mismatch)
        return ArtifactError(f"{self.label}: {mismatch}. Make it again with:\n  {self.rebuild_command}")

    def up_to_date_manifest(self, recipe: Recipe) -> Manifest | None:
        """Return the manifest if the output was made by exactly this recipe and its files match, else None.

        An output that was made here but whose upload was interrupted is uploaded now.
        """
        return self.find_current(recipe)[0]

    def find_current(self, recipe: Recipe) -> tuple[Manifest | None, str]:
        """Return the manifest as `up_to_date_manifest` does, or None and in words why the output has to be made."""
        published = self.manifest()
        manifest = published or self._manifest_at(self.path)
        if manifest is None:
            return None, NOT_THERE
        if manifest.recipe != recipe:
            return None, "; ".join(manifest.recipe.changes(recipe)) or "its recipe has another form"
        if self.remote is not None and published is None:
            if mismatch := replace(self, remote=None).find_mismatch(manifest):
                return None, mismatch
            self.upload()
        mismatch = self.find_mismatch(manifest)
        return (None, mismatch) if mismatch else (manifest, "")

    def run_record(self) -> dict[str, Any]:
        """Return the volatile record of the run that made this output (seconds, host, run id); empty if unknown."""
        try:
            return read_sealed_json(object_store.read_bytes(self._run_record_path(self.location)))
        except (OSError, ValueError):
            return {}
