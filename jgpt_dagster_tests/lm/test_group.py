"""Processes of one group, for real."""

from pathlib import Path

from jgpt_dagster_tests.lm.group import run_in_group

TIMEOUTS = """
import deepspeed, torch
import torch.distributed as dist

def seconds(group):
    return group._get_backend(torch.device("cpu")).options._timeout.total_seconds()

own = [deepspeed.utils.groups._clone_world_group(), deepspeed.comm.new_group([0])]
said = [seconds(group) for group in [dist.group.WORLD, *own]]
"""


def test_every_group_gives_up_later_than_a_watchdog_that_can_name_who_is_stuck(tmp_path: Path) -> None:
    assert run_in_group(TIMEOUTS, 1, tmp_path) == [[300, 300, 300]]
