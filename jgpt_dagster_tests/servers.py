"""Redis and PostgreSQL of a test's own: real servers on free ports of the loopback interface."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_POSTGRES_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Yield the URL of a new Redis; skip where none is installed."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    port = _free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _await_port(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


@contextmanager
def postgres_server() -> Iterator[dict[str, str]]:
    """Yield the `POSTGRES_` variables of a new PostgreSQL, which trusts whoever asks; skip where none is installed.

    The server refuses to run as root, so root starts it as the user `postgres`.
    """
    if not _POSTGRES_BINARIES:
        pytest.skip("PostgreSQL is not installed")
    user = "postgres" if os.geteuid() == 0 else None
    binaries, port = _POSTGRES_BINARIES[-1], _free_port()
    # Not below pytest's own directory, which is closed to other users.
    data = Path(tempfile.mkdtemp())
    if user:
        shutil.chown(data, user)
    initdb = [binaries / "initdb", "--username=dagster", "--auth=trust", "--no-sync", "--pgdata", data]
    subprocess.run(initdb, stdout=subprocess.DEVNULL, check=True, user=user, cwd=data)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={data}"]
    command = [binaries / "postgres", "-D", data, "-p", str(port), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, user=user, cwd=data) as process:
        try:
            _await_port(port, process)
            yield {
                "POSTGRES_HOST": "127.0.0.1",
                "POSTGRES_PORT": str(port),
                "POSTGRES_USER": "dagster",
                "POSTGRES_PASSWORD": "unused",
                "POSTGRES_DB": "postgres",
            }
        finally:
            # Its fast shutdown: clients are cut off.
            process.send_signal(signal.SIGINT)
            process.wait(timeout=240)
            shutil.rmtree(data, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"{process.args!r} does not listen on port {port}")
