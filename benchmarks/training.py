"""What training loops cost beside a plain PyTorch loop, and data beside the model.

Our loop and transformers' Trainer, with and without DeepSpeed, each train the model that a plain loop trains, from the
same weights on the same blocks in fp32, with the same optimizer (torch's fused AdamW, gradients clipped), in one
process, and report every ten steps. Two loops take their steps in turn, so that a machine whose speed changes slows
both. A step is what lies between two forward passes in training, whoever calls them, so that a start, the last
validation and checkpoints are not in it. Where a loop's memory comes to lie makes it some ten per cent faster or slower
for as long as it runs: the figure is the geometric mean over several rounds, each of new loops, which take turns in
beginning. What was measured is in benchmarks/README.md.
"""

import argparse
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import geometric_mean, mean, stdev
from typing import Any
from unittest.mock import patch

import numpy as np

from jgpt_dagster.lm.launch.environment import training_environment

# DeepSpeed and torch read it when they are imported.
os.environ.update(training_environment(processes=1))

import torch
from accelerate.state import AcceleratorState
from torch.nn.functional import cross_entropy
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import GPT2LMHeadModel, Trainer, TrainingArguments

from jgpt_dagster.lm.data.data_loader import PackedDataset, samples_of_step
from jgpt_dagster.lm.data.integer_tables import IntegerTableWriter
from jgpt_dagster.lm.data.token_files import DOCUMENTS, DOCUMENTS_SCHEMA, TOKENS
from jgpt_dagster.lm.data.training_set import TokenShard
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster.lm.model.gpt2 import BEGIN_ID, gpt2_config
from jgpt_dagster.lm.model.presets import preset
from jgpt_dagster.lm.training.distributed import init_distributed
from jgpt_dagster.lm.training.optimizer import parameter_groups
from jgpt_dagster.lm.training.stop_request import StopRequest
from jgpt_dagster.lm.training.train_config import TrainConfig, validate_config
from jgpt_dagster.lm.training.trainer import train_distributed

VOCABULARY = 8000
EOS = 2
# Steps of a loop that are not counted: the first ones allocate what later ones use again.
WARM_UP = 3
TRAINING_SET = "training_set"


@dataclass(frozen=True)
class Task:
    """What every loop trains: a model on the blocks of the training set in `root`, for some steps."""

    root: Path
    data: PackedDataset
    model: str
    batch: int
    steps: int
    stop: StopRequest

    def config(self, **fields: Any) -> TrainConfig:
        """Return the task as the configuration of our loop."""
        output = Path(tempfile.mkdtemp(dir=self.root))
        paths = {"training_set": self.root / TRAINING_SET, "data_root": self.root, "output": output}
        sizes = {"context": self.data.context, "global_batch": self.batch, "micro_batch": self.batch}
        return validate_config(
            {**paths, **sizes, "model": self.model, "steps": self.steps, "evaluation_blocks": 1, **fields}
        )

    def fresh_model(self) -> GPT2LMHeadModel:
        """Return the model before its first step."""
        torch.manual_seed(0)
        return GPT2LMHeadModel(gpt2_config(self.model, VOCABULARY, BEGIN_ID, EOS, self.data.context))

    def optimizer(self, model: GPT2LMHeadModel) -> torch.optim.Optimizer:
        """Return the optimizer of our loop."""
        rate = preset(self.model).learning_rate
        return torch.optim.AdamW(parameter_groups(model, 0.1), lr=rate, betas=(0.9, 0.95), fused=True)


def ours(stage: int, task: Task) -> None:
    """Our loop with a ZeRO stage: all that a run does, its files included."""
    train_distributed(task.config(zero_stage=stage), torch.device("cpu"), task.stop)


def plain(task: Task) -> None:
    """The loop that one writes by hand."""
    model = task.fresh_model()
    optimizer = task.optimizer(model)
    for step in range(task.steps):
        tokens = torch.from_numpy(task.data.batch(samples_of_step(step, task.batch), 0))
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 9:
            print(f"step {step + 1}  loss {loss.item():.4f}")


