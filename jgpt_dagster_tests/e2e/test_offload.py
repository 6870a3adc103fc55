"""Optimizer states on disk: a run that was killed goes on exactly, and the 1.5B takes real steps on a small machine.

The former runs where JGPT_TEST_OFFLOAD is set, since DeepSpeed compiles for minutes first. The latter takes most of an
hour, 18 GiB of memory and 70 GB of disk: it runs where JGPT_TEST_XL is set, with the folder of real dumps in
JGPT_TEST_DATA; `pytest -rP` prints what it measured.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.training import optimizer_offload
from jgpt_dagster_tests.support import training_runs
from jgpt_dagster_tests.support.deployments import Deployment, write_config

pytestmark = pytest.mark.slow

REAL_DUMP = "20250801"
XL_RUN = {
    "steps": 4,
    "context": 128,
    "global_batch": 1,
    "offload": True,
    # The preset's own rate, without the hundreds of steps that lead up to it, throws the loss up at first.
    "learning_rate": 2e-5,
    "warmup_steps": 1,
    "log_every": 1,
    "checkpoint_every": 2,
    "keep_checkpoints": 1,
    "evaluation_blocks": 2,
}


def _train(config: Path) -> None:
    """Train with portions so small that the model has several, some of them too small for a file."""
    program = (
        "import sys; from jgpt_dagster.lm import train; from jgpt_dagster.lm.training import optimizer_offload; "
        "optimizer_offload.SUB_GROUP_SIZE = 400_000; train.main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, str(config)]
    subprocess.run(command, env=training_environment(1), check=True, capture_output=True, timeout=550)


def test_a_run_with_states_on_disk_that_goes_on_gives_the_same_bytes_as_one_that_was_not_interrupted(
    tmp_path: Path,
) -> None:
    if not os.environ.get("JGPT_TEST_OFFLOAD"):
        pytest.skip("DeepSpeed compiles for minutes before its first step with offload: set JGPT_TEST_OFFLOAD to wait")
    optimizer_offload.require_async_io()
    training_runs.small_training_set(tmp_path)
    for name in ("whole", "cut"):
        _train(training_runs.write_config(tmp_path, name, zero_stage=3, offload=True, steps=6, checkpoint_every=3))
        assert not (tmp_path / name / "offload").exists()
    saved = list((tmp_path / "cut" / "checkpoints" / "step=00000003").rglob("exp_avg_sq-*.swp"))
    assert len(saved) > 1
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step=00000006")
    (tmp_path / "cut" / "model" / "model.safetensors").unlink()
    _train(tmp_path / "cut.json")
    for file in ("metrics.jsonl", "model/model.safetensors"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def excerpt(data: Path, mirror: Path) -> Deployment:
    """Return a deployment over the real excerpt, with the largest model."""
    settings = {
        "DUMPS_URL": (mirror / "mirror").as_uri(),
        "CC100_URL": (mirror / "cc100" / "ja-cc100sample.txt.xz").as_uri(),
        "SHARDS": "2",
        "MODEL": "xl",
    }
    return Deployment(data, settings)


def two_steps_and_two_more(deployment: Deployment, config: Path) -> dict[str, Any]:
    """Train two steps, kill all once their checkpoint is whole, and run again to the end; return what was seen."""
    command = ("jgpt", "run", "--dump", REAL_DUMP, "--config", config, "--to", "pretrained_model")
    run = deployment.data / ".scratch" / "pretrained_model" / f"dump={REAL_DUMP}" / "model=xl"
    process = deployment.start(*command)
    first = _Memory(process.pid)
    try:
        while not (run / "checkpoints" / "step=00000002" / "manifest.json").exists():
            assert process.poll() is None, process.communicate()[0][-4000:]
            time.sleep(1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    before = (run / "metrics.jsonl").read_text()
    process = deployment.start(*command)
    second = _Memory(process.pid)
    output, _ = process.communicate()
    assert process.returncode == 0, output[-6000:]
    return {
        "output": output,
        "before": before,
        "after": (run / "metrics.jsonl").read_text(),
        "timing": (run / "timing.jsonl").read_text(),
        "peak GiB": (first.peak / 2**30, second.peak / 2**30),
        "checkpoint GB": sum(file.stat().st_size for file in (run / "checkpoints").rglob("*") if file.is_file()) / 1e9,
    }


@pytest.mark.timeout(7200)
@pytest.mark.skipif(not os.environ.get("JGPT_TEST_XL"), reason="JGPT_TEST_XL is not set (an hour, 18 GiB, 70 GB)")
@pytest.mark.skipif(not os.environ.get("JGPT_TEST_DATA"), reason="JGPT_TEST_DATA names no folder of real dumps")
def test_xl_takes_real_steps_within_18_gib_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    deployment = excerpt(tmp_path / "data", Path(os.environ["JGPT_TEST_DATA"]))
    deployment.succeed("jgpt", "run", "--dump", REAL_DUMP, "--to", "training_set", timeout=900)
    seen = two_steps_and_two_more(deployment, write_config(tmp_path / "run.yaml", {"pretrained_model": XL_RUN}))
    assert "resuming after step 2" in seen["output"]
    assert seen["after"].startswith(seen["before"])
    rows = [json.loads(line) for line in seen["after"].splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    # The first loss is that of a guess; that the last is below it is what the check `loss_fell` demands.
    assert abs(rows[0]["loss"] - math.log(32_000)) < 0.5
    assert all(row["gradient_norm"] > 0 for row in rows)
    print({figure: seen[figure] for figure in ("peak GiB", "checkpoint GB", "timing")})
    assert max(seen["peak GiB"]) < 18
    manifest = deployment.root.directory("pretrained_model", REAL_DUMP, model="xl").verified()
    assert manifest.counts["parameters"] > 1.4e9


class _Memory:
    """The largest memory (proportional set size, in bytes) of a process and all below it, looked at every second."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while Path(f"/proc/{self._pid}").exists():
            self.peak = max(self.peak, sum(map(_proportional_size, _family(self._pid))))
            time.sleep(1)


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _proportional_size(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
