"""The stages of a deployment, each killed at chosen moments and run again: what differs from an undisturbed run.

A `Bench` imports everything once and runs no thread, so that a fork of it is a process that is about to run a stage, as
a worker of `jgpt run` is. The training process is a fork of the stage's, which saves the seconds that its imports take;
worker pools start interpreters of their own.
"""

import importlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast
from unittest.mock import patch

import dagster as dg

from jgpt_dagster.catalog import leftovers
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.lm import train
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.orchestration.resources import TrainingLauncher
from jgpt_dagster.orchestration.stages import stages_up_to
from jgpt_dagster.orchestration.worker_process import execute_run
from jgpt_dagster.provenance.verify_root import verify_root
from jgpt_dagster.settings import load_settings
from jgpt_dagster.storage.hashing import sha256_file
from jgpt_dagster_tests.support.deployments import DUMP, Deployment, in_process_instance
from jgpt_dagster_tests.support.file_changes import Plan, changes_of, count, growths_of, sizes_below, watch

# Of the run, not of the data. An output that was whole when its run was killed is not made again, and has no record.
RUN_RECORD, VERDICTS = "run.json", "checks.json"
_GONE_ON_WITH = (".incoming", ".scratch/pretrained_model", ".keys")
"""What a next run goes on with: downloads and training runs."""

_NOT_COMPARED = re.compile(
    r"\.dagster(/|$)"
    r"|\.locks/"  # the kernel has released them, and commands remove those of dead processes
    r"|\.scratch/.*/tensorboard/"  # named for the time and the process
)


@dataclass(frozen=True)
class StageRun:
    """One run of one asset: the partition keys are those of a run of `jgpt run`."""

    asset: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Moment:
    """When to kill a stage: at a change, or within a write after it, at a size of the file. `what` is for reports."""

    change: int
    limit: int | None
    what: str


class Bench:
    """One deployment in a folder of its own, with the state of its root before and after the stage at hand.

    The environment of this process is that of the deployment.
    """

    def __init__(self, folder: Path, deployment: Deployment, config: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder, self.deployment, self.config = folder, deployment, config
        self.before, self.after = folder / "before", folder / "after"
        self._log = folder / "log"
        settings = load_settings()
        _import_training()
        with patch.object(TrainingLauncher, "of", lambda _: TrainingLauncher(launcher="python")):
            definitions = build_definitions(settings)
        self._job = definitions.resolve_implicit_global_asset_job_def()
        stages = stages_up_to(definitions, settings.corpora, DUMP, settings.model, "release")
        self.stages = [[StageRun(stage.asset, keys) for keys in stage.runs] for stage in stages]
        deployment.data.mkdir(mode=0o700, parents=True)

    def run(self, stage: StageRun) -> None:
        """Run a stage that nothing disturbs."""
        self._require_done(self._fork(lambda: self._execute(stage)))

    def observe(self, stage: StageRun) -> list[Moment]:
        """Run a stage that nothing disturbs, note the states before and after it; return all moments to kill it at."""
        copy_root(self.deployment.data, self.before)
        plan = self._plan(0, None)
        self._require_done(watch(plan, self._start(lambda: self._execute(stage, plan))))
        copy_root(self.deployment.data, self.after)
        changes = changes_of(plan)
        moments = [Moment(each.number, None, f"{each.event} {each.path}") for each in changes]
        grown = growths_of(plan, sizes_below(plan.root))
        draw = random.Random(0)
        return moments + [
            Moment(number, draw.randrange(old, size), f"write {path} ({size} bytes)")
            for number, path, old, size in grown
        ]

    def kill(self, stage: StageRun, moment: Moment) -> list[str]:
        """Kill a stage at a moment and run it again; return what is wrong then, each in words."""
        copy_root(self.before, self.deployment.data)
        plan = self._plan(moment.change, moment.limit)
        status = watch(plan, self._start(lambda: self._execute(stage, plan)))
        failed = status and not plan.reached.exists()
        return [f"ended with {status} without a kill: {self._output()}"] if failed else self._again(stage)

    def keep(self) -> None:
        """Set the root back to what the stage that nothing disturbed has made."""
        copy_root(self.after, self.deployment.data)

    def _again(self, stage: StageRun) -> list[str]:
        found = self.folder / "faults"

        def again() -> None:
            faults = [*self._faults_when_killed()]
            self._execute(stage)
            found.write_text(json.dumps([*faults, *self._faults_in_the_end()]))

        found.unlink(missing_ok=True)
        status = self._fork(again)
        return json.loads(found.read_text()) if found.exists() else [f"failed again ({status}): {self._output()}"]

    def _faults_when_killed(self) -> Iterator[str]:
        """Yield what in a killed stage's root passes for data and is not whole, and what no command would remove."""
        data = self.deployment.data
        for finding in verify_root(self.deployment.root, data / ".scratch"):
            if finding.kind in ("damaged", "misplaced"):
                yield f"when killed: {finding.line()}"
        extra = _names(data) - _names(self.before) - _names(self.after)
        for name in self._not_pruned(extra):
            if not name.startswith(_GONE_ON_WITH):
                yield f"when killed: nothing removes {name}"

    def _faults_in_the_end(self) -> Iterator[str]:
        """Yield how the root differs from that of a stage that nothing has disturbed."""
        data, expected = self.deployment.data, self.after
        found, wanted = _names(data), _names(expected)
        yield from (f"is missing: {name}" for name in sorted(wanted - found) if not name.endswith(RUN_RECORD))
        yield from (f"is left: {name}" for name in self._not_pruned(found - wanted))
        for name in sorted(found & wanted):
            if is_data(name) and (expected / name).is_file() and not _same(data / name, expected / name):
                yield f"has other bytes: {name}"

    def _not_pruned(self, names: set[str]) -> list[str]:
        """Return those of these names that `jgpt prune` would not remove, however long it waits."""
        if not names:
            return []
        data = self.deployment.data
        with patch.multiple(leftovers, _IDLE_DAYS=-1.0, _ABANDONED_DAYS=-1.0):
            found = [f"{each.path}/" for each in leftovers.find_leftovers(self.deployment.root, data / ".scratch")]
        return [name for name in sorted(names) if not f"{data / name}/".startswith(tuple(found))]

    def _execute(self, stage: StageRun, plan: Plan | None = None) -> None:
        with ExitStack() as patches:
            patches.enter_context(patch.object(dg.DagsterInstance, "get", in_process_instance))
            patches.enter_context(patch.object(subprocess, "Popen", _popen))
            in_process_instance()
            if plan:
                count(plan)
            ops = {asset: {"config": dict(fields)} for asset, fields in self.config.items()}
            outcome = execute_run(lambda: cast(dg.Definitions, self), stage.asset, stage.keys, {"ops": ops}, "")
        if outcome.error:
            raise RuntimeError(outcome.error)

    def resolve_implicit_global_asset_job_def(self) -> dg.JobDefinition:
        """Return the job of all assets, in the place of definitions, which take long to build."""
        return self._job

    def _plan(self, at: int, limit: int | None) -> Plan:
        shutil.rmtree(self._log, ignore_errors=True)
        self._log.mkdir()
        return Plan(str(self.deployment.data), str(self._log), at, limit)

    def _start(self, action: Callable[[], None]) -> int:
        """Start a process that does something; what it prints goes to a file."""
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            os.setsid()
            with open(self.folder / "output", "wb", buffering=0) as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _fork(self, action: Callable[[], None]) -> int:
        return os.waitpid(self._start(action), 0)[1]

    def _require_done(self, status: int) -> None:
        if status:
            raise RuntimeError(f"a stage that nothing disturbed ended with {status}:\n{self._output()}")

    def _output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-3000:]


