"""What a command costs on a data root: time, CPU and memory by stage, disk by asset, the bookkeeping of Dagster.

    python benchmarks/rehearsal/measure.py REPORT.json jgpt run --dump 20260101 --to training_set

Runs the command with the settings of its environment, looks at its processes once a second and at the data root once a
minute, and prints tables in Markdown. The report has the same figures; `--append` to an earlier one sums up a run that
was stopped and resumed. CPU of stages is what their run records say; the rest of the CPU of the command is bookkeeping:
Dagster's events and runs, imports, hashing for looks at what is current.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SAMPLE_SECONDS = 1.0
_DISK_SECONDS = 60.0
_ROLES = {
    "jgpt_dagster.lm.train": "training process",
    "multiprocessing.spawn": "worker process",
    "dagster": "Dagster process",
    "jgpt": "jgpt",
}


@dataclass
class Usage:
    """What was seen of a command: bytes, unless a name says otherwise."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_all_processes: int = 0
    peak_by_role: dict[str, int] = field(default_factory=dict)
    most_processes: int = 0
    peak_disk: int = 0
    disk_by_asset: dict[str, int] = field(default_factory=dict)


class Sampler(threading.Thread):
    """Watches a process and all its descendants, and a data root, until it is stopped."""

    def __init__(self, process: int, roots: list[Path], usage: Usage) -> None:
        super().__init__(daemon=True)
        self._process, self._roots, self._usage = process, roots, usage
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the thread, after a last look at the disk."""
        self._stopped.set()
        self.join()
        self._measure_disk()

    def run(self) -> None:
        next_disk = time.monotonic()
        while not self._stopped.wait(_SAMPLE_SECONDS):
            self._measure_processes()
            if time.monotonic() >= next_disk:
                self._measure_disk()
                next_disk = time.monotonic() + _DISK_SECONDS

    def _measure_processes(self) -> None:
        processes = _descendants(self._process)
        # What processes have used that nobody will wait for, should they be killed together with their parents.
        self._usage.cpu_seconds = max(self._usage.cpu_seconds, sum(map(_cpu_seconds, processes)))
        sizes = {pid: size for pid in processes if (size := _pss(pid))}
        self._usage.peak_all_processes = max(self._usage.peak_all_processes, sum(sizes.values()))
        self._usage.most_processes = max(self._usage.most_processes, len(sizes))
        for pid, size in sizes.items():
            role = _role(pid)
            self._usage.peak_by_role[role] = max(self._usage.peak_by_role.get(role, 0), size)

    def _measure_disk(self) -> None:
        found = Counter[str]()
        for root in self._roots:
            for path, size in _files(root):
                found[path.relative_to(root).parts[0]] += size
        self._usage.peak_disk = max(self._usage.peak_disk, found.total())
        for name, size in found.items():
            self._usage.disk_by_asset[name] = max(self._usage.disk_by_asset.get(name, 0), size)


def _descendants(process: int) -> list[int]:
    children = defaultdict(list)
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children[parent].append(int(status.parent.name))
    found = [process]
    for pid in found:
        found.extend(children[pid])
    return found


def _cpu_seconds(process: int) -> float:
    """Return the CPU time of a process and of its children that have ended. 0 once it has ended itself."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _pss(process: int) -> int:
    """Return the proportional set size of a process in bytes: shared pages count in parts. 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def _role(process: int) -> str:
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        command = ""
    return next((role for sign, role in _ROLES.items() if sign in command), "other")


def _files(root: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files below a directory with the bytes they take on disk; linked ones once."""
    seen = set()
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            try:
                status = path.lstat()
            except OSError:
                continue
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                yield path, status.st_blocks * 512


