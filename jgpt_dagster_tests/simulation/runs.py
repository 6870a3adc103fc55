"""Recorded runs of a simulated deployment: each goes on step by step, in a process that may be killed at any."""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import dagster as dg
from dagster._core.events import DagsterEvent, StepMaterializationData
from filelock import FileLock

from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG, PROCESS_TAG, _hold, _Holder
from jgpt_dagster.orchestration.run_facts import PARTITION
from jgpt_dagster_tests.simulation.stages import Stages, Step

Death = Literal["at once", "while writing", "between renames"]


@dataclass
class LiveRun:
    """An unfinished run that is queued, or that a process makes."""

    run: dg.DagsterRun
    assets: Sequence[str]
    partition: str
    process: FileLock | None = None
    work: Iterator[None] | None = None
    outcome: Literal["succeeded", "failed", "cancelled"] | None = None
    perhaps_deleted: bool = False

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def name(self) -> str:
        return f"{'+'.join(self.assets)} {self.partition}".strip()


class Runs:
    """The unfinished runs of a deployment, and how they go on, end and die."""

    def __init__(self, instance: dg.DagsterInstance, root: Path, stages: Stages) -> None:
        self._instance, self._root, self._stages = instance, root, stages
        self.live = list[LiveRun]()
        self.recorded = list[LiveRun]()
        """Every run that was queued, in that order."""
        self.ended = list[tuple[LiveRun, str]]()
        """Runs that have ended since the last look, with how."""

    def queue(
        self,
        assets: Sequence[str],
        partition: str | None,
        ops: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> LiveRun:
        """Record a run that waits for its turn."""
        run = dg.DagsterRun(
            job_name="__ASSET_JOB",
            run_id=str(uuid.uuid4()),
            status=dg.DagsterRunStatus.STARTING,  # as one that waits for its launcher
            asset_selection=frozenset(map(dg.AssetKey, assets)),
            run_config={"ops": dict(ops or {})},
            tags={**(tags or {}), **({PARTITION: partition} if partition else {})},
        )
        self._instance.add_run(run)
        live = LiveRun(run, assets, partition or "")
        self.live.append(live)
        self.recorded.append(live)
        return live

    def begin(self, live: LiveRun, command: str | None = None) -> None:
        """Let a process take a run, of its own or that of a `jgpt run`."""
        self._report(live, dg.DagsterEventType.RUN_START)
        try:
            name, live.process = _hold(self._root, "process", _Holder.this(self._instance))
        except JgptError as error:
            return self._fail(live, str(error))
        tags = {PROCESS_TAG: f"{name} {live.run_id}", **({COMMAND_TAG: command} if command else {})}
        self._instance.add_run_tags(live.run_id, tags)
        live.work = self._work(live)

    def go_on(self, live: LiveRun, steps: int) -> None:
        """Let a run make some steps: an output is one, its checks are another."""
        for _ in range(steps if live.work else 0):
            try:
                next(live.work)  # type: ignore[arg-type]
            except StopIteration:
                self._report(live, dg.DagsterEventType.RUN_SUCCESS)
                return self._end(live, "succeeded", "succeeded")
            except (dg.Failure, JgptError, OSError) as error:
                return self._fail(live, getattr(error, "description", None) or str(error))

    def kill(self, live: LiveRun, death: Death) -> None:
        """Kill the process of a run, at once or at a moment of the next output that it writes."""
        if live.work is not None and death != "at once":
            # A real process, so that nothing is tidied up. What it has in memory is of no use any more.
            child = os.fork()
            if child == 0:
                self._die(live, death)
            os.waitpid(child, 0)
        self._end(live, f"killed {death}")

    def _die(self, live: LiveRun, death: Death) -> NoReturn:
        """Go on with a run in a forked process until it dies."""
        try:
            rename = os.rename

            def rename_and_die(*arguments: Any) -> None:
                rename(*arguments)
                os._exit(9)

            if death == "between renames":
                os.rename = rename_and_die  # type: ignore[assignment]  # overloads of paths
            else:
                self._stages.moment = lambda output: os._exit(9)
            self.go_on(live, 100)
        finally:
            os._exit(9)

    def lose(self, live: LiveRun) -> None:
        """Let the process of a run be killed before it could say that it is there."""
        self._report(live, dg.DagsterEventType.RUN_START)
        self._end(live, "lost before it began")

    def terminate(self, live: LiveRun) -> None:
        """End a run as a person does in the UI."""
        self._instance.report_run_canceled(live.run)
        self._end(live, "terminated", "cancelled")

    def _work(self, live: LiveRun) -> Iterator[None]:
        for asset in live.assets:
            step = Step(live.run, asset, live.partition, self._instance)
            result = self._stages.make(step)
            materialization = dg.AssetMaterialization(
                asset, partition=live.partition or None, metadata={"status": result.metadata["status"]}
            )
            self._report(live, dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(materialization))
            yield
            if not self._stages.check(step):
                raise dg.Failure(f"{asset} {live.partition}: a blocking check failed")
            yield

    def _report(self, live: LiveRun, kind: dg.DagsterEventType, data: Any = None) -> None:
        step = "step" if data else None
        event = DagsterEvent(kind.value, live.run.job_name, step_key=step, event_specific_data=data, message=kind.value)
        self._instance.report_dagster_event(event, live.run_id)

    def _fail(self, live: LiveRun, reason: str) -> None:
        self._instance.report_run_failed(live.run, reason)
        self._end(live, f"failed: {reason}")

    def forget_perhaps(self) -> None:
        """Know that runs that have ended may be deleted now."""
        for live in self.recorded:
            live.perhaps_deleted = live.outcome is not None

    def _end(self, live: LiveRun, how: str, outcome: Literal["succeeded", "failed", "cancelled"] = "failed") -> None:
        live.outcome = outcome
        if live.work is not None:
            live.work.close()  # type: ignore[attr-defined]
        if live.process is not None:
            live.process.release()
        self.live.remove(live)
        self.ended.append((live, how))
