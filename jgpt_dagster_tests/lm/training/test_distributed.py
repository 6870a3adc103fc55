"""Two real processes of one group, started once for all tests here."""

import socket
from typing import Any

import pytest

from jgpt_dagster_tests.support.process_group import run_in_process_group

pytestmark = pytest.mark.slow

CODE = """
import deepspeed, psutil, torch
import torch.distributed as dist
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.training import checkpoint
from jgpt_dagster.lm.training.collectives import broadcast_from_rank0

def seconds(group):
    return group._get_backend(torch.device("cpu")).options._timeout.total_seconds()

groups = [dist.group.WORLD, deepspeed.utils.groups._clone_world_group(), deepspeed.comm.new_group([0, 1])]
result["timeouts"] = [seconds(group) for group in groups]

shared = folder / "shared"
shared.mkdir(exist_ok=True)
(shared / f"rank={rank}").write_text("state")
dist.barrier()
list_files = checkpoint._files
if rank == 1:
    checkpoint._files = lambda directory: ["rank=1"]  # the outdated listing of a network file system
result["hashed"] = sorted(checkpoint.hash_files_distributed(shared))
checkpoint._files = list_files

local = folder / str(rank)
local.mkdir()
(local / f"rank={rank}").write_text("state")
try:
    checkpoint.hash_files_distributed(local)
except checkpoint.CheckpointError as error:
    result["local_disks"] = str(error)

def fail():
    raise JgptError(f"found by rank {rank}")

connections = psutil.Process().net_connections()
result["listening"] = [
    connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN
]
result["broadcast"] = broadcast_from_rank0(lambda: rank)
try:
    broadcast_from_rank0(fail)
except JgptError as error:
    result["broadcast_error"] = str(error)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the two processes found."""
    return run_in_process_group(CODE, 2, tmp_path_factory.mktemp("group"))


def test_every_group_times_out_later_than_the_watchdog_which_names_the_stuck_process(
    results: list[dict[str, Any]],
) -> None:
    assert [result["timeouts"] for result in results] == [[300, 300, 300]] * 2


def test_files_that_one_process_does_not_list_are_hashed_all_the_same(results: list[dict[str, Any]]) -> None:
    assert [result["hashed"] for result in results] == [["rank=0", "rank=1"]] * 2


def test_a_checkpoint_on_a_disk_of_each_host_is_refused_with_host_and_file(results: list[dict[str, Any]]) -> None:
    for result in results:
        error = result["local_disks"]
        assert "is not on a disk that all processes share" in error
        assert f"host {socket.gethostname()} does not find rank=1" in error and "JGPT_SCRATCH" in error


def test_what_rank_0_finds_or_raises_reaches_every_process(results: list[dict[str, Any]]) -> None:
    assert [result["broadcast"] for result in results] == [0, 0]
    assert [result["broadcast_error"] for result in results] == ["found by rank 0"] * 2


def test_processes_of_one_host_listen_on_loopback_alone(results: list[dict[str, Any]]) -> None:
    listening = [result["listening"] for result in results]
    assert listening[0] and {address for addresses in listening for address in addresses} == {"127.0.0.1"}
