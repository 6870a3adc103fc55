"""Fixtures that tests of several parts share: the packed sample, deployments, and a finished run of the whole graph."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from jgpt_dagster.sample.pack import write_mirror
from jgpt_dagster_tests.support.deployments import (
    DUMP,
    LATER_DUMP,
    REAL_DUMPS,
    SMALL_RUN,
    Deployment,
    real_deployment,
    sample_deployment,
    write_config,
)

# How long an example takes says nothing on a busy machine; what hangs is stopped by pytest's own limit.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# A shell lets its jobs in the background ignore Ctrl-C, which some tests are about.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The first makes what many others read. Then the files that take longest, the longest first: one that is begun last
# would keep a worker alone at the end.
_FIRST = (
    "golden/test_golden_hashes.py",
    "lm/training/test_kill_and_resume.py",
    "e2e/test_cluster.py",
    "e2e/test_refresh.py",
    "e2e/test_ui.py",
    "lm/training/test_elastic_resume.py",
    "assets/test_refresh_equals_rebuild.py",
    "e2e/test_kill.py",
    "e2e/test_killed_anywhere.py",
    "e2e/test_dagster_ways.py",
    "e2e/test_run.py",
    "simulation/test_simulation.py",
    "e2e/test_bad_input.py",
    "e2e/test_object_store.py",
    "e2e/test_earlier_root.py",
    "corpus/text/test_normalize.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Write the golden files of what stages make now.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of `_FIRST` first."""
    folder = Path(__file__).parent
    place = {folder / name: number for number, name in enumerate(_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_runtest_teardown() -> None:
    """Keep the log handler of absl, which mlcroissant imports, from closing what pytest captured when it was imported.

    Whoever configures logging later, such as Dagster's webserver, closes all handlers, and that one closes its stream.
    """
    if absl_logging := sys.modules.get("absl.logging"):
        absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a session of tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def mirror(common: Path) -> Path:
    """The embedded sample as a mirror of the download sites. Read only."""
    return _made_once(common / "mirror", write_mirror)


@pytest.fixture(scope="session")
def small_run(common: Path) -> Path:
    """Run config for `--config` under which the sample goes through the graph quickly."""
    return _made_once(common / "run.yaml", lambda path: write_config(path, SMALL_RUN))


@pytest.fixture
def deployment(tmp_path: Path, mirror: Path) -> Deployment:
    """A deployment of the sample in which nothing is made yet."""
    return sample_deployment(tmp_path / "data", mirror)


@pytest.fixture(scope="session")
def finished(common: Path, mirror: Path, small_run: Path) -> Deployment:
    """A deployment in which `jgpt run` has made everything of the first dump. Read only; `copy` it to change it."""
    deployment = sample_deployment(common / "finished", mirror)
    _made_once(
        deployment.data,
        lambda _: deployment.succeed("jgpt", "run", "--dump", DUMP, "--config", small_run, timeout=600),
    )
    return deployment


@pytest.fixture(scope="session")
def refreshed(common: Path, finished: Deployment) -> Deployment:
    """A copy of the finished deployment, runs included, with the later dump and a model of it, warm-started.

    Read only; `copy` it to change it.
    """
    training = {**SMALL_RUN, "pretrained_model": {**SMALL_RUN["pretrained_model"], "warm_start": True}}

    def make(data: Path) -> None:
        deployment = finished.copy_with_runs(data)
        config = write_config(common / "warm-start.yaml", training)
        command = ("jgpt", "run", "--dump", LATER_DUMP, "--config", config, "--to", "pretrained_model")
        deployment.succeed(*command, timeout=600)

    return replace(finished, data=_made_once(common / "refreshed", make))


@pytest.fixture(scope="session")
def real_excerpt(common: Path) -> Callable[[str], Deployment]:
    """Returns, for a text profile, a deployment of the real excerpt up to its training set. Read only."""

    def of_profile(profile: str) -> Deployment:
        deployment = real_deployment(common / f"excerpt-{profile}", profile)
        config = {"training_set": {"validation_share": 0.005}}  # the default, which so small a corpus does not get
        _made_once(deployment.data, lambda _: deployment.materialize_text(REAL_DUMPS[0], config))
        return deployment

    return of_profile


@pytest.fixture(scope="session")
def update_golden(pytestconfig: pytest.Config) -> bool:
    """Whether golden files are to be written, not compared with."""
    return bool(pytestconfig.getoption("--update-golden"))


def _made_once(path: Path, make: Callable[[Path], object]) -> Path:
    """Let the first worker that wants it make a file or folder, and the others wait."""
    made = path.with_name(f"{path.name}.made")
    with FileLock(f"{path}.lock"):
        if not made.exists():
            make(path)
            made.touch()
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.check_call(["umount", "--lazy", disk])
