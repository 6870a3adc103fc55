"""Killed at any moment, the same command gives the same bytes; interrupted, it leaves no process behind."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from jgpt_dagster.catalog.outputs import MODEL_ASSETS
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.atomic_write import temporary_path
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster_tests.support.deployments import DUMP, Deployment

pytestmark = pytest.mark.slow

TRAINING = f".scratch/pretrained_model/dump={DUMP}/model=tiny/checkpoints"

# What is being made when the kill comes, and the file that shows that it is.
Moment = tuple[Callable[[DataRoot], Artifact], Callable[[DataRoot, Artifact], Path]]


def temporary(_: DataRoot, artifact: Artifact) -> Path:
    return temporary_path(artifact.path)


def lock_holder(root: DataRoot, artifact: Artifact) -> Path:
    return root.path / ".locks" / f"{artifact.label.replace(' ', '__').replace('|', '_')}.json"


TEXT_MOMENTS: list[Moment] = [
    (lambda root: root.directory("cc100_dump"), temporary),
    (lambda root: root.directory("wikipedia_dump", DUMP), temporary),
    (lambda root: root.parquet("cc100_documents", shard="001"), temporary),
    (lambda root: root.parquet("wikipedia_articles", DUMP, "001"), temporary),
    (lambda root: root.parquet("wikipedia_segmented", DUMP, "000"), temporary),
    # The tokenizer is trained before its directory is begun.
    (lambda root: root.directory("tokenizer"), lock_holder),
    (lambda root: root.directory("wikipedia_tokens", DUMP, "001"), temporary),
    (lambda root: root.directory("training_set", DUMP), temporary),
]
MODEL_MOMENTS: list[Moment] = [
    (
        lambda root: root.directory("pretrained_model", DUMP, model="tiny"),
        lambda root, _: root.path / TRAINING / ".step=00000004.tmp",
    ),
    (
        lambda root: root.directory("pretrained_model", DUMP, model="tiny"),
        lambda root, _: root.path / TRAINING / "step=00000004" / "manifest.json",
    ),
    (lambda root: root.directory("release", DUMP, model="tiny"), temporary),
]


@pytest.fixture
def untrained(finished: Deployment, tmp_path: Path) -> Deployment:
    """The finished deployment without its model and what is made from it."""
    copy = finished.copy(tmp_path / "copy")
    for made in (*MODEL_ASSETS, ".scratch"):
        shutil.rmtree(copy.data / made)
    return copy


@pytest.mark.timeout(1200)
def test_killed_in_every_stage_of_text_the_same_command_gives_the_same_bytes(
    deployment: Deployment, finished: Deployment, small_run: Path
) -> None:
    command = ("jgpt", "run", "--dump", DUMP, "--config", small_run, "--to", "training_set")
    _kill_at_each(deployment, command, TEXT_MOMENTS)
    _assert_same(deployment, finished, but=MODEL_ASSETS)


@pytest.mark.timeout(1200)
def test_killed_in_every_stage_of_the_model_the_same_command_gives_the_same_bytes(
    untrained: Deployment, finished: Deployment, small_run: Path
) -> None:
    _kill_at_each(untrained, ("jgpt", "run", "--dump", DUMP, "--config", small_run), MODEL_MOMENTS)
    _assert_same(untrained, finished)


@pytest.mark.parametrize(
    ("until", "sign"),
    [
        ("wikipedia_articles", f"wikipedia_articles/dump={DUMP}/.shard=000.parquet.tmp"),
        ("pretrained_model", f"{TRAINING}/step=00000004/manifest.json"),
    ],
    ids=["reading articles", "training"],
)
def test_control_c_leaves_no_process_and_the_same_command_goes_on(
    request: pytest.FixtureRequest, finished: Deployment, small_run: Path, until: str, sign: str
) -> None:
    deployment = request.getfixturevalue("untrained" if until == "pretrained_model" else "deployment")
    command = ("jgpt", "run", "--dump", DUMP, "--config", small_run, "--to", until)
    process = deployment.start(*command)
    _await(process, deployment.data / sign)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "Aborted!" in output
    assert "Traceback" not in output
    assert _outlived(deployment) == []
    deployment.succeed(*command)
    expected = finished.files()
    assert [name for name, data in deployment.files().items() if expected[name] != data] == []
    assert deployment.leftovers() == []


def _kill_at_each(deployment: Deployment, command: tuple[str | Path, ...], moments: list[Moment]) -> None:
    """Kill a command at each of the moments; at last let it come to its end."""
    for target, sign in moments:
        artifact = target(deployment.root)
        # The moment can pass between two looks; then the stage is undone and tried again.
        for _ in range(5):
            _kill_at(deployment, command, sign(deployment.root, artifact), artifact.path)
            if artifact.manifest() is None:
                break
            artifact.remove()
        else:
            pytest.fail(f"{artifact.label} was never caught in the making")
    deployment.succeed(*command)


def _assert_same(deployment: Deployment, finished: Deployment, but: Sequence[str] = ()) -> None:
    """See that all files are those of the finished deployment, which may have some assets more."""
    expected = {name: data for name, data in finished.files().items() if name.split("/")[0] not in but}
    found = deployment.files()
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
    assert deployment.leftovers() == []


def _kill_at(deployment: Deployment, command: tuple[str | Path, ...], *signs: Path) -> None:
    """Run a command until one of the files is there, then kill its process group, and see that nothing outlives it."""
    process = deployment.start(*command)
    processes: dict[int, str] = {}

    def look() -> None:
        nonlocal processes
        processes = _processes(deployment)

    try:
        _await(process, *signs, meanwhile=look)
    finally:
        # Workers are in groups of their own and end with their command, but within that moment a stage can end too.
        for pid in processes:
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
    """Return the command lines of the deployment's processes that are still there after 60 s."""
    deadline = time.monotonic() + 60
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