def stage_records(root: Path, since: float) -> dict[str, dict[str, float]]:
    """Return the seconds and CPU seconds of each asset, from the run records written since a time.

    One pass that writes many shards has the same time in the record of each: it counts once. What a run makes on the
    way, such as the word counts of a tokenizer, is part of the record of what it was for, and is taken off there.
    """
    outputs = Counter[str]()
    times: dict[str, dict[str, set[tuple[float, float]]]] = defaultdict(lambda: defaultdict(set))
    for path in [*root.glob("*/**/*run.json")]:
        if path.name.startswith(".") or path.stat().st_mtime < since:
            continue
        record = json.loads(path.read_text())
        asset = path.relative_to(root).parts[0]
        outputs[asset] += 1
        times[record["run_id"]][asset].add((record["seconds"], record.get("cpu_seconds", 0.0)))
    stages = {asset: {"outputs": float(count), "seconds": 0.0, "cpu_seconds": 0.0} for asset, count in outputs.items()}
    for of_run in times.values():
        sums = {asset: [sum(column) for column in zip(*pairs, strict=True)] for asset, pairs in of_run.items()}
        purpose = max(sums, key=lambda asset: sums[asset])
        for asset, (seconds, cpu_seconds) in sums.items():
            stages[asset]["seconds"] += seconds
            stages[asset]["cpu_seconds"] += cpu_seconds
            if asset != purpose:
                stages[purpose]["seconds"] -= seconds
                stages[purpose]["cpu_seconds"] -= cpu_seconds
    return stages


def measure(command: list[str], root: Path, scratch: Path) -> tuple[int, dict[str, Any]]:
    """Run a command; return its exit status and what it cost."""
    usage, began, started = Usage(), time.time(), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command)
    sampler = Sampler(process.pid, [root, *([] if scratch.is_relative_to(root) else [scratch])], usage)
    sampler.start()
    try:
        status = process.wait()
    except KeyboardInterrupt:
        status = process.wait()  # the command has had the signal too
    sampler.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    usage.wall_seconds = time.monotonic() - started
    waited_for = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    usage.cpu_seconds = max(usage.cpu_seconds, waited_for)
    database = sum(size for _, size in _files(Path(os.environ.get("DAGSTER_HOME", root / ".dagster"))))
    return status, {
        "command": command,
        "status": status,
        **vars(usage),
        "dagster_home": database,
        "stages": stage_records(root, began),
    }


def print_tables(parts: list[dict[str, Any]]) -> None:
    """Print the sum of the parts of a run in Markdown."""
    stages: dict[str, Counter[str]] = {}
    for part in parts:
        for asset, figures in part["stages"].items():
            stages.setdefault(asset, Counter()).update(figures)
    wall, cpu = (sum(part[name] for part in parts) for name in ("wall_seconds", "cpu_seconds"))
    of_stages = sum(figures["cpu_seconds"] for figures in stages.values())
    print("| stage | outputs | wall s, summed over runs | CPU s |\n|---|---:|---:|---:|")
    for asset, figures in stages.items():
        print(f"| `{asset}` | {figures['outputs']:.0f} | {figures['seconds']:,.0f} | {figures['cpu_seconds']:,.0f} |")
    share = f" ({(cpu - of_stages) / of_stages:.1%} of the stages')" if of_stages else ""
    print(f"| bookkeeping | | | {cpu - of_stages:,.0f}{share} |\n| **all** | | {wall:,.0f} | {cpu:,.0f} |\n")
    peaks = Counter[str]()
    for part in parts:
        for role, size in [*part["peak_by_role"].items(), ("all processes together", part["peak_all_processes"])]:
            peaks[role] = max(peaks[role], size)
    print("| memory at its highest (PSS) | MB |\n|---|---:|")
    for role, size in peaks.items():
        print(f"| {role} | {size / 1e6:,.0f} |")
    disk = Counter[str]()
    for part in parts:
        disk |= Counter(part["disk_by_asset"])
    print("\n| disk at its highest | MB |\n|---|---:|")
    for asset, size in disk.most_common():
        print(f"| `{asset}` | {size / 1e6:,.1f} |")
    print(f"| **together** | {max(part['peak_disk'] for part in parts) / 1e6:,.1f} |")
    print(f"\nDAGSTER_HOME: {parts[-1]['dagster_home'] / 1e6:,.1f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what a command costs on a data root.")
    parser.add_argument("--append", action="store_true", help="add to the report of the run that this one resumes")
    parser.add_argument("report", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    root = Path(os.environ.get("JGPT_DATA", "data"))
    status, part = measure(options.command, root, Path(os.environ.get("JGPT_SCRATCH", root)))
    parts = [*(json.loads(options.report.read_text()) if options.append else []), part]
    options.report.write_text(json.dumps(parts, indent=1))
    print_tables(parts)
    return status


if __name__ == "__main__":
    sys.exit(main())
