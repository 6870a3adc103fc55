"""Starting the training program under a launcher, and making sure that none of its processes outlives the run.

Launchers start processes of their own, some in sessions of their own, and forward signals unreliably. So every process
of a launch carries a mark in its environment, by which all of them are found; and holds, as its standard input, a pipe
whose other end is the launching process, so that the training program notices when that process is gone.

A launcher that is asked to end gives its children 30 seconds (DeepSpeed, torchrun), which may be too short to save a
checkpoint. So the training programs, which go by a name of their own, are asked first, and the launcher once they are
gone.
"""

import base64
import ctypes
import itertools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from jgpt_dagster.errors import JgptError
from jgpt_dagster.runtime.resource_limits import available_cores

PROGRAM = "jgpt_dagster.lm.train"
# Exit code of a training process that saved a checkpoint because it was asked to end: 128 + SIGTERM.
INTERRUPTED = 143
_KILLERS = (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)

_MARK = "JGPT_LAUNCH"
# The name of a training process, as `ps -o comm` shows it; Linux allows 15 characters.
_NAME = "jgpt-train"
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_TAIL_LINES = 30
_POLL_SECONDS = 0.2
# What the last processes of a launch may take to end once their launcher has.
_STRAGGLER_SECONDS = 1.0
# What a launcher may take to end once its training processes have.
_LAUNCHER_SECONDS = 5.0


class LaunchError(JgptError):
    """A training process that could not be started or did not end well."""


def launch_command(
    launcher: Literal["deepspeed", "torchrun", "python"], processes: int, config: Path, hostfile: Path | None = None
) -> list[str]:
    """Return the command that trains with a configuration file in `processes` processes (on each host of `hostfile`).

    Launchers are started as modules of the running interpreter, so that they are found whether or not its `bin`
    directory is on PATH. DeepSpeed's own command is not used: told how many processes to start, it ignores
    CUDA_VISIBLE_DEVICES and takes the first GPUs of the machine. Raises LaunchError where the launcher cannot do what
    is asked.
    """
    program = [PROGRAM, str(config)]
    if hostfile is not None:
        if launcher != "deepspeed":
            raise LaunchError(f"a hostfile needs the deepspeed launcher, not {launcher}")
        _require_first_gpus(processes)
        return [sys.executable, "-m", "jgpt_dagster.lm.launch.multi_node", str(hostfile), str(processes), *program]
    if launcher == "deepspeed":
        world = {"localhost": _devices(processes)}
        return [sys.executable, "-u", *deepspeed_launch(world, 0, "127.0.0.1", _free_port()), *program]
    if launcher == "torchrun":
        return [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            "-m",
            *program,
        ]
    if processes != 1:
        raise LaunchError(f"launcher python runs one process, not {processes}; use deepspeed or torchrun")
    return [sys.executable, "-m", *program]


def deepspeed_launch(world: Mapping[str, Sequence[int | str]], host: int, address: str, port: int | str) -> list[str]:
    """Return the arguments of the interpreter that start the part on one host of a run by DeepSpeed's launcher.

    `world` has the devices of each host's processes, `host` is the number of this one; the processes meet at
    `address` and `port`. What is to be run comes after them: a module and its arguments.
    """
    info = json.dumps({name: list(devices) for name, devices in world.items()})
    return [
        "-m",
        "deepspeed.launcher.launch",
        f"--world_info={base64.urlsafe_b64encode(info.encode()).decode()}",
        f"--node_rank={host}",
        f"--master_addr={address}",
        f"--master_port={port}",
        "--no_local_rank",
        "--quiet",
        "--module",
    ]


