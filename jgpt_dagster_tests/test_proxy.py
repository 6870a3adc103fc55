"""The login in front of the UI: the shipped configuration of Caddy, run by a real Caddy, with the guard behind it."""

import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from jgpt_dagster.webserver.request_guard import RequestGuard
from jgpt_dagster_tests.support.deployments import PROJECT
from jgpt_dagster_tests.support.local_servers import free_port
from jgpt_dagster_tests.support.waiting import wait_until

PASSWORD = "correct horse"
# As `caddy hash-password` makes them, with fewer rounds.
PASSWORD_HASH = "$2a$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
START = PROJECT / "deploy" / "proxy" / "start.sh"

needs_caddy = pytest.mark.skipif(not shutil.which("caddy"), reason="needs Caddy (apt-get install caddy)")


async def show_headers(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    await PlainTextResponse(str(request.headers.get("authorization")))(scope, receive, send)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The address of a guarded server, which answers with the `Authorization` that reaches it."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(RequestGuard(show_headers, ["localhost"]), port=port, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@contextmanager
def proxy(folder: Path, upstream: str, **variables: str) -> Iterator[int]:
    """Run the proxy of compose.yaml with the variables of `.env`; yield its port."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "UI_PORT": str(port),
        "UI_UPSTREAM": upstream,
        "XDG_DATA_HOME": str(folder),
        **variables,
    }
    log = folder / "caddy.log"
    with log.open("w") as output, subprocess.Popen([START], env=environment, stderr=output, cwd="/") as process:
        try:
            wait_until(lambda: process.poll() is not None or "serving initial configuration" in log.read_text())
            assert process.poll() is None, log.read_text()
            yield port
        finally:
            process.kill()


@needs_caddy
def test_who_gives_no_password_or_a_wrong_one_is_refused_and_the_right_one_goes_no_further(
    tmp_path: Path, upstream: str
) -> None:
    login = {"UI_USER": "aiko", "UI_PASSWORD_HASH": PASSWORD_HASH}
    with proxy(tmp_path, upstream, **login) as port:
        url = f"http://127.0.0.1:{port}/"
        for credentials in (None, ("aiko", "wrong"), ("jgpt", PASSWORD)):
            assert httpx.post(url, auth=credentials).status_code == 401
        answer = httpx.get(url, auth=("aiko", PASSWORD))
        assert (answer.status_code, answer.text) == (200, "None")


@needs_caddy
def test_a_login_does_not_let_another_site_in(tmp_path: Path, upstream: str) -> None:
    with proxy(tmp_path, upstream, UI_PASSWORD_HASH=PASSWORD_HASH) as port:
        url, login = f"http://localhost:{port}", ("jgpt", PASSWORD)
        json = {"content-type": "application/json"}
        for headers in ({"origin": "http://evil.example"}, {"host": f"evil.example:{port}"}):
            assert httpx.post(url, auth=login, headers={**json, **headers}, content="{}").status_code == 403
        assert httpx.post(url, auth=login, headers={**json, "origin": url}, content="{}").status_code == 200


@needs_caddy
def test_beyond_loopback_the_password_is_sent_encrypted(tmp_path: Path, upstream: str) -> None:
    variables = {"UI_ADDRESS": "0.0.0.0", "UI_NAME": "localhost", "UI_PASSWORD_HASH": PASSWORD_HASH}
    with proxy(tmp_path, upstream, **variables) as port:
        url, login = f"https://localhost:{port}/", ("jgpt", PASSWORD)
        root = tmp_path / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        trust = ssl.create_default_context(cafile=str(root))
        # Caddy makes the certificate after it has begun to serve.
        wait_until(lambda: any((tmp_path / "caddy" / "certificates").rglob("*.crt")))
        assert httpx.get(url, verify=trust).status_code == 401
        origin = {"content-type": "application/json", "origin": url[:-1]}
        assert httpx.post(url, verify=trust, auth=login, headers=origin, content="{}").status_code == 200
        assert httpx.get(f"http://localhost:{port}/", auth=login).status_code == 400


@needs_caddy
def test_on_loopback_the_login_may_be_left_out(tmp_path: Path, upstream: str) -> None:
    with proxy(tmp_path, upstream, UI_ADDRESS="127.0.0.1") as port:
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "127.0.0.1.example.org"])
def test_beyond_loopback_it_does_not_start_without_a_login(address: str) -> None:
    result = subprocess.run([START], env={"PATH": os.environ["PATH"], "UI_ADDRESS": address}, capture_output=True)
    assert result.returncode == 64 and b"set UI_PASSWORD_HASH='" in result.stderr


@pytest.mark.parametrize("name", ["", "::", "a b", "{$HOME}"])
def test_beyond_loopback_it_does_not_start_without_a_name(name: str) -> None:
    environment = {"PATH": os.environ["PATH"], "UI_ADDRESS": "0.0.0.0", "UI_NAME": name, "UI_PASSWORD_HASH": "x"}
    result = subprocess.run([START], env=environment, capture_output=True)
    assert result.returncode == 64 and b"Set UI_NAME" in result.stderr
