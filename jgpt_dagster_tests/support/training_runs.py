"""Small training sets and training runs for tests: real files, real processes."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jgpt_dagster.lm.data.integer_tables import IntegerTableWriter
from jgpt_dagster.lm.data.token_files import DOCUMENTS, DOCUMENTS_SCHEMA, TOKENS
from jgpt_dagster.lm.data.training_set import TokenShard, TrainingSet
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.launch_command import TRAINING_MODULE, launch_command

Launcher = Literal["deepspeed", "torchrun", "python"]
EOS = 2
VOCABULARY = 48


def small_training_set(root: Path, documents: int = 80, length: int = 60) -> TrainingSet:
    """Write one shard of a corpus that can be learned (each token follows from the one before) and divide it."""
    random = np.random.default_rng(0)
    rows = [(3 + (start + np.arange(length)) % (VOCABULARY - 3)) for start in random.integers(0, 1000, documents)]
    tokens = np.concatenate([[*row, EOS] for row in rows]).astype("<u2")
    shard = root / "wikipedia_tokens" / "shard=000"
    shard.mkdir(parents=True)
    (shard / TOKENS).write_bytes(tokens.tobytes())
    with IntegerTableWriter(shard / DOCUMENTS, DOCUMENTS_SCHEMA) as table:
        table.append(
            {
                "key": np.arange(documents),
                "offset": np.arange(documents) * (length + 1),
                "length": np.full(documents, length + 1),
                "characters": np.full(documents, 2 * length),
                "bytes": np.full(documents, 6 * length),
            }
        )
    files = [
        TokenShard("wikipedia", "wikipedia_tokens 000", "wikipedia_tokens/shard=000", len(tokens), documents, "0", "1")
    ]
    directory = root / "training_set"
    directory.mkdir()
    return build_training_set(
        files,
        {"wikipedia": 1.0},
        0.1,
        vocab_size=VOCABULARY,
        eos_id=EOS,
        tokenizer_sha256="1",
        data_root=root,
        directory=directory,
    )


def write_config(root: Path, output: str, **fields: Any) -> Path:
    """Write the configuration of a run of seconds in `root/output`, on the training set in `root`."""
    config = {
        "training_set": str(root / "training_set"),
        "data_root": str(root),
        "output": str(root / output),
        "model": "tiny",
        "context": 32,
        "steps": 12,
        "warmup_steps": 2,
        "checkpoint_every": 4,
        "evaluate_every": 6,
        "log_every": 1,
        **fields,
    }
    path = root / f"{output}.json"
    path.write_text(json.dumps(config))
    return path


def start_training(config: Path, launcher: Launcher = "python", processes: int = 1) -> subprocess.Popen[str]:
    """Start the training program in a session of its own."""
    return _start(launch_command(launcher, processes, config), processes)


def run_training(config: Path, launcher: Launcher = "python", processes: int = 1) -> tuple[int, str]:
    """Train; return exit code and output."""
    process = start_training(config, launcher, processes)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def train_many(configs: Sequence[Path], processes: int = 1, hostfile: Path | None = None) -> str:
    """Train several runs in one launch of `train_many`; return its output."""
    launcher: Launcher = "deepspeed" if processes > 1 or hostfile else "python"
    command = launch_command(launcher, processes, configs[0], hostfile)
    command[command.index(TRAINING_MODULE) :] = ["jgpt_dagster_tests.support.train_many", *map(str, configs)]
    process = _start(command, processes)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def _start(command: list[str], processes: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env=training_environment(processes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
