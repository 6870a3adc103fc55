"""Real servers of a test's own on loopback: Redis, PostgreSQL, SSH, and HTTP over a folder."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

_POSTGRES_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_SSHD = Path("/usr/sbin/sshd")
# A hostfile of two names under which `ssh_server` is reached.
LOOPBACK_HOSTS = "127.0.0.1 slots=1\nlocalhost slots=1\n"


@contextmanager
def redis_server(folder: Path, options: Sequence[str] = ()) -> Iterator[str]:
    """Yield the URL of a new Redis; skip where none is installed."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    port = free_port()
    # Encrypted connections have a port of their own.
    port_options = ["--port", "0", "--tls-port", str(port)] if "--tls-port" in options else ["--port", str(port)]
    own = [*port_options, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    command = ["redis-server", *options, *own]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _await_port(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


@contextmanager
def postgres_server(superuser: str = "dagster", options: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """Yield the `POSTGRES_` variables of a new PostgreSQL, which trusts whoever asks; skip where none is installed.

    The server refuses to run as root, so root starts it as the user `postgres`.
    """
    if not _POSTGRES_BINARIES:
        pytest.skip("PostgreSQL is not installed")
    user = "postgres" if os.geteuid() == 0 else None
    binaries, port = _POSTGRES_BINARIES[-1], free_port()
    # Not below pytest's own directory, which is closed to other users.
    data = Path(tempfile.mkdtemp())
    if user:
        shutil.chown(data, user)
    initdb: list[str | Path] = [
        binaries / "initdb",
        f"--username={superuser}",
        "--auth=trust",
        "--no-sync",
        "--pgdata",
        data,
    ]
    subprocess.run(initdb, stdout=subprocess.DEVNULL, check=True, user=user, cwd=data)
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={data}"]
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port), *settings, *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, user=user, cwd=data) as process:
        try:
            _await_port(port, process)
            # It listens before it accepts logins.
            ready: list[str | Path] = [
                binaries / "pg_isready",
                "--quiet",
                "--host=127.0.0.1",
                f"--port={port}",
                "--timeout=60",
            ]
            while subprocess.run(ready, check=False).returncode:
                assert process.poll() is None, "PostgreSQL stopped"
                time.sleep(0.1)
            yield {
                "POSTGRES_HOST": "127.0.0.1",
                "POSTGRES_PORT": str(port),
                "POSTGRES_USER": superuser,
                "POSTGRES_PASSWORD": "unused",
                "POSTGRES_DB": "postgres",
            }
        finally:
            # Its fast shutdown: clients are cut off.
            process.send_signal(signal.SIGINT)
            process.wait(timeout=240)
            shutil.rmtree(data, ignore_errors=True)


@contextmanager
def ssh_server(folder: Path) -> Iterator[Path]:
    """Yield a directory for PATH whose `ssh` reaches a new server, which lets its own key in; skip without sshd."""
    if not (_SSHD.exists() and shutil.which("ssh")):
        pytest.skip("the OpenSSH server and client are not installed")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port, programs = free_port(), folder / "bin"
    programs.mkdir()
    options = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host_key",
        "AuthorizedKeysFile": folder / "key.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    trust = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    (programs / "ssh").write_text(
        f'#!/bin/sh\nexec {shutil.which("ssh")} -F none -p {port} -i {folder / "key"} {trust} "$@"\n'
    )
    (programs / "ssh").chmod(0o755)
    command: list[str | Path] = [_SSHD, "-D", "-f", folder / "sshd_config", "-E", folder / "sshd.log"]
    with subprocess.Popen(command) as process:
        try:
            _await_port(port, process)
            yield programs
        finally:
            process.kill()


def free_port() -> int:
    """Return a port of loopback on which nothing listens."""
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


@contextmanager
def served_folder(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve a folder over HTTP on loopback, by default on a free port, until the block ends; yield its URL."""
    handler: Callable[..., Any] = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""
