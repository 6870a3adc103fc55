"""Processes of one group, for real."""

import socket
from pathlib import Path

import pytest

from jgpt_dagster_tests.support.process_group import run_in_process_group

pytestmark = pytest.mark.slow

TIMEOUTS = """
import deepspeed, torch
import torch.distributed as dist

def seconds(group):
    return group._get_backend(torch.device("cpu")).options._timeout.total_seconds()

own = [deepspeed.utils.groups._clone_world_group(), deepspeed.comm.new_group([0])]
said = [seconds(group) for group in [dist.group.WORLD, *own]]
"""


def test_every_group_gives_up_later_than_a_watchdog_that_can_name_who_is_stuck(tmp_path: Path) -> None:
    assert run_in_process_group(TIMEOUTS, 1, tmp_path) == [[300, 300, 300]]


DIFFERING_LISTS = """
from jgpt_dagster.lm.training import checkpoint
import torch.distributed as dist

(folder / f"rank={rank}").write_text("state")
dist.barrier()
if rank == 1:
    checkpoint._files = lambda directory: ["rank=1"]  # what a network file system remembers of the directory
said = sorted(checkpoint.hash_files_distributed(folder))
"""


def test_files_that_one_process_does_not_list_are_in_the_manifest_all_the_same(tmp_path: Path) -> None:
    assert run_in_process_group(DIFFERING_LISTS, 2, tmp_path) == [["rank=0", "rank=1"]] * 2


DISKS_OF_THEIR_OWN = """
from jgpt_dagster.lm.training import checkpoint

own = folder / str(rank)
own.mkdir()
(own / f"rank={rank}").write_text("state")
try:
    said = sorted(checkpoint.hash_files_distributed(own))
except checkpoint.CheckpointError as error:
    said = str(error)
"""


def test_a_checkpoint_whose_files_lie_on_disks_of_their_own_is_refused_with_host_and_file(tmp_path: Path) -> None:
    for error in run_in_process_group(DISKS_OF_THEIR_OWN, 2, tmp_path):
        assert "is not on a disk that all processes share" in error
        assert f"host {socket.gethostname()} does not find rank=1" in error and "JGPT_SCRATCH" in error
