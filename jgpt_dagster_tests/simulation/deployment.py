"""The deployment under simulation: a data root, a temporary Dagster instance, its sensors, and what befalls them."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import dagster as dg
from click.testing import CliRunner

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, OutputCatalog
from jgpt_dagster.cli import main
from jgpt_dagster.definitions import build_definitions, code_versions
from jgpt_dagster.orchestration.abandoned_runs import command_lock
from jgpt_dagster.orchestration.partitions import add_dumps, add_model
from jgpt_dagster.orchestration.resources import CorpusStore, Mirror
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.disk_space import DiskFullError
from jgpt_dagster.storage.file_creation import create_directory, create_file
from jgpt_dagster_tests.simulation.clock import HOUR, Clock
from jgpt_dagster_tests.simulation.mirror import WIKI, FakeMirror
from jgpt_dagster_tests.simulation.runs import LiveRun, Runs
from jgpt_dagster_tests.simulation.stages import Stages

MODEL = "tiny"
SHARDS = ("000",)
REFRESHING = ("new_dump_sensor", "refresh_sensor", "train_sensor")

# As many runs are taken from the queue at once.
_PLACES = 2


@lru_cache(maxsize=2)
def _definitions(settings_json: str) -> Any:
    definitions = build_definitions(Settings.model_validate_json(settings_json))
    return definitions.get_repository_def(), code_versions(definitions)


class Request(NamedTuple):
    """A run that a sensor requests, and what it builds on that is not good."""

    name: str
    doubtful_sources: Sequence[str]


class SimulatedDeployment:
    """Everything that a person or the world can do to a deployment whose daemon is on. `log` tells what happened."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.mirror = Clock(), FakeMirror(folder / "mirror")
        self._stack = ExitStack()
        self.run_config = folder / "run.yaml"
        self.settings = Settings(
            data=folder / "data",
            scratch=None,
            wiki=WIKI,
            dumps_url=self.mirror.url,
            cc100_url="",
            shards=len(SHARDS),
            model=MODEL,
            run_config=self.run_config,
        )
        self.mend_config()
        self.repository, self.code_versions = _definitions(self.settings.model_dump_json())
        self.store = CorpusStore.of(self.settings)
        self._resources = {"store": self.store, "mirror": Mirror(dumps_url=self.mirror.url)}
        self.stages = Stages(self.store, self.mirror.url, self.code_versions)
        self.log = list[str]()
        self.requests = list[Request]()
        """What sensors have requested since the last look."""
        self.reasons = dict[str, str]()
        """Why a sensor requested nothing at its last tick."""
        self.retrained, self.removed = set[str](), set[str]()
        """The dumps whose model a person retrained, and those that a person removed."""
        self.pruned = False
        self.daemon = True
        self.disk_full = False
        self.data.mkdir()
        self.lose_database()

    @property
    def data(self) -> Path:
        """The data root, which is no URL."""
        return self.store.root.path

    @contextmanager
    def in_charge(self) -> Iterator["SimulatedDeployment"]:
        """Let this deployment's clock and disk be everybody's while the block runs."""

        def create(function: Any) -> Any:
            def wrapped(path: Path, *arguments: Any, **options: Any) -> Any:
                if self.disk_full:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                return function(path, *arguments, **options)

            return wrapped

        writers = "jgpt_dagster.storage.atomic_write"
        usage = shutil.disk_usage
        with (
            self.clock.in_charge(),
            patch("os.fsync"),
            patch(f"{writers}.create_file", create(create_file)),
            patch(f"{writers}.create_directory", create(create_directory)),
            patch(
                "shutil.disk_usage",
                lambda path: usage(path)._replace(free=0) if self.disk_full else usage(path),
            ),
            patch.object(dg.DagsterInstance, "get", lambda: self.instance),
            patch.dict(os.environ, self._environment()),
        ):
            yield self

    @property
    def catalog(self) -> OutputCatalog:
        return self.store.catalog

    def say(self, line: str) -> None:
        self.log.append(f"{self.clock.date:%m-%d %H:%M} {line}")

    # ---- time ----------------------------------------------------------------------------------------------------

    def hours_pass(self, rounds: int) -> None:
        """Let the daemon look and runs go on, some times with a few hours between; stop early if nothing happens."""
        if self.daemon:
            self.tick("abandoned_runs_sensor")
        for _ in range(rounds):
            self.clock.now += 3 * HOUR
            before = len(self.log)
            busy = bool(self.runs.live)
            if self.daemon:
                for sensor in REFRESHING:
                    self.tick(sensor)
                for live in [live for live in self.runs.live if live.work is None][:_PLACES]:
                    self.runs.begin(live)
            for live in [live for live in self.runs.live if live.work is not None]:
                self.runs.go_on(live, 100)
            self._tell_ends()
            if not (busy or self.runs.live or len(self.log) > before):
                break
        self.clock.date_files(self.data)

    def tick(self, sensor: str) -> None:
        """Let a sensor look once, and queue what it requests."""
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.repository,
            cursor=self._cursors.get(sensor),
        )
        # Dagster would prepare the resources anew for each look, which takes longer than the look.
        definition = self.repository.get_sensor_def(sensor)
        resources = {name: self._resources[name] for name in definition.required_resource_keys}
        result = definition._raw_fn(context, **resources)
        if isinstance(result, dg.SkipReason):
            self.reasons[sensor] = str(result.skip_message)
            return
        self.reasons[sensor] = ""
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        if result.cursor is not None:
            self._cursors[sensor] = result.cursor
        for request in result.run_requests or ():
            if request.run_key not in self._run_keys:
                self._run_keys.add(request.run_key)
                assets = [key.to_user_string() for key in request.asset_selection]
                partition = request.partition_key or ""
                made = Request(
                    f"{sensor}: {'+'.join(assets)} {partition}", self.stages.doubtful_sources(assets, partition)
                )
                self.say(made.name)
                self.requests.append(made)
                self.runs.queue(assets, request.partition_key, request.run_config["ops"], request.tags)

    def _tell_ends(self) -> None:
        for live, how in self.runs.ended:
            self.say(f"  run of {live.name} {how}")
        self.runs.ended.clear()

    # ---- people --------------------------------------------------------------------------------------------------

    def click(self, assets: Sequence[str], partition: str | None, **config: Any) -> LiveRun:
        """Materialize assets in the UI; `config` is that of the first."""
        self.say(f"a person materializes {'+'.join(assets)} {partition or ''} {config or ''}")
        dump = (partition or "").partition("|")[0]
        if dump:
            add_dumps(self.instance, [dump])
        if assets[0] in MODEL_ASSETS:
            add_model(self.instance, MODEL)
        if config.get("force"):
            self.retrained.add(dump)
        return self.runs.queue(assets, partition, {assets[0]: {"config": config}} if config else {})

    def terminate(self, live: LiveRun) -> None:
        self.runs.terminate(live)
        self._tell_ends()

    def kill(self, live: LiveRun, death: Any) -> None:
        self.runs.kill(live, death)
        self._tell_ends()

    def lose_run(self, live: LiveRun) -> None:
        self.runs.lose(live)
        self._tell_ends()

    def command(self, *arguments: str) -> str:
        """Run a `jgpt` command; return what it printed."""
        result = CliRunner().invoke(main, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        lines = [line for line in result.output.splitlines() if line.strip()]
        self.say(f"jgpt {' '.join(arguments)}: {lines[-1].strip() if lines else 'nothing'}")
        return result.output

    def killed_command(self, dump: str) -> None:
        """A `jgpt run` that is killed, with its worker, in the middle of a stage."""
        self.say(f"jgpt run --dump {dump} is killed")
        with ExitStack() as stack:
            stack.enter_context(suppress(_KilledCommandError, DiskFullError))
            command = stack.enter_context(command_lock(self.instance, self.data))
            add_dumps(self.instance, [dump])
            live = self.runs.queue(["wikipedia_dump"], dump)
            self.runs.begin(live, command)
            self.runs.kill(live, "while writing")
            raise _KilledCommandError
        self._tell_ends()

    # ---- mishaps -------------------------------------------------------------------------------------------------

    def break_config(self) -> None:
        self.run_config.write_text("ops: {training_set: {config: {share: 0.3}}}")

    def mend_config(self) -> None:
        self.run_config.write_text("ops: {training_set: {config: {validation_share: 0.3}}}")

    def lose_database(self) -> None:
        """Go on with an empty Dagster instance over the same data; every process ended with the old one."""
        former: Runs | None = getattr(self, "runs", None)
        if former:
            for live in list(former.live):
                former.kill(live, "at once")
        # Nobody migrates this database, and stamping its version takes longer than making it.
        with (
            patch("dagster._core.storage.runs.in_memory.stamp_alembic_rev"),
            patch("dagster._core.storage.event_log.in_memory.stamp_alembic_rev"),
        ):
            self.instance = dg.DagsterInstance.ephemeral()
        self.runs: Runs = Runs(self.instance, self.data, self.stages)
        self._cursors = dict[str, str]()
        self._run_keys = set[str]()

    def _environment(self) -> dict[str, str]:
        return {
            "JGPT_DATA": str(self.data),
            "DAGSTER_HOME": str(self.data / ".dagster"),
            "JGPT_WIKI": WIKI,
            "JGPT_DUMPS_URL": self.mirror.url,
            "JGPT_CC100_URL": "",
            "JGPT_SHARDS": str(len(SHARDS)),
            "JGPT_MODEL": MODEL,
        }


class _KilledCommandError(Exception):
    """Ends the block of a command as an error does, so that its lock file stays."""