def training_environment(processes: int, *, on_cpu: bool = False) -> dict[str, str]:
    """Return the environment of a launch of `processes` processes a host: this one's, and what is not set in it.

    `on_cpu` leaves the GPUs alone that there may be.

    RANK and its like are for plain python, which DeepSpeed would otherwise take for an MPI job; launchers set their own
    for each process.
    """
    defaults = {
        **{"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())},
        **({} if has_gpu() else {"DS_ACCELERATOR": "cpu"}),
        "OMP_NUM_THREADS": str(max(1, available_cores() // processes)),
        # A thread that spins while it waits for another takes the core that the other needs: ten times slower on a
        # machine that does something else too.
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **os.environ, **({"DS_ACCELERATOR": "cpu"} if on_cpu else {})}


def has_gpu() -> bool:
    """Say whether this host has a GPU that may be used, without the seconds that importing torch takes."""
    return _chosen_gpus() != [] and (bool(_nvidia_gpus()) or Path("/dev/kfd").exists())


def gpu_count() -> int:
    """Return how many NVIDIA GPUs of this host may be used: those that CUDA_VISIBLE_DEVICES names, or all."""
    chosen, present = _chosen_gpus(), _nvidia_gpus()
    return present if chosen is None else min(len(chosen), present)


def _chosen_gpus() -> list[str] | None:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names, by number or UUID up to a -1; None where it is not set."""
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if text is None else list(itertools.takewhile(lambda gpu: gpu not in ("", "-1"), text.split(",")))


def _nvidia_gpus(devices: Path = Path("/dev")) -> int:
    if (devices / "dxg").exists():  # Windows' subsystem for Linux has one device for all GPUs, of any vendor
        return len(query_nvidia_smi("--list-gpus"))
    return sum(1 for _ in devices.glob("nvidia[0-9]*"))


def query_nvidia_smi(*arguments: str) -> list[str]:
    """Return the lines that nvidia-smi prints; none where it is not there or fails."""
    try:
        answer = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.strip().splitlines()


def _devices(processes: int) -> Sequence[int | str]:
    """Return the devices of the processes on this host. Raises LaunchError where too few GPUs may be used."""
    chosen = _chosen_gpus()
    if chosen is None or not has_gpu():
        return range(processes)
    if len(chosen) < processes:
        raise LaunchError(
            f"CUDA_VISIBLE_DEVICES={','.join(chosen)} names {len(chosen)} GPUs for {processes} processes. Name as many "
            "GPUs, or set JGPT_PROCESSES to fewer."
        )
    return chosen[:processes]


def _require_first_gpus(processes: int) -> None:
    """Raise LaunchError where this host's choice of GPUs is not what a run takes on every host of a hostfile."""
    chosen = _chosen_gpus()
    if chosen and chosen[:processes] != [str(gpu) for gpu in range(processes)]:
        raise LaunchError(
            f"CUDA_VISIBLE_DEVICES={','.join(chosen)} chooses GPUs of this host alone; on each host of a hostfile a "
            f"run takes the first {processes}. Unset it, and name only hosts on which those are yours: JGPT_PROCESSES "
            "says how many of them."
        )


def run_process_group(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    on_line: Callable[[str], None],
    stop_grace_seconds: float = 30,
) -> int:
    """Run a command and all that it starts; hand each line of their output to `on_line`; return the exit code, 0.

    `env` is the whole environment. Whatever ends this call, the end of the command, an exception here or in `on_line`,
    or a KeyboardInterrupt, no process is left: training programs get SIGTERM and `stop_grace_seconds` to save what they
    have, then all that is left gets SIGTERM and, soon after, SIGKILL. Where there is no training program, the grace is
    that of the others. If this process itself is killed, the command is killed too, and a training program ends itself.

    Raises LaunchError with the last lines of the output where the command cannot be started, ends with another code
    than 0, or ends before the processes that it started (a killed launcher may report success).
    """
    group = _ProcessGroup(argv, env, on_line)
    try:
        while group.process.poll() is None:
            group.forward_output()
        # Only for so long: those of a killed launcher would go on for ever, and may always have something to say.
        deadline = time.monotonic() + _STRAGGLER_SECONDS
        while (abandoned := list(group.members())) and time.monotonic() < deadline:
            group.forward_output()
    finally:
        group.stop(stop_grace_seconds)
    code = group.process.wait()
    if code or abandoned:
        raise LaunchError(_failure(argv, code, group.tail))
    return code


def die_with_launcher() -> None:
    """Kill this process when the process that launched it, at whatever remove, is gone; be asked to end before others.

    Does nothing in a process that was not started by `run_process_group`.
    """
    if _MARK in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_NAME, _NAME.encode())
        threading.Thread(target=_await_end_of_launcher, daemon=True).start()


class _ProcessGroup:
    """A running command with everything that it started."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], on_line: Callable[[str], None]) -> None:
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        self._on_line = on_line
        self._rest = b""
        name, value = self._mark.split("=")
        libc, parent = ctypes.CDLL(None), os.getpid()

        def die_with_parent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        try:
            self.process = subprocess.Popen(
                argv,
                env={**env, name: value},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            raise LaunchError(f"cannot start {argv[0]}: {error}") from error
        assert self.process.stdout is not None
        self._output = self.process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)

    def forward_output(self) -> bool:
        """Wait for output, at most a fraction of a second, and forward it by line. Return False where there is none."""
        if not self._selector.select(_POLL_SECONDS):
            return False
        data = os.read(self._output, 1 << 16)
        if not data:
            # The end of the output stays readable for ever: sleep instead of spinning until the processes end too.
            time.sleep(_POLL_SECONDS)
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._forward(line)
        return True

    def members(self) -> Iterator[int]:
        """Yield the ids of the processes that carry this launch's mark; a zombie carries none."""
        mark = self._mark.encode()
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (directory / "environ").read_bytes().split(b"\0"):
                    yield int(directory.name)
            except OSError:
                continue

    def stop(self, grace_seconds: float) -> None:
        """End every process that is left and forward the last of their output."""
        try:
            deadline = time.monotonic() + grace_seconds
            if any(self._training()):
                self._end(self._training, deadline)
                deadline = time.monotonic() + min(grace_seconds, _LAUNCHER_SECONDS)
            self._end(self.members, deadline)
        finally:
            while any(self.members()):
                _signal(self.members(), signal.SIGKILL)
                time.sleep(0.05)
            self.process.wait()
        while self.forward_output():
            pass
        if self._rest:
            self._forward(self._rest)
        self._selector.close()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _forward(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self.tail.append(text)
        try:
            self._on_line(text)
        except BaseException:
            # What cannot take a line now must not keep the processes from being ended in peace.
            self._on_line = _ignore
            raise

    def _training(self) -> Iterator[int]:
        """Yield the ids of the training programs among the processes."""
        for pid in self.members():
            try:
                if Path(f"/proc/{pid}/comm").read_text().rstrip("\n") == _NAME:
                    yield pid
            except OSError:
                continue

    def _end(self, processes: Callable[[], Iterator[int]], deadline: float) -> None:
        """Ask processes to end, each once, and forward their output until none is left or the deadline is over."""
        asked: set[int] = set()
        while (left := set(processes())) and time.monotonic() < deadline:
            _signal(left - asked, signal.SIGTERM)
            asked |= left
            self.forward_output()


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for pid in processes:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _ignore(line: str) -> None:
    pass


def _await_end_of_launcher() -> None:
    # Nothing is ever written to this pipe: a read returns when its other end, held by the launching process, is closed.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def _failure(argv: Sequence[str], code: int, tail: Sequence[str]) -> str:
    command = " ".join(argv)
    if 256 - code in _KILLERS:
        # What DeepSpeed's launcher makes of a training process that a signal has killed.
        code -= 256
    if code in (INTERRUPTED, -signal.SIGTERM):
        return f"interrupted: {command}\nRun it again to go on from the newest checkpoint."
    how = f"ended with exit code {code}"
    if code < 0:
        cause = " (out of memory? See the kernel's log)" if code == -signal.SIGKILL else ""
        how = f"was killed by {signal.Signals(-code).name}{cause}; run it again to go on from the newest checkpoint"
    if code == 0:
        how = "ended before the processes that it had started"
    return "\n".join([f"{command} {how}. The last lines of its output:", *tail])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
