"""Code that several processes of one group carry out, each of them on the CPU."""

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

folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
init_distributed(stall_seconds=120)
{code}
print("said", json.dumps(said))
"""


def run_in_process_group(code: str, processes: int, folder: Path) -> list[Any]:
    """Let the processes of a group carry out `code`; return what each of them left in `said`.

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
    return [json.loads(output.rpartition("\nsaid ")[2] if "\nsaid " in output else output[5:]) for output in outputs]
