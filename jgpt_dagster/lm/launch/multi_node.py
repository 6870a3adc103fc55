"""Training on several hosts: DeepSpeed's launcher on every host of a hostfile, started over ssh.

`python -m jgpt_dagster.lm.launch.multi_node HOSTFILE PROCESSES MODULE [ARGUMENT …]`. DeepSpeed's own multi-node runner
is not used: it ends a run by killing every DeepSpeed program on its hosts, including those of other users, does not
notice that one host has failed, and forwards neither the marker of a launch nor what connects a run with Dagster.

The ssh connection of a host ends its programs, whichever side it breaks on: their standard input is the connection,
and `die_with_launcher` watches it.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.launcher import INTERRUPTED, deepspeed_launch

# What of the environment a host's programs are given. It stands on a command line, so nothing that is secret.
_FORWARDED_VARIABLES = re.compile(
    r"PATH|LD_LIBRARY_PATH|JGPT_LAUNCH|PYTHON\w+|OMP_\w+|TOKENIZERS_PARALLELISM|DS_ACCELERATOR|WANDB_MODE"
    r"|(DAGSTER_PIPES|NCCL|GLOO|TORCH|PYTORCH|UCX|FI)_\w+"
)
_HOST = re.compile(r"(?P<name>\w[\w.:@-]*)\s+slots=(?P<slots>\d+)")
# A host that gives no sign of life for a minute is lost.
_SSH = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
_POLL_SECONDS = 0.2
# What the other hosts have to say why they fail, when one has failed.
_ERROR_REPORT_SECONDS = 10.0


class HostfileError(JgptError):
    """A hostfile that cannot be read, or that has no room for a run."""


def read_hostfile(path: Path) -> dict[str, int]:
    """Return the slots of each host of a hostfile in DeepSpeed's form: lines `NAME slots=COUNT`, and `#` comments.

    Raises HostfileError, naming the line, where it has another form or names a host twice.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise HostfileError(f"hostfile {path}: {error}") from error
    hosts: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0].strip()
        found = _HOST.fullmatch(content)
        if content and (found is None or found["name"] in hosts):
            raise HostfileError(f"hostfile {path}, line {number}: {line!r} is not `NAME slots=COUNT` of another host")
        if found is not None:
            hosts[found["name"]] = int(found["slots"])
    if not hosts:
        raise HostfileError(f"hostfile {path} names no host")
    return hosts


def host_commands(
    hosts: Mapping[str, int], processes: int, program: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the shell command that starts `processes` processes of a module on each host.

    Processes are numbered in the order of the hosts; the first host is where they meet, at MASTER_PORT. Raises
    HostfileError where a host has fewer slots.
    """
    short = [f"{name} has {slots}" for name, slots in hosts.items() if slots < processes]
    if short:
        raise HostfileError(
            f"the hostfile has too few slots for {processes} processes on each host: {', '.join(short)}"
        )
    world, address = {name: range(processes) for name in hosts}, next(iter(hosts)).rpartition("@")[2]
    given = [f"{name}={value}" for name, value in environment.items() if _FORWARDED_VARIABLES.fullmatch(name)]
    interpreter = ["exec", "env", *given, sys.executable, "-u"]
    return {
        name: shlex.join([*interpreter, *deepspeed_launch(world, rank, address, environment["MASTER_PORT"]), *program])
        for rank, name in enumerate(hosts)
    }


def run_on_hosts(commands: Mapping[str, str]) -> int:
    """Run a command on each host over ssh until all have ended; return the code of the first that failed, or 0.

    When one has failed, the others get some seconds to end too, and then their connections are closed. Those that end
    because they were asked to are waited for.
    """
    running = {host: subprocess.Popen([*_SSH, host, command]) for host, command in commands.items()}
    code, deadline = 0, float("inf")
    while running:
        for host, process in list(running.items()):
            ended = process.poll()
            if ended is None:
                continue
            del running[host]
            if ended and not code:
                code = ended
                print(f"host {host} ended with exit code {ended}", file=sys.stderr, flush=True)
                if ended != INTERRUPTED:
                    deadline = time.monotonic() + _ERROR_REPORT_SECONDS
        if time.monotonic() > deadline:
            for process in running.values():
                process.terminate()
        time.sleep(_POLL_SECONDS)
    return code


def main(arguments: Sequence[str]) -> int:
    """Start a program as the command line says; return its exit code."""
    hostfile, processes, *program = arguments
    try:
        return run_on_hosts(host_commands(read_hostfile(Path(hostfile)), int(processes), program, os.environ))
    except JgptError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
