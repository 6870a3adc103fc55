"""Kills every stage of the demo at every change that it makes on disk, and within every write, and runs it again.

    python benchmarks/kills.py                              # every change of every stage
    python benchmarks/kills.py --where disk --kills 30      # as many, drawn over all stages
    python benchmarks/kills.py --stages tokenizer release

A change is an opening for writing, a renaming, a removal, or the making of a link or folder, in any process of a stage
(`jgpt_dagster_tests/support/file_changes.py`); with the data root in a bucket of a local S3 server, an upload or a
deletion, of which the stage is killed before and after. After each kill, all that passes for complete must be whole,
and a second run must leave the same files with the same bytes as one that nothing disturbs; on a bucket, every other
one runs on a new machine. The demo's training is shortened to six steps with three checkpoints. Prints what came out
otherwise, and ends with 1 if anything did.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests are not installed

from jgpt_dagster.sample.pack import write_mirror
from jgpt_dagster_tests.support.counting_bucket import URL, counting_bucket
from jgpt_dagster_tests.support.deployments import PROJECT, Deployment, sample_deployment

DISK, BUCKET = "disk", "bucket"
SECOND_KIND = {DISK: "within", BUCKET: "after"}
"""The second kind of kill: within a write that follows a change of the disk, once a change of the bucket is done."""

TRAINING = {
    "steps": 6,
    "context": 64,
    "global_batch": 8,
    "log_every": 1,
    "evaluate_every": 2,
    "checkpoint_every": 2,
}


def deployment_in(folder: Path, where: str) -> Deployment:
    """Return the demo in a folder; if its data root is a bucket, its scratch directory is in the folder."""
    deployment = sample_deployment(folder / "data", folder / "mirror").with_settings(WORKERS="2")
    return deployment.with_settings(DATA=URL, SCRATCH=str(folder / "data")) if where == BUCKET else deployment


def config() -> dict[str, dict[str, Any]]:
    """Return the run config of the demo by asset, with a short training."""
    demo = yaml.safe_load((PROJECT / "jgpt_dagster/sample/demo.yaml").read_text())["ops"]
    fields = {asset: entry["config"] for asset, entry in demo.items()}
    return {**fields, "pretrained_model": TRAINING}


def work(where: str, folder: Path, part: int, options: argparse.Namespace) -> None:
    """Kill and run again the stages in one process and its forks; print a line of JSON for each kill."""
    from jgpt_dagster_tests.support.killed_stages import Bench
    from jgpt_dagster_tests.support.killed_uploads import UploadBench

    kills, seed, stages = options.kills, options.seed, options.stages
    kind = UploadBench if where == BUCKET else Bench
    bench = kind(folder, deployment_in(folder, where), config())
    draw, names = random.Random(seed), [runs[-1].asset for runs in bench.stages]
    chosen = [name for name in names if not stages or name in stages]
    last = names.index(chosen[-1])
    for *others, stage in bench.stages[: last + 1]:
        for other in others:
            bench.run(other)
        moments = bench.observe(stage)
        tell({"stage": stage.asset, "changes": sum(moment.limit is None for moment in moments)})
        if stage.asset not in chosen:
            continue
        if kills is not None:
            share = kills // len(chosen) + (chosen.index(stage.asset) < kills % len(chosen))
            moments = draw.sample(moments, min(share, len(moments)))
        for moment in moments[part :: options.processes]:
            faults = bench.kill(stage, moment)
            told = [fault[:900] for fault in faults[:3]]
            second = moment.limit is not None
            tell({"stage": stage.asset, "second": second, "what": moment.what, "at": moment.change, "faults": told})
        bench.keep()


def results(folder: Path, where: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what worker processes report, each with a root of its own."""
    read_end, write_end = os.pipe()
    with ExitStack() as servers, open(read_end) as lines:
        workers = []
        for part in range(options.processes):
            place = folder / where / str(part)
            place.mkdir(parents=True)
            write_mirror(place / "mirror")
            environment = deployment_in(place, where).env
            if where == BUCKET:
                environment |= servers.enter_context(counting_bucket(place))
            environment |= {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
            command = [sys.executable, __file__, *sys.argv[1:], "--work", where, str(place), str(part)]
            workers.append(subprocess.Popen(command, env=environment, stdout=write_end))
        os.close(write_end)
        yield from map(json.loads, lines)
        for worker in workers:
            if worker.wait():
                raise SystemExit(f"a worker ended with {worker.returncode}")


@dataclass
class Tally:
    """What came out of the kills at changes of the disk, or of a bucket."""

    where: str
    changes: dict[str, int] = field(default_factory=dict)
    second_kind: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    faulty: int = 0

    @property
    def kills(self) -> int:
        return sum(map(len, self.second_kind.values()))

    def add(self, line: dict[str, Any]) -> None:
        """Take up what a worker reports, and print the faults."""
        if "changes" in line:
            self.changes[line["stage"]] = line["changes"]
            return
        self.second_kind[line["stage"]].append(line["second"])
        self.faulty += bool(line["faults"])
        for fault in line["faults"]:
            print(f"{line['stage']}, change {line['at']}, {line['what']}: {fault}", flush=True)

    def show(self) -> None:
        print(f"{f'changes of the {self.where}':24} {'changes':>8} {'kills at':>9} {SECOND_KIND[self.where]:>7}")
        for stage, changes in self.changes.items():
            second = sum(self.second_kind[stage])
            print(f"{stage:24} {changes:8,} {len(self.second_kind[stage]) - second:9,} {second:7,}")


def tell(line: dict[str, Any]) -> None:
    """Report to the process that started this one: at once, because others write to the same pipe."""
    os.write(sys.stdout.fileno(), f"{json.dumps(line)}\n".encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, help="draw as many; without it, all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="*", default=[])
    parser.add_argument("--where", nargs="*", choices=(DISK, BUCKET), default=(DISK, BUCKET))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        where, folder, part = options.work
        work(where, Path(folder), int(part), options)
        return
    started, tallies = time.monotonic(), [Tally(where) for where in options.where]
    try:
        with tempfile.TemporaryDirectory(dir=options.directory, ignore_cleanup_errors=True) as folder:
            for tally in tallies:
                for line in results(Path(folder), tally.where, options):
                    tally.add(line)
    finally:  # also of a run that is interrupted
        for tally in tallies:
            tally.show()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        kills, faulty = sum(tally.kills for tally in tallies), sum(tally.faulty for tally in tallies)
        print(
            f"{kills:,} kills, {faulty:,} with faults; {used.ru_utime + used.ru_stime:,.0f} s of CPU, "
            f"{time.monotonic() - started:,.0f} s"
        )
    sys.exit(faulty > 0)


if __name__ == "__main__":
    main()
