"""A process that runs one asset and can be killed at any moment, without the seconds that a new interpreter takes."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from jgpt_dagster_tests.support.deployments import Deployment
from jgpt_dagster_tests.support.waiting import wait_until

# Its server has imported everything and runs no thread, so that a copy of it is a process as a command would start it.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def kill_while_making(
    deployment: Deployment, asset: str, partition: str | None, config: dict[str, Any], sign: Callable[[], bool]
) -> None:
    """Make an output in a process that is killed as soon as `sign` is true; wait until nothing of it is left."""
    process: BaseProcess = _CONTEXT.Process(target=_make, args=(deployment, asset, partition, config))
    process.start()
    pid = process.pid
    assert pid is not None
    while process.is_alive() and not sign():
        pass
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    process.join()
    wait_until(lambda: not _group_exists(pid))


def _make(deployment: Deployment, asset: str, partition: str | None, config: dict[str, Any]) -> None:
    os.setsid()
    result = deployment.materialize(asset, partition, **config)
    assert result.error is None, result.error


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
