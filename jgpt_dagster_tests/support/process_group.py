"""Code that several processes of one group run, each of them on the CPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from jgpt_dagster.lm.launch.environment import training_environment

_PROGRAM = """
import json, os, sys
from pathlib import Path
from jgpt_dagster.lm.training.distributed import init_distributed

folder, rank, result = Path(sys.argv[1]), int(os.environ["RANK"]), {{}}
init_distributed(stall_seconds=120)
{code}
(folder / f"result.{{rank}}").write_text(json.dumps(result))
# As the trainer does: threads of a group that is left to the interpreter's end abort the process at times.
import torch.distributed
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def run_in_process_group(code: str, processes: int, folder: Path) -> list[dict[str, Any]]:
    """Run `code` in the processes of a group; return what each of them put into its dictionary `result`.

    The code knows its `rank` and the `folder`, and runs after the process has joined the group.
    """
    command = [sys.executable, "-c", _PROGRAM.format(code=code), str(folder)]
    shared = {**training_environment(processes), "DS_ACCELERATOR": "cpu", "WORLD_SIZE": str(processes)}
    running = [
        subprocess.Popen(
            command, env={**shared, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(processes)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in running]
    assert not any(process.returncode for process in running), "\n".join(outputs)
    return [json.loads((folder / f"result.{rank}").read_text()) for rank in range(processes)]
