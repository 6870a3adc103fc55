"""The resources of the assets: the store of all data, the dumps mirror, the segmenter and the training launcher."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import dagster as dg
from pydantic import Field

from jgpt_dagster.catalog.corpora import Corpus, configured_corpora
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.lm.launch.gpus import gpu_count
from jgpt_dagster.lm.launch.multi_node import read_hostfile
from jgpt_dagster.orchestration.abandoned_runs import record_process
from jgpt_dagster.orchestration.told_failure import told
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.data_root import PINNED, DataRoot, shard_names
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact
from jgpt_dagster.storage.safe_path import UnsafeNameError, child_path, require_form

if TYPE_CHECKING:
    from jgpt_dagster.corpus.segmenters.base import Segmenter


def fixed_resource(resource: dg.ConfigurableResource[Any]) -> dg.ResourceDefinition:
    """Return the definition of a resource that run config cannot change.

    Whoever reaches the UI writes run config: with the fields of a resource in it, a run would read and write wherever
    the user of the worker can. Dagster refuses config for a resource with an empty schema.
    """

    def resource_fn(context: dg.InitResourceContext) -> dg.ConfigurableResource[Any]:
        resource.setup_for_execution(context)
        return resource

    return dg.ResourceDefinition(resource_fn, config_schema={}, description=type(resource).__doc__)


class CorpusStore(dg.ConfigurableResource[Any]):
    """Every output by asset and partition, and the settings that all data of one root has in common."""

    data: str
    scratch: str
    wiki: str
    text: str
    segmenter: str
    shards: int
    model: str
    cc100_url: str = ""
    folders: dict[str, str] = Field(default_factory=dict)
    workers: int = 1
    tasks: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "CorpusStore":
        """Return the store that the settings describe."""
        return cls(
            data=str(settings.data),
            scratch=str(settings.scratch_directory),
            wiki=settings.wiki,
            text=settings.text,
            segmenter=settings.segmenter,
            shards=settings.shards,
            model=settings.model,
            cc100_url=settings.cc100_url,
            folders={name: str(folder) for name, folder in settings.folders.items()},
            workers=settings.workers,
            tasks=str(settings.tasks) if settings.tasks else None,
        )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Refuse a data root that was made with other fixed settings, and record which process makes a run.

        Raises ToldFailure for other settings, and for a disk or lock that refuses.
        """
        with told():
            self.root.pin_settings(self.fixed)
            if context.run is not None and context.instance is not None:
                record_process(context.instance, context.run, self.root.path)

    @property
    def fixed(self) -> dict[str, str | int]:
        """The settings that one data root cannot mix."""
        return {name: getattr(self, name) for name in PINNED}

    @property
    def root(self) -> DataRoot:
        """The data root."""
        return DataRoot.open(self.data, self.scratch_path)

    @property
    def scratch_path(self) -> Path:
        """Local disk for checkpoints and for token files in use."""
        return Path(self.scratch)

    @property
    def profile(self) -> TextProfile:
        """The text profile."""
        return cast(TextProfile, self.text)

    @property
    def corpora(self) -> tuple[Corpus, ...]:
        """The corpora in use."""
        folders = {name: Path(folder) for name, folder in self.folders.items()}
        return configured_corpora(self.wiki, self.cc100_url, folders)

    @property
    def catalog(self) -> OutputCatalog:
        """Every output of the deployment."""
        return OutputCatalog(self.root, self.corpora, tuple(self.shard_keys), self.model)

    @property
    def shard_keys(self) -> list[str]:
        """The shard keys of every corpus."""
        return shard_names(self.shards)

    def parquet(self, asset: str, dump: str | None = None, shard: str | None = None) -> ParquetArtifact:
        """Return a Parquet shard of an asset. Raises UnsafeNameError for a key of no partition, as the others do."""
        self._require_shard(shard)
        return self.root.parquet(asset, dump, shard)

    def directory(self, asset: str, dump: str | None = None, shard: str | None = None) -> DirectoryArtifact:
        """Return a directory output of an asset that does not depend on a model."""
        self._require_shard(shard)
        return self.root.directory(asset, dump, shard)

    def model_directory(self, asset: str, dump: str, model: str) -> DirectoryArtifact:
        """Return the output of an asset for a model of a dump."""
        return self.root.directory(asset, dump, model=model)

    def training_run_path(self, dump: str, model: str) -> Path:
        """Return the directory of the training run of a model of a dump."""
        names = (f"dump={require_form('dump', dump)}", f"model={require_form('model', model)}")
        return child_path(self.scratch_path, "pretrained_model", *names)

    def _require_shard(self, shard: str | None) -> None:
        if shard is not None and shard not in self.shard_keys:
            raise UnsafeNameError(f"{shard!r} is none of the {self.shards} shards of JGPT_SHARDS.")


class Mirror(dg.ConfigurableResource[Any]):
    """Where dumps are downloaded from."""

    dumps_url: str


class SegmenterResource(dg.ConfigurableResource[Any]):
    """The engine that splits sentences into words."""

    engine: str

    def open(self) -> "Segmenter":
        """Start the engine; the caller closes it (it is a context manager)."""
        from jgpt_dagster.corpus.segmenters import open_segmenter

        return open_segmenter(self.engine)


class TrainingLauncher(dg.ConfigurableResource[Any]):
    """How the training program is started: on this host, or on those of a hostfile."""

    launcher: str = "deepspeed"
    processes: int = Field(default=0, ge=0, description="Processes on each host; 0: one per GPU, or one without GPUs.")
    hostfile: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "TrainingLauncher":
        """Return the launcher of a deployment."""
        return cls(processes=settings.processes, hostfile=str(settings.hostfile or ""))

    def kind(self) -> Literal["deepspeed", "torchrun", "python"]:
        """Return which launcher is used."""
        return cast(Literal["deepspeed", "torchrun", "python"], self.launcher)

    def process_count(self, *, gpu: bool = True) -> int:
        """Return the number of training processes on each host; `gpu=False` for a run that does not use its GPUs."""
        return self.processes or (max(1, gpu_count()) if gpu else 1)

    def host_count(self) -> int:
        """Return the number of hosts: those of the hostfile, or this one. Raises HostfileError."""
        return len(read_hostfile(Path(self.hostfile))) if self.hostfile else 1

    def hostfile_path(self) -> Path | None:
        """Return the hostfile of a multi-node run."""
        return Path(self.hostfile) if self.hostfile else None
