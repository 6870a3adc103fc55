"""Killed at any moment, the same command gives the same bytes; interrupted, it leaves no process behind."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.atomic_write import temporary_path
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment, text_partitions
from jgpt_dagster_tests.support.stage_process import kill_while_making
from jgpt_dagster_tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

RUN = f".scratch/pretrained_model/dump={DUMP}/model=tiny/checkpoints"

# The file that shows that an output is being made.
Sign = Callable[[DataRoot, Artifact], Path]


def temporary(_: DataRoot, artifact: Artifact) -> Path:
    return temporary_path(artifact.path)


def lock_holder(root: DataRoot, artifact: Artifact) -> Path:
    return root.path / ".locks" / f"{artifact.label.replace(' ', '__').replace('|', '_')}.json"


def half_written_checkpoint(root: DataRoot, _: Artifact) -> Path:
    return root.path / RUN / ".step=00000004.tmp"


def whole_checkpoint(root: DataRoot, _: Artifact) -> Path:
    return root.path / RUN / "step=00000004" / "manifest.json"


# The tokenizer is trained before its directory is begun.
TEXT_SIGNS: dict[str, Sign] = {
    **dict.fromkeys(text_partitions(DUMP, [], cc100=True), temporary),
    "tokenizer": lock_holder,
}

# What `jgpt run` is making when it gets a signal.
MOMENTS: list[tuple[Callable[[DataRoot], Artifact], Sign, signal.Signals]] = [
    (lambda root: root.directory("wikipedia_tokens", DUMP, "001"), temporary, signal.SIGKILL),
    (lambda root: root.directory("pretrained_model", DUMP, model="tiny"), half_written_checkpoint, signal.SIGKILL),
    (lambda root: root.directory("pretrained_model", DUMP, model="tiny"), whole_checkpoint, signal.SIGINT),
    (lambda root: root.directory("release", DUMP, model="tiny"), temporary, signal.SIGKILL),
]


def test_killed_in_every_stage_of_text_the_same_stage_gives_the_same_bytes(
    deployment: Deployment, finished: Deployment
) -> None:
    for asset, partitions in text_partitions(DUMP, ["000", "001"], cc100=True).items():
        config = SMALL_RUN.get(asset, {})
        for partition in partitions:
            if partition == partitions[-1]:
                _kill_in_stage(deployment, asset, partition, config)
            assert deployment.materialize(asset, partition, **config).error is None
    # Of models, no run config is kept yet.
    _assert_same(deployment, finished, but=[*MODEL_ASSETS, "trained_on", "run_config.json"])


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_killed_or_interrupted_at_any_stage_the_same_command_gives_the_same_bytes(
    finished: Deployment, small_run: Path, tmp_path: Path
) -> None:
    deployment = finished.copy(tmp_path / "copy")
    for made in (f"wikipedia_tokens/dump={DUMP}/shard=001", "training_set", *MODEL_ASSETS, ".scratch"):
        shutil.rmtree(deployment.data / made)
    command = ("jgpt", "run", "--dump", DUMP, "--config", small_run)
    for target, sign, signum in MOMENTS:
        artifact = target(deployment.root)
        # The moment can pass between two looks; then the stage is undone and tried again.
        for _ in range(5):
            _signal_at(deployment, command, sign(deployment.root, artifact), signum)
            if artifact.manifest() is None:
                break
            artifact.remove()
        else:
            pytest.fail(f"{artifact.label} was never caught in the making")
    deployment.succeed(*command)
    _assert_same(deployment, finished)


def test_control_c_while_shards_are_made_leaves_no_process_and_the_same_command_goes_on(
    deployment: Deployment, finished: Deployment
) -> None:
    assert deployment.materialize("wikipedia_dump", DUMP).error is None
    command = ("jgpt", "run", "--dump", DUMP, "--to", "wikipedia_articles")
    sign = deployment.data / f"wikipedia_articles/dump={DUMP}/.shard=000.parquet.tmp"
    _signal_at(deployment.with_settings(WORKERS="2"), command, sign, signal.SIGINT)
    deployment.succeed(*command)
    expected = finished.files()
    assert [name for name, data in deployment.files().items() if expected[name] != data] == []
    assert deployment.leftovers() == []


def _kill_in_stage(deployment: Deployment, asset: str, partition: str | None, config: dict[str, Any]) -> None:
    """Kill a process that makes an output, as soon as it is at it."""
    dump, _, shard = (partition or "").rpartition("|")
    if not dump and partition == DUMP:
        dump, shard = DUMP, ""
    artifact: Artifact = (
        deployment.shard(asset, dump or None, shard) if shard else deployment.root.directory(asset, dump or None)
    )
    sign = TEXT_SIGNS[asset](deployment.root, artifact)
    for _ in range(20):
        kill_while_making(deployment, asset, partition, config, sign.exists)
        if artifact.manifest() is None:
            return
        artifact.remove()
    pytest.fail(f"{artifact.label} was never caught in the making")


def _assert_same(deployment: Deployment, finished: Deployment, but: Sequence[str] = ()) -> None:
    """See that all files are those of the finished deployment, which may have some assets more."""
    expected, found = (
        {name: data for name, data in files.items() if name.split("/")[0] not in but}
        for files in (finished.files(), deployment.files())
    )
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
    assert deployment.leftovers() == []


def _signal_at(deployment: Deployment, command: tuple[str | Path, ...], sign: Path, signum: signal.Signals) -> None:
    """Run a command until a file is there, then kill or interrupt it, and see that no process outlives it."""
    process = deployment.start(*command)
    processes: dict[int, str] = {}

    def look() -> None:
        nonlocal processes
        processes = _processes(deployment)

    try:
        _await(process, sign, meanwhile=look)
        if signum == signal.SIGINT:
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=240)
            assert process.returncode == 130
            assert "Aborted!" in output
            assert "Traceback" not in output, output
    finally:
        # Workers are in groups of their own and end with their command, but within that moment a stage can end too.
        for pid in processes if signum == signal.SIGKILL else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert _outlived(deployment) == []


def _await(process: "subprocess.Popen[str]", *signs: Path, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Wait until one of the files is there; `meanwhile` is called now and then."""
    deadline = time.monotonic() + 300
    looks = 0
    while not any(sign.exists() for sign in signs):
        looks += 1
        if looks % 200 == 0:
            meanwhile()
        if process.poll() is not None:
            output, _ = process.communicate()
            pytest.fail(f"the run ended with {process.returncode} before {signs[0]} appeared:\n{output[-4000:]}")
        assert time.monotonic() < deadline, f"{signs[0]} did not appear"
        time.sleep(0.001)


