"""What `jgpt status` tells: for each dump what is done, stale, running, failed and missing. Imports no Dagster.

Disk decides what is done. Only manifests are read, each once, and no data is hashed: a stage that runs verifies its
inputs. Runs tell why something is not there, and checks that what is there is no good. Not told is run config that
another run would have.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from jgpt_dagster.catalog.missing_work import MODEL_ASSETS, WIKIPEDIA_STAGES, text_assets
from jgpt_dagster.corpus.segmenters import SegmenterError, open_segmenter
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import shard_names
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.object_store import read_bytes

State = Literal["done", "stale", "running", "failed", "missing"]
STATES: tuple[State, ...] = ("done", "stale", "running", "failed", "missing")

_DETAILS_SHOWN = 4


@dataclass(frozen=True)
class Run:
    """A recorded Dagster run as far as it tells why an output is not done; `makes` says whether it was to make one."""

    run_id: str
    state: Literal["running", "failed", "ended"]
    makes: Callable[[Artifact], bool]
    reason: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class OutputStatus:
    """The state of one output, and why it is stale or failed."""

    artifact: Artifact
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Status:
    """The outputs of one dump, or those that all dumps share (`dump` is None), in the order of the graph."""

    dump: str | None
    outputs: Sequence[OutputStatus]

    @property
    def done(self) -> bool:
        """Whether nothing is left to make."""
        return all(output.state == "done" for output in self.outputs)

    def lines(self) -> Iterator[str]:
        """Yield the lines that a person reads: one an asset, and the reasons below it."""
        yield self.dump or "all dumps"
        for asset in dict.fromkeys(output.artifact.asset for output in self.outputs):
            group = [output for output in self.outputs if output.artifact.asset == asset]
            counts = {state: sum(output.state == state for output in group) for state in STATES}
            single = len(group) == 1
            yield f"  {asset:<20} " + (
                group[0].state if single else ", ".join(f"{count} {state}" for state, count in counts.items() if count)
            )
            explained = [output for output in group if output.reason]
            for output in explained[:_DETAILS_SHOWN]:
                yield f"    {output.artifact.label}: {output.reason}"
            if len(explained) > _DETAILS_SHOWN:
                yield f"    and {len(explained) - _DETAILS_SHOWN} more"


class DeploymentStatus:
    """Every output of a deployment by its label, each manifest read once."""

    def __init__(
        self,
        settings: Settings,
        code_versions: Mapping[str, str],
        failed_check: Callable[[Artifact], str] = lambda artifact: "",
    ) -> None:
        """`code_versions` maps each asset to the version of the code that would make it now.

        `failed_check` says which check of a whole output failed when it was last made, and why.
        """
        self._settings, self._code_versions, self._failed_check = settings, code_versions, failed_check
        self._root, self._shards, self._model = settings.root, shard_names(settings.shards), settings.model
        self._corpora = settings.corpora
        self._manifests: dict[Artifact, Manifest | None] = {}
        self._installed: dict[str, str | None] = {}

    @cached_property
    def shared(self) -> list[Artifact]:
        """What all dumps share, in the order of the graph."""
        found: list[Artifact] = []
        for asset in (asset for corpus in self._corpora if corpus != "wikipedia" for asset in text_assets(corpus)):
            whole = asset == "cc100_dump"
            found += (
                [self._root.directory(asset)]
                if whole
                else [self._root.shard(asset, None, shard) for shard in self._shards]
            )
        return [*found, self._root.directory("tokenizer")]

    def of_dump(self, dump: str) -> list[Artifact]:
        """What is made of one dump, in the order of the graph."""
        return [
            self._root.directory("wikipedia_dump", dump),
            *(self._root.shard(asset, dump, shard) for asset in WIKIPEDIA_STAGES for shard in self._shards),
            self._root.directory("training_set", dump),
            *(self._root.directory(asset, dump, model=self._model) for asset in MODEL_ASSETS),
        ]

    def status(self, dump: str | None, runs: Callable[[], Sequence[Run]]) -> Status:
        """Return how far a dump is or, for None, what all dumps share.

        `runs`, newest first, is asked where something is not done.
        """
        artifacts = self.shared if dump is None else self.of_dump(dump)
        inputs = {artifact.label: artifact for artifact in [*self.shared, *artifacts]}
        plan = self._plan(dump) if dump else []
        return Status(dump, [self._state(artifact, inputs, plan, runs) for artifact in artifacts])

    def _state(
        self,
        artifact: Artifact,
        inputs: Mapping[str, Artifact],
        plan: Sequence[str],
        runs: Callable[[], Sequence[Run]],
    ) -> OutputStatus:
        manifest = self._manifest(artifact)
        stale = self._staleness(artifact, manifest, inputs, plan) if manifest else ""
        failed_check = self._failed_check(artifact) if manifest and not stale else ""
        if manifest and not stale and not failed_check:
            return OutputStatus(artifact, "done")
        run = next((run for run in runs() if run.makes(artifact)), None)
        if run and run.state == "running":
            return OutputStatus(artifact, "running", f"run {run.run_id}")
        if failed_check:
            return OutputStatus(artifact, "failed", failed_check)
        if run and run.state == "failed":
            return OutputStatus(artifact, "failed", f"run {run.run_id}: {run.reason()}")
        return OutputStatus(artifact, "stale" if stale else "missing", stale)

    def _staleness(
        self, artifact: Artifact, manifest: Manifest, inputs: Mapping[str, Artifact], plan: Sequence[str]
    ) -> str:
        """Say what has changed since an output was made, of what can be told from manifests and the environment."""
        if artifact.asset == "tokenizer":  # frozen: it stays whatever it was made from
            return ""
        recipe = manifest.recipe
        code_version = self._code_versions.get(artifact.asset, recipe.code_version)
        if recipe.code_version != code_version:
            return f"made by version {recipe.code_version} of the code, which is now {code_version}"
        for name, made_with in recipe.libraries.items():
            if (installed := self._version(name)) and installed != made_with:
                return f"made with {name} {made_with}, here is {installed}"
        for what, made_from, now in self._changed(artifact.asset, recipe.settings):
            if made_from != now:
                return f"made from {what} {made_from}, which is now {now}"
        for label, sha256 in recipe.inputs.items():
            source = self._manifest(inputs[label]) if label in inputs else None
            if source and source.data_sha256 != sha256:
                return f"{label} has been made again since"
        if artifact.asset == "wikipedia_articles" and plan:
            shard = artifact.partition.partition("|")[2]
            if recipe.inputs.get("pages") != plan[self._shards.index(shard)]:
                return "its pages of the dump are others now"
        return ""

    def _changed(self, asset: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Yield what the variables decide and one root may change: its name, as it was, and as it is."""
        if asset == "cc100_dump":
            yield "the URL", settings["url"], self._settings.cc100_url
        if asset == "training_set":
            yield "the corpora", ", ".join(sorted(settings["weights"])), ", ".join(sorted(self._corpora))

    def _plan(self, dump: str) -> list[str]:
        """Return the hash of each shard's bytes of a dump; none where the dump is not there."""
        artifact = self._root.directory("wikipedia_dump", dump)
        try:
            shards = json.loads(read_bytes(artifact.location / "shards.json"))["shards"]
            return [shard["sha256"] for shard in shards] if len(shards) == len(self._shards) else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def _manifest(self, artifact: Artifact) -> Manifest | None:
        if artifact not in self._manifests:
            self._manifests[artifact] = artifact.manifest()
        return self._manifests[artifact]

    def _version(self, distribution: str) -> str | None:
        """Return the installed version, or the fingerprint of the engine in use; None where it cannot be told."""
        if distribution not in self._installed:
            try:
                self._installed[distribution] = (
                    self._fingerprint() if distribution == "segmenter" else version(distribution)
                )
            except (PackageNotFoundError, SegmenterError):
                self._installed[distribution] = None
        return self._installed[distribution]

    def _fingerprint(self) -> str:
        with open_segmenter(self._settings.segmenter) as segmenter:
            return segmenter.fingerprint


def next_step(shared: Status, status: Status) -> str:
    """Say what to do next for a dump: a command, whom to wait for, or that nothing is left."""
    outputs = [*shared.outputs, *status.outputs]
    left = [output for output in outputs if output.state != "done"]
    if not left:
        return "nothing: the release is made"
    if running := next((output.reason for output in left if output.state == "running"), None):
        return f"wait for {running}"
    failed = [output for output in left if output.state == "failed"]
    first = "mend what failed, then " if failed else ""
    return f"{first}jgpt run --dump {status.dump}"