class Examples(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """The blocks as the Trainer wants them; the model shifts the labels itself."""

    def __init__(self, task: Task) -> None:
        self._data, self._length = task.data, task.steps * task.batch

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = torch.from_numpy(self._data.batch([index], 0))[0, :-1]
        return {"input_ids": tokens, "labels": tokens}


def hf_trainer(stage: int | None, task: Task) -> None:
    """The Trainer of transformers, with a ZeRO stage of DeepSpeed or without DeepSpeed."""
    settings = {
        "train_micro_batch_size_per_gpu": task.batch,
        "gradient_clipping": 1.0,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage},
        "steps_per_print": None,
    }
    with _own_state(distributed=stage is not None):
        arguments = TrainingArguments(
            output_dir=str(task.root / "hf"),
            per_device_train_batch_size=task.batch,
            max_steps=task.steps,
            max_grad_norm=1.0,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_steps=10,
            deepspeed=None if stage is None else settings,
        )
        model = task.fresh_model()
        optimizer = task.optimizer(model)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        Trainer(model, arguments, train_dataset=Examples(task), optimizers=(optimizer, schedule)).train()


@contextmanager
def _own_state(*, distributed: bool) -> Iterator[None]:
    """Let a Trainer neither see nor leave what another has set for the whole process.

    One that is not `distributed` sees no process group, for which it would wrap the model.
    """
    AcceleratorState._reset_state(True)
    with patch.dict(os.environ):
        if not distributed:
            for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
                del os.environ[name]
        yield


LOOPS: dict[str, Callable[[Task], None]] = {
    **{f"ours, ZeRO {stage}": partial(ours, stage) for stage in (0, 1, 2)},
    "Trainer": partial(hf_trainer, None),
    **{f"Trainer and DeepSpeed, ZeRO {stage}": partial(hf_trainer, stage) for stage in (0, 1, 2)},
}


class Turns:
    """Two threads that train in turn, a step each; the time of every step, in CPU seconds and on the clock."""

    def __init__(self) -> None:
        self.steps: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        self._turn = threading.Condition()
        self._already_running = 0
        self._ended: set[int] = set()
        self._place = threading.local()

    def run(self, loops: Sequence[Callable[[], None]]) -> None:
        """Run both loops to their ends; the first begins."""
        threads = [threading.Thread(target=self._run, args=(place, loop)) for place, loop in enumerate(loops)]
        hook = register_module_forward_pre_hook(self._next_step)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            hook.remove()

    def _run(self, place: int, loop: Callable[[], None]) -> None:
        self._place.number, self._place.began = place, None
        try:
            self._wait(place)
            loop()
        finally:
            self._ended.add(place)
            self._hand_over(place)

    def _next_step(self, module: torch.nn.Module, inputs: Any) -> None:
        if not (isinstance(module, GPT2LMHeadModel) and module.training):
            return
        place, began = self._place.number, self._place.began
        if began is not None:
            self.steps[place].append((time.process_time() - began[0], time.perf_counter() - began[1]))
        self._hand_over(place)
        self._wait(place)
        self._place.began = time.process_time(), time.perf_counter()

    def _hand_over(self, place: int) -> None:
        with self._turn:
            self._already_running = 1 - place
            self._turn.notify_all()

    def _wait(self, place: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._already_running == place or 1 - place in self._ended)


@dataclass(frozen=True)
class Round:
    """Mean seconds of a step of a loop and of the plain loop beside it: CPU time, and on the clock."""

    cpu: float
    plain_cpu: float
    wall: float
    plain_wall: float


def measure(loop: Callable[[Task], None], task: Task, *, plain_begins: bool) -> Round:
    """Train by a loop and the plain loop in turn. Raises RuntimeError where one of them did not take all its steps."""
    turns, place = Turns(), int(plain_begins)
    loops = [partial(loop, task), partial(plain, task)]
    turns.run(loops[::-1] if plain_begins else loops)
    if any(len(steps) != task.steps - 1 for steps in turns.steps):
        raise RuntimeError(f"{[len(steps) + 1 for steps in turns.steps]} forward passes in {task.steps} steps")
    its, plains = turns.steps[place][WARM_UP:], turns.steps[1 - place][WARM_UP:]
    (cpu, wall), (plain_cpu, plain_wall) = (map(mean, zip(*steps, strict=True)) for steps in (its, plains))
    return Round(cpu, plain_cpu, wall, plain_wall)


