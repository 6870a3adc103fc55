"""Training on several hosts: DeepSpeed's launcher on every host of a hostfile, started over ssh.

`python -m jgpt_dagster.lm.launch.multi_node HOSTFILE PROCESSES MODULE [ARGUMENT …]`. DeepSpeed's own multi-node runner
is not used: it ends a run by killing every DeepSpeed program on its hosts, including those of other users; it does not
notice that a host has failed; and it forwards neither the launch id nor the variables of Dagster Pipes.

If the ssh connection of a host breaks on either side, its programs end: their standard input is the connection, and
`die_with_launcher` watches it.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from jgpt_dagster.causes.report import Report
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.environment import FORWARDED_VARIABLES
from jgpt_dagster.lm.launch.launch_command import deepspeed_launcher_arguments
from jgpt_dagster.lm.launch.process_group import EXIT_INTERRUPTED

_HOST = re.compile(r"(?P<name>\w[\w.:@-]*)\s+slots=(?P<slots>\d+)")
# A host that does not answer for a minute is lost.
_SSH = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
# What ssh itself ends with.
_SSH_FAILED = 255
_UNREACHABLE = (
    "cannot be reached by ssh, or its connection broke. Start it and let this user log in there without a password, or "
    "leave it out of the hostfile, then run the same command again."
)
_POLL_SECONDS = 0.2
# Time for the other hosts to report errors once one has failed.
_ERROR_REPORT_SECONDS = 10.0


class HostfileError(JgptError):
    """A hostfile that cannot be read, or that has too few slots for a run."""


def read_hostfile(path: Path) -> dict[str, int]:
    """Return the slots of each host in a hostfile of DeepSpeed's format: lines `NAME slots=COUNT`, and `#` comments.

    Raises HostfileError, naming the line, if a line has another format or repeats a host.
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

    Ranks follow the order of the hosts; processes meet at MASTER_PORT of the first host. Raises HostfileError if a host
    has too few slots.
    """
    too_small = [f"{name} has {slots}" for name, slots in hosts.items() if slots < processes]
    if too_small:
        raise HostfileError(
            f"the hostfile has too few slots for {processes} processes on each host: {', '.join(too_small)}"
        )
    devices = {name: range(processes) for name in hosts}
    address, port = next(iter(hosts)).rpartition("@")[2], environment["MASTER_PORT"]
    forwarded = [f"{name}={value}" for name, value in environment.items() if FORWARDED_VARIABLES.fullmatch(name)]
    interpreter = ["exec", "env", *forwarded, sys.executable, "-u"]
    return {
        name: shlex.join([*interpreter, *deepspeed_launcher_arguments(devices, node_rank, address, port), *program])
        for node_rank, name in enumerate(hosts)
    }


def run_on_hosts(commands: Mapping[str, str]) -> int:
    """Run a command on each host over ssh until all have ended; return the exit code of the first that failed, or 0.

    Once one has failed, the others get ten seconds to report errors, then their connections are closed. If it was
    interrupted, the others have been too and get the time they need to save their checkpoints.
    """
    # Names of hosts are checked when the hostfile is read; commands are quoted for the remote shell.
    running = {host: subprocess.Popen([*_SSH, host, command]) for host, command in commands.items()}  # noqa: S603
    code, deadline = 0, float("inf")
    while running:
        for host, process in list(running.items()):
            host_code = process.poll()
            if host_code is None:
                continue
            del running[host]
            if host_code and not code:
                code = host_code
                print(f"host {host} ended with exit code {host_code}", file=sys.stderr, flush=True)
                if host_code == _SSH_FAILED:
                    Report("failed", f"host {host} {_UNREACHABLE}").send()
                if host_code != EXIT_INTERRUPTED:
                    deadline = time.monotonic() + _ERROR_REPORT_SECONDS
        if time.monotonic() > deadline:
            for process in running.values():
                process.terminate()
        time.sleep(_POLL_SECONDS)
    return code


def main(arguments: Sequence[str]) -> int:
    """Run a module on all hosts of a hostfile; return its exit code."""
    hostfile, processes, *program = arguments
    try:
        return run_on_hosts(host_commands(read_hostfile(Path(hostfile)), int(processes), program, os.environ))
    except JgptError as error:
        print(f"error: {error}", file=sys.stderr)
        Report("failed", str(error)).send()
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
