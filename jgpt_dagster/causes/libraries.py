"""Causes that libraries report: Dagster's database, GPUs and PyTorch's processes, told by class and message.

Importing the libraries takes seconds, and not all of them are installed everywhere.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from jgpt_dagster.causes import system
from jgpt_dagster.causes.system import AGAIN

_GPU_MEMORY = (
    "the GPU is out of memory. Use a smaller `micro_batch`, `activation_checkpointing: true` or a shorter `context` "
    "(`jgpt plan` shows what fits), or end other programs on that GPU (`nvidia-smi` lists them)."
)
_GPU = (
    "a GPU has failed. Look at `nvidia-smi` and the kernel's log (`dmesg`, NVRM: Xid) and reset it, or leave it out by "
    f"CUDA_VISIBLE_DEVICES, {AGAIN}."
)
RENDEZVOUS = (
    "the training processes did not find each other. Start all hosts of the run, let them reach MASTER_ADDR and "
    f"MASTER_PORT (name, firewall, private network), {AGAIN}."
)
LOST_PEER = f"the connection to another training process broke. Look for what ended that one, {AGAIN}."


_MEND_RIGHTS = f"Let this user write to its directory and files, {AGAIN}."
_MEND_FILE = "Restore a copy or move it away: outputs stay, since they are found on disk."


def _sqlite(problem: str) -> Callable[[], str]:
    """Return a function that tells of a problem of Dagster's database, and of its disk if that explains it."""

    def describe() -> str:
        home = Path(os.environ.get("DAGSTER_HOME", ".")).expanduser()
        name = f"Dagster's database (DAGSTER_HOME={home})"
        if home.is_dir() and os.statvfs(home).f_flag & os.ST_RDONLY:
            return f"{name}: its file system is mounted read-only. Mount it for writing, {AGAIN}."
        if not problem or system.is_full(home):
            return system.disk_full(name)
        return f"{name} {problem}"

    return describe


def _postgresql(problem: str) -> Callable[[], str]:
    return lambda: f"Dagster's PostgreSQL database {problem}, {AGAIN}."


def _fixed(cause: str) -> Callable[[], str]:
    return lambda: cause


# The first pattern that is found in `module.Class: message` decides.
_SYMPTOMS: tuple[tuple[str, Callable[[], str]], ...] = (
    (r"sqlite3\..*is full", _sqlite("")),
    (r"sqlite3\..*readonly database", _sqlite(f"is read-only. {_MEND_RIGHTS}")),
    (r"sqlite3\..*unable to open", _sqlite(f"cannot be opened. {_MEND_RIGHTS}")),
    (r"sqlite3\..*disk I/O error", _sqlite(f"cannot be read or written. See the kernel's log (`dmesg`), {AGAIN}.")),
    (r"sqlite3\..*is locked", _sqlite(f"is held by another process for too long. Let that one end, {AGAIN}.")),
    (r"sqlite3\..*(malformed|not a database)", _sqlite(f"is damaged. {_MEND_FILE}")),
    (r"psycopg.*([Nn]o space left|DiskFull|[Dd]isk quota)", _postgresql("has a full disk. Free some space there")),
    (
        r"psycopg.*(too many clients|connection slots|TooManyConnections)",
        _postgresql("takes no more connections. Raise its max_connections or run fewer workers"),
    ),
    (r"psycopg.*read-only transaction", _postgresql("is read-only. Connect to its primary server")),
    (
        r"psycopg.*(authentication failed|no password|does not exist|permission denied)",
        _postgresql("refuses access. Correct its user, password and name in dagster.yaml"),
    ),
    (r"psycopg.*(out of memory|OutOfMemory)", _postgresql("is out of memory. Give its server more")),
    (
        r"psycopg.*(connect|shutting down|starting up|recovery|terminating|translate host|timeout)",
        _postgresql("cannot be reached. Start it, or correct its address in dagster.yaml"),
    ),
    (r"torch\.(cuda\.)?OutOfMemoryError|CUDA.*out of memory|CUBLAS_STATUS_ALLOC_FAILED", _fixed(_GPU_MEMORY)),
    (r"can't allocate memory|bad_alloc|[Cc]annot allocate memory", system.out_of_memory),
    (r"[Nn]o space left on device|[Dd]isk quota exceeded|PytorchStreamWriter failed writing", system.disk_full),
    (r"(?i)EADDRINUSE|address already in use", _fixed(f"the training processes cannot meet: {system.PORT_TAKEN}")),
    (r"\.Dist(Store|Network)Error|(?i:rendezvous|TCPStore|client socket)", _fixed(RENDEZVOUS)),
    (
        # A failed assertion on the GPU is a bug of the program.
        r"CUDA (error: (?!device-side assert)|driver)|NVML|uncorrectable ECC|GPU is lost|CUDNN_STATUS|CUBLAS_STATUS"
        r"|CUDA GPUs|CUDA-capable",
        _fixed(_GPU),
    ),
    (r"\.DistBackendError|gloo|NCCL|Connection (closed|reset) by peer", _fixed(LOST_PEER)),
)


def describe(line: str) -> str | None:
    """Return the cause of an error of a library by the first line of `module.Class: message`; None if unknown."""
    return next((cause() for pattern, cause in _SYMPTOMS if re.search(pattern, line)), None)
