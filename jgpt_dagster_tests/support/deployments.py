"""A deployment of its own for a test: a data root, its settings, and the real commands run over it.

Commands are those that a person types, of this interpreter's environment, in processes of their own.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import yaml
from click.testing import CliRunner

from jgpt_dagster.cli import main
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.orchestration.resources import TrainingLauncher
from jgpt_dagster.sample.pack import WIKI, Page, write_dump
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import DataRoot, shard_names

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DUMP = "20260101"
LATER_DUMP = "20260120"

# The real excerpt in the folder that JGPT_TEST_DATA names, at two dates.
REAL_DUMPS = ("20250801", "20250820")

# Run config under which the embedded sample goes through the whole graph in a minute.
SMALL_RUN: dict[str, dict[str, Any]] = {
    "tokenizer": {"vocab_size": 2000, "limit_alphabet": 1500},
    "training_set": {"validation_share": 0.08},
    "pretrained_model": {
        "steps": 8,
        "context": 64,
        "global_batch": 8,
        "log_every": 1,
        "evaluate_every": 4,
        "checkpoint_every": 4,
    },
    "evaluation": {"prompts": ["海に近い町で"]},
}

_QUIET_LOGGERS = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

# What two runs of one deployment may differ in: records of the run itself, and what is on its way.
_VOLATILE = (".dagster", ".scratch", ".locks", ".keys", ".exclusion_matches")


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed on both streams."""

    code: int
    output: str