def loading_cost(task: Task, steps: int = 200) -> float:
    """Return the CPU seconds that the batch of a step takes to read."""
    start = time.process_time()
    for step in range(steps):
        torch.from_numpy(task.data.batch(samples_of_step(step, task.batch), 0))
    return (time.process_time() - start) / steps


def write_training_set(root: Path, tokens: int, document: int = 400) -> None:
    """Write a training set of random tokens, in documents of one length: no loop's speed depends on what they say."""
    ids = np.random.default_rng(0).integers(EOS + 1, VOCABULARY, (tokens // document, document), dtype="<u2")
    ids[:, -1] = EOS
    shard = root / "tokens"
    shard.mkdir()
    (shard / TOKENS).write_bytes(ids.tobytes())
    with IntegerTableWriter(shard / DOCUMENTS, DOCUMENTS_SCHEMA) as table:
        lengths = np.full(len(ids), document)
        columns = dict.fromkeys(("length", "characters", "bytes"), lengths)
        table.append({"key": np.arange(len(ids)), "offset": np.arange(len(ids)) * document, **columns})
    directory = root / TRAINING_SET
    directory.mkdir()
    build_training_set(
        [TokenShard("random", "tokens", "tokens", ids.size, len(ids), sha256="", tokenizer_sha256="")],
        {"random": 1.0},
        0.05,
        vocab_size=VOCABULARY,
        eos_id=EOS,
        tokenizer_sha256="",
        data_root=root,
        directory=directory,
    )


def rounds_of(task: Task, names: Sequence[str], rounds: int) -> dict[str, list[Round]]:
    """Measure each loop once a round."""
    measured: defaultdict[str, list[Round]] = defaultdict(list)
    for number in range(rounds):
        for name in names:
            measured[name].append(measure(LOOPS[name], task, plain_begins=number % 2 == 0))
    return measured


def table(measured: Mapping[str, Sequence[Round]], tokens: int) -> Iterator[str]:
    """Yield the lines of a Markdown table of all loops; `tokens` are those of a step. Speeds are shares of the plain
    loop's, with the standard error of their mean.
    """
    yield "| loop | CPU ms a step | plain loop's | tokens a CPU second | speed | in single rounds | on the clock |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, rounds in measured.items():
        seconds, plain_seconds = mean(each.cpu for each in rounds), mean(each.plain_cpu for each in rounds)
        ratios = [each.plain_cpu / each.cpu for each in rounds]
        clock = geometric_mean(each.plain_wall / each.wall for each in rounds)
        error = f" ± {stdev(ratios) / len(ratios) ** 0.5:.3f}" if len(ratios) > 1 else ""
        yield (
            f"| {name} | {seconds * 1000:.0f} | {plain_seconds * 1000:.0f} | {tokens / seconds:,.0f} | "
            f"{geometric_mean(ratios):.3f}{error} | {min(ratios):.2f} to {max(ratios):.2f} | {clock:.2f} |"
        )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--context", type=int, help="tokens a sequence, by default the model's")
    parser.add_argument("--batch", type=int, default=8, help="sequences a step")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=24, help="steps of each loop in a round")
    parser.add_argument("--loops", nargs="*", choices=list(LOOPS), default=list(LOOPS), metavar="LOOP")
    arguments = parser.parse_args()
    if arguments.steps < WARM_UP + 2:
        parser.error(f"--steps must be at least {WARM_UP + 2}")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as folder:
        root, context = Path(folder), arguments.context or preset(arguments.model).context
        write_training_set(root, tokens=2_000_000)
        data = PackedDataset(root / TRAINING_SET, root, context)
        task = Task(root, data, arguments.model, arguments.batch, arguments.steps, StopRequest())
        init_distributed(task.config().stall_seconds)
        measured = rounds_of(task, arguments.loops, arguments.rounds)
        loading = loading_cost(task)
    print("\n".join(table(measured, arguments.batch * context)))
    step = mean(each.plain_cpu for rounds in measured.values() for each in rounds)
    print(f"\nReading a batch takes {loading / step:.3%} of a step: data comes {step / loading:,.0f} times as fast")


if __name__ == "__main__":
    main()