class _ForkedTraining:
    """The training process, as a fork of this one, with what `run_process_group` uses of a Popen object."""

    def __init__(self, argv: list[str], env: Mapping[str, str]) -> None:
        own_in, its_in = os.pipe()[::-1]
        its_out, own_out = os.pipe()[::-1]
        self.pid, self.returncode = os.fork(), None
        if self.pid == 0:
            code = 1
            try:
                os.close(own_in)
                os.close(own_out)
                os.setsid()
                os.dup2(its_in, 0)
                for stream in (1, 2):
                    os.dup2(its_out, stream)
                os.environ.clear()
                os.environ.update(env)
                code = train.main(argv[-1:])
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(its_in)
        os.close(its_out)
        self.stdin: IO[bytes] = os.fdopen(own_in, "wb")
        self.stdout: IO[bytes] = os.fdopen(own_out, "rb")

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None  # type: ignore[assignment]
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])  # type: ignore[assignment]
        assert self.returncode is not None
        return self.returncode


_POPEN = subprocess.Popen


def _popen(argv: Any, *arguments: Any, **options: Any) -> Any:
    if "jgpt_dagster.lm.train" in argv:
        return _ForkedTraining(argv, options["env"])
    return _POPEN(argv, *arguments, **options)


def _import_training() -> None:
    """Import what the training process imports, which reads the environment meanwhile."""
    with patch.dict(os.environ, training_environment(processes=1, on_cpu=True)):
        importlib.import_module("jgpt_dagster.lm.training.trainer")
    # A thread of OpenMP would not be in a fork.
    os.environ["OMP_NUM_THREADS"] = "1"


def copy_root(source: Path, target: Path) -> None:
    """Make a folder the copy of another. Outputs are replaced, never written to: links will do for them."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700)
    for top in source.iterdir():
        if top.is_dir():
            copy_function = shutil.copy2 if top.name.startswith(".") else os.link
            shutil.copytree(top, target / top.name, copy_function=copy_function, symlinks=True)
        else:
            shutil.copy2(top, target / top.name)


def _names(root: Path) -> set[str]:
    """Return every file, link and folder below a root that two runs have in common."""
    names = (str(path.relative_to(root)) for path in root.rglob("*"))
    return {name for name in names if not _NOT_COMPARED.match(name)}


def is_data(name: str) -> bool:
    return not name.startswith(".") and not name.endswith((RUN_RECORD, VERDICTS))


def _same(one: Path, other: Path) -> bool:
    return os.path.samefile(one, other) or sha256_file(one) == sha256_file(other)
