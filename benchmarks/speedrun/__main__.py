"""The pocket speedrun: how many tokens `tiny` needs to a fixed score on held-out real text, on two cores.

    python benchmarks/speedrun --data DIR                                     # the first row, three seeds
    python benchmarks/speedrun --data DIR --steps 2400 --set learning_rate=3e-3 --set weight_decay=0.05

`DIR` is a folder with a real excerpt of jawiki (`mirror/`) and of CC-100 (`cc100/`). The first call makes the training
set in `--directory`, which later calls take over; each seed is then trained by the training program of the package and
scored by the function that `evaluation` calls. An attempt holds if every seed reaches the target at the end of its run.
The rules and the record are in docs/speedrun.md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from jgpt_dagster.lm.launch.environment import training_environment

# torch reads it when it is imported.
os.environ.update(training_environment(processes=1))

from jgpt_dagster.lm.evaluation.held_out_scores import evaluate
from jgpt_dagster.lm.training.train_config import TrainConfig, validate_config

TARGET = 5.60
"""Held-out bits per character."""

STEPS = 2000
"""Length of the run of the first row of the record."""

DUMP = "20250801"
MODEL = "tiny"
# As in the first real run of docs/first-run.md.
RUN_CONFIG = {
    "ops": {
        "tokenizer": {"config": {"vocab_size": 4000, "limit_alphabet": 2500}},
        "training_set": {"config": {"validation_share": 0.05}},
    }
}


@dataclass(frozen=True)
class Attempt:
    """What one seed has reached: bits per character of held-out documents, tokens trained on, CPU seconds of training.

    The CPU seconds are those of the whole training program, its start included.
    """

    seed: int
    bits_per_character: float
    tokens: int
    cpu_seconds: float


def make_training_set(data: Path, root: Path) -> None:
    """Make the training set of the excerpt in a data root, or find it current."""
    root.mkdir(parents=True, exist_ok=True)
    config = root / "run.json"
    config.write_text(json.dumps(RUN_CONFIG))
    archive = data / "cc100" / "ja-cc100sample.txt.xz"
    settings = {
        "JGPT_DATA": str(root / "data"),
        "JGPT_WIKI": "jawiki",
        "JGPT_DUMPS_URL": (data / "mirror").resolve().as_uri(),
        "JGPT_CC100_URL": archive.resolve().as_uri(),
        "JGPT_SHARDS": "4",
        "JGPT_MODEL": MODEL,
    }
    command = [str(Path(sys.executable).parent / "jgpt"), "run", "--dump", DUMP, "--to", "training_set"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JGPT_", "DAGSTER_"))}
    subprocess.run([*command, "--config", str(config)], env=environment | settings, check=True)


def train_config(root: Path, seed: int, steps: int, settings: dict[str, Any]) -> TrainConfig:
    """Return the configuration of a seed's run. Raises TrainConfigError if a setting is invalid."""
    name = "-".join([*(f"{key}={value}" for key, value in sorted(settings.items())), f"{steps}-{seed}"])
    paths = {
        "training_set": root / "data" / "training_set" / f"dump={DUMP}",
        "data_root": root / "data",
        "output": root / "runs" / name.replace("/", "_").replace(" ", ""),
    }
    return validate_config({"model": MODEL, "seed": seed, "steps": steps, **settings, **paths})


def attempt(config: TrainConfig) -> Attempt:
    """Train with a configuration and score the model; a run that has ended before is scored again."""
    path, spent = config.output / "config.json", config.output / "cpu_seconds"
    if not spent.exists():
        config.output.mkdir(parents=True, exist_ok=True)
        path.write_text(config.model_dump_json())
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with (config.output / "log").open("w") as log:
            command = [sys.executable, "-m", "jgpt_dagster.lm.train", str(path)]
            subprocess.run(command, stdout=log, stderr=log, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.write_text(str(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime))
    result = evaluate(config.output / "model", config.training_set, config.data_root)
    assert config.steps is not None
    tokens = config.steps * config.global_batch * config.context
    return Attempt(config.seed, result.total.bits_per_character, tokens, float(spent.read_text()))


def main() -> int:
    """Print a row of the record for each seed and one for all; return 1 if a seed has missed the target."""
    parser = argparse.ArgumentParser(description="How many tokens `tiny` needs to a fixed score on held-out text.")
    parser.add_argument("--data", type=Path, required=True, help="folder of a real excerpt")
    parser.add_argument("--directory", type=Path, default=Path("speedrun"), help="where data and runs are kept")
    parser.add_argument("--steps", type=int, default=STEPS, help="length of a run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    settings = {name: json.loads(value) for name, value in (setting.split("=", 1) for setting in options.settings)}
    make_training_set(options.data, options.directory)
    attempts = []
    for seed in options.seeds:
        done = attempt(train_config(options.directory.resolve(), seed, options.steps, settings))
        attempts.append(done)
        print(
            f"seed {seed}: {done.bits_per_character:.4f} bits per character, {done.cpu_seconds:.0f} CPU s", flush=True
        )
    scores = [done.bits_per_character for done in attempts]
    reached = max(scores) <= TARGET
    print(f"tokens, mean and worst bits per character, mean CPU s, target {TARGET}")
    print(
        f"| {attempts[0].tokens:,} | {mean(scores):.4f} | {max(scores):.4f} "
        f"| {mean(done.cpu_seconds for done in attempts):.0f} | {'reached' if reached else 'missed'} |"
    )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
