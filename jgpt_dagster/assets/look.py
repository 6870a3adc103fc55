"""The look: whether an output is current, found by its asset's own function without a run.

An asset's function gets a `Look` in place of the context of a run. It goes through everything that it does before it
makes anything: it reads its inputs, decides on its recipe, and compares. Where a run would make the output, the look
ends; so both always agree. Hashes of unchanged files may be remembered ones (`storage/hash_memory.py`).
"""

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from jgpt_dagster.catalog.good_outputs import judge, required_checks
from jgpt_dagster.causes import cause_of
from jgpt_dagster.orchestration.resources import CorpusStore, SegmenterResource
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.manifest import Recipe

if TYPE_CHECKING:
    from jgpt_dagster.corpus.segmenters.base import Segmenter

FORCED = "it was asked for (force)"
"""Why an output is made that is to be made in any case."""


class _NotCurrentError(Exception):
    """Ends the function of an asset where a run would make its output; the message says why it would."""


class Found(NamedTuple):
    """What a look at a partition found: why it has to be run (empty: it is current), and lines for the user."""

    due: str
    lines: Sequence[str] = ()


class Look:
    """What the function of an asset gets in place of the context of a run, as far as assets use it."""

    def __init__(self, instance: dg.DagsterInstance, asset: str, keys: Sequence[str], ops: Mapping[str, Any]) -> None:
        self.instance, self.partition_keys = instance, list(keys)
        self.partition_key = keys[0] if keys else ""
        self.log = logging.getLogger(__name__)
        self.run = dg.DagsterRun(job_name="look", run_config={"ops": dict(ops)})
        self.lines = list[str]()
        """What a run would say to its user."""
        self.op_execution_context = self
        self.op = self
        self.name = asset

    def result(
        self, store: CorpusStore, artifact: Artifact, recipe: Recipe, *, force: bool
    ) -> dg.MaterializeResult[Any]:
        """Return what a run of an asset would if the output is current and has passed its checks; else end the look."""
        if force:
            raise _NotCurrentError(FORCED)
        manifest, because = artifact.find_current(recipe)
        if manifest is None:
            raise _NotCurrentError(because)
        judgement = judge(artifact, manifest, required_checks(store.corpora))
        if judgement.quality != "good":
            raise _NotCurrentError(judgement.reason)
        return dg.MaterializeResult(data_version=dg.DataVersion(manifest.data_sha256))


class Looker:
    """Looks at the partitions of assets. It keeps the segmenter open; `opened` closes it."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance, ops: Mapping[str, Any]) -> None:
        self._graph, self._instance, self._ops = definitions.resolve_asset_graph(), instance, ops
        self._resources: Mapping[str, Any] = {}
        self._definitions = definitions

    @classmethod
    @contextmanager
    def opened(
        cls, definitions: dg.Definitions, instance: dg.DagsterInstance, ops: Mapping[str, Any]
    ) -> Iterator["Looker"]:
        """Yield what looks at the assets of definitions for runs with this run config."""
        looker = cls(definitions, instance, ops)
        with (
            ExitStack() as files,
            dg.build_resources(dict(definitions.resources or {}), instance=instance) as resources,
        ):
            looker._resources = {name: getattr(resources, name) for name in definitions.resources or {}}
            segmenter = looker._resources.get("segmenter")
            if isinstance(segmenter, SegmenterResource):
                looker._resources = {**looker._resources, "segmenter": _OneSegmenter(segmenter, files)}
            yield looker

    def look(self, asset: str, keys: Sequence[str]) -> Found:
        """Return what was found of the partitions of one run of an asset (none: unpartitioned).

        An error is a reason for the run, which tells and records it.
        """
        decorated: Any = self._graph.assets_def_for_key(dg.AssetKey(asset)).op.compute_fn
        function = inspect.unwrap(decorated.decorated_fn)
        look = Look(self._instance, asset, keys, self._ops)
        arguments: dict[str, Any] = {"context": look}
        try:
            for name, parameter in inspect.signature(function).parameters.items():
                if name == "config":
                    arguments[name] = parameter.annotation(**self._ops.get(asset, {}).get("config", {}))
                elif name != "context":
                    arguments[name] = self._resources[name]
            version = function(**arguments).data_version
        except _NotCurrentError as reason:
            return Found(str(reason))
        except Exception as error:
            return Found(cause_of(error) or f"{type(error).__name__}: {error}")
        if version is None or self._recorded(asset, keys) != {version.value}:
            return Found("Dagster has no record of it")
        return Found("", look.lines)

    def _recorded(self, asset: str, keys: Sequence[str]) -> set[str | None]:
        """Return the data versions that Dagster has last recorded of partitions; None for those without a record."""
        key = dg.AssetKey(asset)
        if not keys:
            event = self._instance.get_latest_materialization_event(key)
            materialization = event.asset_materialization if event else None
            return {(materialization.tags or {}).get(DATA_VERSION_TAG) if materialization else None}
        tags = self._instance.event_log_storage.get_latest_tags_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG], list(keys)
        )
        return {tags.get(partition, {}).get(DATA_VERSION_TAG) for partition in keys}


class _OneSegmenter:
    """The segmenter resource of a look, which opens one engine for all."""

    def __init__(self, resource: SegmenterResource, files: ExitStack) -> None:
        self._resource, self._files, self._lock = resource, files, Lock()
        self._engine: Segmenter | None = None

    def open(self) -> "AbstractContextManager[Segmenter]":
        with self._lock:
            if self._engine is None:
                self._engine = self._files.enter_context(self._resource.open())
        return nullcontext(self._engine)