@dataclass(frozen=True)
class Materialized:
    """How the run of one asset partition ended: why its step failed (None: it did not), its checks, its metadata.

    The dictionaries about checks have their names as keys.
    """

    error: str | None
    checks: Mapping[str, bool]
    descriptions: Mapping[str, str | None]
    check_metadata: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Deployment:
    """A data root and the settings of its commands (`JGPT_` variables without the prefix), which run in `cwd`."""

    data: Path
    settings: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = PROJECT

    @property
    def root(self) -> DataRoot:
        return DataRoot(self.data)

    def shard(self, asset: str, dump: str | None, shard: str) -> Artifact:
        """Return a shard of an asset, of the kind that the asset writes."""
        return (self.root.directory if asset.endswith("_tokens") else self.root.parquet)(asset, dump, shard)

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of a command: the caller's own settings have no part in it."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("JGPT_", "DAGSTER_"))}
        return {
            **own,
            "JGPT_DATA": str(self.data),
            "DAGSTER_HOME": str(self.data / ".dagster"),
            **{f"JGPT_{name}": value for name, value in self.settings.items()},
            **self.environment,
        }

    def with_settings(self, **settings: str) -> "Deployment":
        return replace(self, settings={**self.settings, **settings})

    def run(self, *command: str | Path, timeout: float = 300) -> Result:
        """Run a command of this environment's `bin`, such as `jgpt` or `dagster`, from the project's folder."""
        process = self.start(*command)
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return Result(process.returncode, output)

    def succeed(self, *command: str | Path, timeout: float = 300) -> str:
        """The same for a command that must succeed; return what it printed."""
        result = self.run(*command, timeout=timeout)
        assert result.code == 0, f"{' '.join(map(str, command))} ended with {result.code}:\n{result.output[-6000:]}"
        return result.output

    def invoke(self, *arguments: str | Path, stdin: bytes | None = None) -> str:
        """Run a `jgpt` command that must succeed in this process, seconds faster, and return what it printed.

        Its definitions are those of the default settings, which is enough for commands that run no asset.
        """
        result = self.try_invoke(*arguments, stdin=stdin)
        assert result.code == 0, f"jgpt {' '.join(map(str, arguments))} ended with {result.code}:\n{result.output}"
        return result.output

    def try_invoke(self, *arguments: str | Path, stdin: bytes | None = None) -> Result:
        """The same for a command that may fail."""
        with patch.dict(os.environ, self.env, clear=True):
            result = CliRunner().invoke(main, list(map(str, arguments)), input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.output)

    def start(self, *command: str | Path) -> "subprocess.Popen[str]":
        """Start a command in a session of its own, so that it can be ended with all its children."""
        name, *arguments = map(str, command)
        return subprocess.Popen(
            [str(BIN / name), *arguments],
            env=self.env,
            cwd=self.cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A test run in the background ignores SIGINT, and its children would too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def materialize(self, asset: str, partition: str | None = None, **config: Any) -> Materialized:
        """Run one asset with its checks in this process, as a Dagster run of its own: seconds faster than a command."""
        result = _job(self.data, tuple(self.settings.items())).execute_in_process(
            instance=in_process_instance(),
            asset_selection=[dg.AssetKey(asset)],
            partition_key=partition,
            run_config={"ops": {asset: {"config": config}}, **_QUIET_LOGGERS},
            raise_on_error=False,
        )
        failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        checks = result.get_asset_check_evaluations()
        made = result.get_asset_materialization_events()
        return Materialized(
            None if made else "; ".join(_words(failure) for failure in failures),
            {check.check_name: check.passed for check in checks},
            {check.check_name: check.description for check in checks},
            {check.check_name: check.metadata for check in checks},
            made[0].step_materialization_data.materialization.metadata if made else {},
        )

    def materialize_text(self, dump: str, config: Mapping[str, Mapping[str, Any]] = SMALL_RUN) -> list[Materialized]:
        """Run every asset up to the training set of a dump; each must succeed, with its checks."""
        shards = shard_names(int(self.settings["SHARDS"]))
        results = []
        for asset, partitions in text_partitions(dump, shards, cc100=bool(self.settings["CC100_URL"])).items():
            for partition in partitions:
                result = self.materialize(asset, partition, **config.get(asset, {}))
                # Of two dates of a mirror, the earlier one is not the newest.
                failed = [name for name, passed in result.checks.items() if not passed and name != "is_newest"]
                assert result.error is None and not failed, (asset, partition, result)
                results.append(result)
        return results

    def copy(self, data: Path) -> "Deployment":
        """Return a deployment with the same files, as hard links: replace files of it, never write into them.

        Its Dagster instance is empty: what is current is decided by what lies on disk.
        """
        self._link(data)
        shutil.copytree(_empty_instance().name, data / ".dagster")
        return replace(self, data=data)

    def copy_with_runs(self, data: Path) -> "Deployment":
        """The same with the Dagster instance, which shows the runs that there were."""
        self._link(data)
        shutil.copytree(self.data / ".dagster", data / ".dagster")
        return replace(self, data=data)

    def _link(self, data: Path) -> None:
        ignore = shutil.ignore_patterns(".dagster", ".locks")
        shutil.copytree(self.data, data, copy_function=os.link, ignore=ignore, symlinks=True)

    def files(self) -> dict[str, bytes]:
        """Return the content of every file that two runs over the same input must have in common."""
        volatile = ("run.json", "checks.json")
        return {name: path.read_bytes() for name, path in self.paths() if not name.endswith(volatile)}

    def paths(self) -> Iterator[tuple[str, Path]]:
        """Yield every file below the data root, but for the Dagster instance, locks and scratch, with its name."""
        for path in sorted(self.data.rglob("*")):
            name = path.relative_to(self.data)
            if path.is_file() and name.parts[0] not in _VOLATILE:
                yield str(name), path

    def mtimes(self) -> dict[str, int]:
        return {name: path.stat().st_mtime_ns for name, path in self.paths()}

    def leftovers(self) -> list[str]:
        """Return what unfinished work has left: temporary files, retired directories, parts of downloads."""
        found = [path for pattern in (".*.tmp", ".*.old", "*.part*") for path in self.data.rglob(pattern)]
        found += self.data.glob(".incoming/*")
        return sorted(str(path.relative_to(self.data)) for path in found if ".dagster" not in path.parts)


def text_partitions(dump: str, shards: Sequence[str], *, cc100: bool) -> dict[str, list[str | None]]:
    """Return the assets up to the training set, in an order in which they can be made, each with its partition keys."""
    of_dump = [f"{dump}|{shard}" for shard in shards]
    partitions: dict[str, Sequence[str | None]] = {
        "wikipedia_dump": [dump],
        "cc100_dump": [None],
        "wikipedia_articles": of_dump,
        "wikipedia_segmented": of_dump,
        "cc100_documents": shards,
        "cc100_segmented": shards,
        "tokenizer": [None],
        "wikipedia_tokens": of_dump,
        "cc100_tokens": shards,
        "training_set": [dump],
    }
    return {asset: list(keys) for asset, keys in partitions.items() if cc100 or not asset.startswith("cc100")}


@lru_cache(maxsize=8)
def _job(data: Path, settings: tuple[tuple[str, str], ...]) -> dg.JobDefinition:
    """Return the job of all assets of a deployment; building it takes as long as a small stage.

    One training process is started without DeepSpeed's launcher, which `jgpt run` uses: it imports torch for itself.
    """
    values: dict[str, Any] = {"data": data, "scratch": None, **{name.lower(): value for name, value in settings}}
    made = Settings(**values)
    launcher = (
        TrainingLauncher(launcher="python") if made.processes < 2 and not made.hostfile else TrainingLauncher.of(made)
    )
    with patch.object(TrainingLauncher, "of", lambda _: launcher):
        return build_definitions(made).resolve_implicit_global_asset_job_def()


@cache
def in_process_instance() -> dg.DagsterInstance:
    """Return this process's Dagster instance for runs in the process. What is current is decided by files alone."""
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("dump", [DUMP, LATER_DUMP, *REAL_DUMPS])
    instance.add_dynamic_partitions("model", ["tiny"])
    return instance


@cache
def _empty_instance() -> "tempfile.TemporaryDirectory[str]":
    """Return the directory of a new Dagster instance, whose tables take longer to make than most tests."""
    folder = tempfile.TemporaryDirectory()
    dg.DagsterInstance.local_temp(folder.name).dispose()
    return folder


def _words(failure: Any) -> str:
    return str(failure.user_failure_data.description if failure.user_failure_data else failure.error)


def write_config(path: Path, config: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write run config by asset, in Dagster's form, for `--config`."""
    path.write_text(yaml.safe_dump({"ops": {asset: {"config": dict(fields)} for asset, fields in config.items()}}))
    return path


def sample_deployment(data: Path, mirror: Path) -> Deployment:
    """Return a deployment of the embedded sample, packed in `mirror`."""
    return Deployment(
        data,
        {
            "WIKI": WIKI,
            "DUMPS_URL": mirror.as_uri(),
            "CC100_URL": (mirror / "cc-100" / "ja.txt.xz").as_uri(),
            "SHARDS": "2",
            "MODEL": "tiny",
            # Each worker process imports Dagster, and torch for some assets, which takes longer than the sample does.
            "WORKERS": "1",
            "REFRESH": "off",
        },
    )


def real_deployment(data: Path, profile: str) -> Deployment:
    """Return a deployment of the real excerpt in the folder that JGPT_TEST_DATA names."""
    source = Path(os.environ["JGPT_TEST_DATA"])
    settings = {
        "DUMPS_URL": (source / "mirror").as_uri(),
        "CC100_URL": (source / "cc100" / "ja-cc100sample.txt.xz").as_uri(),
        "SHARDS": "4",
        "MODEL": "tiny",
        "TEXT": profile,
    }
    return Deployment(data, settings)


def mini_pages(count: int = 12) -> list[Page]:
    """Return the pages of a very small wiki: all articles but one redirect and one page of another namespace."""
    articles = [
        Page(
            f"第{number}の町",
            number,
            1000 + number,
            f"'''第{number}の町'''は海に近い町である。\n\n人口は{number}万人。",
        )
        for number in range(1, count - 1)
    ]
    return [
        *articles,
        Page("町", count - 1, 1000 + count - 1, "#REDIRECT [[第1の町]]"),
        Page("Help:目次", count, 1000 + count, "目次", ns=12),
    ]


def mini_deployment(folder: Path, pages: list[Page] | None = None) -> Deployment:
    """Pack a very small wiki in `folder` and return its deployment: one shard, no CC-100."""
    mirror = folder / "mirror"
    write_dump(mirror, "miniwiki", DUMP, mini_pages() if pages is None else pages, pages_per_stream=4)
    settings = {
        "WIKI": "miniwiki",
        "DUMPS_URL": mirror.as_uri(),
        "CC100_URL": "",
        "SHARDS": "1",
        "MODEL": "tiny",
        "WORKERS": "1",
        "REFRESH": "off",
    }
    return Deployment(folder / "data", settings)
