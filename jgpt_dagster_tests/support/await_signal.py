"""Waits for SIGTERM, as a training program does: `python -m jgpt_dagster_tests.support.await_signal FOLDER`.

The process of rank 1 changes its launch id, so that its launch cannot find it, as if it were on another machine.
"""

import os
import signal
import sys
import time
from pathlib import Path

from jgpt_dagster.lm.launch.process_group import EXIT_INTERRUPTED, die_with_launcher

if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), os.environ["RANK"]
    if rank == "1" and os.environ["JGPT_LAUNCH"] != "elsewhere":
        command = [sys.executable, "-m", "jgpt_dagster_tests.support.await_signal", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "JGPT_LAUNCH": "elsewhere"})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_INTERRUPTED))
    die_with_launcher()
    (folder / rank).write_text(str(os.getpid()))
    time.sleep(600)