def _outlived(deployment: Deployment) -> list[str]:
    """Return the command lines of the deployment's processes that are still there after a time."""
    deadline = time.monotonic() + 240
    while (found := _processes(deployment)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return list(found.values())


def _processes(deployment: Deployment) -> dict[int, str]:
    """Return the command line of each process of the deployment, by its id."""
    mark = f"JGPT_DATA={deployment.data}".encode()
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (directory / "environ").read_bytes().split(b"\0"):
                found[int(directory.name)] = re.sub(r"\0", " ", (directory / "cmdline").read_text())
    return found


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
def test_interrupts_at_any_moment_end_the_command_once(deployment: Deployment, small_run: Path, seed: int) -> None:
    moments = random.Random(seed)
    process = deployment.start("jgpt", "run", "--dump", DUMP, "--config", small_run)
    wait_until(lambda: _catches(process.pid, signal.SIGTERM))
    outputs = 0 if seed % 2 else moments.randint(0, 14)
    wait_until(lambda: process.poll() is not None or _outputs(deployment) >= outputs)
    time.sleep(moments.uniform(0, 1 if outputs else 5))
    for _ in range(moments.randint(1, 5)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, moments.choice([signal.SIGINT, signal.SIGTERM]))
        time.sleep(moments.choice([0.0, 0.1, 0.5]))
    output, _ = process.communicate(timeout=240)
    assert process.returncode in (130, 143), output
    assert output.count("Resume with:\n  jgpt run") == output.count("Aborted!") == 1 and "Traceback" not in output, (
        output
    )
    assert _outlived(deployment) == []


def _catches(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal, which `jgpt` sets before it imports anything large."""
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


def _outputs(deployment: Deployment) -> int:
    """Return how many of the 19 outputs of the sample have been made."""
    # It passes over a directory that goes while it looks.
    return sum(name.endswith("run.json") for _, _, files in os.walk(deployment.data) for name in files)
