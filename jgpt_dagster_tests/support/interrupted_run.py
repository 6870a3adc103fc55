"""A command with one stage that takes long: `python -m jgpt_dagster_tests.support.interrupted_run FOLDER KIND`.

The stage of kind `tidy` takes a second to end well after an interrupt; the one of kind `deaf` does not listen.
"""

import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import dagster as dg

from jgpt_dagster.cli.interrupts import exit_on_interrupt
from jgpt_dagster.orchestration.local_runner import run_stages
from jgpt_dagster.orchestration.stages import Stage


@dg.asset
def tidy() -> None:
    folder = Path(os.environ["STAGE_FOLDER"])
    (folder / "begun").write_text(str(os.getpid()))
    try:
        time.sleep(600)
    finally:
        time.sleep(1)
        (folder / "tidied").touch()


@dg.asset
def deaf() -> None:
    (Path(os.environ["STAGE_FOLDER"]) / "begun").write_text(str(os.getpid()))
    while True:
        try:
            time.sleep(600)
        except BaseException:
            continue


def load() -> dg.Definitions:
    return dg.Definitions([tidy, deaf], executor=dg.in_process_executor)


def main(folder: Path, kind: str) -> None:
    os.environ |= {"DAGSTER_HOME": str(folder), "STAGE_FOLDER": str(folder)}
    with exit_on_interrupt("Resume with: again"):
        for _ in run_stages(
            [Stage(kind, ((),))],
            dump="20260101",
            model="tiny",
            workers=1,
            run_config={"ops": {}},
            resume="again",
            root=folder,
            load_definitions=load,
            display=lambda _: nullcontext(),
            report=print,
            grace_seconds={"deaf": 2},
        ):
            pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
